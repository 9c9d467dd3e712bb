"""Wave W2, first half: what the readers of texts said -> a reason, or none.

The decision is taken anew in every release from their annotations, so another threshold recomputes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from licensing.attribution import license_type
from licensing.decisions import Decisions
from licensing.policy import Policy
from licensing.selection import takes
from pipeline.content.kinds import KINDS, kinds
from pipeline.content.profiles import load_profile
from pipeline.content.quality import verdict
from pipeline.content.signal_schema import KNOWN
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task, as_path
from pipeline.stages.header_notices import headers_of
from pipeline.stages.text_code import CODE_OF, code_stores, measured_languages
from pipeline.stages.text_languages import LANGUAGE_OF
from pipeline.stages.text_signals import SIGNALS_OF
from pipeline.stages.texts import TEXT_OF
from pipeline.tables import DROPPED, JUDGED, Reason

_EVIDENCE = """
    list_transform(
        list_distinct(list_transform(h.header_detections, lambda d: d.expression)).list_sort(),
        lambda e: list_transform(
            list_filter(h.header_detections, lambda d: d.expression = e),
            lambda d: {'score': d.score, 'detector': d.detector, 'rule': d.rule, 'expression': d.expression}
        ).list_sort('desc')[1]
    )
"""
"""Of a header's detections the best one of each expression, by expression."""


def judge(task: Task) -> Mapping[str, pa.Table]:
    """The W2 reason of every survivor, from the annotations and this release's rules."""
    rules = task.config
    survivors = task.read("survivors")
    decisions = Decisions.load(task.kept("decisions"))
    task.facts["decided"] = decisions.used(survivors["sha256"])
    measured = measured_languages(task, survivors)
    code = CODE_OF.open(task).read(wanted=measured)
    require_all("code", measured.num_rows, code.num_rows)
    rows = task.sql(
        f"""
        select s.* replace (coalesce(s.blake2s256, t.true_blake2s256) as blake2s256),
            coalesce(s.sha1_git <> t.true_sha1_git or s.blake2s256 <> t.true_blake2s256, false) as lies,
            case when lies then 'corrupt' else f.status end as status, f.status = 'ok' as had,
            case when lies then 'a hash in the graph is not that of the bytes' else f.detail end as fetch_detail,
            t.undecoded, h.header, h.header_open, {_EVIDENCE} as header_evidence,
            l.language, coalesce(l.is_generated, false) as is_generated, q.* exclude (sha256),
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
        h=decisions.headers(headers_of(task, survivors)),
        l=LANGUAGE_OF.open(task).read(wanted=survivors),
        q=SIGNALS_OF.open(task).read(wanted=survivors),
        c=code,
    )
    had = rows.filter(rows["had"])
    require_all("text", rows.num_rows, pc.count(rows["status"]).as_py())
    for name in ("text", "header", "language"):
        require_all(name, had.num_rows, pc.sum(had[f"has_{name}"]).as_py() or 0)
    require_all("signals", had.num_rows, pc.count(had["num_lines"]).as_py())
    policy = Policy.load(task.kept("policy"))
    rows = rows.append_column("header_type", _types(rows["header"], policy))
    verdicts = _verdicts(rows["header"], policy, rules["selected"])
    for name, verdict_of in verdicts.items():
        rows = rows.append_column(name, verdict_of)
    undetermined = rows.filter(pc.is_valid(rows["header_open"]))
    task.count("headers.undetermined", pc.count_distinct(undetermined["sha256"]).as_py())
    rows = rows.append_column("kind", _unwanted_kind(rows, rules["kinds"]))
    rows = rows.append_column("quality", _quality(rows, rules["profile"]))
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in rules["languages"])
    judged = task.sql(
        f"""
        select * replace (case when says then header end as header, case when says then header_type end as header_type,
                case when says then header_evidence end as header_evidence),
            case when refusal is not null and not (says and header_permitted) then '{Reason.LICENSE}'
                 when status <> 'ok' then status
                 when undecoded is not null then undecoded
                 when says and not header_permitted then '{Reason.LICENSE_HEADER}'
                 when says and not header_taken then '{Reason.LICENSE_NOT_SELECTED}'
                 when language is null then '{Reason.LANGUAGE}'
                 {f"when language not in ({listed}) then '{Reason.LANGUAGE}'" if listed else ""}
                 when is_generated and {rules["generated"] == "drop"} then '{Reason.GENERATED}'
                 when kind is not null then '{Reason.QUALITY}.kind_' || kind
                 else quality end as reason,
            case when refusal is not null and not (says and header_permitted) then refusal
                 when status <> 'ok' then fetch_detail
                 when undecoded is null and says and not (header_permitted and header_taken) then header
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


def _verdicts(headers: pa.ChunkedArray, policy: Policy, selected: list[str]) -> dict[str, pa.Array]:
    """Of each header: whether it states terms (`says`), and if these are permitted and among the licenses asked for.

    A header that only points to a license ("see LICENSE") says nothing.
    """
    encoded = headers.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    decisions = [policy.decide(value) for value in values]
    verdicts = {
        "says": [policy.states_terms(value) for value in values],
        "header_permitted": [decision.permitted for decision in decisions],
        "header_taken": [not selected or takes(selected, value, policy) for value in values],
    }
    return {
        name: pc.fill_null(pa.array(known, pa.bool_()).take(encoded.indices), False)
        for name, known in verdicts.items()
    }


def _types(headers: pa.ChunkedArray, policy: Policy) -> pa.Array:
    """The license type of each header, as a row has it."""
    encoded = headers.combine_chunks().dictionary_encode()
    types = [license_type(policy.decide(value)) for value in encoded.dictionary.to_pylist()]
    return pa.array(types, pa.string()).take(encoded.indices)


def _unwanted_kind(rows: pa.Table, wanted: Mapping[str, str]) -> pa.Array:
    """The first kind of every file that this release drops; null for none."""
    found = np.full(rows.num_rows, None, object)
    if "drop" in wanted.values():
        flags = kinds(
            rows["path"].combine_chunks().cast(pa.binary()),
            rows["name_class"].combine_chunks(),
            rows["language"].combine_chunks().cast(pa.string()),
            rows["avg_line_length"].combine_chunks(),
        )
        for kind in reversed(KINDS):
            if wanted[kind] == "drop":
                found[flags[kind]] = kind
    return pa.array(found, pa.string())


def _quality(rows: pa.Table, profile: str | Mapping[str, Any]) -> pa.Array:
    measured = rows.select([name for name in KNOWN if name in rows.column_names]).combine_chunks()
    language = rows["language"].combine_chunks().cast(pa.string())
    classes = rows["name_class"].combine_chunks().cast(pa.binary())
    return verdict(measured, language, load_profile(profile), name_classes=classes)


def judge_wave(
    runner: Runner,
    texts: Mapping[str, Ref],
    config: Mapping[str, Any],
    policy: str | None,
    decisions: str | None,
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
                "decisions": Decisions.load(as_path(decisions)).digest,
                "stores": code_stores(config),
            },
            extra={"policy": runner.keep(policy), "decisions": runner.keep(decisions)},
        )
    )
