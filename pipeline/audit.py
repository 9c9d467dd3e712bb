"""The independent count of occurrences, against which a release's totals must add up.

It shares nothing with the stages but the definition: it reads the raw graph tables, resolves origins in plain Python, and
counts entries with multiplicities (how many paths lead to a directory at each depth) instead of listing paths.

Found, per origin with a root: every entry below the root that is not a directory, plus one for every directory at the
depth limit and every directory that the graph does not know. A root with more than `max_entries` entries (directories
included) counts as one occurrence: the tree itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.sources.graph import GraphExport
from pipeline.stages.resolve import ALIAS_HOPS, BRANCHES, TAG_HOPS
from pipeline.tables import PERMS_SYMLINK


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


def _rows(export: GraphExport, table: str, columns: Sequence[str]) -> Iterator[dict[str, object]]:
    for item in export.units(table):
        for batch in export.read(table, item).select(list(columns)).to_batches():  # type: ignore[arg-type]
            yield from batch.to_pylist()


def _roots(export: GraphExport, urls: set[str]) -> list[str]:
    """The root directory of every origin that has one (a list: origins may share a root)."""
    latest: dict[str, tuple[object, ...]] = {}
    for row in _rows(export, "origin_visit_status", ["origin", "visit", "date", "status", "snapshot"]):
        if row["origin"] in urls and row["status"] == "full" and row["snapshot"] is not None:
            # Later date, then higher visit, then the smaller snapshot id; a visit without a date is the oldest.
            date = row["date"]
            key = (
                date is not None,
                date,
                row["visit"],
                [-ord(c) for c in str(row["snapshot"])],
                row["snapshot"],
            )
            best = latest.get(str(row["origin"]))
            if best is None or key[:4] > best[:4]:  # type: ignore[operator]
                latest[str(row["origin"])] = key
    snapshots = [str(key[4]) for key in latest.values()]
    branches: dict[str, dict[bytes, tuple[str, str]]] = defaultdict(dict)
    wanted = set(snapshots)
    for row in _rows(export, "snapshot_branch", ["snapshot_id", "name", "target", "target_type"]):
        if row["snapshot_id"] in wanted and row["name"] is not None:
            branches[str(row["snapshot_id"])][row["name"]] = (str(row["target"]), str(row["target_type"]))  # type: ignore[index]
    releases = {
        str(r["id"]): (str(r["target"]), str(r["target_type"]))
        for r in _rows(export, "release", ["id", "target", "target_type"])
    }
    revisions = {
        str(r["id"]): str(r["directory"])
        for r in _rows(export, "revision", ["id", "directory"])
        if r["directory"]
    }
    roots = (_root(branches.get(snapshot, {}), releases, revisions) for snapshot in snapshots)
    return [root for root in roots if root is not None]


def _root(
    branches: dict[bytes, tuple[str, str]], releases: dict[str, tuple[str, str]], revisions: dict[str, str]
) -> str | None:
    for name in BRANCHES:
        target, kind = branches.get(name, ("", ""))
        for _ in range(ALIAS_HOPS):
            if kind == "alias":
                target, kind = branches.get(_unhex(target), ("", ""))
        if kind in ("revision", "release", "directory"):
            break
    else:
        return None
    for _ in range(TAG_HOPS):
        if kind == "release":
            target, kind = releases.get(target, ("", ""))
    if kind == "directory":
        return target
    return revisions.get(target) if kind == "revision" else None


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _tree(export: GraphExport) -> tuple[dict[str, tuple[int, Counter[str]]], set[str] | None]:
    """Directory -> (entries that are not directories, subdirectories with how often); and the known directories."""
    entries: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for row in _rows(export, "directory_entry", ["directory_id", "name", "type", "target", "perms"]):
        if None not in (row["directory_id"], row["name"], row["target"]):
            link = row["perms"] == PERMS_SYMLINK
            entries[str(row["directory_id"])].add((row["name"], row["type"], row["target"], link))
    tree = {
        directory: (
            sum(kind != "dir" for _, kind, _, _ in rows),
            Counter(str(target) for _, kind, target, _ in rows if kind == "dir"),
        )
        for directory, rows in entries.items()
    }
    known = {str(row["id"]) for row in _rows(export, "directory", ["id"])}
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
