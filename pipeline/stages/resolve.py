"""Resolve: origin -> latest full visit -> snapshot -> HEAD or main branch -> revision -> root directory.

Each hop is a join in the bucket of the id that is looked up. An origin that cannot be resolved keeps its row, with the
reason, to the end: it is a line of the origin ledger. Aliases and tags are followed a bounded number of hops.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dedup.election import order_by_sql
from licensing.optout import Registry
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task, as_path
from pipeline.tables import FRONTIER, ORIGINS, RESOLVED, ROOTS

ALIAS_HOPS = 10  # longest chain of aliases that is followed inside a snapshot
TAG_HOPS = 2  # a tag of a tag is followed; deeper chains are an unresolved origin

BRANCHES = (b"HEAD", b"refs/heads/main", b"refs/heads/master", b"refs/heads/trunk", b"refs/heads/develop")
"""Branch names that may stand for an origin, best first."""

_KEEP = "origin_id, origin, visit_date, snapshot, branch"


def visits(task: Task) -> Mapping[str, pa.Table]:
    """The latest full visit of each selected origin; visit rows without a snapshot or a date never count."""
    chosen = task.sql(
        f"""
        with latest as (
            select origin_id, date, snapshot, row_number() over (
                partition by origin_id order by date desc, visit desc nulls last, snapshot) as place
            from status where status = 'full' and snapshot is not null and date is not null)
        select o.id as origin_id, o.url as origin, l.date as visit_date, l.snapshot, null::blob as branch,
            null::varchar as target, null::varchar as target_type, null::varchar as revision,
            null::bigint as revision_date, null::bigint as committer_date, null::varchar as directory,
            case when l.snapshot is null then 'no_full_visit' end as reason,
            coalesce(l.snapshot, o.id) as route
        from origin o left join latest l on l.origin_id = o.id and l.place = 1
        where {_selected(task.config["prefixes"])} and {_sampled(task.config["up_to"])}
        """,
        origin=task.read("origin"),
        status=task.read("visits"),
    )
    return {"rows": chosen}


def _selected(prefixes: tuple[str, ...] | list[str]) -> str:
    if not prefixes:
        return "true"
    quoted = (prefix.replace("'", "''") for prefix in prefixes)
    return "(" + " or ".join(f"starts_with(o.url, '{prefix}')" for prefix in quoted) + ")"


def _sampled(up_to: str) -> str:
    return f"o.id <= '{up_to}'" if up_to else "true"


def cutoff(task: Task) -> Mapping[str, pa.Table]:
    """The largest of the first `limit` origin ids among the selected ones: a deterministic sample."""
    ids = task.sql(
        f"select o.id from origin o where {_selected(task.config['prefixes'])} order by o.id limit {task.config['limit']}",
        origin=task.read_all("origin"),
    )
    task.facts["up_to"] = ids["id"][-1].as_py() if ids.num_rows else ""
    return {}


def branches(task: Task) -> Mapping[str, pa.Table]:
    """The target of the best usable branch of each snapshot; alias chains end at ALIAS_HOPS, loops with them."""
    names = "values " + ", ".join(f"(unhex('{name.hex()}'), {place})" for place, name in enumerate(BRANCHES))
    rows = task.sql(
        f"""
        with recursive
        named(name, place) as ({names}),
        -- A snapshot has one branch of a name; a graph that has two is read the same way wherever its rows lie.
        one as (
            select snapshot_id, name, target, target_type from branch qualify row_number() over (
                partition by snapshot_id, name order by target_type nulls last, target nulls last) = 1),
        walk as (
            select b.snapshot_id, n.place, b.name as asked, b.target, b.target_type, 0 as hops
            from one b join named n on n.name = b.name
            union all
            select w.snapshot_id, w.place, w.asked, b.target, b.target_type, w.hops + 1
            from walk w join one b on b.snapshot_id = w.snapshot_id
                and b.name = unhex(case when regexp_full_match(w.target, '([0-9a-f]{{2}})+') then w.target end)
            where w.target_type = 'alias' and w.hops < {ALIAS_HOPS}),
        best as (
            select snapshot_id, asked, target, target_type, row_number() over (
                partition by snapshot_id order by place, hops, target_type, target) as rank
            from walk where target_type in ('revision', 'release', 'directory') and target is not null),
        sizes as (select snapshot_id, count(*) as n from branch group by snapshot_id)
        select v.origin_id, v.origin, v.visit_date, v.snapshot, best.asked as branch,
            best.target, best.target_type, v.revision, v.revision_date, v.committer_date, v.directory,
            case when v.reason is not null then v.reason
                 when best.target is not null then null
                 when sizes.n is null then 'empty_repository'
                 else 'no_usable_branch' end as reason,
            case when v.reason is null then coalesce(best.target, v.origin_id) else v.route end as route
        from visit v
        left join best on best.snapshot_id = v.snapshot and best.rank = 1
        left join sizes on sizes.snapshot_id = v.snapshot
        """,
        visit=task.read("visits"),
        branch=task.read("branches"),
    )
    return {"rows": rows}


def releases(task: Task) -> Mapping[str, pa.Table]:
    """One hop from a tag object to what it points to; rows that are not at a tag pass through."""
    rows = task.sql(
        f"""
        with target as (
            select id, target, target_type from release qualify row_number() over (
                partition by id order by target_type nulls last, target nulls last) = 1)
        select {_KEEP},
            case when r.target_type = 'release' and r.reason is null then t.target else r.target end as target,
            case when r.target_type = 'release' and r.reason is null then t.target_type else r.target_type end as target_type,
            revision, revision_date, committer_date, directory,
            case when r.reason is null and r.target_type = 'release' and t.target is null then 'release_not_archived'
                 else r.reason end as reason,
            case when r.reason is null and r.target_type = 'release' then coalesce(t.target, r.origin_id)
                 else r.route end as route
        from row r left join target t on r.target_type = 'release' and r.reason is null and t.id = r.target
        """,
        row=task.read("rows"),
        release=task.read("releases"),
    )
    return {"rows": rows}


def revisions(task: Task) -> Mapping[str, pa.Table]:
    """The root directory and the dates of each revision; back to the bucket of the origin."""
    rows = task.sql(
        f"""
        with known as (
            select id, min(directory) as directory, min(date) as date, min(committer_date) as committer_date
            from revision group by id)
        select {_KEEP}, null::varchar as target, null::varchar as target_type,
            case when r.target_type = 'revision' then r.target end as revision,
            k.date as revision_date, k.committer_date,
            case when r.reason is not null then null when r.target_type = 'directory' then r.target
                 else k.directory end as directory,
            case when r.reason is not null then r.reason
                 when r.target_type = 'directory' then null
                 when r.target_type = 'revision' and k.directory is not null then null
                 when r.target_type = 'revision' then 'revision_not_archived'
                 else 'no_usable_branch' end as reason,
            r.origin_id as route
        from row r left join known k on r.target_type = 'revision' and r.reason is null and k.id = r.target
        """,
        row=task.read("rows"),
        revision=task.read("revisions"),
    )
    return {"rows": rows}


def origins(task: Task) -> Mapping[str, pa.Table]:
    """The origin ledger: resolution, the opt-out registry's word, and what ranks the origin."""
    registry = Registry.load(task.kept("registry"))
    rows = task.read("rows")
    opted = registry.match(rows["origin"].combine_chunks())
    table = rows.append_column("opted_out", opted)
    table = task.sql("select *, false as is_fork, 0::bigint as stars, 0::bigint as forks from t", t=table)
    task.facts["input"] = _identity(table)
    resolved = table.filter(pc.is_null(table["reason"]))
    return {"ledger": table, "by_root": resolved}


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


def resolve(
    runner: Runner,
    graph: Mapping[str, Done],
    *,
    prefixes: tuple[str, ...],
    limit: int | None,
    registry: str | None,
) -> tuple[Done, Done]:
    """Run the chain. Returns the stages `origins` (the origin ledger) and `roots`."""

    def stage(name: str, run: object, inputs: Mapping[str, Ref], **more: object) -> Done:
        output = Output(schema=RESOLVED, order=("origin_id",), route="route")
        return runner.run(Stage(name=name, run=run, inputs=inputs, outputs={"rows": output}, **more))  # type: ignore[arg-type]

    up_to = ""
    if limit is not None:
        cut = runner.run(
            Stage(
                name="resolve.sample",
                run=cutoff,
                inputs={"origin": graph["origin"].ref("rows")},
                outputs={},
                units="one",
                config={"prefixes": list(prefixes), "limit": limit},
            )
        )
        up_to = cut.facts[0]["up_to"]
    rows = stage(
        "resolve.visits",
        visits,
        {"origin": graph["origin"].ref("rows"), "visits": graph["origin_visit_status"].ref("rows")},
        config={"prefixes": list(prefixes), "up_to": up_to},
    )
    rows = stage(
        "resolve.branches",
        branches,
        {"visits": rows.ref("rows"), "branches": graph["snapshot_branch"].ref("rows")},
    )
    for hop in range(TAG_HOPS):
        inputs = {"rows": rows.ref("rows"), "releases": graph["release"].ref("rows")}
        rows = stage(f"resolve.tags.{hop}", releases, inputs)
    rows = stage(
        "resolve.revisions", revisions, {"rows": rows.ref("rows"), "revisions": graph["revision"].ref("rows")}
    )
    ledger = runner.run(
        Stage(
            name="origins",
            run=origins,
            inputs={"rows": rows.ref("rows")},
            outputs={
                "ledger": Output(schema=ORIGINS, order=("origin_id",)),
                "by_root": Output(schema=ORIGINS, order=("directory", "origin_id"), route="directory"),
            },
            config={"registry": Registry.load(as_path(registry)).digest},
            extra={"registry": runner.keep(registry)},
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
    return ledger, by_root
