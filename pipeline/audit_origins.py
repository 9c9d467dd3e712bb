"""The independent resolution of origins: which take part, and the root of each, in plain Python from the raw rows.

It shares with the stages what the words mean, and no code: see pipeline/audit.py.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.store import Store
from pipeline.sources.graph import GraphExport
from pipeline.sources.selection import MAX_URL_BYTES
from pipeline.stages.resolve import ALIAS_HOPS, BRANCHES, TAG_HOPS

IS_ID = re.compile(r"[0-9a-f]{40}").fullmatch
_IS_HEX = re.compile(r"([0-9a-f]{2})+").fullmatch
_FIRST_DAY, _LAST_DAY = -62_135_596_800_000_000, 253_402_300_799_999_999  # year 1 to 9999, in microseconds
_Target = tuple[str | None, str | None]  # type and id
_NOWHERE: _Target = (None, None)
_BLANKS = b" \t\r\f\v"

UserFiles = Mapping[str, Sequence[tuple[str, bool, str, str, str]]]
"""Key of the configuration -> its files: store, whether anonymous, key, kind and the name to show."""


@dataclass(frozen=True)
class Asked:
    """What selects origins besides prefixes and limit: see pipeline.config.Origins."""

    forges: Sequence[str] = ()
    as_of: str | None = None
    files: UserFiles = field(default_factory=dict)


NOTHING_ASKED = Asked()


def raw_rows(
    export: GraphExport, table: str, columns: Sequence[str], where: tuple[str, Collection[str]] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a raw table, dates as microseconds.

    `where`: only those whose column has one of the values, picked out before they become Python's.
    """
    wanted = None if where is None else pa.array(sorted(where[1]), pa.string())
    for item in export.units(table):
        for chunk in export.batches(table, item, columns):
            data = chunk.select(list(columns))
            if where is not None:
                data = data.filter(pc.is_in(data[where[0]], value_set=wanted))
            if "date" in columns:  # as a number: a calendar ends, a column of 64-bit integers does not
                data = data.set_column(columns.index("date"), "date", data["date"].cast("int64"))
            for batch in data.to_batches():
                yield from batch.to_pylist()


# --------------------------------------------------------------------------------------------- which take part


def chosen_origins(
    export: GraphExport, prefixes: Sequence[str], limit: int | None, asked: Asked
) -> tuple[set[str], int]:
    """The origins that take part; and how many more were asked for that the export does not have, or that are no URLs."""
    known = {row["url"] for row in raw_rows(export, "origin", ["url"]) if row["url"] is not None}
    named, malformed = [], 0
    if "list" in asked.files:
        lines = set(_lines(asked.files["list"]))
        named.append({line.decode() for line in lines if _url(line) is not None})
        malformed = len(lines) - len(named[0])
    if _has("dataset", asked, "origin"):
        named.append({url for url in map(_url, _column("dataset", asked, "origin")) if url is not None})
    wanted = set.intersection(*named) if named else known
    wanted = {url for url in wanted if not prefixes or url.startswith(tuple(prefixes))}
    wanted = {url for url in wanted if not asked.forges or _host(url) in asked.forges}
    there = sorted(wanted & known, key=lambda url: hashlib.sha1(url.encode(), usedforsecurity=False).digest())
    return set(there[:limit]), len(wanted - known) + malformed


def _url(raw: bytes | None) -> str | None:
    """The text of a URL; None for what is none."""
    if raw is None or len(raw) > MAX_URL_BYTES:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    scheme, _, rest = text.partition(":")
    plain = scheme.isascii() and scheme.replace("+", "").replace(".", "").replace("-", "").isalnum()
    good = plain and scheme[0].isalpha() and rest != ""
    return text if good and not any(c <= " " or "\x7f" <= c <= "\x9f" for c in rest) else None


def _host(url: str) -> str | None:
    """Lower-case host of `scheme://[user@]host[:port][/...]`; None where that is not what a URL is."""
    scheme, found, rest = url.partition("://")
    if not found or _url(f"{scheme}:x".encode()) is None:
        return None
    authority = rest
    for end in "/?#":
        authority = authority.partition(end)[0]
    host, _, port = authority.rpartition("@")[2].partition(":")
    if "\\" in authority or not all(c in "0123456789" for c in port):
        return None
    plain = host.isascii() and all(c.isalnum() or c in ".-" for c in host)
    return host.lower() if plain and host else None


def _lines(files: Sequence[tuple[str, bool, str, str, str]]) -> Iterator[bytes]:
    for uri, anonymous, key, kind, _ in files:
        if kind == "text":
            for line in Store(uri, anonymous).read(key).removeprefix(b"\xef\xbb\xbf").split(b"\n"):
                if (text := line.strip(_BLANKS)) and not text.startswith(b"#"):
                    yield text
    columns = [file for file in files if file[3] != "text"]
    yield from (value for value in _column("list", Asked(files={"list": columns}), "origin") if value)


_NAMES = {
    ("list", "origin"): ("url", "origin"),
    ("dataset", "origin"): ("origin", "url", "repo_name"),
    ("dataset", "revision"): ("revision_id", "revision"),
    ("revisions", "origin"): ("origin", "url"),
    ("revisions", "revision"): ("revision", "revision_id"),
    ("metadata", "origin"): ("origin", "url"),
    ("metadata", "default_branch"): ("default_branch",),
}
"""(key of the configuration, what is read) -> the columns that may hold it, the first that is there."""


def _tables(name: str, asked: Asked) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """Column names and rows of every file."""
    for uri, anonymous, key, kind, _ in asked.files.get(name, ()):
        store = Store(uri, anonymous)
        if kind == "csv":
            text = store.read(key).decode("utf-8", "surrogateescape").removeprefix("\ufeff")
            lines = csv.reader(io.StringIO(text, newline=""))
            head = next(lines, [])
            yield head, (tuple(value or None for value in line) for line in lines if line)
        elif kind == "parquet":
            with store.parquet(key) as file:
                head = file.schema_arrow.names
                wanted = [
                    c for c in head if any(c in names for (of, _), names in _NAMES.items() if of == name)
                ]
                if not wanted:
                    continue
                batches = map(_distinct, file.iter_batches(columns=wanted, use_threads=False))
                yield (
                    wanted,
                    (
                        row
                        for batch in batches
                        for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)
                    ),
                )


def _distinct(batch: pa.RecordBatch) -> pa.Table:
    """The rows of a batch, each once: a dataset names an origin as often as it has files."""
    return pa.Table.from_batches([batch]).group_by(batch.schema.names).aggregate([])


def _has(name: str, asked: Asked, what: str) -> bool:
    return any(set(head) & set(_NAMES[name, what]) for head, _ in _tables(name, asked))


def _columns(name: str, asked: Asked, *what: str) -> Iterator[tuple[bytes | None, ...]]:
    for head, rows in _tables(name, asked):
        places = [next((head.index(c) for c in _NAMES[name, one] if c in head), None) for one in what]
        github = places[0] is not None and head[places[0]] == "repo_name"
        for row in rows:
            values = [None if place is None else _bytes(row[place]) for place in places]
            if github and values[0] is not None:
                values[0] = b"https://github.com/" + values[0]
            yield tuple(values)


def _column(name: str, asked: Asked, what: str) -> Iterator[bytes | None]:
    return (values[0] for values in _columns(name, asked, what))


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogateescape")


# ------------------------------------------------------------------------------------------ the root of each


def _named_revisions(asked: Asked) -> dict[str, str]:
    """URL -> the revision that the user names for it: that of `revisions`, else of `dataset`, the smaller of two."""
    found: dict[str, str] = {}
    for name in ("dataset", "revisions"):
        here: dict[str, str] = {}
        for origin, revision in _columns(name, asked, "origin", "revision"):
            url, text = _url(origin), (revision or b"").lower().removeprefix(b"swh:1:rev:").decode("latin-1")
            if url is not None and IS_ID(text):
                here[url] = min(text, here.get(url, text))
        found |= here
    return found


def _default_branches(asked: Asked) -> dict[str, bytes]:
    """URL -> the full name of the branch to try first, by the metadata."""
    found: dict[str, bytes] = {}
    for origin, name in _columns("metadata", asked, "origin", "default_branch"):
        if (url := _url(origin)) is not None and name:
            full = name if name.startswith(b"refs/") or name == b"HEAD" else b"refs/heads/" + name
            found[url] = min(full, found.get(url, full))
    return found


def roots_of(export: GraphExport, urls: set[str], asked: Asked = NOTHING_ASKED) -> list[str]:
    """The root directory of every origin that has one (a list: origins may share a root).

    Memory: the selected origins' visits, the branches of their snapshots, and the tags and revisions that these lead to.
    """
    named = {url: revision for url, revision in _named_revisions(asked).items() if url in urls}
    latest = _latest_visits(export, urls - named.keys(), asked.as_of)
    branches: dict[str, dict[bytes, _Target]] = defaultdict(dict)
    columns = ["snapshot_id", "name", "target", "target_type"]
    for row in raw_rows(export, "snapshot_branch", columns, ("snapshot_id", set(latest.values()))):
        if row["name"] is not None:
            kind, target = row["target_type"], row["target"]
            known = kind == "alias" or (target is not None and IS_ID(target))
            _keep(branches[row["snapshot_id"]], row["name"], (kind, target if known else None))
    ends = {target for table in branches.values() for target in table.values()}
    releases: dict[str, _Target] = {}
    for _ in range(TAG_HOPS):
        tags = {target for kind, target in ends if kind == "release" and target is not None} - releases.keys()
        for row in raw_rows(export, "release", ["id", "target", "target_type"], ("id", tags)):
            known = row["target"] is not None and IS_ID(row["target"])
            _keep(releases, row["id"], (row["target_type"], row["target"] if known else None))
        ends |= set(releases.values())
    tips = {target for kind, target in ends if kind == "revision" and target is not None}
    revisions: dict[str, _Target] = {}
    for row in raw_rows(export, "revision", ["id", "directory"], ("id", tips | set(named.values()))):
        if row["directory"] is not None and IS_ID(row["directory"]):
            _keep(revisions, row["id"], ("directory", row["directory"]))
    roots = [revisions.get(revision, _NOWHERE)[1] for revision in named.values()]
    first = _default_branches(asked)
    roots += [
        _root(
            [*([first[url]] if url in first else []), *BRANCHES],
            branches.get(snapshot, {}),
            releases,
            revisions,
        )
        for url, snapshot in latest.items()
    ]
    return [root for root in roots if root is not None]


def _latest_visits(export: GraphExport, urls: set[str], as_of: str | None) -> dict[str, str]:
    """URL -> the snapshot of its latest full visit."""
    last = _LAST_DAY
    if as_of is not None:
        since = datetime.fromisoformat(as_of).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        last = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    latest: dict[str, tuple[int, int | float, str]] = {}
    columns = ["origin", "visit", "date", "status", "snapshot"]
    for row in raw_rows(export, "origin_visit_status", columns, ("origin", urls)):
        # Later date, then higher visit, then the smaller snapshot id; one without a number is the oldest of its date.
        dated = row["date"] is not None and _FIRST_DAY <= row["date"] <= last
        if dated and row["status"] == "full" and IS_ID(row["snapshot"] or ""):
            number = float("inf") if row["visit"] is None else -row["visit"]
            key = (-row["date"], number, row["snapshot"])
            latest[row["origin"]] = min(key, latest.get(row["origin"], key))
    return {url: snapshot for url, (_, _, snapshot) in latest.items()}


def _keep(table: dict[Any, _Target], key: Any, value: _Target) -> None:
    """Enter a value, or leave the smaller one that is there; nulls are last."""
    table[key] = min(value, table.get(key, value), key=lambda pair: [(x is None, x or "") for x in pair])


def _root(
    names: Sequence[bytes],
    branches: dict[bytes, _Target],
    releases: dict[str, _Target],
    revisions: dict[str, _Target],
) -> str | None:
    for name in names:
        kind, target = branches.get(name, _NOWHERE)
        for _ in range(ALIAS_HOPS):
            if kind == "alias":
                named = bytes.fromhex(target) if target and _IS_HEX(target) else None
                kind, target = _NOWHERE if named is None else branches.get(named, _NOWHERE)
        if kind in ("revision", "release", "directory") and target is not None:
            break
    else:
        return None
    for _ in range(TAG_HOPS):
        if kind == "release":
            kind, target = releases.get(target or "", _NOWHERE)
    if kind == "revision":
        kind, target = revisions.get(target or "", _NOWHERE)
    return target if kind == "directory" else None
