"""Reach: which directories the roots lead to, and the entries of these, each once.

Most directories of an archive belong to old revisions. So the walk does not read `directory_entry`: the ids that can
be reached are found first, breadth-first over distinct ids (a cycle ends because nothing is visited twice), and the
table is read once for their entries.

    reach.edges   directory -> subdirectory of the whole graph, without names
    reach.NNN     one level in all buckets, or, where it has few ids, as many levels as stay small in one task
    tree          sizes, leaves and subdirectories of what was reached
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.lookup import Kept, distinct, find, minus, pieces
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Rows, Stage, Task
from pipeline.tables import LEAVES, PERMS_SYMLINK, REACHED, SUBDIRECTORIES, TREE_EDGES, TREE_SIZES

THIN_IDS = 20_000
"""A level of at most so many ids is done by one task: its units would last milliseconds (bench_walk.py)."""
THIN_TOTAL = 500_000
"""Ids that such a task goes through before it hands over: some 100 MB with their edges."""


def edges(task: Task) -> Mapping[str, Rows]:
    """The entries that are directories; what a tree repeats does no harm."""

    def parts() -> Iterator[pa.Table]:
        for piece in pieces(task, "directory_entry", ["directory_id", "type", "target"]):
            found = piece.filter(pc.equal(piece["type"], "dir")).select(["directory_id", "target"])
            yield found.rename_columns(TREE_EDGES.names)

    return {"edges": parts()}


def reach(task: Task) -> Mapping[str, Rows]:
    """The ids of one level that are new, and the targets of their edges; if `thin`, of levels until one is wide."""
    thin = task.config["thin"]
    kept = Kept() if thin else None
    read = task.read_all if thin else task.read
    candidates = read("candidates", ["directory"])
    ids, level, total = distinct(candidates["directory"]), int(task.config["level"]), 0
    reached: list[pa.Array] = []
    while len(ids) and level < task.config["max_depth"]:
        ids = minus(ids, pa.chunked_array(reached, pa.string()))
        if task.refs["reached"]:
            ids = minus(
                ids, find(task, "reached", ids, column="directory", columns=["directory"], kept=kept)[0]
            )
        reached.append(ids)
        total += len(ids)
        found = find(task, "edges", ids, column="directory", columns=TREE_EDGES.names, kept=kept)
        ids, level = distinct(found["target"]), level + 1
        if not thin or len(ids) > THIN_IDS or total > THIN_TOTAL:
            break
    task.facts["level"] = level
    return {
        "reached": pa.table({"directory": pa.chunked_array(reached, pa.string())}),
        "candidates": pa.table({"directory": ids}),
    }


def tree(task: Task) -> Mapping[str, Rows]:
    """The entries of the reached directories of one bucket, each once, in the order of the directories."""
    ids = distinct(task.read("reached")["directory"])
    columns = ["directory_id", "name", "type", "target", "perms"]
    found = find(task, "directory_entry", ids, column="directory_id", columns=columns)
    found = found.append_column("kind", _kind(found)).rename_columns(["directory", *columns[1:], "kind"])
    found = _once(found)
    is_directory = pc.equal(found["kind"], "dir")
    subdirectories, leaves = found.filter(is_directory), found.filter(pc.invert(is_directory))
    sizes = {"leaves": _sizes(ids, leaves), "subdirectories": _sizes(ids, subdirectories)}
    lost = np.zeros(len(ids), np.bool_)
    if task.config["directories_known"]:
        # A directory without entries is empty if the graph knows it, and lost if it does not.
        bare = np.flatnonzero(sizes["leaves"] + sizes["subdirectories"] == 0)
        known = find(task, "directory", ids.take(pa.array(bare)), column="id", columns=["id"])
        lost[bare] = ~np.asarray(
            pc.is_in(ids.take(pa.array(bare)), value_set=known["id"].combine_chunks()), np.bool_
        )
    return {
        "sizes": pa.table({"directory": ids, **sizes, "lost": lost}),
        "leaves": leaves,
        "subdirectories": subdirectories,
    }


def _kind(entries: pa.Table) -> pa.ChunkedArray:
    cases = pc.make_struct(
        pc.equal(entries["type"], "rev"), pc.equal(entries["type"], "dir"), pc.equal(entries["perms"], PERMS_SYMLINK)
    )  # fmt: skip
    return pc.case_when(cases, "submodule", "dir", "symlink", "file")


def _once(entries: pa.Table) -> pa.Table:
    """An entry counts once per way that leads to it: a mode alone makes no other entry. Sorted by directory and name."""
    if entries.num_rows < 2:
        return entries
    entries = entries.combine_chunks()
    one, two = entries.slice(0, entries.num_rows - 1), entries.slice(1)
    same = np.asarray(
        pc.and_(pc.equal(one["directory"], two["directory"]), pc.equal(one["name"], two["name"])), np.bool_
    )
    if not same.any():  # as in every tree that git would write
        return entries
    doubtful = np.zeros(entries.num_rows, np.bool_)
    doubtful[1:] |= same
    doubtful[:-1] |= same
    rows = np.flatnonzero(doubtful)
    keys = ["directory", "name", "kind", "target"]
    groups = entries.take(pa.array(rows)).select(keys).append_column("row", pa.array(rows))
    keep = ~doubtful
    keep[np.asarray(groups.group_by(keys).aggregate([("row", "min")])["row_min"])] = True
    return entries.filter(pa.array(keep))


def _sizes(ids: pa.Array, entries: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How many rows of `entries` each directory has."""
    counted = pc.value_counts(entries["directory"])
    places = pc.index_in(counted.field("values"), value_set=ids).to_numpy(zero_copy_only=False)
    sizes = np.zeros(len(ids), np.int64)
    sizes[places.astype(np.int64)] = np.asarray(counted.field("counts"))
    return sizes


def reach_tree(runner: Runner, graph: Mapping[str, Done], roots: Done, *, max_depth: int) -> Done:
    """Run all of it; the stage with the tables `sizes`, `leaves` and `subdirectories`."""
    entries, directories = graph["directory_entry"], graph["directory"]
    done = runner.run(
        Stage(
            name="reach.edges",
            run=edges,
            inputs={"directory_entry": entries.ref("rows")},
            outputs={"edges": Output(schema=TREE_EDGES, order=())},
        )
    )
    edge = done.ref("edges")
    candidates, waiting, level = roots.ref("frontier"), roots.rows("frontier"), 0
    reached: list[Ref] = []
    while True:
        thin = waiting <= THIN_IDS
        done = runner.run(
            Stage(
                name=f"reach.{level:03d}",
                run=reach,
                inputs={"candidates": candidates, "reached": list(reached), "edges": edge},
                outputs={
                    "reached": Output(
                        schema=REACHED, order=("directory",), route="directory" if thin else None
                    ),
                    "candidates": Output(schema=REACHED, order=(), route="directory"),
                },
                config={"level": level, "max_depth": max_depth, "thin": thin},
                units="one" if thin else "buckets",
            )
        )
        reached.append(done.ref("reached"))
        candidates, waiting = done.ref("candidates"), done.rows("candidates")
        level = max((facts["level"] for facts in done.facts), default=max_depth)
        if waiting == 0 or level >= max_depth:
            break
    return runner.run(
        Stage(
            name="tree",
            run=tree,
            inputs={
                "reached": reached,
                "directory_entry": entries.ref("rows"),
                "directory": directories.ref("rows"),
            },
            outputs={
                "sizes": Output(schema=TREE_SIZES, order=()),
                "leaves": Output(schema=LEAVES, order=()),
                "subdirectories": Output(schema=SUBDIRECTORIES, order=()),
            },
            config={"directories_known": directories.rows("rows") > 0},
        )
    )
