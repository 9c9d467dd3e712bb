"""Walk: root directory -> every path below it. Only directories go level by level; what lies in them is listed at the end.

    walk.NNN          subdirectories of the frontier, in all buckets; or, where it is narrow, of as many levels as one
                      task can hold
    walk.leaves       files, links and submodules of all directories found, in one pass over the table of leaves
    walk.NNN.hot, walk.leaves.hot
                      directories that very many roots share: their rows by root, so that all buckets list them

The frontier holds one row per (root, directory path), routed by the directory's id, so each level is a join inside
buckets (expand.py) with the entries of what the roots lead to (reach.py). Roots that are shared by many origins are
walked once. A malformed or hostile tree is bounded three ways: by depth, by the number of entries that one root may
have in one task of a level, counted before anything is listed, and, exactly, by `files.max_entries` when the root's
entries are counted (see files.py). How rows are grouped into tasks never changes the rows of a root within the limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.buckets import sort_table
from pipeline.engine.lookup import Kept, distinct, find, minus, only, pieces, without
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Rows, Stage, Task
from pipeline.stages.expand import expand, gather
from pipeline.stages.reach import reach_tree
from pipeline.tables import (
    DIRECTORIES,
    FRONTIER,
    LEAVES,
    OVERSIZED,
    SUBDIRECTORIES,
    TREE_ENTRIES,
    TREE_SIZES,
)

THIN_ROWS = 20_000
"""A frontier of at most so many rows is walked on by one task: units of less last milliseconds (bench_walk.py)."""
THIN_BYTES = 64 << 20
"""Bytes of directories that such a task lists before it hands over: all of them are in memory."""
HOT_ROWS = 1 << 24
"""Rows that one directory may make in one task, half a minute of work; with more it is split by root."""
_HELD_LOTS = 4  # of expand.CHUNK_ROWS directories each: some 200 MB
_ROW_BYTES = 150  # of a frontier row in memory, without its path


# ---------------------------------------------------------------------------------------------------- directories


def level(task: Task) -> Mapping[str, Rows]:
    """The subdirectories of one bucket of the frontier: the next frontier, or, at the depth limit, `deep` entries."""
    frontier, oversized, sizes, at = _within_limits(task, _going_on(task, task.read("frontier")))
    hot = _hot(task, sizes, "subdirectories", np.bincount(at, minlength=sizes.num_rows))
    ids = minus(distinct(frontier["directory"]), hot)
    found = find(task, "subdirectories", ids, column="directory", columns=SUBDIRECTORIES.names)
    children = gather(expand(frontier, found, task.buckets))
    last = task.config["level"] + 1 >= task.config["max_depth"]
    return {
        "frontier": () if last else map(_as_frontier, children),
        "deep": map(_as_deep, children) if last else (),
        "oversized": oversized,
        "hot": only(frontier, "directory", hot),
    }


def levels(task: Task) -> Mapping[str, Rows]:
    """The same for the whole of a narrow frontier, level after level, until it would hold too much at once."""
    first, max_depth = int(task.config["level"]), int(task.config["max_depth"])
    kept, left, number = Kept(), int(task.config["thin_bytes"]), first
    passed: list[pa.Table] = []
    deep: list[pa.Table] = []
    oversized = [OVERSIZED.empty_table()]
    frontier = _going_on(task, task.read_all("frontier"))
    while frontier.num_rows and number < max_depth:
        frontier, stopped, sizes, at = _within_limits(task, frontier, kept)
        oversized.append(stopped)
        weights = np.asarray(pc.binary_length(frontier["path"])) + _ROW_BYTES
        left -= int((_numbers(sizes, "subdirectories")[at] * weights).sum())
        if left < 0:
            break
        if number > first:  # the first one was written by the stage before
            passed.append(frontier)
        ids = distinct(frontier["directory"])
        found = find(task, "subdirectories", ids, column="directory", columns=SUBDIRECTORIES.names, kept=kept)
        children, frontier = list(expand(frontier, found, task.buckets)), FRONTIER.empty_table()
        number += 1
        if number == max_depth:
            deep = [_as_deep(child) for child in children]
        else:
            frontier = pa.concat_tables([frontier, *map(_as_frontier, children)])
    task.facts["level"] = number
    return {
        "frontier": frontier if number > first else FRONTIER.empty_table(),
        "passed": gather(passed),
        "deep": gather(deep),
        "oversized": pa.concat_tables(oversized),
    }


def _within_limits(
    task: Task, frontier: pa.Table, kept: Kept | None = None
) -> tuple[pa.Table, pa.Table, pa.Table, npt.NDArray[np.int64]]:
    """The frontier without roots that are too large, those found now, the directories' sizes, and each row's among them.

    Counted before anything is listed: a tree that unfolds without end is stopped while it is still one number.
    """
    sizes = _sizes(task, distinct(frontier["directory"]), kept)
    at = _places(frontier["directory"], sizes["directory"])
    entries = (_numbers(sizes, "leaves") + _numbers(sizes, "subdirectories"))[at]
    roots = pc.unique(frontier["root"])
    amounts = np.bincount(_places(frontier["root"], roots), weights=entries, minlength=len(roots))
    oversized = roots.filter(pa.array(amounts > task.config["max_entries"]))
    if len(oversized):
        within = pc.invert(pc.is_in(frontier["root"], value_set=oversized)).combine_chunks()
        frontier, at = frontier.filter(within), at[np.asarray(within, np.bool_)]
    return frontier, pa.table({"root": oversized}), sizes, at


def _as_frontier(children: pa.Table) -> pa.Table:
    return children.rename_columns(FRONTIER.names)


def _as_deep(children: pa.Table) -> pa.Table:
    return children.append_column("kind", pa.repeat("deep", children.num_rows)).select(TREE_ENTRIES.names)


# ---------------------------------------------------------------------------------------------------------- leaves


def leaves(task: Task) -> Mapping[str, Rows]:
    """What lies in the directories of one bucket, of all levels; and the directories, by root."""
    lots = _Lots(task, _stopped(task))
    tally = [pc.value_counts(lot["directory"]) for lot in lots]
    counted = pa.chunked_array([one.field("values") for one in tally], pa.string())
    sizes = _sizes(task, distinct(counted))
    rows = np.zeros(sizes.num_rows, np.int64)
    amounts = pa.chunked_array([one.field("counts") for one in tally], pa.int64())
    np.add.at(rows, _places(counted, sizes["directory"]), np.asarray(amounts))
    hot = _hot(task, sizes, "leaves", rows)
    lost = sizes["directory"].filter(sizes["lost"])
    found = task.read("leaves")  # all that was reached, sorted, with that of roots stopped since
    if len(hot):
        found = without(found, "directory", hot)

    def entries() -> Iterator[pa.Table]:
        for lot in lots:
            yield from _entries(task, lot, found)
            if len(lost):
                gone = only(lot, "directory", lost)
                kind = pa.repeat("lost", gone.num_rows)
                yield gone.append_column("kind", kind).rename_columns(["root", "path", "target", "kind"])

    return {
        "entries": entries(),
        "directories": lots,
        "hot": (only(lot, "directory", hot) for lot in lots) if len(hot) else (),
    }


class _Lots:
    """The directories of one bucket in pieces, by root; read again for each use unless they are few."""

    def __init__(self, task: Task, stopped: pa.Array) -> None:
        self.task, self.stopped = task, stopped
        self.held: list[pa.Table] | None = None

    def __iter__(self) -> Iterator[pa.Table]:
        if self.held is not None:
            yield from self.held
            return
        held: list[pa.Table] | None = []
        found = (
            without(piece, "root", self.stopped) for piece in pieces(self.task, "directories", FRONTIER.names)
        )
        # Rows of one root together: they pack better, by a third.
        for number, lot in enumerate(sort_table(lot, FRONTIER.names) for lot in gather(found)):
            held = [*held, lot] if held is not None and number < _HELD_LOTS else None
            yield lot
        self.held = held


def shared_leaves(task: Task) -> Mapping[str, Rows]:
    """What lies in the hot directories of the roots of one bucket."""
    rows = task.read("hot")
    found = find(task, "leaves", distinct(rows["directory"]), column="directory", columns=LEAVES.names)
    return {"entries": _entries(task, rows, found)}


def _entries(task: Task, directories: pa.Table, found: pa.Table) -> Iterator[pa.Table]:
    for chunk in gather(expand(directories, found, task.buckets)):
        no_files = pc.sum(pc.is_in(chunk["kind"], pa.array(["symlink", "submodule"])))
        task.count("dropped.not_a_file", no_files.as_py() or 0)
        yield chunk


# ---------------------------------------------------------------------------------------------------------- shared


def _stopped(task: Task) -> pa.Array:
    """Roots that earlier stages found to be too large."""
    return (
        distinct(task.read_all("oversized")["root"]) if task.refs["oversized"] else pa.array([], pa.string())
    )


def _going_on(task: Task, rows: pa.Table) -> pa.Table:
    """The rows of the roots that are still walked."""
    return without(rows, "root", _stopped(task))


def _sizes(task: Task, directories: pa.Array, kept: Kept | None = None) -> pa.Table:
    return find(
        task, "sizes", directories, column="directory", columns=TREE_SIZES.names, kept=kept
    ).combine_chunks()


def _hot(task: Task, sizes: pa.Table, what: str, rows: npt.NDArray[np.int64]) -> pa.Array:
    """Directories whose rows, times what they hold, are too many for one task; none where they are split already."""
    most = task.config["hot_rows"]
    if most is None:
        return pa.array([], pa.string())
    return sizes["directory"].combine_chunks().filter(pa.array(rows * _numbers(sizes, what) > most))


def _numbers(sizes: pa.Table, column: str) -> npt.NDArray[np.int64]:
    return np.asarray(sizes[column], np.int64)


def _places(column: pa.ChunkedArray, values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The place of each id among `values`, where all of them are."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return np.asarray(pc.index_in(column, value_set=values), np.int64)


# -------------------------------------------------------------------------------------------------------- the stages


def walk(
    runner: Runner, graph: Mapping[str, Done], roots: Done, *, max_depth: int, max_entries: int
) -> tuple[list[Ref], list[Ref], list[Ref]]:
    """Walk all roots. Returns the tables of entries (routed by target), of directories and of oversized roots."""
    tree = reach_tree(runner, graph, roots, max_depth=max_depth)
    by_directory, by_root = (Output(schema=FRONTIER, order=(), route=name) for name in ("directory", "root"))
    entries = Output(schema=TREE_ENTRIES, order=(), route="target")
    frontier, waiting, number, wide = [roots.ref("frontier")], roots.rows("frontier"), 0, False
    directories, oversized, deep = [*frontier], [], []

    def run(
        name: str, run: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Output], **more: Any
    ) -> Done:
        inputs = {**inputs, "oversized": list(oversized)}
        return runner.run(Stage(name=name, run=run, inputs=inputs, outputs=outputs, **more))

    while True:
        thin = waiting <= THIN_ROWS and not wide
        config = {"level": number, "max_depth": max_depth, "max_entries": max_entries}
        inputs = {"sizes": tree.ref("sizes"), "subdirectories": tree.ref("subdirectories")}
        outputs = {
            "frontier": by_directory,
            "deep": entries,
            "oversized": Output(schema=OVERSIZED, order=("root",)),
        }
        name = f"walk.{number:03d}"
        if thin:
            outputs["passed"] = by_directory
            done = [run(name, levels, {**inputs, "frontier": frontier}, outputs, units="one",
                        config={**config, "thin_bytes": THIN_BYTES})]  # fmt: skip
            reached = max((facts["level"] for facts in done[0].facts), default=max_depth)
        else:
            outputs["hot"] = by_root
            config["hot_rows"] = HOT_ROWS
            done = [run(name, level, {**inputs, "frontier": frontier}, outputs, config=config)]
            if done[0].rows("hot"):
                shared = {**inputs, "frontier": done[0].ref("hot")}
                done.append(run(f"{name}.hot", level, shared, outputs, config={**config, "hot_rows": None}))
            reached = number + 1
        oversized += [one.ref("oversized") for one in done if one.rows("oversized")]
        wide, number = reached == number, reached  # a narrow frontier whose next one is wide
        if not wide:
            frontier = [one.ref("frontier") for one in done]
            waiting = sum(one.rows("frontier") for one in done)
            deep += [one.ref("deep") for one in done if one.rows("deep")]
            directories += [one.ref("passed") for one in done if thin and one.rows("passed")]
            directories += frontier if waiting else []
        if waiting == 0 or number >= max_depth:
            break
    listed = run(
        "walk.leaves",
        leaves,
        {"sizes": tree.ref("sizes"), "leaves": tree.ref("leaves"), "directories": directories},
        {
            "entries": entries,
            "directories": Output(schema=DIRECTORIES, order=(), route="root"),
            "hot": by_root,
        },
        config={"hot_rows": HOT_ROWS},
    )
    found = [listed.ref("entries"), *deep]
    if listed.rows("hot"):
        inputs = {"leaves": tree.ref("leaves"), "hot": listed.ref("hot")}
        found.append(run("walk.leaves.hot", shared_leaves, inputs, {"entries": entries}).ref("entries"))
    return found, [listed.ref("directories")], oversized
