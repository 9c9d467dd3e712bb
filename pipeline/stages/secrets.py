"""Wave W2, second half: findings, released text and sketch of every content that passed the other rules.

The released text is a function of the content alone: decode, convert, redact. It is not stored: findings are, and the text
is derived again where it is needed (verification, shards), checked against its recorded SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.near import compile_kernels, kernels_are_cached
from manifests.schema import REDACTION
from pii.redact import redact_batch
from pii.rules import rules_digest
from pii.scan import scan
from pii.settings import Settings
from pipeline.content.notebook import STRIPPED
from pipeline.content.text import text_of
from pipeline.engine.annotations import Annotator, require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Stage, Task
from pipeline.errors import IntegrityError
from pipeline.stages.fetch import BODIES_OF
from pipeline.stages.reading import in_batches
from pipeline.stages.sketches import SKETCH_OF, append_sketches, sketch_stores

FINDING = pa.struct(
    [("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string()), ("rule", pa.string())]
)
RELEASED = pa.schema(
    [
        ("sha256", pa.string()),
        ("notebook", pa.string()),  # how the decoded text was converted, as text.SCHEMA has it
        ("findings", pa.list_(FINDING)),  # byte offsets in the converted text
        ("redactions", pa.list_(REDACTION)),  # byte offsets in the released text
        ("content_sha256", pa.string()),
        ("released_bytes", pa.int64()),
    ]
)

RELEASED_OF = Annotator(
    name="released",
    ids=("sha256",),
    schema=RELEASED,
    modules=("pii.scan", "pii.redact", "pipeline.content.text"),
    functions=("pipeline.stages.secrets:_scanned", "pipeline.stages.secrets:_grouped"),
    libraries=("detect-secrets", "hyperscan", "google-re2", "phonenumberslite", "charset-normalizer"),
)

_TEXT_BYTES = 8 << 20  # texts that are held at once


@dataclass(frozen=True, kw_only=True)
class TextForm:
    """What of the configuration a released text depends on."""

    sensitivity: str
    notebooks: str


def released_stores(text_form: TextForm) -> dict[str, str]:
    """Keys of the stores that released texts come from."""
    return {"bodies": BODIES_OF.key(), "released": RELEASED_OF.key(**vars(text_form), rules=rules_digest())}


def annotate_secrets(task: Task) -> Mapping[str, pa.Table]:
    """Scan, redact and sketch every content of the bucket that was not seen before.

    A content that was scanned before, for another sketch or for none, is only sketched.
    """
    wanted = task.sql("select distinct sha256, length from t order by sha256", t=task.read("passed"))
    store, bodies = RELEASED_OF.open(task), BODIES_OF.open(task)
    sketched = task.config["sketch"] is not None
    missing = store.missing(wanted)
    task.count("annotated.secrets", missing.num_rows)
    for piece in in_batches(missing, "length", _TEXT_BYTES):
        rows = task.sql("select sha256, body from b order by sha256", b=bodies.read(wanted=piece))
        annotated, released = _scanned(task, rows)
        store.append(annotated)
        if sketched:
            append_sketches(task, rows["sha256"], released)
    store.compact()
    if sketched:
        sketches = SKETCH_OF.open(task)
        for piece in in_batches(sketches.missing(wanted), "length", _TEXT_BYTES):
            texts = released_texts(task, piece)
            append_sketches(task, texts["sha256"], texts["content"].combine_chunks())
        sketches.compact()
    return {}


def _scanned(task: Task, rows: pa.Table) -> tuple[pa.Table, pa.Array]:
    """The annotations of some bodies, and their released texts."""
    texts = text_of(rows["body"].combine_chunks().cast(pa.large_binary()), task.config["notebooks"])
    text = texts["text"].combine_chunks()
    task.bytes_in += pc.sum(pc.binary_length(text)).as_py() or 0
    found = scan(text, Settings(sensitivity=task.config["sensitivity"]))
    found = found.filter(pc.is_null(found["spared"]))
    released, redactions = redact_batch(text, found)
    for kind in pc.value_counts(found["kind"]).to_pylist():
        task.count(f"found.{kind['values']}", kind["counts"])
    annotated = pa.table(
        [
            rows["sha256"],
            texts["notebook"].combine_chunks(),
            _grouped(found, len(text)),
            redactions.cast(pa.list_(REDACTION)),
            pa.array([hashlib.sha256(_view(value)).hexdigest() for value in released]),
            pc.binary_length(released).cast(pa.int64()),
        ],
        names=RELEASED.names,
    )
    return annotated, released


def _view(value: pa.Scalar) -> memoryview:
    return memoryview(value.as_buffer())


def _grouped(found: pa.Table, documents: int) -> pa.Array:
    """Findings as one list per document; `found` is sorted by document."""
    ends = np.searchsorted(found["doc"].to_numpy(), np.arange(documents), side="right")
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    columns = [
        found[name].combine_chunks().cast(FINDING.field(name).type)
        for name in ("start", "end", "kind", "rule")
    ]
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.StructArray.from_arrays(columns, fields=list(FINDING))
    )


def released_texts(task: Task, wanted: pa.Table, bucket: int | None = None) -> pa.Table:
    """(sha256, content) of the wanted contents of a bucket, sorted by sha256: decoded, redacted, checked."""
    known = RELEASED_OF.open(task, bucket).read(
        columns=["notebook", "findings", "content_sha256"], wanted=wanted
    )
    rows = task.sql(
        "select b.sha256, b.body, k.* exclude (sha256) from b join k using (sha256) order by b.sha256",
        b=BODIES_OF.open(task, bucket).read(wanted=wanted),
        k=known,
    )
    require_all("released", wanted.num_rows, rows.num_rows)
    form = STRIPPED if pc.any(pc.equal(rows["notebook"], STRIPPED)).as_py() else "keep"
    text = text_of(rows["body"].combine_chunks().cast(pa.large_binary()), form)["text"].combine_chunks()
    released, _ = redact_batch(text, _flat(rows["findings"].combine_chunks()))
    for sha256, value, expected in zip(
        rows["sha256"].to_pylist(), released, rows["content_sha256"].to_pylist(), strict=True
    ):
        if hashlib.sha256(_view(value)).hexdigest() != expected:
            raise IntegrityError(
                f"content {sha256}: its text is no longer what was annotated; run `pipeline clean` and again"
            )
    return pa.table({"sha256": rows["sha256"], "content": released})


def _flat(findings: pa.ListArray) -> pa.Table:
    values = findings.flatten()
    return pa.table(
        {
            "doc": pc.list_parent_indices(findings).cast(pa.int64()),
            **{name: values.field(i) for i, name in enumerate(("start", "end", "kind", "rule"))},
        }
    )


def secrets_wave(
    runner: Runner, judged: Done, text_form: TextForm, sketched: Mapping[str, object] | None
) -> Done:
    """Annotate what passed; the findings budget is applied in the election.

    `sketched`: settings of the sketches (`sketch_settings`), None for no sketches.
    """
    stores = released_stores(text_form)
    if sketched is not None:
        stores |= sketch_stores(stores, sketched)
    stage = Stage(
        name="annotate.secrets",
        run=annotate_secrets,
        inputs={"passed": judged.ref("passed")},
        outputs={},
        config={**vars(text_form), "sketch": sketched, "stores": stores},
    )
    if sketched is not None and not runner.dry and not runner.is_done(stage) and not kernels_are_cached():
        compile_kernels()  # here, once: or each worker of this machine would
    return runner.run(stage)
