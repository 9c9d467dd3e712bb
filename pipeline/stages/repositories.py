"""Repositories that are copies of one another, for `stats.json` and `report.html`: equal root directories, fork networks.

    files, origins of roots ─▶ occurrences  of each origin   repositories.members    by root
    rows of each origin ─▶ names that may be told            repositories.origins    by origin
    origins of each network                                  repositories.networks   by network

An origin that opted out is neither counted nor named here. One that has no row in the release counts, but is not named.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from manifests.statistics import TOP_REPOSITORIES
from pipeline.engine.runner import Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.tables import COUNTERS

MEMBERS = pa.schema(
    [
        ("route", pa.string()),  # sha256 of the origin
        ("origin", pa.string()),
        ("network", pa.string()),
        ("occurrences", pa.int64()),  # of its root, whatever became of them
        ("same_root", pa.int64()),  # origins with its root, where this one speaks for them; else 0
    ]
)
PARTS = pa.schema(
    [
        ("network", pa.string()),
        ("origin", pa.string()),  # null where it has no row
        ("rows", pa.int64()),
        ("occurrences", pa.int64()),
    ]
)
LARGEST = pa.schema(
    [
        ("list", pa.string()),  # roots | networks
        (
            "origin",
            pa.string(),
        ),  # what speaks for the root, or has most rows of the network; null: it has none
        ("origins", pa.int64()),
        ("occurrences", pa.int64()),  # roots: at the other origins; networks: at all of them
        ("rows", pa.int64()),
    ]
)
_ORDER = {"roots": "occurrences desc, origins desc", "networks": "origins desc, occurrences desc"}
_COUNTERS = Output(schema=COUNTERS, order=("section", "name"))
_LARGEST = Output(schema=LARGEST, order=("list", "origins", "occurrences", "rows", "origin"))


def members(task: Task) -> Mapping[str, pa.Table]:
    """Every origin of the bucket's roots that did not opt out."""
    table = task.sql(
        """
        with sizes as (select root, count(*) as occurrences from f group by root),
        counted as (select root, origin as speaker, origins - opted_out as eligible from r)
        select sha256(o.origin) as route, o.origin, o.network, coalesce(s.occurrences, 0) as occurrences,
            case when o.origin = c.speaker then c.eligible else 0 end as same_root
        from o join counted c on c.root = o.directory left join sizes s using (root) where not o.opted_out
        """,
        f=task.read("files", ["root"]),
        r=task.read("roots", ["root", "origin", "origins", "opted_out"]),
        o=task.read("origins", ["origin", "directory", "network", "opted_out"]),
    )
    return {"members": table}


def origins(task: Task) -> Mapping[str, pa.Table]:
    """Which origins of the bucket have rows; the roots that several origins have."""
    table = task.sql(
        """
        with counted as (select origin, sum(rows)::bigint as rows from t group by origin)
        select m.network, case when c.rows > 0 then m.origin end as origin, coalesce(c.rows, 0) as rows, m.occurrences,
            m.same_root
        from m left join counted c using (origin)
        """,
        m=task.read("members"),
        t=task.read("rows", ["origin", "rows"]),
    )
    shared = task.sql(
        """
        select 'roots' as list, origin, same_root as origins, (same_root - 1) * occurrences as occurrences, rows
        from t where same_root > 1
        """,
        t=table,
    ).cast(LARGEST)
    return {
        "parts": table.select(PARTS.names),
        "largest": largest(task, shared),
        "counters": _counters(task, shared),
    }


def networks(task: Task) -> Mapping[str, pa.Table]:
    """The fork networks of the bucket that have more than one origin."""
    shared = task.sql(
        """
        select 'networks' as list, first(origin order by rows desc, origin) filter (origin is not null) as origin,
            count(*) as origins, sum(occurrences)::bigint as occurrences, sum(rows)::bigint as rows
        from t group by network having count(*) > 1
        """,
        t=task.read("parts"),
    ).cast(LARGEST)
    return {"largest": largest(task, shared), "counters": _counters(task, shared)}


def largest(task: Task, found: pa.Table) -> pa.Table:
    """The longest list of each kind that is told."""
    queries = [
        f"(select * from t where list = '{name}' order by {order}, rows desc, origin limit {TOP_REPOSITORIES})"
        for name, order in _ORDER.items()
    ]
    return task.sql(" union all ".join(queries), t=found).cast(LARGEST)


def _counters(task: Task, found: pa.Table) -> pa.Table:
    """`rows`: how many roots or networks; `amount`: their origins, occurrences, and rows."""
    sums = [
        f"select list as section, '{name}' as name, count(*) as rows, sum({name})::bigint as amount from t group by list"
        for name in ("origins", "occurrences", "rows")
    ]
    return task.sql(" union all ".join(sums), t=found).cast(COUNTERS)


def repositories_wave(
    runner: Runner, *, files: Ref, roots: Ref, origins_of_roots: Ref, rows: Ref
) -> tuple[list[Ref], list[Ref]]:
    """Count. `files`: all occurrences, by root, as the next two tables; `rows`: how many rows each origin has, by origin
    (figures.ORIGINS).

    Returns the tables of counters, and of the largest.
    """
    by_root = runner.run(
        Stage(
            name="repositories.members",
            run=members,
            inputs={"files": files, "roots": roots, "origins": origins_of_roots},
            outputs={"members": Output(schema=MEMBERS, order=("route",), route="route")},
        )
    )
    by_origin = runner.run(
        Stage(
            name="repositories.origins",
            run=origins,
            inputs={"members": by_root.ref("members"), "rows": rows},
            outputs={
                "parts": Output(
                    schema=PARTS, order=("network", "rows", "occurrences", "origin"), route="network"
                ),
                "largest": _LARGEST,
                "counters": _COUNTERS,
            },
        )
    )
    by_network = runner.run(
        Stage(
            name="repositories.networks",
            run=networks,
            inputs={"parts": by_origin.ref("parts")},
            outputs={"largest": _LARGEST, "counters": _COUNTERS},
        )
    )
    done = by_origin, by_network
    return [one.ref("counters") for one in done], [one.ref("largest") for one in done]
