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

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.audit_origins import IS_ID, NOTHING_ASKED, Asked, chosen_origins, raw_rows, roots_of
from pipeline.sources.graph import GraphExport
from pipeline.tables import PERMS_SYMLINK


@dataclass(frozen=True)
class Census:
    """What an archive holds: origins, how many have a root, and occurrences below the roots."""

    origins: int
    resolved: int
    found: int


def census(
    export: GraphExport,
    *,
    prefixes: Sequence[str],
    limit: int | None,
    max_depth: int,
    max_entries: int,
    asked: Asked = NOTHING_ASKED,
) -> Census:
    """Count the occurrences of the selected origins of an archive, all tables in memory. `asked`: what else selects them.

    The plain form of what the stages of pipeline.stages.census count, and a reference for them in tests.
    """
    origins, roots = selected_roots(export, prefixes=prefixes, limit=limit, asked=asked)
    tree, known = _tree(export)
    counted = {root: _count(root, tree, known, max_depth, max_entries) for root in set(roots)}
    return Census(origins, len(roots), sum(counted[root] for root in roots))


def selected_roots(
    export: GraphExport, *, prefixes: Sequence[str], limit: int | None, asked: Asked
) -> tuple[int, list[str]]:
    """How many origins take part, and the root directory of each one that has one."""
    chosen, in_vain = chosen_origins(export, prefixes, limit, asked)
    return len(chosen) + in_vain, roots_of(export, chosen, asked)


def _tree(export: GraphExport) -> tuple[dict[str, tuple[int, Counter[str]]], set[str] | None]:
    """Directory -> (entries that are not directories, subdirectories with how often); and the known directories."""
    entries: dict[str, set[tuple[str, bytes, str]]] = defaultdict(set)
    for row in raw_rows(export, "directory_entry", ["directory_id", "name", "type", "target", "perms"]):
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
        if IS_ID(directory)
    }
    known = {row["id"] for row in raw_rows(export, "directory", ["id"]) if row["id"] and IS_ID(row["id"])}
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
