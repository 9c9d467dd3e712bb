"""The independent count (pipeline.audit, pipeline.audit_trees) as stages: run in workers, once per input, and kept.

raw tables ─▶ census.roots                     the roots of the selected origins, in one task
           ─▶ census.entries, census.known     ─▶ census.tree: files and subdirectories of every directory
roots, tree ─▶ census                          all rounds in one task, where the directories are few; else
            ─▶ census.reach.NNN ─▶ census.rise.NNN ─▶ census     one round each, bucket by bucket
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import audit_trees as trees
from pipeline.audit import selected_roots
from pipeline.audit_origins import Asked
from pipeline.config import Files, Origins
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Rows, Stage, Task
from pipeline.engine.store import Store
from pipeline.sources.graph import GraphExport
from pipeline.stages.graph import UNITS_PER_BUCKET
from pipeline.stages.selections import Chosen

_RESOLUTION = ("origin", "origin_visit_status", "snapshot_branch", "revision", "release")
_READING = ("duckdb", "pyarrow", "pyorc")  # what can change the answer of a stage that reads raw tables
_ROWS_IN_ONE = 1_000_000
"""Directories and edges that one task counts in memory: about 150 bytes each, in up to four copies: 600 MB."""


@dataclass(frozen=True)
class Counted:
    """What the archive holds by the independent count: see pipeline.audit.Census."""

    origins: int
    resolved: int
    found: int


def _export(task: Task) -> GraphExport:
    return GraphExport(Store(task.extra["uri"], task.extra["anonymous"]), "")


def roots(task: Task) -> Mapping[str, pa.Table]:
    """The root of every selected origin, and how many have it."""
    origins, found = selected_roots(
        _export(task),
        prefixes=task.config["prefixes"],
        limit=task.config["limit"],
        asked=Asked(forges=task.config["forges"], as_of=task.config["as_of"], files=task.extra["selections"]),
    )
    task.facts.update(origins=origins, resolved=len(found))
    times = Counter(found)
    return {"roots": pa.table([list(times), list(times.values())], schema=trees.ROOTS)}


def entries(task: Task) -> Mapping[str, Rows]:
    """A piece of the raw table of entries."""
    columns = ("directory_id", "name", "type", "target", "perms")
    return {
        "rows": (trees.raw_entries(task.sql, chunk) for chunk in _chunks(task, "directory_entry", columns))
    }


def known(task: Task) -> Mapping[str, Rows]:
    """A piece of the raw table of directories."""
    return {"rows": (trees.known_ids(task.sql, chunk) for chunk in _chunks(task, "directory", ("id",)))}


def _chunks(task: Task, table: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    for chunk in _export(task).batches(table, task.item, columns):
        task.rows_in += chunk.num_rows
        task.bytes_in += chunk.nbytes
        yield chunk


def tree(task: Task) -> Mapping[str, pa.Table]:
    """The directories of a bucket."""
    nodes, edges = trees.directories(task.sql, task.read("entries"), task.read("known"))
    return {"nodes": nodes, "edges": edges}


def reach(task: Task) -> Mapping[str, pa.Table]:
    """Open the directories of the frontier that were not opened before."""
    frontier = task.read("frontier", columns=["child"])
    if frontier.num_rows == 0:
        return {"reached": trees.STATE.empty_table(), "links": trees.EDGES.empty_table()}
    reached, links = trees.open_directories(
        task.sql,
        frontier,
        task.read("seen", columns=["directory"]) if task.refs["seen"] else trees.STATE.empty_table(),
        task.read("nodes"),
        task.read("edges"),
        complete=task.config["complete"],
    )
    return {"reached": reached, "links": links}


def rise(task: Task) -> Mapping[str, pa.Table]:
    """One round: what the messages change, and what that tells the directories above."""
    state, messages = trees.rise(
        task.sql,
        task.read("state"),
        task.read("messages") if task.refs["messages"] else None,
        task.read("links"),
        max_entries=task.config["max_entries"],
    )
    return {"state": state, "messages": messages}


def count(task: Task) -> Mapping[str, pa.Table]:
    """The total of a bucket, every round done."""
    task.facts["found"] = trees.total(
        task.sql, task.read("roots"), task.read("state"), max_entries=task.config["max_entries"]
    )
    return {}


def count_in_one(task: Task) -> Mapping[str, pa.Table]:
    """The total of all buckets, with all rounds."""
    task.facts["found"] = trees.count_in_one(
        task.sql,
        task.read_all("roots"),
        task.read_all("nodes"),
        task.read_all("edges"),
        complete=task.config["complete"],
        max_depth=task.config["max_depth"],
        max_entries=task.config["max_entries"],
    )
    return {}


def take_census(
    runner: Runner,
    export: GraphExport,
    origins: Origins,
    files: Files,
    chosen: Mapping[str, Chosen],
    *,
    rows_in_one: int = _ROWS_IN_ONE,
) -> Counted | None:
    """Run the stages; None when this is only a plan."""
    extra = {"uri": export.store.address, "anonymous": export.store.anonymous}
    selections = {name: one.selection for name, one in chosen.items()}
    selected = runner.run(
        Stage(
            name="census.roots",
            run=roots,
            outputs={"roots": Output(schema=trees.ROOTS, order=("child",), route="child")},
            units="one",
            config={
                "tables": {table: export.fingerprint(table) for table in _RESOLUTION},
                "prefixes": list(origins.prefixes),
                "forges": list(origins.forges),
                "limit": origins.limit,
                "as_of": origins.as_of,
                "selections": {name: selection.digest for name, selection in selections.items()},
            },
            extra={
                **extra,
                "selections": {name: selection.extra["files"] for name, selection in selections.items()},
            },
            libraries=_READING,
        )
    )

    def pieces(name: str, run: Any, table: str, output: Output) -> Done:
        return runner.run(
            Stage(
                name=name,
                run=run,
                outputs={"rows": output},
                units=export.units(table, UNITS_PER_BUCKET * runner.buckets),
                config={"fingerprint": export.fingerprint(table)},
                extra=extra,
                libraries=_READING,
            )
        )

    raw = pieces(
        "census.entries",
        entries,
        "directory_entry",
        Output(schema=trees.ENTRIES, order=(), route="directory"),
    )
    ids = pieces("census.known", known, "directory", Output(schema=trees.KNOWN, order=(), route="id"))
    nodes = runner.run(
        Stage(
            name="census.tree",
            run=tree,
            inputs={"entries": raw.ref("rows"), "known": ids.ref("rows")},
            outputs={
                "nodes": Output(schema=trees.NODES, order=("directory",)),
                "edges": Output(schema=trees.EDGES, order=("parent", "child")),
            },
        )
    )
    limits = {
        "complete": ids.rows("rows") > 0,
        "max_depth": files.max_depth,
        "max_entries": files.max_entries,
    }
    if nodes.rows("nodes") + nodes.rows("edges") <= rows_in_one:
        inputs = {"roots": selected.ref("roots"), "nodes": nodes.ref("nodes"), "edges": nodes.ref("edges")}
        last = runner.run(
            Stage(name="census", run=count_in_one, inputs=inputs, outputs={}, units="one", config=limits)
        )
    else:
        last = _in_rounds(runner, selected, nodes, limits)
    if selected.planned or last.planned:
        return None
    chosen = selected.facts[0]
    return Counted(chosen["origins"], chosen["resolved"], sum(facts["found"] for facts in last.facts))


def _in_rounds(runner: Runner, selected: Done, nodes: Done, limits: Mapping[str, Any]) -> Done:
    state = Output(schema=trees.STATE, order=("directory",))
    frontier, reached, links = selected.ref("roots"), list[Ref](), list[Ref]()
    for number in range(limits["max_depth"]):
        done = runner.run(
            Stage(
                name=f"census.reach.{number:03d}",
                run=reach,
                inputs={
                    "frontier": frontier,
                    "seen": list(reached),
                    "nodes": nodes.ref("nodes"),
                    "edges": nodes.ref("edges"),
                },
                outputs={
                    "reached": state,
                    "links": Output(schema=trees.EDGES, order=("child", "parent"), route="child"),
                },
                config={"complete": limits["complete"]},
            )
        )
        frontier = done.ref("links")
        reached.append(done.ref("reached"))
        links.append(done.ref("links"))
        if done.rows("links") == 0:
            break
    now: list[Ref] = reached
    messages: list[Ref] = []
    for number in range(limits["max_depth"]):
        done = runner.run(
            Stage(
                name=f"census.rise.{number:03d}",
                run=rise,
                inputs={"state": now, "messages": messages, "links": links},
                outputs={
                    "state": state,
                    "messages": Output(schema=trees.STATE, order=("directory",), route="directory"),
                },
                config={"max_entries": limits["max_entries"]},
            )
        )
        now, messages = [done.ref("state")], [done.ref("messages")]
        if done.rows("messages") == 0:
            break
    return runner.run(
        Stage(
            name="census",
            run=count,
            inputs={"roots": selected.ref("roots"), "state": now},
            outputs={},
            config={"max_entries": limits["max_entries"]},
        )
    )
