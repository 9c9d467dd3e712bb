"""The ledger: one decision per occurrence, with its reason, kept in the work directory and counted.

Occurrences are stored factored: a row per (root, path), and how many origins have the root. Counts multiply out:
with n origins of which m opted out, a row that is not a file counts n; any other row counts m as `opted_out` and n - m under
its own reason; a kept row stands for one occurrence, its other n - m - 1 are exact duplicates of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.tables import BEFORE_OPTOUT, CONTENT_COLUMNS, DROPPED, ELECTED, ONCE, Reason

FINAL = pa.schema(
    [
        *[ELECTED.field(name) for name in ELECTED.names],
        ("cluster_size", pa.int64()),
    ]
)
"""Kept contents with the number of near-duplicates that they stand for, plus one."""

LEDGER = pa.schema(
    [
        ("root", pa.string()),
        ("path", pa.binary()),
        ("kind", pa.string()),
        *CONTENT_COLUMNS,
        ("reason", pa.string()),  # of the occurrences that did not opt out; null: kept
        ("detail", pa.string()),
        ("stand_in", pa.string()),
        ("similarity", pa.string()),
        ("language", pa.string()),  # null where the decision came before anybody asked
    ]
)
BY_CONTENT = pa.schema(
    [
        ("sha1_git", pa.string()),
        ("sha256", pa.string()),
        ("sha1", pa.string()),
        ("root", pa.string()),
        ("places", pa.int64()),  # paths of the root at which the content is
        ("origins", pa.int64()),  # that have the root
    ]
)
"""In which roots a content is."""


def outcomes(task: Task) -> Mapping[str, pa.Table]:
    """What became of each elected content: kept, or replaced by another one."""
    replaced = task.read("replaced")
    task.count("replaced", replaced.num_rows)
    winners = task.read("winners")
    sizes = task.sql(
        f"select stand_in as sha256, count(*) as n from t where reason = '{Reason.NEAR_DUPLICATE}' group by stand_in",
        t=task.read("clusters"),
    )
    kept = task.sql(
        "select w.*, 1 + coalesce(s.n, 0) as cluster_size from w anti join r using (sha256) left join s using (sha256)",
        w=winners,
        r=replaced,
        s=sizes,
    )
    return {"kept": kept, "by_root": kept}


def replaced_places(task: Task) -> Mapping[str, pa.Table]:
    """The elected occurrence of every replaced content, routed to its root; and the replacements by what replaces them."""
    rows = task.sql(
        """
        select p.root, p.path, p.sha1_git, r.reason,
            case when r.similarity is null then 'same released text' else 'similar' end as detail, r.stand_in, r.similarity,
            p.language
        from r join p using (sha256)
        """,
        r=task.read("replaced"),
        p=task.read("elected"),
    )
    return {"dropped": rows, "by_stand_in": task.read("replaced")}


def ledger(task: Task) -> Mapping[str, pa.Table]:
    """Join every decision to its occurrence; exactly one each, or the ledger refuses."""
    rows = task.sql(
        """
        select f.root, f.path, f.kind, f.sha1_git, f.sha1, f.sha256, f.blake2s256, f.length,
            coalesce(f.reason, d.reason) as reason, d.detail, d.stand_in, d.similarity,
            coalesce(d.language, k.language) as language,
            k.sha256 is not null as kept, r.origins, r.opted_out
        from f join r using (root)
            left join d on d.root = f.root and d.path = f.path and d.sha1_git = f.sha1_git and f.reason is null
            left join k on k.root = f.root and k.path = f.path and k.sha1_git = f.sha1_git and f.reason is null
        """,
        f=task.read("files"),
        r=task.read("roots"),
        d=task.read("dropped"),
        k=task.read("kept"),
    )
    undecided = task.sql(
        "select root, path from t where (reason is null) <> kept and opted_out < origins limit 1", t=rows
    )
    task.facts["undecided"] = [str(value) for value in undecided.slice(0, 1).to_pylist()]
    task.facts["totals"] = dict(_totals(task, rows))
    for name, amount in task.facts["totals"].items():
        if name not in ("found", "kept"):
            task.count(f"dropped.{name}", amount)
    listed = rows.select(LEDGER.names)
    return {
        "ledger": listed,
        "by_content": task.sql(
            """
            select sha1_git, max(sha256) as sha256, max(sha1) as sha1, root, count(*) as places, any_value(origins) as origins
            from t where sha1_git is not null group by sha1_git, root
            """,
            t=rows,
        ),
    }


def _totals(task: Task, rows: pa.Table) -> Counter[str]:
    """Occurrences by outcome: found, kept, and each reason."""
    early, once = (", ".join(f"'{reason}'" for reason in listed) for listed in (BEFORE_OPTOUT, ONCE))
    counted = task.sql(
        f"""
        select sum(origins)::bigint as found,
            sum(case when reason in ({early}) then 0 else opted_out end)::bigint as opted_out,
            sum(case when reason is null and origins > opted_out then 1 else 0 end)::bigint as kept,
            sum(case when (reason is null or reason in ({once})) and origins > opted_out
                then origins - opted_out - 1 else 0 end)::bigint as copies
        from t
        """,
        t=rows,
    ).to_pylist()[0]
    total: Counter[str] = Counter({name: counted[name] or 0 for name in ("found", "opted_out", "kept")})
    total[Reason.EXACT_DUPLICATE] += counted["copies"] or 0
    reasons = task.sql(
        f"""
        select reason, sum(case when reason in ({early}) then origins
            when reason in ({once}) then least(origins - opted_out, 1) else origins - opted_out end)::bigint as n
        from t where reason is not null group by reason
        """,
        t=rows,
    )
    for item in reasons.to_pylist():
        total[item["reason"]] += item["n"]
    return +total


@dataclass(frozen=True)
class Outcome:
    """The stage of kept contents, the places of what is replaced, and what is replaced: by content, and by what stands in."""

    kept: Done
    dropped: list[Ref]
    replaced: list[Ref]
    stand_ins: list[Ref]


_DROPPED = Output(schema=DROPPED, order=("root", "path", "sha1_git"), route="root")


def outcome_wave(runner: Runner, elected: Done, texts: Done, near: Done | None) -> Outcome:
    """Close the elections: what is kept of the elected contents, and what is replaced."""
    by_text = runner.run(
        Stage(
            name="replaced.texts",
            run=replaced_places,
            inputs={"replaced": texts.ref("replaced"), "elected": _by_sha256(runner, elected).ref("rows")},
            outputs={
                "dropped": _DROPPED,
                "by_stand_in": Output(
                    schema=texts.stage.outputs["replaced"].schema, order=("sha256",), route="stand_in"
                ),
            },
        )
    )
    places, clusters = [by_text.ref("dropped")], list[Ref]()
    replaced = [texts.ref("replaced")]
    if near is not None:
        by_near = runner.run(
            Stage(
                name="replaced.near",
                run=replaced_places,
                inputs={"replaced": near.ref("replaced"), "elected": texts.ref("winners")},
                outputs={
                    "dropped": _DROPPED,
                    "by_stand_in": Output(
                        schema=near.stage.outputs["replaced"].schema, order=("sha256",), route="stand_in"
                    ),
                },
            )
        )
        places.append(by_near.ref("dropped"))
        clusters.append(by_near.ref("by_stand_in"))
        replaced.append(near.ref("replaced"))
    kept = runner.run(
        Stage(
            name="kept",
            run=outcomes,
            inputs={
                "winners": texts.ref("winners"),
                "replaced": replaced,
                "clusters": clusters or [by_text.ref("by_stand_in")],
            },
            outputs={
                "kept": Output(schema=FINAL, order=("sha256",)),
                "by_root": Output(schema=FINAL, order=("root", "path", "sha256"), route="root"),
            },
        )
    )
    return Outcome(kept, places, replaced, [by_text.ref("by_stand_in"), *clusters])


def ledger_wave(runner: Runner, files: Done, roots: Done, kept: Done, dropped: list[Ref]) -> Done:
    """Close the books: `kept` is what is released, `dropped` all places that were dropped after wave W0."""
    return runner.run(
        Stage(
            name="ledger",
            run=ledger,
            inputs={
                "files": files.ref("files"),
                "roots": roots.ref("roots"),
                "kept": kept.ref("by_root"),
                "dropped": dropped,
            },
            outputs={
                "ledger": Output(schema=LEDGER, order=("root", "path", "kind", "sha1_git")),
                "by_content": Output(schema=BY_CONTENT, order=("sha1_git", "root"), route="sha1_git"),
            },
        )
    )


def by_sha256(task: Task) -> Mapping[str, pa.Table]:
    """Elected contents, back in the bucket of their original's sha256."""
    return {"rows": task.read("elected")}


def _by_sha256(runner: Runner, elected: Done) -> Done:
    return runner.run(
        Stage(
            name="elected.by_sha256",
            run=by_sha256,
            inputs={"elected": elected.ref("elected")},
            outputs={"rows": Output(schema=ELECTED, order=("sha256",), route="sha256")},
        )
    )
