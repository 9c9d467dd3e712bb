"""Selection, last: at most so many bytes or tokens of each language.

The kept contents of a language are taken in the order of their SHA-256, up to the first that does not fit. So what is
taken is a uniform sample; a higher cap only adds to it; and what the input gains moves the end of the sample, and no more.
A bucket holds a range of SHA-256s: sums by bucket tell in which one a language is cut, and that one finds the place.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.config_select import DEFAULT_CAP
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.stages.ledger import FINAL
from pipeline.stages.tokens import TOKENS_OF
from pipeline.tables import DROPPED, Reason

SUMS = pa.schema(
    [("language", pa.string()), ("bucket", pa.int32()), ("bytes", pa.int64()), ("tokens", pa.int64())]
)
"""What a bucket holds of a language."""

CUTS = pa.schema(
    [("language", pa.string()), ("bucket", pa.int32()), ("bytes", pa.int64()), ("tokens", pa.int64())]
)
"""The bucket in which a language is cut, and what of it still fits; null: no cap of this kind. No row: all fits."""


def measured(task: Task) -> pa.Table:
    """The kept contents of the bucket, each with its tokens; 0 where none are counted."""
    kept = task.read("kept")
    if TOKENS_OF.name not in task.config["stores"]:
        return task.sql("select *, 0::bigint as tokens from t", t=kept)
    rows = task.sql(
        "select k.*, t.tokens from k join t using (sha256)",
        k=kept,
        t=TOKENS_OF.open(task).read(wanted=kept.select(["sha256"])),
    )
    require_all("tokens", kept.num_rows, rows.num_rows)
    return rows


def sums(task: Task) -> Mapping[str, pa.Table]:
    """Bytes and tokens of every language in the bucket."""
    return {
        "sums": task.sql(
            f"""
            select language, {task.bucket} as bucket, sum(released_bytes)::bigint as bytes, sum(tokens)::bigint as tokens
            from t group by language
            """,
            t=measured(task),
        )
    }


def cuts(task: Task) -> Mapping[str, pa.Table]:
    """Where each language is cut: one pass over its sums in the order of the buckets."""
    rows = task.sql("select * from t order by language, bucket", t=task.read_all("sums")).to_pylist()
    found: list[dict[str, object]] = []
    done: set[str] = set()
    taken = {"bytes": 0, "tokens": 0}
    before = None
    for row in rows:
        language = row["language"]
        if language != before:
            taken, before = {"bytes": 0, "tokens": 0}, language
        if language in done:
            continue
        caps = {name: _cap(task.config[f"max_{name}"], language) for name in taken}
        if any(cap is not None and taken[name] + row[name] > cap for name, cap in caps.items()):
            left = {name: None if cap is None else cap - taken[name] for name, cap in caps.items()}
            found.append({"language": language, "bucket": row["bucket"], **left})
            done.add(language)
        for name in taken:
            taken[name] += row[name]
    return {"cuts": pa.Table.from_pylist(found, CUTS)}


def _cap(caps: Mapping[str, int], language: str) -> int | None:
    return caps.get(language, caps.get(DEFAULT_CAP))


def cut(task: Task) -> Mapping[str, pa.Table]:
    """The contents of the bucket that are taken, and the places of those that are not."""
    rows = task.sql(
        """
        with summed as (
            select *, sum(released_bytes) over w as bytes_so_far, sum(tokens) over w as tokens_so_far from t
            window w as (partition by language order by sha256 rows between unbounded preceding and current row))
        select s.*, coalesce(c.bucket < $bucket or (c.bucket = $bucket
            and (coalesce(s.bytes_so_far > c.bytes, false) or coalesce(s.tokens_so_far > c.tokens, false))), false) as over
        from summed s left join c using (language)
        """.replace("$bucket", str(task.bucket)),
        t=measured(task),
        c=task.read_all("cuts"),
    )
    dropped = task.sql(
        f"""
        select root, path, sha1_git, '{Reason.OVER_CAP}' as reason, language as detail,
            null::varchar as stand_in, null::varchar as similarity, language from t where over
        """,
        t=rows,
    )
    task.count("dropped.over_cap", dropped.num_rows)
    kept = task.sql("select * from t where not over", t=rows)
    return {"kept": kept, "by_root": kept, "dropped": dropped}


def cap_wave(
    runner: Runner,
    kept: Done,
    caps: Mapping[str, Mapping[str, int]],
    stores: Mapping[str, str],
    inputs: Mapping[str, Ref] | None = None,
) -> Done:
    """Apply `max_bytes` and `max_tokens` of `caps`. Returns the stage of what is taken, shaped as `kept`, and `dropped`.

    `inputs`: as of `TextForm`.
    """
    config = {"stores": dict(stores)}
    added = runner.run(
        Stage(
            name="caps.sums",
            run=sums,
            inputs={"kept": kept.ref("kept"), **(inputs or {})},
            outputs={"sums": Output(schema=SUMS, order=("language",))},
            config=config,
        )
    )
    found = runner.run(
        Stage(
            name="caps.cuts",
            run=cuts,
            inputs={"sums": added.ref("sums")},
            outputs={"cuts": Output(schema=CUTS, order=("language",))},
            units="one",
            config={name: dict(amounts) for name, amounts in caps.items()},
        )
    )
    return runner.run(
        Stage(
            name="caps",
            run=cut,
            inputs={"kept": kept.ref("kept"), "cuts": found.ref("cuts"), **(inputs or {})},
            outputs={
                "kept": Output(schema=FINAL, order=("sha256",)),
                "by_root": Output(schema=FINAL, order=("root", "path", "sha256"), route="root"),
                "dropped": Output(schema=DROPPED, order=("root", "path", "sha1_git"), route="root"),
            },
            config=config,
        )
    )
