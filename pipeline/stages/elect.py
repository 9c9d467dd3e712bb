"""The end of wave W2, and wave W3: one occurrence per content, one content per released text, and the rank of each.

Election order: DESIGN 3, as `dedup.election` states it. Only occurrences that passed their own rules stand.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dedup.election import order_by_sql
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.stages.rank import rank_wave
from pipeline.stages.secrets import RELEASED_OF, TextForm, released_stores
from pipeline.stages.text_contamination import CONTAMINATION_OF, Benchmarks
from pipeline.tables import DROPPED, ELECTED, REPLACED, Reason


def elect(task: Task) -> Mapping[str, pa.Table]:
    """Apply the findings budget and the search for benchmarks, then elect one occurrence per content.

    The others are exact duplicates of it.
    """
    store = RELEASED_OF.open(task)
    passed = store.placed(task.read("passed"))
    known = store.read(columns=["findings", "content_sha256", "released_bytes"], wanted=passed)
    rows = task.sql(
        f"""
        select p.* replace (nullif(p.scope, '{store.base}') as scope), len(k.findings) as found, k.content_sha256,
            k.released_bytes
        from p join k using (sha256)
        """,
        p=passed,
        k=known,
    )
    require_all("released", passed.num_rows, rows.num_rows)
    rows = rows.append_column("contaminated", _contaminated(task, rows))
    rows = task.sql(
        f"""
        select *, case when found > {task.config["max_findings"]} then '{Reason.SECRETS_BUDGET}'
            when contaminated is not null then '{Reason.CONTAMINATED}' end as refused
        from r
        """,
        r=rows,
    )
    ranked = task.sql(
        f"""
        select *, row_number() over (partition by sha256 order by {order_by_sql("t")}) as place,
            sum(origins) over (partition by sha256) as num_occurrences
        from t where refused is null
        """,
        t=rows,
    )
    # A root's origins all hold the content; roots are disjoint sets of origins, so distinct roots add up.
    origins = task.sql(
        "select sha256, sum(origins)::bigint as num_origins from (select distinct sha256, root, origins from t) group by sha256",
        t=ranked,
    )
    elected = task.sql(
        """
        select t.* exclude (num_occurrences), t.num_occurrences::bigint as num_occurrences, o.num_origins
        from t join o using (sha256) where place = 1
        """,
        t=ranked,
        o=origins,
    )
    dropped = task.sql(
        f"""
        select root, path, sha1_git, refused as reason,
            case when refused = '{Reason.SECRETS_BUDGET}' then found || ' findings' else contaminated end as detail,
            null::varchar as stand_in, null::varchar as similarity, language from r where refused is not null
        union all
        select root, path, sha1_git, '{Reason.EXACT_DUPLICATE}', 'same bytes', sha256, null, language from t where place > 1
        """,
        r=rows,
        t=ranked,
    )
    for item in pc.value_counts(dropped["reason"]).to_pylist():
        task.count(f"dropped.{item['values']}", item["counts"])
    return {"elected": elected, "dropped": dropped}


def _contaminated(task: Task, rows: pa.Table) -> pa.Array:
    """Per row the text of a benchmark that the file holds enough of, with how much; null where it holds none."""
    rule = task.config.get("contamination")
    if rule is None:
        return pa.nulls(rows.num_rows, pa.string())
    known = CONTAMINATION_OF.open(task).read(wanted=rows)
    told = task.sql(
        f"""
        with t as (select sha256, matches[1] as m from k)
        select r.sha256, t.sha256 is not null as asked, case when m.matched * {rule["denominator"]}::hugeint
            >= m.ngrams * {rule["numerator"]}::hugeint then format('{{}}/{{}}, {{}}: {{}} of {{}} {rule["ngram"]}-grams',
                m.benchmark, m.item, m.field, m.matched, m.ngrams) end as detail
        from r left join t using (sha256) order by r.number
        """,
        k=known,
        r=rows.select(["sha256"]).append_column("number", pa.array(range(rows.num_rows), pa.int64())),
    )
    require_all(CONTAMINATION_OF.name, rows.num_rows, pc.sum(told["asked"]).as_py() or 0)
    return told["detail"].combine_chunks()


def elect_texts(task: Task) -> Mapping[str, pa.Table]:
    """Two contents with the same released text become one: the better-ranked stays."""
    ranked = task.sql(
        f"""
        select *, row_number() over (partition by content_sha256 order by {order_by_sql("t")}, sha256) as place,
            first_value(sha256) over (partition by content_sha256 order by {order_by_sql("t")}, sha256) as stand_in
        from t
        """,
        t=task.read("elected"),
    )
    winners = task.sql("select * exclude (place, stand_in) from t where place = 1", t=ranked)
    replaced = task.sql(
        f"select sha256, stand_in, '{Reason.EXACT_DUPLICATE}' as reason, null::varchar as similarity from t where place > 1",
        t=ranked,
    )
    task.count("dropped.exact_duplicate", replaced.num_rows)
    return {"winners": winners, "replaced": replaced}


def elect_wave(
    runner: Runner,
    judged: Done,
    *,
    text_form: TextForm,
    max_findings: int,
    benchmarks: Benchmarks | None = None,
) -> tuple[Done, Done, Done]:
    """Run wave W3. Returns the stages `elect`, `elect.texts` and `rank`. `benchmarks`: whose texts no file may hold."""
    stores = released_stores(text_form) | (benchmarks.stores(text_form.notebooks) if benchmarks else {})
    rule = {"contamination": benchmarks.rule} if benchmarks else {}
    first = runner.run(
        Stage(
            name="elect",
            run=elect,
            inputs={"passed": judged.ref("passed"), **text_form.inputs},
            outputs={
                "elected": Output(schema=ELECTED, order=("content_sha256", "sha256"), route="content_sha256"),
                "dropped": Output(schema=DROPPED, order=("root", "path", "sha1_git"), route="root"),
            },
            config={"max_findings": max_findings, "stores": stores, **rule},
        )
    )
    texts = runner.run(
        Stage(
            name="elect.texts",
            run=elect_texts,
            inputs={"elected": first.ref("elected")},
            outputs={
                "winners": Output(schema=ELECTED, order=("sha256",), route="sha256"),
                "replaced": Output(schema=REPLACED, order=("sha256",), route="sha256"),
            },
        )
    )
    ranks = rank_wave(runner, texts.ref("winners"), 0 if texts.planned else texts.rows("winners"))
    return first, texts, ranks
