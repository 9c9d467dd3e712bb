"""The independent count of occurrences, against which a release's totals must add up.

It shares nothing with the stages but the definition: it reads the raw graph tables, resolves origins in plain Python, and
counts entries with multiplicities (how many paths lead to a directory at each depth) instead of listing paths.

Found, per origin with a root: every way to an entry below the root that is not a directory, plus one for every directory
at the depth limit and every directory that the graph does not know. A root with more than `max_entries` entries
(directories included) counts as one occurrence: the tree itself.

Tables may be malformed. An id is 40 hex digits, anything else points nowhere. Of two rows that say different things of
one branch name, tag or revision, the smaller one counts: type, then target, nulls last.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.sources.graph import GraphExport
from pipeline.stages.resolve import ALIAS_HOPS, BRANCHES, TAG_HOPS
from pipeline.tables import PERMS_SYMLINK

_IS_ID = re.compile(r"[0-9a-f]{40}").fullmatch
_IS_HEX = re.compile(r"([0-9a-f]{2})+").fullmatch
_FIRST_DAY, _LAST_DAY = -62_135_596_800_000_000, 253_402_300_799_999_999  # year 1 to 9999, in microseconds
_Target = tuple[str | None, str | None]  # type and id
_NOWHERE: _Target = (None, None)


@dataclass(frozen=True)
class Census:
    """What an archive holds: origins, how many have a root, and occurrences below the roots."""

    origins: int
    resolved: int
    found: int


def census(
    export: GraphExport, *, prefixes: Sequence[str], limit: int | None, max_depth: int, max_entries: int
) -> Census:
    """Count the occurrences of the selected origins of an archive."""
    urls = {row["url"] for row in _rows(export, "origin", ["url"]) if row["url"] is not None}
    urls = {url for url in urls if not prefixes or any(url.startswith(prefix) for prefix in prefixes)}
    chosen = sorted(urls, key=lambda url: hashlib.sha1(url.encode(), usedforsecurity=False).digest())[:limit]
    roots = _roots(export, set(chosen))
    counted = {root: _count(root, tree, known, max_depth, max_entries)
               for tree, known in [_tree(export)] for root in set(roots)}  # fmt: skip
    return Census(len(chosen), len(roots), sum(counted[root] for root in roots))


def _rows(export: GraphExport, table: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for item in export.units(table):
        data = export.read(table, item).select(list(columns))
        if "date" in columns:  # as a number: a calendar ends, a column of 64-bit integers does not
            data = data.set_column(columns.index("date"), "date", data["date"].cast("int64"))
        for batch in data.to_batches():
            yield from batch.to_pylist()


def _roots(export: GraphExport, urls: set[str]) -> list[str]:
    """The root directory of every origin that has one (a list: origins may share a root)."""
    latest: dict[str, tuple[int, int | float, str]] = {}
    for row in _rows(export, "origin_visit_status", ["origin", "visit", "date", "status", "snapshot"]):
        # Later date, then higher visit, then the smaller snapshot id; one without a number is the oldest of its date.
        dated = row["date"] is not None and _FIRST_DAY <= row["date"] <= _LAST_DAY
        if dated and row["origin"] in urls and row["status"] == "full" and _IS_ID(row["snapshot"] or ""):
            number = float("inf") if row["visit"] is None else -row["visit"]
            key = (-row["date"], number, row["snapshot"])
            latest[row["origin"]] = min(key, latest.get(row["origin"], key))
    snapshots = [snapshot for _, _, snapshot in latest.values()]
    branches: dict[str, dict[bytes, _Target]] = defaultdict(dict)
    wanted = set(snapshots)
    for row in _rows(export, "snapshot_branch", ["snapshot_id", "name", "target", "target_type"]):
        if row["snapshot_id"] in wanted and row["name"] is not None:
            kind, target = row["target_type"], row["target"]
            known = kind == "alias" or (target is not None and _IS_ID(target))
            _keep(branches[row["snapshot_id"]], row["name"], (kind, target if known else None))
    releases: dict[str, _Target] = {}
    for row in _rows(export, "release", ["id", "target", "target_type"]):
        known = row["target"] is not None and _IS_ID(row["target"])
        _keep(releases, row["id"], (row["target_type"], row["target"] if known else None))
    revisions: dict[str, _Target] = {}
    for row in _rows(export, "revision", ["id", "directory"]):
        if row["directory"] is not None and _IS_ID(row["directory"]):
            _keep(revisions, row["id"], ("directory", row["directory"]))
    roots = (_root(branches.get(snapshot, {}), releases, revisions) for snapshot in snapshots)
    return [root for root in roots if root is not None]


def _keep(table: dict[Any, _Target], key: Any, value: _Target) -> None:
    """Enter a value, or leave the smaller one that is there; nulls are last."""
    table[key] = min(value, table.get(key, value), key=lambda pair: [(x is None, x or "") for x in pair])


def _root(
    branches: dict[bytes, _Target], releases: dict[str, _Target], revisions: dict[str, _Target]
) -> str | None:
    for name in BRANCHES:
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


def _tree(export: GraphExport) -> tuple[dict[str, tuple[int, Counter[str]]], set[str] | None]:
    """Directory -> (entries that are not directories, subdirectories with how often); and the known directories."""
    entries: dict[str, set[tuple[str, bytes, str]]] = defaultdict(set)
    for row in _rows(export, "directory_entry", ["directory_id", "name", "type", "target", "perms"]):
        if row["directory_id"] is not None and row["name"] is not None:
            kind = row["type"] if row["type"] in ("dir", "rev") else "file"
            if kind == "file" and row["perms"] == PERMS_SYMLINK:
                kind = "link"
            entries[row["directory_id"]].add((kind, row["name"], row["target"] or ""))
    tree = {
        directory: (
            sum(kind != "dir" for kind, _, _ in rows),
            Counter(target for kind, _, target in rows if kind == "dir"),
        )
        for directory, rows in entries.items()
        if _IS_ID(directory)
    }
    known = {row["id"] for row in _rows(export, "directory", ["id"]) if row["id"] and _IS_ID(row["id"])}
    return tree, known or None


def _count(
    root: str,
    tree: dict[str, tuple[int, Counter[str]]],
    known: set[str] | None,
    max_depth: int,
    max_entries: int,
) -> int:
    found = visited = 0
    here: Counter[str] = Counter({root: 1})
    for depth in range(max_depth):
        below: Counter[str] = Counter()
        for directory, paths in here.items():
            files, subdirectories = tree.get(directory, (0, Counter()))
            if directory not in tree and known is not None and directory not in known:
                files = 1  # lost: the directory itself is the occurrence
            found += paths * files
            visited += paths * files
            for target, times in subdirectories.items():
                visited += paths * times
                if depth + 1 == max_depth:
                    found += paths * times
                else:
                    below[target] += paths * times
        if visited > max_entries:
            return 1
        if not below:
            break
        here = below
    return found
