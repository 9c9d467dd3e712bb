"""The origin ledger and the roots.

An origin has what ranks it, whether it opted out, and its fork network; origins with one root become one row."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dedup.election import order_by_sql
from licensing.optout import Registry
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task, as_path
from pipeline.stages.choose import Choice
from pipeline.stages.networks import connect, count, label
from pipeline.tables import FRONTIER, METADATA, ORIGINS, ROOTS, STANDING


def standing(task: Task) -> Mapping[str, pa.Table]:
    """Resolved and unresolved origins with the opt-out registry's word and with what the metadata know of them."""
    registry = Registry.load(task.kept("registry"))
    rows = task.read("rows")
    table = task.sql(
        """
        select r.*, m.fork_of is not null as is_fork, coalesce(m.stars, 0) as stars, coalesce(m.forks, 0) as forks, m.fork_of
        from r left join m using (origin_id)
        """,
        r=rows.append_column("opted_out", registry.match(rows["origin"].combine_chunks())),
        m=task.read("metadata") if task.refs["metadata"] else METADATA.empty_table(),
    )
    return {"rows": table, "by_root": table.filter(pc.is_null(table["reason"]))}


def origins(task: Task) -> Mapping[str, pa.Table]:
    """The origin ledger: every origin with its fork network."""
    table = label(task, task.read("rows"))
    task.facts["input"] = _identity(table)
    return {"ledger": table, "by_root": table.filter(pc.is_null(table["reason"]))}


def _identity(table: pa.Table) -> list[list[str]]:
    """How many origins ended how: what the manifest says of them."""
    counted = pc.value_counts(pc.fill_null(table["reason"], "resolved"))
    return sorted([str(item["values"]), int(str(item["counts"]))] for item in counted.to_pylist())  # type: ignore[misc]


def roots(task: Task) -> Mapping[str, pa.Table]:
    """Origins with the same root directory become one row; the best-ranked eligible one speaks for them."""
    order = order_by_sql("o")
    table = task.sql(
        f"""
        with ranked as (
            select o.*, row_number() over (partition by directory, opted_out order by {order}) as place
            from (select *, 0 as path_components, ''::blob as path from origin) o),
        sizes as (
            select directory as root, count(*) as origins, count(*) filter (opted_out) as opted_out
            from origin group by directory)
        select s.root, s.origins, s.opted_out, r.origin, r.visit_date, r.snapshot, r.branch, r.revision,
            r.revision_date, r.committer_date, r.is_fork, r.stars, r.forks
        from sizes s left join ranked r on r.directory = s.root and r.place = 1 and not r.opted_out
        """,
        origin=task.read("origins"),
    )
    frontier = task.sql("select root, ''::blob as path, root as directory from t", t=table)
    return {"roots": table, "frontier": frontier}


def settle(runner: Runner, rows: Done, choice: Choice, *, registry: str | None) -> tuple[Done, Done, Done]:
    """From resolved rows to the stages `origins` (the origin ledger), `networks` and `roots`."""
    known = runner.run(
        Stage(
            name="origins.standing",
            run=standing,
            inputs={"rows": rows.ref("rows"), "metadata": choice.metadata},
            outputs={
                "rows": Output(schema=STANDING, order=("origin_id",)),
                "by_root": Output(schema=STANDING, order=("directory", "origin_id"), route="directory"),
            },
            config={"registry": Registry.load(as_path(registry)).digest},
            extra={"registry": runner.keep(registry)},
        )
    )
    arcs = connect(runner, known.ref("by_root"), choice.metadata)
    ledger = runner.run(
        Stage(
            name="origins",
            run=origins,
            inputs={"rows": known.ref("rows"), "arcs": arcs},
            outputs={
                "ledger": Output(schema=ORIGINS, order=("origin_id",)),
                "by_root": Output(schema=ORIGINS, order=("directory", "origin_id"), route="directory"),
            },
        )
    )
    by_root = runner.run(
        Stage(
            name="roots",
            run=roots,
            inputs={"origins": ledger.ref("by_root")},
            outputs={
                "roots": Output(schema=ROOTS, order=("root",)),
                "frontier": Output(schema=FRONTIER, order=("directory", "root", "path"), route="directory"),
            },
        )
    )
    return ledger, count(runner, ledger.ref("ledger")), by_root
