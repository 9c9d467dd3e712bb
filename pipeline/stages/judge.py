"""Wave W2, first half: what the readers of texts said -> a reason, or none.

The decision is taken anew in every release from their annotations, so another threshold recomputes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from licensing.policy import Policy
from pipeline.content.profiles import load_profile
from pipeline.content.quality import verdict
from pipeline.content.signal_schema import KNOWN
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task, as_path
from pipeline.stages.text_code import CODE_OF, code_stores, measured_languages
from pipeline.stages.text_headers import HEADER_OF
from pipeline.stages.text_languages import LANGUAGE_OF
from pipeline.stages.text_signals import SIGNALS_OF
from pipeline.stages.texts import TEXT_OF
from pipeline.tables import DROPPED, JUDGED, Reason


def judge(task: Task) -> Mapping[str, pa.Table]:
    """The W2 reason of every survivor, from the annotations and this release's rules."""
    rules = task.config
    survivors = task.read("survivors")
    measured = measured_languages(task, survivors)
    code = CODE_OF.open(task).read(wanted=measured)
    require_all("code", measured.num_rows, code.num_rows)
    rows = task.sql(
        """
        select s.* replace (coalesce(s.blake2s256, t.true_blake2s256) as blake2s256),
            coalesce(s.sha1_git <> t.true_sha1_git or s.blake2s256 <> t.true_blake2s256, false) as lies,
            case when lies then 'corrupt' else f.status end as status, f.status = 'ok' as had,
            case when lies then 'a hash in the graph is not that of the bytes' else f.detail end as fetch_detail,
            t.undecoded, h.header, l.language, coalesce(l.is_generated, false) as is_generated, q.* exclude (sha256),
            c.* exclude (sha256, language),
            t.sha256 is not null as has_text, h.sha256 is not null as has_header, l.sha256 is not null as has_language
        from s left join f using (sha256) left join t using (sha256) left join h using (sha256) left join q using (sha256)
            left join l on l.sha256 = s.sha256 and l.name_class = s.name_class
            left join c on c.sha256 = s.sha256 and c.language = l.language
        order by s.sha256, s.root, s.path
        """,
        s=survivors,
        f=task.read("status"),
        t=TEXT_OF.open(task).read(wanted=survivors),
        h=HEADER_OF.open(task).read(wanted=survivors),
        l=LANGUAGE_OF.open(task).read(wanted=survivors),
        q=SIGNALS_OF.open(task).read(wanted=survivors),
        c=code,
    )
    had = rows.filter(rows["had"])
    require_all("text", rows.num_rows, pc.count(rows["status"]).as_py())
    for name in ("text", "header", "language"):
        require_all(name, had.num_rows, pc.sum(had[f"has_{name}"]).as_py() or 0)
    require_all("signals", had.num_rows, pc.count(had["num_lines"]).as_py())
    rows = rows.append_column(
        "header_permitted", _permitted(rows["header"], Policy.load(task.kept("policy")))
    )
    rows = rows.append_column("quality", _quality(rows, rules["profile"]))
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in rules["languages"])
    judged = task.sql(
        f"""
        select *,
            case when status <> 'ok' then status
                 when undecoded is not null then undecoded
                 when not header_permitted then '{Reason.LICENSE_HEADER}'
                 when language is null then '{Reason.LANGUAGE}'
                 {f"when language not in ({listed}) then '{Reason.LANGUAGE}'" if listed else ""}
                 when is_generated and {rules["generated"] == "drop"} then '{Reason.GENERATED}'
                 else quality end as reason,
            case when status <> 'ok' then fetch_detail
                 when undecoded is null and not header_permitted then header
                 when undecoded is null and language is null then 'unknown'
                 else language end as detail
        from t
        """,
        t=rows,
    )
    for item in pc.value_counts(judged["reason"]).to_pylist():
        if item["values"] is not None:
            task.count(f"dropped.{item['values']}", item["counts"])
    dropped = task.sql(
        """
        select root, path, sha1_git, reason, detail, null::varchar as stand_in, null::varchar as similarity, language
        from t where reason is not null
        """,
        t=judged,
    )
    return {"passed": judged.filter(pc.is_null(judged["reason"])), "dropped": dropped}


def _permitted(headers: pa.ChunkedArray, policy: Policy) -> pa.Array:
    """False where a file's own tag names a license that the policy does not permit."""
    encoded = headers.combine_chunks().dictionary_encode()
    verdicts = pa.array(
        [policy.decide(value).permitted for value in encoded.dictionary.to_pylist()], pa.bool_()
    )
    return pc.fill_null(verdicts.take(encoded.indices), True)


def _quality(rows: pa.Table, profile: str | Mapping[str, Any]) -> pa.Array:
    measured = rows.select([name for name in KNOWN if name in rows.column_names]).combine_chunks()
    language = rows["language"].combine_chunks().cast(pa.string())
    classes = rows["name_class"].combine_chunks().cast(pa.binary())
    return verdict(measured, language, load_profile(profile), name_classes=classes)


def judge_wave(
    runner: Runner, texts: Mapping[str, Ref], config: Mapping[str, object], policy: str | None
) -> Done:
    """Decide what `text_wave` annotated (its result is `texts`). Returns the stage with what passed and what was dropped."""
    order = ("sha256", "root", "path")
    return runner.run(
        Stage(
            name="judge",
            run=judge,
            inputs=texts,
            outputs={
                "passed": Output(schema=JUDGED, order=order),
                "dropped": Output(schema=DROPPED, order=("root", "path", "sha1_git"), route="root"),
            },
            config={
                **config,
                "policy": Policy.load(as_path(policy)).digest,
                "stores": code_stores(config["notebooks"], parsers=config["parsers"]),
            },
            extra={"policy": runner.keep(policy)},
        )
    )
