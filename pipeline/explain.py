"""What happened to a file or a repository: looked up in the ledger of the work directory that made the release.

Look-ups go to the bucket of the id that is asked for. Without the work directory only kept rows can be explained, from the
release itself: nothing of dropped files is published.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.names import visible
from manifests.reader import Release
from pipeline.content.names import escape
from pipeline.engine.buckets import bucket_of
from pipeline.engine.stage import Ref, read_ref
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.local_copy import manifest_of
from pipeline.stages.emit import row_id
from pipeline.tables import Reason

_EPOCH = datetime(1970, 1, 1)
_HEX = re.compile(r"[0-9a-f]+")
_WORDS = {
    Reason.NOT_A_FILE: "it is a symbolic link or a submodule",
    Reason.PATH_LIMIT: "its path is too long or too deep, or its tree is too large to list",
    Reason.OPTED_OUT: "its origin is in the opt-out registry",
    Reason.NOT_ARCHIVED: "the archive does not have its bytes",
    Reason.TOO_LARGE: "it is larger than files.max_bytes, or than the archive says",
    Reason.VENDORED: "it lies in a vendored directory",
    Reason.NOT_SELECTED: "its language or its content was not asked for",
    Reason.LICENSE: "no permitted license covers its directory",
    Reason.LICENSE_NOT_SELECTED: "its license is permitted, and not among those that were asked for",
    Reason.MISSING: "its object is missing from the object store",
    Reason.CORRUPT: "its object does not hold the bytes that its hashes promise",
    Reason.BINARY: "it is not text",
    Reason.UNDECODABLE: "its encoding could not be told without loss",
    Reason.LICENSE_HEADER: "its own license tag is not permitted",
    Reason.LANGUAGE: "its language is unknown or was not asked for",
    Reason.GENERATED: "it is generated",
    Reason.SECRETS_BUDGET: "it holds more secrets or personal data than can be redacted sensibly",
    Reason.CONTAMINATED: "it holds benchmark texts",
    Reason.EXACT_DUPLICATE: "the same content is kept at another place",
    Reason.NEAR_DUPLICATE: "a similar content is kept in its place",
    Reason.OVER_CAP: "the cap of its language was reached before it",
}


class _Ledger:
    """The tables of one finished release in a work directory."""

    def __init__(self, store: Store, buckets: int, folders: dict[str, str]) -> None:
        self._store, self._buckets, self._folders = store, buckets, folders

    @classmethod
    def open(cls, release: Release, workdir: str) -> _Ledger | None:
        """The ledger that belongs to a release; None when this work directory did not make it."""
        store = Store(workdir)
        try:
            buckets = json.loads(store.read("workdir.json"))["buckets"]
        except FileNotFoundError:
            return None
        for entry in store.list("releases"):
            record = json.loads(store.read(entry.key))
            if record["digest"] == release.digest:
                return cls(store, buckets, record["folders"])
        return None

    def rows(self, table: str, output: str, key: str, column: str) -> list[dict[str, Any]]:
        """Rows whose `column` is `key`, read from the key's bucket only."""
        bucket = int(bucket_of(pa.array([key]), self._buckets)[0])
        folder = self._folders[table]
        data = read_ref(self._store, Ref(folder, output, folder.rsplit("/", 1)[-1]), bucket)
        return data.filter(pc.equal(data[column], key)).to_pylist()

    def origins_of(self, root: str) -> list[dict[str, Any]]:
        """The origins that have this root directory."""
        return self.rows("origins", "by_root", root, "directory")


@dataclass(frozen=True)
class _Rows:
    """A release's rows where they lie: a folder, or a prefix on S3."""

    release: Release
    place: Store

    def kept(self, column: str, value: str) -> list[dict[str, Any]]:
        """Kept rows by a column, without their text; row groups whose statistics exclude the value are not read."""
        names = ["row_id", "swhid", "content_id", "sha256", "content_sha256", "origin", "path", "language",
                 "license_expression", "num_occurrences", "num_origins", "cluster_size", "redactions"]  # fmt: skip
        found: list[dict[str, Any]] = []
        for shard in self.release.shards():
            for row in self._read(shard.path, column, value, names):
                kinds = [{k: r[k] for k in ("kind", "start", "end", "rule")} for r in row["redactions"]]
                found.append({**row, "redactions": kinds, "shard": shard.path})
        return found

    def _read(self, path: str, column: str, value: str, names: list[str]) -> list[dict[str, Any]]:
        try:
            with self.place.parquet(path) as file:
                groups = [
                    n
                    for n in range(file.num_row_groups)
                    if _may_hold(file.metadata.row_group(n), column, value)
                ]
                table = file.read_row_groups(groups, columns=names, use_threads=False) if groups else None
        except FileNotFoundError:
            raise IntegrityError(f"{self.place.uri}: {path} is missing; fetch the release again") from None
        return [] if table is None else table.filter(pc.equal(table[column], value)).to_pylist()


def _may_hold(group: pq.RowGroupMetaData, column: str, value: str) -> bool:
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema == column:
            known = chunk.statistics
            return known is None or not known.has_min_max or bool(known.min <= value <= known.max)
    return True


def explain(
    directory: Path | str, identifier: str, *, path: str | None, workdir: str, limit: int = 20
) -> dict[str, Any]:
    """The story of an id as plain data: stable keys `query`, `occurrences` or `origin`, `kept`, `notes`.

    Raises ConfigError for an id that is none, or that neither release nor ledger knows.
    """
    with manifest_of(str(directory)) as folder:
        rows = _Rows(Release.open(folder), Store(str(directory)))
    return _story(rows, identifier, path=path, workdir=workdir, limit=limit)


def _story(rows: _Rows, identifier: str, *, path: str | None, workdir: str, limit: int) -> dict[str, Any]:
    release = rows.release
    ledger = _Ledger.open(release, workdir)
    story: dict[str, Any] = {"query": identifier, "release": release.manifest.version, "notes": []}
    if ledger is None:
        story["notes"].append(
            f"{workdir} is not the work directory that made this release (give --workdir): only kept rows can be explained"
        )
    swhid = identifier.startswith("swh:")  # its qualifiers may hold a URL
    if not swhid and ("://" in identifier or identifier.startswith("pkg:")):
        return {**story, **_origin(rows, ledger, identifier, path, limit)}
    if path is not None:
        raise ConfigError("a path can only be given with an origin")
    return {**story, **_content(rows, ledger, _parse(identifier), identifier, limit)}


def _parse(identifier: str) -> tuple[str, str]:
    """(column of the release, value) of an id."""
    text = identifier.strip().lower()
    if text.startswith("swh:1:"):
        kind, _, rest = text.removeprefix("swh:1:").partition(":")
        if kind != "cnt":
            raise ConfigError(
                f"{identifier}: only contents (swh:1:cnt:...) can be explained; for a repository give its URL"
            )
        text = rest.partition(";")[0]
        if len(text) != 40:
            raise ConfigError(f"{identifier} is not a SWHID: 40 hex digits are missing")
    column = {40: "content_id", 64: "sha256", 32: "row_id"}.get(len(text))
    if column is None or not _HEX.fullmatch(text):
        raise ConfigError(
            f"{identifier!r} is not an id: give a SWHID (swh:1:cnt:...), a sha256, a sha1_git, a row id, or an origin's URL"
        )
    return column, text


def _content(
    rows: _Rows, ledger: _Ledger | None, key: tuple[str, str], shown: str, limit: int
) -> dict[str, Any]:
    column, value = key
    kept = rows.kept(column, value) or (rows.kept("content_sha256", value) if column == "sha256" else [])
    story: dict[str, Any] = {"kept": kept[0] if kept else None, "occurrences": [], "found": 0}
    sha1_git = kept[0]["content_id"] if kept else value if column == "content_id" else None
    if ledger is not None:
        if sha1_git is None and column == "sha256":
            sha1_git = _sha1_git(ledger, value)
        places = ledger.rows("ledger", "by_content", sha1_git, "sha1_git") if sha1_git else []
        found = []
        for root in sorted({place["root"] for place in places}):
            for row in ledger.rows("ledger", "ledger", root, "root"):
                if row["sha1_git"] == sha1_git:
                    found += _occurrences(ledger, row, kept)
        story["found"], story["occurrences"] = len(found), found[:limit]
        story["earliest"] = _earliest(ledger, sha1_git) if sha1_git else None
    if not kept and not story["occurrences"]:
        where = "the release" if ledger is None else "the archive that this release was made from"
        raise ConfigError(f"{shown} does not occur in {where}")
    return story


def _earliest(ledger: _Ledger, sha1_git: str) -> dict[str, Any] | None:
    """Where the archive has the content first, whatever became of that occurrence; None for what is no file."""
    known = ledger.rows("earliest", "contents", sha1_git, "sha1_git")
    if not known:
        return None
    one = known[0]
    date = None if one["revision_date"] is None else _EPOCH + timedelta(microseconds=one["revision_date"])
    return {
        "revision_date": date and date.isoformat(),
        "origin": one["origin"],
        "path": escape(one["path"]),
    }


def _sha1_git(ledger: _Ledger, sha256: str) -> str | None:
    """A dropped content by its sha256: the ledger is bucketed by sha1_git, so all buckets are asked."""
    folder = ledger._folders["ledger"]
    for bucket in range(ledger._buckets):
        data = read_ref(ledger._store, Ref(folder, "by_content", ""), bucket, ["sha1_git", "sha256"])
        hit = data.filter(pc.equal(data["sha256"], sha256))
        if hit.num_rows:
            return str(hit["sha1_git"][0].as_py())
    return None


def _origin(rows: _Rows, ledger: _Ledger | None, url: str, path: str | None, limit: int) -> dict[str, Any]:
    if ledger is None:
        found = [row for row in rows.kept("origin", url) if path is None or row["path"] == path]
        if not found:
            raise ConfigError(
                f"{url} has no kept row in the release, and its dropped files are in the ledger only"
            )
        return {"origin": {"url": url}, "files": found[:limit], "found": len(found)}
    identity = hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    known = ledger.rows("origins", "ledger", identity, "origin_id")
    if not known:
        raise ConfigError(f"{url} is not an origin of the archive that this release was made from")
    one = known[0]
    story: dict[str, Any] = {
        "origin": {
            "url": url,
            "resolved": one["reason"] is None,
            "reason": one["reason"],
            "opted_out": one["opted_out"],
            "snapshot": one["snapshot"],
            "branch": escape(one["branch"]) if one["branch"] is not None else None,
            "revision": one["revision"],
            "root": one["directory"],
            "visit_date": one["visit_date"].isoformat() if one["visit_date"] is not None else None,
            "fork_of": one["fork_of"],
            "network": {
                "id": one["network"],
                "origins": ledger.rows("networks", "networks", one["network"], "network")[0]["origins"],
            },
        }
    }
    if one["directory"] is None:
        return {**story, "files": [], "found": 0, "totals": {}}
    files = ledger.rows("ledger", "ledger", one["directory"], "root")
    kept = {(row["sha256"]): row for row in rows.kept("origin", url)}
    told = [
        _told(row, one, [kept[row["sha256"]]] if row["sha256"] in kept else [])
        for row in files
        if path is None or escape(row["path"]) == path
    ]
    if path is not None and not told:
        raise ConfigError(f"{url} has no file {path!r} at {one['branch'] and escape(one['branch'])}")
    totals: dict[str, int] = {}
    for item in told:
        name = item["reason"] or "kept"
        totals[name] = totals.get(name, 0) + 1
    story["origin"]["licenses"] = _licenses(
        ledger, one["directory"], {_folder(r["path"]) for r in files if r["path"]}, limit
    )
    return {**story, "files": told[:limit], "found": len(told), "totals": dict(sorted(totals.items()))}


def _folder(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _licenses(ledger: _Ledger, root: str, folders: Iterable[bytes], limit: int) -> list[dict[str, Any]]:
    wanted = set(folders)
    return [
        {
            "directory": escape(row["dir"]),
            "expression": row["license_expression"],
            "permitted": row["permitted"],
            "reason": row["sub_reason"],
            "evidence": row["license_evidence"],
        }
        for row in ledger.rows("attributions", "attributions", root, "root")
        if row["dir"] in wanted
    ][:limit]


def _occurrences(ledger: _Ledger, row: dict[str, Any], kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_told(row, origin, kept) for origin in ledger.origins_of(row["root"])]


def _told(row: dict[str, Any], origin: dict[str, Any], kept: list[dict[str, Any]]) -> dict[str, Any]:
    """One occurrence in words that do not change: reason null means kept."""
    reason = row["reason"]
    if origin["opted_out"] and reason not in (Reason.NOT_A_FILE, Reason.PATH_LIMIT):
        reason = str(Reason.OPTED_OUT)
    detail, stand_in = row["detail"], row["stand_in"]
    elected = bool(kept) and kept[0]["origin"] == origin["origin"]
    if reason is None and not elected:
        # The row stands for its root; another origin with the same root was elected.
        reason, detail, stand_in = (
            str(Reason.EXACT_DUPLICATE),
            "same repository content at another origin",
            row["sha256"],
        )
    return {
        "origin": origin["origin"],
        "path": escape(row["path"]),
        "kind": row["kind"],
        "sha256": row["sha256"],
        "swhid": f"swh:1:cnt:{row['sha1_git']}" if row["kind"] == "file" else None,
        "length": row["length"],
        "reason": reason,
        "why": None if reason is None else _why(reason),
        "detail": detail if reason != Reason.OPTED_OUT else None,
        "stand_in": {"sha256": stand_in, "row_id": row_id(stand_in), "similarity": row["similarity"]}
        if stand_in
        else None,
        "row": kept[0] if reason is None and kept else None,
    }


def _why(reason: str) -> str:
    """A reason in words; `quality.<rule>` names its rule."""
    name, _, rule = reason.partition(".")
    if name == Reason.QUALITY:
        return f"it fails the quality rule {rule!r} of the profile"
    return _WORDS[Reason(name)]


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(item) for key, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list) else value


def render(story: dict[str, Any]) -> str:
    """The story for a person: what strangers named is shown with its control characters escaped."""
    story = _visible(story)
    lines = [f"{story['query']} in release {story['release']}"]
    if (origin := story.get("origin")) is not None:
        lines += [
            f"  {name:<10} {value}"
            for name, value in origin.items()
            if name not in ("licenses", "network") and value is not None
        ]
        if (network := origin.get("network")) is not None:
            lines.append(f"  network    {network['id']}, {network['origins']:,} origins of this release")
        lines += [
            f"  license    {item['expression'] or 'none found'} in {item['directory'] or '/'}"
            f" ({'permitted' if item['permitted'] else item['reason']})"
            for item in origin.get("licenses", [])[:5]
        ]
        lines += [f"  {amount:>8,}  {name}" for name, amount in story.get("totals", {}).items()]
    if story.get("kept"):
        row = story["kept"]
        lines.append(
            f"  kept as row {row['row_id']} of {row['shard']}: {row['path']} of {row['origin']}"
            f" ({row['language']}, {row['license_expression']})"
        )
        lines.append(
            f"  {row['num_occurrences']} occurrences in {row['num_origins']} origins;"
            f" stands for {row['cluster_size'] - 1} near-duplicates"
        )
        if row["redactions"]:
            kinds = sorted({r["kind"] for r in row["redactions"]})
            lines.append(f"  {len(row['redactions'])} redactions: {', '.join(kinds)}")
    if (first := story.get("earliest")) is not None:
        dated = first["revision_date"] or "date unknown"
        lines.append(f"  earliest known: {dated}, {first['origin']}, {first['path']}")
    for item in story.get("occurrences", story.get("files", [])):
        if "why" not in item:
            lines.append(f"  kept     {item['path']}")
            continue
        if item["reason"] is None:
            row = item["row"]
            verdict = f"kept as row {row['row_id']} of {row['shard']}" if row else "kept"
        else:
            verdict = f"dropped: {item['reason']}, {item['why']}"
        place = item["path"] if story.get("origin") else f"{item['origin']} {item['path']}"
        lines.append(f"  {place}\n      {verdict}")
        if item["detail"]:
            lines.append(f"      detail: {item['detail']}")
        if item["stand_in"]:
            similarity = (
                f", similarity {item['stand_in']['similarity']}" if item["stand_in"]["similarity"] else ""
            )
            lines.append(f"      in its place: row {item['stand_in']['row_id']}{similarity}")
    shown = len(story.get("occurrences", story.get("files", [])))
    if story.get("found", 0) > shown:
        lines.append(f"  ... and {story['found'] - shown:,} more (--limit)")
    lines += [f"note: {note}" for note in story["notes"]]
    return "\n".join(lines)
