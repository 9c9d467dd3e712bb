"""Wave W2, first half: one body per remaining content -> text signals and language -> a reason, or none.

Annotations are kept per content (`text`) and per (content, name class) (`language`); the decision is taken anew in
every release from them, so another threshold recomputes no annotation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from licensing.evidence import header_batch
from licensing.policy import Policy
from pipeline.content.decode import decode_batch
from pipeline.content.generated import is_generated
from pipeline.content.languages import detect
from pipeline.content.quality import load_profile, verdict
from pipeline.content.signals import SCHEMA as SIGNALS
from pipeline.content.signals import signals
from pipeline.engine.annotations import Annotator, require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task, as_path
from pipeline.stages.fetch import BODIES_OF
from pipeline.tables import DROPPED, JUDGED, Reason

TEXT = pa.schema(
    [
        ("sha256", pa.string()),
        (
            "true_sha1_git",
            pa.string(),
        ),  # of the bytes: a graph may claim another, and the SWHID is made of it
        ("true_blake2s256", pa.string()),
        ("encoding", pa.string()),
        ("undecoded", pa.string()),  # binary | undecodable | null
        ("header", pa.string()),  # SPDX expression of the file's own tag, null without one
        *SIGNALS,
    ]
)
LANGUAGE = pa.schema(
    [
        ("sha256", pa.string()),
        ("name_class", pa.binary()),
        ("language", pa.string()),
        ("is_generated", pa.bool_()),
    ]
)
HEAD_BYTES = 51_200  # what the language and generated rules look at, as Linguist does
BATCH_BYTES = 32 << 20  # bodies in memory at once


TEXT_OF = Annotator(
    name="text",
    ids=("sha256",),
    schema=TEXT,
    modules=("pipeline.content.decode", "pipeline.content.signals", "licensing.evidence"),
    functions=("pipeline.stages.judge:annotate_text",),
    libraries=("charset-normalizer", "license-expression"),
)
LANGUAGE_OF = Annotator(
    name="language",
    ids=("sha256", "name_class"),
    schema=LANGUAGE,
    modules=("pipeline.content.decode", "pipeline.content.languages", "pipeline.content.generated"),
    functions=("pipeline.stages.judge:annotate_text",),
    libraries=("charset-normalizer",),
)


def in_batches(table: pa.Table, column: str, size: int = BATCH_BYTES) -> Iterator[pa.Table]:
    """Slices of a table whose `column` (lengths in bytes) sums to at most `size`, at least one row each."""
    start, held = 0, 0
    for row, length in enumerate(table[column].to_pylist()):
        if row > start and held + length > size:
            yield table.slice(start, row - start)
            start, held = row, 0
        held += length
    if start < table.num_rows:
        yield table.slice(start)


def annotate_text(task: Task) -> Mapping[str, pa.Table]:
    """Decode and measure every content of the bucket that was not seen before."""
    wanted = task.read("survivors", columns=["sha256", "name_class", "length"])
    status = task.read("status")
    fetched = status.filter(pc.equal(status["status"], "ok"))
    wanted = task.sql(
        "select distinct w.* from w semi join f using (sha256) order by all", w=wanted, f=fetched
    )
    texts, languages = TEXT_OF.open(task), LANGUAGE_OF.open(task)
    new = texts.missing(wanted.select(["sha256", "length"]))
    new_names = languages.missing(wanted)
    both = task.sql(
        """
        select sha256, min(length) as length from (from a union all select sha256, length from b)
        group by sha256 order by sha256
        """,
        a=new,
        b=new_names.select(["sha256", "length"]),
    )
    task.count("annotated.text", new.num_rows)
    task.count("annotated.language", new_names.num_rows)
    bodies = BODIES_OF.open(task)
    for piece in in_batches(both, "length"):
        rows = task.sql("select sha256, body from b order by sha256", b=bodies.read(wanted=piece))
        body = rows["body"].combine_chunks().cast(pa.large_binary())
        task.bytes_in += pc.sum(pc.binary_length(body)).as_py() or 0
        decoded = decode_batch(body)
        text = decoded["text"].combine_chunks()
        blank = pc.fill_null(text, pa.scalar(b"", pa.large_binary()))
        measured = pa.table(
            [
                rows["sha256"],
                *_hashes(body),
                decoded["encoding"],
                decoded["reason"],
                header_batch(blank)["expression"],
                *signals(blank).columns,
            ],
            names=TEXT.names,
        )
        texts.append(measured.filter(pc.is_in(measured["sha256"], value_set=new["sha256"].combine_chunks())))
        heads = pa.table({"sha256": rows["sha256"], "head": pc.binary_slice(blank, 0, HEAD_BYTES)})
        named = task.sql(
            "select n.sha256, n.name_class, h.head from n join h using (sha256) order by n.sha256, n.name_class",
            n=new_names.select(["sha256", "name_class"]),
            h=heads,
        )
        if named.num_rows:
            classes = named["name_class"].combine_chunks().cast(pa.binary())
            head = named["head"].combine_chunks().cast(pa.large_binary())
            languages.append(
                pa.table(
                    [named["sha256"], classes, detect(classes, head), is_generated(classes, head)],
                    names=LANGUAGE.names,
                )
            )
    texts.compact()
    languages.compact()
    return {}


def _hashes(bodies: pa.LargeBinaryArray) -> list[pa.Array]:
    views = [memoryview(body.as_buffer()) for body in bodies]
    blobs = (hashlib.sha1(b"blob %d\0" % view.nbytes, usedforsecurity=False) for view in views)
    sha1_git = []
    for state, view in zip(blobs, views, strict=True):
        state.update(view)
        sha1_git.append(state.hexdigest())
    return [
        pa.array(sha1_git, pa.string()),
        pa.array([hashlib.blake2s(v).hexdigest() for v in views], pa.string()),
    ]


def judge(task: Task) -> Mapping[str, pa.Table]:
    """The W2 reason of every survivor, from the annotations and this release's rules."""
    rules = task.config
    survivors = task.read("survivors")
    texts = TEXT_OF.open(task).read(wanted=survivors)
    languages = LANGUAGE_OF.open(task).read(wanted=survivors)
    rows = task.sql(
        """
        select s.* replace (coalesce(s.blake2s256, t.true_blake2s256) as blake2s256),
            coalesce(s.sha1_git <> t.true_sha1_git or s.blake2s256 <> t.true_blake2s256, false) as lies,
            case when lies then 'corrupt' else f.status end as status, f.status = 'ok' as had,
            case when lies then 'a hash in the graph is not that of the bytes' else f.detail end as fetch_detail,
            t.undecoded, t.header, l.language, coalesce(l.is_generated, false) as is_generated,
            t.* exclude (sha256, true_sha1_git, true_blake2s256, encoding, undecoded, header)
        from s left join f using (sha256) left join t using (sha256)
            left join l on l.sha256 = s.sha256 and l.name_class = s.name_class
        order by s.sha256, s.root, s.path
        """,
        s=survivors,
        f=task.read("status"),
        t=texts,
        l=languages,
    )
    had = rows.filter(rows["had"])
    require_all("text", rows.num_rows, pc.count(rows["status"]).as_py())
    require_all("text", had.num_rows, pc.count(had["num_lines"]).as_py())
    rows = rows.append_column(
        "header_permitted", _permitted(rows["header"], Policy.load(task.kept("policy")))
    )
    rows = rows.append_column("quality", _quality(rows, rules["profile"]))
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in rules["languages"])
    judged = task.sql(
        f"""
        select * exclude (status, fetch_detail, header, had, lies), status, fetch_detail, header,
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


def _quality(rows: pa.Table, profile: str) -> pa.Array:
    measured = rows.select(SIGNALS.names).combine_chunks()
    language = rows["language"].combine_chunks().cast(pa.string())
    classes = rows["name_class"].combine_chunks().cast(pa.binary())
    return verdict(measured, language, load_profile(profile), name_classes=classes)


def judge_wave(
    runner: Runner, wave: Done, fetched: Done, config: Mapping[str, object], policy: str | None
) -> Done:
    """Run the first half of wave W2. Returns the stage with what passed and what was dropped."""
    inputs = {"survivors": wave.ref("survivors"), "status": fetched.ref("status")}
    stores = {"bodies": BODIES_OF.key(), "text": TEXT_OF.key(), "language": LANGUAGE_OF.key(head=HEAD_BYTES)}
    runner.run(
        Stage(name="annotate.text", run=annotate_text, inputs=inputs, outputs={}, config={"stores": stores})
    )
    order = ("sha256", "root", "path")
    return runner.run(
        Stage(
            name="judge",
            run=judge,
            inputs=inputs,
            outputs={
                "passed": Output(schema=JUDGED, order=order),
                "dropped": Output(schema=DROPPED, order=("root", "path", "sha1_git"), route="root"),
            },
            config={**config, "policy": Policy.load(as_path(policy)).digest, "stores": stores},
            extra={"policy": runner.keep(policy)},
        )
    )
