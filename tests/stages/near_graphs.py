"""Similarity graphs for the decision of wave W4: candidate pairs and their similarities are given, not measured."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from given_rows import given

from pipeline.engine.executor import Executor, InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Done, Runner, open_workdir
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.stages import near, near_rounds
from pipeline.stages.near_pairs import CANDIDATES
from pipeline.stages.near_settle import settle
from pipeline.tables import EDGES, REPLACED

Graph = dict[tuple[int, int], tuple[int, int]]
"""(better-ranked, worse-ranked) -> (intersection, union)."""


def sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def reference(graph: Graph) -> dict[int, tuple[int, str]]:
    """Replaced -> (what stands in, similarity), by the definition: all documents in rank order."""
    edges = {pair: (i, u) for pair, (i, u) in graph.items() if u and 10 * i >= 7 * u}
    around: dict[int, list[int]] = {}
    for low, high in edges:
        around.setdefault(high, []).append(low)
    kept: set[int] = set()
    replaced = {}
    for document in sorted({end for pair in graph for end in pair}):
        stands = next((low for low in sorted(around.get(document, ())) if low in kept), None)
        if stands is None:
            kept.add(document)
        else:
            inter, union = edges[stands, document]
            replaced[document] = (stands, f"{inter}/{union}")
    return replaced


def compare(task: Task) -> Mapping[str, pa.Table]:
    """The given similarity of the pairs that are asked for."""
    wanted = task.sql("select distinct * exclude (first, second) from t", t=task.read("pairs"))
    task.count("compared", wanted.num_rows)
    known = pa.table(dict(zip(("low", "high", "inter", "union"), task.config["known"], strict=True)))
    known = known.cast(pa.schema([EDGES.field(name) for name in known.schema.names]))
    edges = task.sql("select w.*, k.* exclude (low, high), false as estimated from w join k using (low, high)",
                     w=wanted, k=known)  # fmt: skip
    assert edges.num_rows == wanted.num_rows
    return {"edges": edges}


@dataclass
class Outcome:
    replaced: dict[int, tuple[int, str]]
    compared: int
    stages: list[str]
    runner: Runner
    done: Done


def decide(
    graph: Graph,
    folder: str,
    *,
    buckets: int = 2,
    rounds: bool = True,
    twice: bool = False,
    executor: Executor | None = None,
    task_memory: str = "1GB",
) -> Outcome:
    """Run the stages over a graph; `twice`: every pair comes from two bands."""
    store, _ = open_workdir(folder, buckets, default_buckets=buckets)
    runner = Runner(store, executor or InProcess(), buckets, Progress(io.StringIO()), task_memory)
    rows = []
    for low, high in graph:
        ends = sorted((sha256(low), sha256(high)))
        names = {"low_sha256": sha256(low), "high_sha256": sha256(high), "first": ends[0], "second": ends[1]}
        rows.append({"low": low, "high": high, **names})
    pairs = given(runner, "pairs", CANDIDATES, "first", rows * (1 + twice)).ref("rows")
    known = [list(column) for column in zip(*((*k, *v) for k, v in graph.items()), strict=True)] or [[]] * 4

    def compared(name: str, wanted: Ref, route: str | None = "high_sha256") -> Done:
        edges = Output(schema=EDGES, order=("low", "high"), route=route)
        return runner.run(Stage(name=name, run=compare, inputs={"pairs": wanted}, outputs={"edges": edges},
                                config={"known": known}))  # fmt: skip

    if rounds:
        done, edges = near_rounds.decide_in_rounds(
            runner, pairs, compared, threshold="0.7", libraries=near.LIBRARIES
        )
    else:
        edges = [compared("near.verify", pairs, None).ref("edges")]
        replacing = Output(schema=REPLACED, order=("sha256",), route="sha256")
        done = runner.run(Stage(name="near.settle", run=settle, inputs={"edges": edges}, units="one",
                                outputs={"replaced": replacing}, config={"threshold": "0.7"}))  # fmt: skip
    number = {sha256(end): end for pair in graph for end in pair}
    found: dict[int, tuple[int, str]] = {}
    for row in runner.table(done.ref("replaced")).to_pylist():
        assert row["reason"] == "near_duplicate"
        assert number[row["sha256"]] not in found
        found[number[row["sha256"]]] = (number[row["stand_in"]], row["similarity"])
    told: dict[str, Any] = {"stages": [name for name, _, _ in runner.plan], "runner": runner, "done": done}
    return Outcome(found, sum(runner.table(ref).num_rows for ref in edges), **told)
