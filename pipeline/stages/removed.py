"""Why rows that the parent had are not in the release, and the tombstones of those that are withdrawn.

The reason of a removed row is that of its occurrence which came furthest, from this release's ledger. What may not be told
apart (opt-out, license, takedown, secrets) is `withdrawn`, and so is whatever the parent had from an origin that has opted out
since. What no origin of the input holds any more is `gone`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from licensing.optout import Registry
from manifests.changes import GONE, tally
from manifests.removals import WITHDRAWN
from manifests.schema import CHANGES
from pipeline.engine.lookup import distinct, find
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task, as_path
from pipeline.row_ids import row_id
from pipeline.tables import REPLACED, Reason

TOMBSTONES = pa.schema([("row_id", pa.string()), ("content_sha256", pa.string()), ("version", pa.string())])

REMOVED = pa.schema(
    [
        ("row_id", pa.string()),
        ("sha1_git", pa.string()),
        ("sha256", pa.string()),
        ("content_sha256", pa.string()),
        ("origin", pa.string()),
        ("language", pa.string()),
        ("shard", pa.string()),
        ("length_bytes", pa.int64()),
    ]
)
"""Rows of the parent that the release does not have."""

PLACES = pa.schema(
    [
        ("row_id", pa.string()),
        ("sha1_git", pa.string()),
        ("sha256", pa.string()),
        ("root", pa.string()),
    ]
)
"""Where removed contents are today."""

DECISIONS = pa.schema(
    [
        ("row_id", pa.string()),
        ("place", pa.int32()),  # of the reason in the order of the waves: the higher, the further it came
        ("reason", pa.string()),
        ("stand_in", pa.string()),  # sha256 of the content that stands for it; null: none
    ]
)

NOT_TOLD = frozenset(
    {Reason.OPTED_OUT, Reason.LICENSE, Reason.LICENSE_HEADER, Reason.NOT_ARCHIVED, Reason.SECRETS_BUDGET}
)
"""Reasons that are all shown as `withdrawn`: opt-out, license, what the archive took down or hides, secrets."""


def places(task: Task) -> Mapping[str, pa.Table]:
    """The occurrences that the removed contents of the bucket have today."""
    removed = task.read("removed", ["row_id", "sha1_git", "sha256"])
    if removed.num_rows == 0:
        return {"places": PLACES.empty_table()}
    ids = distinct(removed["sha1_git"].combine_chunks())
    found = find(task, "by_content", ids, column="sha1_git", columns=["sha1_git", "sha256", "root"])
    return {
        "places": task.sql(
            """
            select distinct r.row_id, r.sha1_git, r.sha256, f.root
            from r join f on f.sha1_git = r.sha1_git and coalesce(f.sha256, r.sha256) = r.sha256
            """,
            r=removed,
            f=found,
        )
    }


def decisions(task: Task) -> Mapping[str, pa.Table]:
    """The decision that came furthest, of those that the ledger has for a removed content below the bucket's roots."""
    wanted = task.read("places")
    if wanted.num_rows == 0:
        return {"plain": DECISIONS.empty_table(), "replaced": DECISIONS.empty_table()}
    ids = distinct(wanted["root"].combine_chunks())
    ledger = find(task, "ledger", ids, column="root", columns=["root", "sha1_git", "reason", "stand_in"])
    order = pa.table(
        {"name": [str(reason) for reason in Reason], "place": pa.array(range(len(Reason)), pa.int32())}
    )
    best = task.sql(
        f"""
        with occurrences as (
            select p.row_id, p.sha256, l.reason, l.stand_in, r.origins, r.opted_out
            from p join l using (root, sha1_git) join r using (root)),
        decided as (
            select row_id, reason, nullif(stand_in, sha256) as stand_in from occurrences
            where reason is not null and origins > opted_out
                and not (reason = '{Reason.EXACT_DUPLICATE}' and stand_in = sha256)
            union all
            select row_id, '{Reason.OPTED_OUT}', null from occurrences where opted_out > 0)
        select d.row_id, o.place, d.reason, d.stand_in
        from decided d join o on o.name = split_part(d.reason, '.', 1)
        qualify row_number() over (partition by d.row_id order by o.place desc, d.reason, d.stand_in) = 1
        """,
        p=wanted,
        l=ledger,
        r=task.read("roots", ["root", "origins", "opted_out"]),
        o=order,
    ).cast(DECISIONS)
    alone = pc.is_null(best["stand_in"])
    return {"plain": best.filter(alone), "replaced": best.filter(pc.invert(alone))}


def stand_ins(task: Task) -> Mapping[str, pa.Table]:
    """The row that stands for a removed duplicate: where its stand-in was replaced as well, that one's stand-in."""
    replaced = task.read("replaced") if task.refs["replaced"] else REPLACED.empty_table()
    table = task.sql(
        """
        select d.row_id, d.place, d.reason, coalesce(r.stand_in, d.stand_in) as stand_in
        from d left join r on r.sha256 = d.stand_in
        """,
        d=task.read("decisions"),
        r=replaced.select(["sha256", "stand_in"]),
    )
    return {"decisions": table.cast(DECISIONS)}


def reasons(task: Task) -> Mapping[str, pa.Table]:
    """All changes of the bucket, and its tombstones."""
    removed = task.read("removed")
    registry = Registry.load(task.kept("registry"))
    hidden = ", ".join(f"'{reason}'" for reason in sorted(NOT_TOLD))
    told = task.sql(
        f"""
        with best as (
            select * from d
            qualify row_number() over (partition by row_id order by place desc, reason, stand_in) = 1)
        select r.*, best.stand_in,
            case when r.opted_out or split_part(best.reason, '.', 1) in ({hidden}) then '{WITHDRAWN}'
                else coalesce(best.reason, '{GONE}') end as reason
        from r left join best using (row_id)
        """,
        r=removed.append_column("opted_out", registry.match(removed["origin"].combine_chunks())),
        d=task.read("decisions"),
    )
    ids = [
        None if stand_in is None or reason == WITHDRAWN else row_id(stand_in)
        for stand_in, reason in zip(told["stand_in"].to_pylist(), told["reason"].to_pylist(), strict=True)
    ]
    told = told.set_column(told.column_names.index("stand_in"), "stand_in", pa.array(ids, pa.string()))
    gone = task.sql(
        """
        select row_id, 'removed' as change, reason, stand_in, null::varchar as withdrawn_in, []::varchar[] as columns,
            length_bytes, content_sha256 as old_content_sha256, language as old_language, shard as old_shard,
            null::varchar as new_content_sha256, null::varchar as new_language, null::varchar as new_shard
        from t
        """,
        t=told,
    )
    changes = pa.concat_tables([task.read("changes").cast(CHANGES), gone.select(CHANGES.names).cast(CHANGES)])
    dead = task.sql(
        f"""
        select * from t anti join r using (row_id)
        union all
        select row_id, content_sha256, '{task.config["version"]}' from r where reason = '{WITHDRAWN}'
        """,
        t=task.read("tombstones"),
        r=told,
    )
    task.facts["counts"] = sorted([*key, number] for key, number in tally(changes).items())
    return {"changes": changes, "tombstones": dead.cast(TOMBSTONES)}


def removed_wave(
    runner: Runner,
    compared: Done,
    roots: Done,
    ledger: Done,
    near: Done | None,
    *,
    version: str,
    registry: str | None,
) -> Done:
    """From the stage that compared the rows to the stage with all changes and tombstones by row id."""
    decided = _decisions(runner, compared, roots, ledger, near)
    return runner.run(
        Stage(
            name="changes.reasons",
            run=reasons,
            inputs={
                "changes": compared.ref("changes"),
                "removed": compared.ref("removed"),
                "tombstones": compared.ref("tombstones"),
                "decisions": decided,
            },
            outputs={
                "changes": Output(schema=CHANGES, order=("row_id",)),
                "tombstones": Output(schema=TOMBSTONES, order=("row_id",)),
            },
            config={"version": version, "registry": Registry.load(as_path(registry)).digest},
            extra={"registry": runner.keep(registry)},
        )
    )


def _decisions(
    runner: Runner, compared: Done, roots: Done, ledger: Done, near: Done | None
) -> tuple[Ref, Ref]:
    """What the ledger says of removed contents, by row id."""
    found = runner.run(
        Stage(
            name="changes.places",
            run=places,
            inputs={"removed": compared.ref("by_content"), "by_content": ledger.ref("by_content")},
            outputs={
                "places": Output(schema=PLACES, order=("root", "row_id"), route="root"),
            },
        )
    )
    decided = runner.run(
        Stage(
            name="changes.decisions",
            run=decisions,
            inputs={
                "places": found.ref("places"),
                "ledger": ledger.ref("ledger"),
                "roots": roots.ref("roots"),
            },
            outputs={
                "plain": Output(schema=DECISIONS, order=("row_id", "reason"), route="row_id"),
                "replaced": Output(schema=DECISIONS, order=("stand_in", "row_id"), route="stand_in"),
            },
        )
    )
    standing = runner.run(
        Stage(
            name="changes.stand_ins",
            run=stand_ins,
            inputs={
                "decisions": decided.ref("replaced"),
                "replaced": () if near is None else (near.ref("replaced"),),
            },
            outputs={"decisions": Output(schema=DECISIONS, order=("row_id", "reason"), route="row_id")},
        )
    )
    return decided.ref("plain"), standing.ref("decisions")
