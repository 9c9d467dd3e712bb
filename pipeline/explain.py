"""What happened to a file or a repository: looked up in the ledger of the work directory that made the release.

A question is answered from a few objects, whatever the size of the release: each look-up goes to the bucket of an id, and in
it to the rows of that id (`pipeline.engine.point`, `pipeline.stages.index`); a kept row is found by `ids.parquet`. Without the
work directory only kept rows can be explained, from the release itself: nothing of dropped files is published.

The words for people are in `explain_words.py`; the keys of the answer are described in docs/explain.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from licensing.names import place_of
from manifests.reader import Release
from pipeline.content.shown import escape, unescape
from pipeline.engine.point import scalar
from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.explain_detected import detected, licenses
from pipeline.explain_ids import Asked, origin_id, parse
from pipeline.explain_known import Content, Known, shown_date
from pipeline.explain_rows import Rows
from pipeline.explain_words import why
from pipeline.local_copy import manifest_of
from pipeline.occurrences import expanded
from pipeline.records import Record, record_of, usable
from pipeline.row_ids import row_id

_LONGEST_CHAIN = 16  # of stand-ins; by construction there are at most three


def explain(
    directory: Path | str, identifier: str, *, path: str | None, workdir: str, limit: int = 20
) -> dict[str, Any]:
    """The story of an id as plain data; its keys are stable.

    Raises ConfigError for an id that is none, or that neither release nor ledger knows.
    """
    with manifest_of(str(directory)) as folder:
        rows = Rows(Release.open(folder), Store(str(directory)))
    asked = parse(identifier)
    if path is not None and asked.kinds != ("origin",):
        raise ConfigError("a path can only be given with an origin")
    release = rows.release
    story: dict[str, Any] = {
        "query": identifier,
        "release": release.manifest.version,
        "digest": release.digest,
        "notes": [],
    }
    record = record_of(workdir, release.digest)
    if record is None:
        story["notes"].append(
            f"{workdir} is not the work directory that made this release (give --workdir): only kept rows can be explained"
        )
    elif not usable(record):
        story["notes"].append(
            f"{workdir} made this release with an earlier version of this program, whose ledger cannot be looked up by this"
            " one: only kept rows can be explained"
        )
        record = None
    teller = _Teller(rows, record, limit, identifier)
    story.update(teller.story(asked, path))
    story["notes"] += teller.notes
    return story


class _Teller:
    """One question: what was looked up for it, and how much of it is told."""

    def __init__(self, rows: Rows, record: Record | None, limit: int, shown: str) -> None:
        self.rows, self.record, self.limit, self.shown = rows, record, limit, shown
        self.notes: list[str] = []

    def story(self, asked: Asked, path: str | None) -> dict[str, Any]:
        """The answer, by the kind of the id."""
        if self.record is None:
            return self._kept_only(self.rows, asked, path)
        known = Known(self.record, self.rows)
        for kind in asked.kinds:
            if kind == "origin":
                return self._origin(known, asked, path)
            if kind in ("root", "revision", "snapshot"):
                origins = known.origins_at(kind, asked.value)
                if origins:
                    return self._origins(known, kind, origins)
                continue
            content = known.content(kind, asked.value)
            if content is not None:
                return self._content(known, content, asked)
        if asked.kinds == ("row",) and (changes := self.rows.changes(asked.value)):
            return {"kept": None, "occurrences": [], "found": 0, "changes": changes}
        if asked.kinds[0] in ("root", "revision", "snapshot"):
            what = "root directory" if asked.kinds[0] == "root" else asked.kinds[0]
            raise ConfigError(
                f"{self.shown} is the {what} of no origin of the archive that this release was made from"
            )
        raise ConfigError(f"{self.shown} does not occur in the archive that this release was made from")

    # ------------------------------------------------------------------------------------------------- contents

    def _content(self, known: Known, content: Content, asked: Asked) -> dict[str, Any]:
        kept = (
            self.rows.of_ids([row_id(content.sha256)]).get(row_id(content.sha256)) if content.sha256 else None
        )
        where = known.record.rows("contents", "contents", "sha1_git", content.sha1_git)
        found = pc.sum(pc.multiply(where["places"], where["origins"])).as_py() or 0
        told: list[dict[str, Any]] = []
        if asked.origin is not None:
            told = self._at(known, content, kept, asked)
            if not told:
                self.notes.append(
                    "the content was not found at the place that the SWHID names: all places are told"
                )
        if not told:
            roots: list[str] = where["root"].to_pylist()
            if kept is not None:  # its own place first
                roots.sort(key=lambda root: root != kept["directory_id"])
            for root in roots:
                if len(told) >= self.limit:
                    break
                condition = f"sha1_git = '{content.sha1_git}'"
                told += self._occurrences(known, root, condition, self.limit - len(told), kept=kept)
        return {
            "content": {**content.told(), "length": told[0]["length"] if told else None},
            "kept": kept,
            "found": found,
            "occurrences": told,
            "earliest": known.earliest(content.sha1_git),
            **self._about(known, content, kept),
        }

    def _at(
        self, known: Known, content: Content, kept: dict[str, Any] | None, asked: Asked
    ) -> list[dict[str, Any]]:
        """The occurrences at the place that a SWHID's qualifiers name."""
        assert asked.origin is not None
        for one in known.record.rows("origins", "ledger", "origin_id", origin_id(asked.origin)).to_pylist():
            if one["directory"] is not None:
                condition = f"sha1_git = '{content.sha1_git}'"
                return self._occurrences(
                    known,
                    one["directory"],
                    condition,
                    self.limit,
                    origin=one["origin_id"],
                    path=asked.path,
                    kept=kept,
                )
        return []

    def _about(self, known: Known, content: Content, kept: dict[str, Any] | None) -> dict[str, Any]:
        """What does not depend on the place: what was detected, what stands in for it, for what it stands in."""
        if content.sha256 is None:
            return {"detected": None, "chain": [], "cluster": None, "changes": []}
        identity = row_id(content.sha256)
        return {
            "detected": detected(known.record, content.sha256, self.limit),
            "chain": self._chain(known, content.sha256),
            "cluster": self._cluster(known, content.sha256, kept) if kept is not None else None,
            "changes": self.rows.changes(identity),
        }

    def _chain(self, known: Known, sha256: str) -> list[dict[str, Any]]:
        """From a content to the one that is kept for it, step by step; empty when it is kept itself, or nothing is."""
        chain: list[dict[str, Any]] = []
        while len(chain) < _LONGEST_CHAIN:
            fate = next((one for one in known.fates(sha256) if one["stand_in"] is not None), None)
            if fate is None:
                break
            sha256 = fate["stand_in"]
            chain.append(
                {
                    "sha256": sha256,
                    "row_id": row_id(sha256),
                    "reason": fate["reason"],
                    "similarity": fate["similarity"],
                }
            )
        places = self.rows.places_of(step["row_id"] for step in chain)
        return [{**step, "shard": _shard(places, step), "kept": step["row_id"] in places} for step in chain]

    def _cluster(self, known: Known, sha256: str, kept: dict[str, Any]) -> dict[str, Any]:
        """The contents that this row stands for."""
        table = known.record.rows("index", "members", "stand_in", sha256)
        members = table.slice(0, self.limit).to_pylist()
        return {
            "size": kept["cluster_size"],
            "found": table.num_rows,
            "members": [{k: one[k] for k in ("sha256", "reason", "similarity")} for one in members],
        }

    # -------------------------------------------------------------------------------------------------- origins

    def _origins(self, known: Known, kind: str, origins: list[str]) -> dict[str, Any]:
        """A root, revision or snapshot: the repository, and all origins that had it."""
        first = Asked(kinds=("origin",), value=origin_id(origins[0]), url=origins[0])
        shown = {"by": kind, "found": len(origins), "urls": origins[: self.limit]}
        return {"origins": shown, **self._origin(known, first, None)}

    def _origin(self, known: Known, asked: Asked, path: str | None) -> dict[str, Any]:
        url = asked.url or self.shown
        found = known.record.rows("origins", "ledger", "origin_id", asked.value).to_pylist()
        if not found:
            raise ConfigError(f"{url} is not an origin of the archive that this release was made from")
        one = found[0]
        story: dict[str, Any] = {"origin": known.told_origin(one)}
        if one["directory"] is None:
            return {**story, "files": [], "found": 0, "totals": {}}
        ledger = known.record.rows("ledger", "ledger", "root", one["directory"])
        if path is not None:
            ledger = _below(ledger, path)
            if ledger.num_rows == 0:
                branch = f" at {escape(one['branch'])}" if one["branch"] is not None else ""
                raise ConfigError(f"{one['origin']} has no file {path!r}{branch}")
        places = known.places(one["directory"], one["origin_id"])
        totals = {
            row["reason"] or "kept": row["n"]
            for row in _sql(
                f"select reason, count(*) as n from ({expanded('l', 'p')}) group by reason",
                l=ledger,
                p=places,
            )
        }
        files = self._told(known, ledger, places, "true", self.limit)
        directories = [_folder(raw) for raw in ledger["path"].slice(0, 10 * self.limit).to_pylist() if raw]
        story["origin"]["licenses"] = licenses(known.record, one["directory"], directories)[: self.limit]
        story |= {
            "files": files,
            "found": sum(totals.values()),
            "totals": dict(sorted(totals.items())),
        }
        if path is not None and story["found"] == 1 and files[0]["kind"] == "file":
            content = Content(ledger["sha1_git"][0].as_py(), ledger["sha256"][0].as_py(), ledger["sha1"][0].as_py(),
                               ledger["length"][0].as_py())  # fmt: skip
            kept = self.rows.of_ids([row_id(content.sha256)]) if content.sha256 else {}
            row = next(iter(kept.values()), None)
            story |= {
                "content": content.told(),
                "kept": row,
                "earliest": known.earliest(content.sha1_git),
                **self._about(known, content, row),
            }
        return story

    # ---------------------------------------------------------------------------------------------- occurrences

    def _occurrences(
        self,
        known: Known,
        root: str,
        condition: str,
        limit: int,
        *,
        origin: str | None = None,
        path: bytes | None = None,
        kept: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Occurrences in the origins of a root that meet a condition."""
        ledger = known.record.rows("ledger", "ledger", "root", root)
        if path is not None:
            ledger = ledger.filter(pc.equal(ledger["path"], scalar(path)))
        return self._told(known, ledger, known.places(root, origin), condition, limit, kept=kept)

    def _told(
        self,
        known: Known,
        ledger: pa.Table,
        places: pa.Table,
        condition: str,
        limit: int,
        *,
        kept: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        rows = _sql(
            f"""
            select * from ({expanded("l", "p", where=condition)})
            order by decision = 'dropped', root, path, kind, sha1_git, encode(origin) limit {limit}
            """,
            l=ledger,
            p=places,
        )
        wanted = [row["row_id"] for row in rows if row["row_id"] is not None]
        whole = {kept["row_id"]: kept} if kept is not None else {}
        whole |= self.rows.of_ids(one for one in wanted if one not in whole)
        standing = {row["origin"]: _only(places, "origin", row["origin"]) for row in rows}
        licensed: dict[bytes, dict[str, Any]] = {}
        if rows:
            # What is stated of the file by its name comes before what holds in its folder.
            asked = [place for row in rows for place in (_folder(row["path"]), place_of(row["path"]))]
            licensed = {
                unescape(one["directory"]): one for one in licenses(known.record, rows[0]["root"], asked)
            }
        return [
            {
                "origin": row["origin"],
                "path": escape(row["path"]),
                "kind": row["kind"],
                "swhid": row["swhid"],
                "sha256": row["sha256"],
                "length": row["length"],
                "language": row["language"],
                "decision": row["decision"],
                "stage": row["stage"],
                "reason": row["reason"],
                "why": None if row["reason"] is None else why(row["reason"]),
                "detail": row["detail"],
                "evidence": row["evidence"],
                "stand_in": {
                    "sha256": row["stand_in"],
                    "row_id": row["stand_in_row_id"],
                    "similarity": row["similarity"],
                }
                if row["stand_in"]
                else None,
                "license": licensed.get(place_of(row["path"]), licensed.get(_folder(row["path"]))),
                "standing": _standing(standing[row["origin"]]),
                "row": whole.get(row["row_id"]),
            }
            for row in rows
        ]

    # ---------------------------------------------------------------------------------- without a work directory

    def _kept_only(self, rows: Rows, asked: Asked, path: str | None) -> dict[str, Any]:
        """From the release alone: kept rows, which all shards that may hold them are asked for."""
        if asked.kinds == ("origin",):
            if asked.url is None:
                raise ConfigError(f"{self.shown}: an origin by its id needs the work directory; give its URL")
            found = [row for row in rows.scan("origin", asked.url) if path is None or row["path"] == path]
            if not found:
                raise ConfigError(
                    f"{asked.url} has no kept row in the release, and its dropped files are in the ledger only"
                )
            return {"origin": {"url": asked.url}, "files": found[: self.limit], "found": len(found)}
        kept: list[dict[str, Any]] = []
        for kind in asked.kinds:
            if kind == "row":
                kept = list(rows.of_ids([asked.value]).values())
            elif kind == "sha256":
                kept = list(rows.of_ids([row_id(asked.value)]).values()) or rows.scan(
                    "content_sha256", asked.value
                )
            elif kind == "content":
                kept = rows.scan("content_id", asked.value)
            if kept:
                return {
                    "kept": kept[0],
                    "occurrences": [],
                    "found": 0,
                    "changes": rows.changes(kept[0]["row_id"]),
                }
        raise ConfigError(f"{self.shown} does not occur in the release")


def _sql(query: str, **tables: pa.Table) -> list[dict[str, Any]]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("set threads=1")
        for name, table in tables.items():
            connection.register(name, table)
        return list(connection.sql(query).to_arrow_table().to_pylist())


def _only(table: pa.Table, column: str, value: str) -> dict[str, Any]:
    return dict(table.filter(pc.equal(table[column], scalar(value))).slice(0, 1).to_pylist()[0])


def _below(ledger: pa.Table, path: str) -> pa.Table:
    """The rows of a file, whether its path is given as it is shown or as it is; else those of the files below a folder."""
    names = dict.fromkeys((unescape(path), path.encode(errors="surrogateescape")))
    for raw in names:
        found = ledger.filter(pc.equal(ledger["path"], scalar(raw)))
        if found.num_rows:
            return found
    for raw in names:
        found = ledger.filter(pc.starts_with(ledger["path"], raw.rstrip(b"/") + b"/"))
        if found.num_rows:
            return found
    return ledger.slice(0, 0)


def _folder(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _standing(place: Mapping[str, Any]) -> dict[str, Any]:
    """What ranks an occurrence in the election."""
    ranks = {name: place[name] for name in ("is_fork", "stars", "forks", "opted_out")}
    return {"revision": place["revision"], "revision_date": shown_date(place["revision_date"]), **ranks}


def _shard(places: Mapping[str, dict[str, Any]], step: Mapping[str, Any]) -> str | None:
    found = places.get(step["row_id"])
    return None if found is None else str(found["shard"])
