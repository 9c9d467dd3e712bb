"""Fork networks: origins that are connected by being forks of one another, or by having the same root directory.

The network of an origin is named by the smallest origin id among all that it is connected with, itself included, over any
number of steps. Metadata connect an origin with what it is a fork of also where that one does not take part.

Connected components by alternating two passes over arcs in buckets (large-star and small-star, after Kiveris et al.,
"Connected Components in MapReduce and Beyond", 2014): no pass makes more arcs than there were, a pass only looks at the arcs
of the origins of its bucket, and the number of passes grows with the square of the logarithm of the largest network at
worst. It ends when every origin is either smaller than all that it is connected with, or connected with one smaller one
alone: a star around the smallest of each network.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.tables import ARCS, NETWORKS

_ARCS = Output(schema=ARCS, order=("origin_id", "other"), route="origin_id")


def _both_ways(task: Task, edges: pa.Table) -> Mapping[str, pa.Table]:
    """Edges as arcs, each in both directions, once."""
    query = "select origin_id, other from t where origin_id <> other"
    arcs = task.sql(f"{query} union select other, origin_id from ({query})", t=edges)
    return {"arcs": arcs}


def same_root(task: Task) -> Mapping[str, pa.Table]:
    """Every origin of a root with the smallest origin of that root."""
    query = "select origin_id, min(origin_id) over (partition by directory) as other from t"
    return _both_ways(task, task.sql(query, t=task.read("origins", ["origin_id", "directory"])))


def fork_of(task: Task) -> Mapping[str, pa.Table]:
    """Every origin of the metadata with what it is a fork of."""
    query = "select origin_id, sha1(fork_of) as other from t where fork_of is not null"
    return _both_ways(task, task.sql(query, t=task.read("metadata", ["origin_id", "fork_of"])))


def large_star(task: Task) -> Mapping[str, pa.Table]:
    """Connect the larger neighbours of an origin with the smallest of its neighbourhood; count what is no star yet."""
    arcs = task.read("arcs")
    around = """
        select origin_id, least(origin_id, min(other)) as smallest, count(distinct other) as n,
            bool_or(other < origin_id) as below from t group by origin_id
    """
    unsettled = task.sql(f"select count(*) as n from ({around}) where below and n > 1", t=arcs)
    task.count("unsettled", unsettled["n"][0].as_py())
    edges = task.sql(
        f"""
        select t.other as origin_id, a.smallest as other from t join ({around}) a using (origin_id)
        where t.other > t.origin_id
        """,
        t=arcs,
    )
    return _both_ways(task, edges)


def small_star(task: Task) -> Mapping[str, pa.Table]:
    """Connect the smaller neighbours of an origin, and itself, with the smallest of them."""
    edges = task.sql(
        """
        with below as (
            select origin_id, other, min(other) over (partition by origin_id) as smallest from t where other < origin_id)
        select other as origin_id, smallest as other from below union select origin_id, smallest from below
        """,
        t=task.read("arcs"),
    )
    return _both_ways(task, edges)


def connect(runner: Runner, by_root: Ref, metadata: list[Ref]) -> Ref:
    """Run the passes to their end. Returns the arcs of the stars."""

    def arcs(name: str, run: object, **inputs: Ref | list[Ref]) -> Done:
        return runner.run(Stage(name=name, run=run, inputs=inputs, outputs={"arcs": _ARCS}))  # type: ignore[arg-type]

    found = [arcs("networks.roots", same_root, origins=by_root).ref("arcs")]
    if metadata:
        found.append(arcs("networks.forks", fork_of, metadata=metadata).ref("arcs"))
    number = 0
    while True:
        done = arcs(f"networks.{number:03d}.large", large_star, arcs=found)
        if not done.counts["unsettled"]:
            return done.ref("arcs")
        done = arcs(f"networks.{number:03d}.small", small_star, arcs=done.ref("arcs"))
        found, number = [done.ref("arcs")], number + 1


def label(task: Task, rows: pa.Table) -> pa.Table:
    """Append the column `network` to rows with an `origin_id`; `arcs` are stars."""
    return task.sql(
        """
        with star as (select origin_id, min(other) as smallest from a group by origin_id)
        select r.*, least(r.origin_id, s.smallest) as network from r left join star s using (origin_id)
        """,
        r=rows,
        a=task.read("arcs"),
    )


def members(task: Task) -> Mapping[str, pa.Table]:
    """How many origins of the bucket are in each network."""
    return {
        "rows": task.sql(
            "select network, count(*) as origins from t group by network", t=task.read("ledger", ["network"])
        )
    }


def networks(task: Task) -> Mapping[str, pa.Table]:
    """The networks of the bucket with their sizes; how many there are is a fact."""
    table = task.sql(
        "select network, sum(origins)::bigint as origins from t group by network", t=task.read("rows")
    )
    task.facts["networks"] = table.num_rows
    return {"networks": table}


def count(runner: Runner, ledger: Ref) -> Done:
    """Run the count over the origin ledger."""
    counted = runner.run(
        Stage(
            name="networks.members",
            run=members,
            inputs={"ledger": ledger},
            outputs={"rows": Output(schema=NETWORKS, order=("network",), route="network")},
        )
    )
    return runner.run(
        Stage(
            name="networks",
            run=networks,
            inputs={"rows": counted.ref("rows")},
            outputs={"networks": Output(schema=NETWORKS, order=("network",))},
        )
    )
