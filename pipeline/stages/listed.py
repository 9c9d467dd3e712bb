"""What the graph knows of each content that the walk found: a join by sha1_git, back to the bucket of the root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.tables import DATASET_CONTENTS, LISTED


def listed(task: Task) -> Mapping[str, pa.Table]:
    """Join entries to the graph's contents by sha1_git; skipped, hidden and unknown contents are told apart.

    Where the user chose the contents of a published dataset, the others are not selected.
    """
    chosen = task.refs["chosen"]
    rows = task.sql(
        f"""
        with c as (
            select * from content qualify row_number() over (
                partition by sha1_git order by sha256, status, sha1, length, blake2s256) = 1),
        s as (select sha1_git, max(length) as length from skipped group by sha1_git)
        select e.root, e.path, e.kind, e.target as sha1_git,
            case when c.status = 'visible' then c.sha1 end as sha1,
            case when c.status = 'visible' then c.sha256 end as sha256,
            case when c.status = 'visible' then c.blake2s256 end as blake2s256,
            coalesce(c.length, s.length) as length,
            case when e.kind <> 'file' then null when c.status = 'visible' then 'visible'
                 when c.status is not null then 'hidden' when s.sha1_git is not null then 'skipped' else 'absent' end as archived,
            {"e.target in (select sha1_git from chosen)" if chosen else "true"} as selected
        from entry e
        left join c on e.kind = 'file' and c.sha1_git = e.target
        left join s on e.kind = 'file' and s.sha1_git = e.target
        """,
        entry=task.read("entries"),
        content=task.read("content"),
        skipped=task.read("skipped_content"),
        chosen=task.read("chosen") if chosen else DATASET_CONTENTS.empty_table(),
    )
    return {"rows": rows}


def list_contents(
    runner: Runner, graph: Mapping[str, Done], entries: Sequence[Ref], chosen: Sequence[Ref] = ()
) -> Done:
    """Run the join over the entries of all levels. `chosen`: the contents that may stay; none: every content may."""
    return runner.run(
        Stage(
            name="listed",
            run=listed,
            inputs={
                "entries": entries,
                "content": graph["content"].ref("rows"),
                "skipped_content": graph["skipped_content"].ref("rows"),
                "chosen": chosen,
            },
            outputs={"rows": Output(schema=LISTED, order=("root", "path", "kind", "sha1_git"), route="root")},
        )
    )
