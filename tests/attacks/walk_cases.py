"""The walk alone: graph tables written straight into a work directory, and the slow, obvious walk beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.buckets import bucket_of
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Done, Runner, open_workdir
from pipeline.engine.stage import Output, Stage, Task
from pipeline.stages.graph import ROUTES
from pipeline.stages.walk import walk
from pipeline.tables import ENTRY_SCHEMAS, FRONTIER, PERMS_SYMLINK

Row = tuple[str, bytes, str, str, int | None]  # as in directory_entry


@dataclass(frozen=True)
class Tree:
    """Rows of the graph, and the roots to walk. `known` are the ids in the table of directories."""

    rows: Sequence[Row]
    known: Sequence[str]
    roots: Sequence[str]


@dataclass(frozen=True)
class Walked:
    """What a walk gave: rows with their number, and the roots that it stopped."""

    entries: Counter[tuple[str, bytes, str, str]]
    directories: Counter[tuple[str, bytes]]
    oversized: set[str]

    def of(
        self, roots: set[str]
    ) -> tuple[dict[tuple[str, bytes, str, str], int], dict[tuple[str, bytes], int]]:
        """The rows of these roots."""
        return (
            {row: n for row, n in self.entries.items() if row[0] in roots},
            {row: n for row, n in self.directories.items() if row[0] in roots},
        )


def given(task: Task) -> Mapping[str, pa.Table]:
    """The rows of a local file that belong to the unit's bucket (or all of them, for a routed output)."""
    table = pq.read_table(task.extra["path"])
    if task.config["route"] is not None:
        mine = bucket_of(table[task.config["route"]], task.buckets) == task.bucket
        table = table.filter(pa.array(mine)) if table.num_rows else table
    return {task.config["output"]: table}


def runner_at(folder: Path, buckets: int) -> Runner:
    store, _ = open_workdir(str(folder / "work"), buckets, default_buckets=buckets)
    return Runner(store, InProcess(), buckets, Progress(quiet=True))


def stored(
    runner: Runner, folder: Path, tables: Mapping[str, pa.Table], roots: pa.Table
) -> tuple[dict[str, Done], Done]:
    """The tables as `convert` leaves them, and the frontier as `resolve` does."""
    graph = {}
    for name, table in tables.items():
        pq.write_table(table.cast(ENTRY_SCHEMAS[name]), folder / f"{name}.parquet")
        graph[name] = runner.run(
            Stage(
                name=f"graph.{name}",
                run=given,
                outputs={"rows": Output(schema=ENTRY_SCHEMAS[name], order=tuple(ENTRY_SCHEMAS[name].names))},
                config={"output": "rows", "route": ROUTES[name]},
                extra={"path": str(folder / f"{name}.parquet")},
            )
        )
    pq.write_table(roots.cast(FRONTIER), folder / "frontier.parquet")
    found = runner.run(
        Stage(
            name="roots",
            run=given,
            outputs={"frontier": Output(schema=FRONTIER, order=tuple(FRONTIER.names), route="directory")},
            config={"output": "frontier", "route": None},
            extra={"path": str(folder / "frontier.parquet")},
            units="one",
        )
    )
    return graph, found


def tables_of(tree: Tree) -> tuple[dict[str, pa.Table], pa.Table]:
    names = ENTRY_SCHEMAS["directory_entry"].names
    rows = [dict(zip(names, row, strict=True)) for row in sorted(set(tree.rows), key=repr)]
    entries = pa.Table.from_pylist(rows, schema=ENTRY_SCHEMAS["directory_entry"])
    roots = pa.table(
        {"root": list(tree.roots), "path": [b""] * len(tree.roots), "directory": list(tree.roots)}, FRONTIER
    )
    known = pa.table({"id": pa.array(sorted(tree.known), pa.string())})
    return {"directory_entry": entries, "directory": known}, roots


def walked(tree: Tree, folder: Path, *, buckets: int, max_depth: int, max_entries: int) -> Walked:
    """What the stages of the walk make of a tree."""
    runner = runner_at(folder, buckets)
    graph, roots = stored(runner, folder, *tables_of(tree))
    entries, directories, oversized = walk(runner, graph, roots, max_depth=max_depth, max_entries=max_entries)
    rows = [row for ref in entries for row in runner.table(ref).to_pylist()]
    return Walked(
        Counter((row["root"], row["path"], row["kind"], row["target"]) for row in rows),
        Counter((row["root"], row["path"]) for ref in directories for row in runner.table(ref).to_pylist()),
        {row["root"] for ref in oversized for row in runner.table(ref).to_pylist()},
    )


def expected(tree: Tree, *, max_depth: int, max_entries: int) -> Walked:
    """The same by one path after the other; here `oversized` are all roots with more than `max_entries` entries."""
    below: dict[str, set[tuple[bytes, str, str]]] = {}
    for directory, name, kind, target, perms in tree.rows:
        kind = {"dir": "dir", "rev": "submodule"}.get(kind) or (
            "symlink" if perms == PERMS_SYMLINK else "file"
        )
        below.setdefault(directory, set()).add((name, kind, target))
    known = set(tree.known)
    found = Walked(Counter(), Counter(), set())
    for root in tree.roots:
        seen, todo = 0, [(b"", root, 1)]
        while todo and root not in found.oversized:
            path, directory, depth = todo.pop()
            found.directories[root, path] += 1
            if directory not in below and known and directory not in known:
                found.entries[root, path, "lost", directory] += 1
            for name, kind, target in below.get(directory, ()):
                seen += 1
                child = path + b"/" + name if path else name
                if kind == "dir" and depth < max_depth:
                    todo.append((child, target, depth + 1))
                else:
                    found.entries[root, child, "deep" if kind == "dir" else kind, target] += 1
            if seen > max_entries:
                found.oversized.add(root)
    return found
