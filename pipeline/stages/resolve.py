"""Resolve: origin -> latest full visit -> snapshot -> default, HEAD or main branch -> revision -> root directory.

Each hop is a join in the bucket of the id that is looked up. An origin that cannot be resolved keeps its row, with the
reason, to the end: it is a line of the origin ledger. Aliases and tags are followed a bounded number of hops. An origin whose
revision the user names needs no visit and no branch.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.stages.choose import Choice
from pipeline.tables import METADATA, RESOLVED

ALIAS_HOPS = 10  # longest chain of aliases that is followed inside a snapshot
TAG_HOPS = 2  # a tag of a tag is followed; deeper chains are an unresolved origin

BRANCHES = (b"HEAD", b"refs/heads/main", b"refs/heads/master", b"refs/heads/trunk", b"refs/heads/develop")
"""Branch names that may stand for an origin, best first."""

_KEEP = "origin_id, origin, visit_date, snapshot, branch, null::blob as default_branch"


def visits(task: Task) -> Mapping[str, pa.Table]:
    """The latest full visit of each selected origin; visit rows without a snapshot or a date never count."""
    until = f"and date <= timestamp '{task.config['as_of']}'" if task.config["as_of"] else ""
    up_to = task.config["up_to"]
    chosen = task.sql(
        f"""
        with latest as (
            select origin_id, date, snapshot, row_number() over (
                partition by origin_id order by date desc, visit desc nulls last, snapshot) as place
            from status where status = 'full' and snapshot is not null and date is not null {until}),
        -- Neither a named revision nor what the export does not have is looked for among the visits.
        o as (
            select s.*, s.revision is null and s.reason is null as looked_for from selected s
            where s.reason is not null or {f"s.origin_id <= '{up_to}'" if up_to else "true"})
        select o.origin_id, o.origin, l.date as visit_date, l.snapshot, null::blob as branch, m.default_branch,
            o.revision as target, case when o.revision is not null then 'revision' end as target_type,
            null::varchar as revision, null::bigint as revision_date, null::bigint as committer_date,
            null::varchar as directory,
            case when o.reason is not null then o.reason when looked_for and l.snapshot is null then 'no_full_visit'
                end as reason,
            coalesce(l.snapshot, o.origin_id) as route
        from o left join latest l on l.origin_id = o.origin_id and l.place = 1 and looked_for
            left join m on m.origin_id = o.origin_id and looked_for
        """,
        selected=task.read("selected"),
        status=task.read("visits"),
        m=task.read("metadata") if task.refs["metadata"] else METADATA.empty_table(),
    )
    return {"rows": chosen}


def branches(task: Task) -> Mapping[str, pa.Table]:
    """The target of the best usable branch of each snapshot; alias chains end at ALIAS_HOPS, loops with them."""
    names = "values " + ", ".join(f"(unhex('{name.hex()}'), {place})" for place, name in enumerate(BRANCHES))
    rows = task.sql(
        f"""
        with recursive
        named(name, place) as ({names}),
        asked as (select distinct snapshot as snapshot_id, default_branch from visit where snapshot is not null),
        -- A snapshot has one branch of a name; a graph that has two is read the same way wherever its rows lie.
        one as (
            select snapshot_id, name, target, target_type from branch
            where snapshot_id in (select snapshot_id from asked) qualify row_number() over (
                partition by snapshot_id, name order by target_type nulls last, target nulls last) = 1),
        start as (
            select a.*, n.name, n.place from asked a, named n
            union all select a.*, a.default_branch, -1 from asked a where a.default_branch is not null),
        walk as (
            select s.snapshot_id, s.default_branch, s.place, s.name as asked, b.target, b.target_type, 0 as hops
            from start s join one b on b.snapshot_id = s.snapshot_id and b.name = s.name
            union all
            select w.snapshot_id, w.default_branch, w.place, w.asked, b.target, b.target_type, w.hops + 1
            from walk w join one b on b.snapshot_id = w.snapshot_id
                and b.name = unhex(case when regexp_full_match(w.target, '([0-9a-f]{{2}})+') then w.target end)
            where w.target_type = 'alias' and w.hops < {ALIAS_HOPS}),
        best as (
            select snapshot_id, default_branch, asked, target, target_type, row_number() over (
                partition by snapshot_id, default_branch order by place, hops, target_type, target) as rank
            from walk where target_type in ('revision', 'release', 'directory') and target is not null),
        sizes as (select snapshot_id, count(*) as n from one group by snapshot_id)
        select v.origin_id, v.origin, v.visit_date, v.snapshot, best.asked as branch, null::blob as default_branch,
            coalesce(v.target, best.target) as target, coalesce(v.target_type, best.target_type) as target_type,
            v.revision, v.revision_date, v.committer_date, v.directory,
            case when v.reason is not null then v.reason
                 when v.target is not null or best.target is not null then null
                 when sizes.n is null then 'empty_repository'
                 else 'no_usable_branch' end as reason,
            case when v.reason is null then coalesce(v.target, best.target, v.origin_id) else v.route end as route
        from visit v
        left join best on best.snapshot_id = v.snapshot and best.default_branch is not distinct from v.default_branch
            and best.rank = 1
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


def resolve(runner: Runner, graph: Mapping[str, Done], choice: Choice, *, as_of: str | None) -> Done:
    """Run the chain over the chosen origins. Returns the last stage: its `rows` are in the bucket of the origin."""

    def stage(name: str, run: object, inputs: Mapping[str, Ref | list[Ref]], **more: object) -> Done:
        output = Output(schema=RESOLVED, order=("origin_id",), route="route")
        return runner.run(Stage(name=name, run=run, inputs=inputs, outputs={"rows": output}, **more))  # type: ignore[arg-type]

    rows = stage(
        "resolve.visits",
        visits,
        {
            "selected": choice.selected.ref("rows"),
            "visits": graph["origin_visit_status"].ref("rows"),
            "metadata": choice.metadata,
        },
        config={"as_of": as_of, "up_to": choice.up_to},
    )
    rows = stage(
        "resolve.branches",
        branches,
        {"visits": rows.ref("rows"), "branches": graph["snapshot_branch"].ref("rows")},
    )
    for hop in range(TAG_HOPS):
        inputs = {"rows": rows.ref("rows"), "releases": graph["release"].ref("rows")}
        rows = stage(f"resolve.tags.{hop}", releases, inputs)
    return stage(
        "resolve.revisions", revisions, {"rows": rows.ref("rows"), "revisions": graph["revision"].ref("rows")}
    )
