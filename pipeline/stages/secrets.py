"""Wave W2, second half: findings, released text and sketch of every content that passed the other rules.

The released text is a function of the content and of its scope (pipeline.stages.scopes): decode, convert, redact. It is not
stored: findings are, and the text is derived again where it is needed (verification, shards), checked against its recorded
SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.near import compile_kernels, kernels_are_cached
from manifests.schema import REDACTION
from pii.redact import redact_batch, released_spared
from pii.rules import digest_of, rules_digest
from pii.scan import scan
from pii.settings import Policy, Settings
from pipeline.content.notebook import STRIPPED
from pipeline.content.text import text_of
from pipeline.engine.annotations import require_all
from pipeline.engine.keys import source_digest
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Ref, Stage, Task
from pipeline.errors import IntegrityError
from pipeline.stages.fetch import BODIES_OF
from pipeline.stages.reading import in_batches
from pipeline.stages.scopes import (
    ScopedAnnotator,
    digest_of_scopes,
    levels_of,
    replacement_of,
    scope_of,
    scopes_input,
    settings_config,
    settings_from,
    settings_of_scope,
)
from pipeline.stages.secret_model import AskedModel, model_findings
from pipeline.stages.sketches import SKETCH_OF, append_sketches, sketch_stores

FINDING = pa.struct(
    [("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string()), ("rule", pa.string())]
)
SPARED = pa.struct([*FINDING, ("why", pa.string())])
EXPLAINED = pa.struct(
    [("kind", pa.string()), ("rule", pa.string()), ("why", pa.string()), ("findings", pa.int64())]
)
RELEASED = pa.schema(
    [
        ("sha256", pa.string()),
        ("scope", pa.string()),
        ("notebook", pa.string()),  # how the decoded text was converted, as text.SCHEMA has it
        ("findings", pa.list_(FINDING)),  # byte offsets in the converted text
        ("redactions", pa.list_(REDACTION)),  # byte offsets in the released text
        ("spared", pa.list_(SPARED)),  # left by the allow-list or a pragma; byte offsets in the released text
        ("explained", pa.list_(EXPLAINED)),  # left since they are no secrets, counted
        ("pragmas", pa.int64()),  # findings that a pragma asks to leave, redacted or left
        ("content_sha256", pa.string()),
        ("released_bytes", pa.int64()),
    ]
)

RELEASED_OF = ScopedAnnotator(
    name="released",
    ids=("sha256", "scope"),
    schema=RELEASED,
    modules=("pii.scan", "pii.redact", "pipeline.content.text"),
    functions=(
        "pipeline.stages.secrets:_scanned",
        "pipeline.stages.secrets:_grouped",
        "pipeline.stages.secrets:_spared",
        "pipeline.stages.secrets:_explained",
    ),
    libraries=("detect-secrets", "hyperscan", "google-re2", "phonenumberslite", "charset-normalizer"),
)
ALLOWED, PRAGMA = "allowed: ", "pragma"
"""How `why` begins where an entry of the allow-list spares a finding, and what it is where a pragma does."""

_TEXT_BYTES = 8 << 20  # texts that are held at once


@dataclass(frozen=True, kw_only=True)
class TextForm:
    """What of the configuration a released text depends on; `scopes`: the stage that found them, None where it is not needed;
    `model`: what is asked beside the rules.
    """

    policy: Policy
    notebooks: str
    scopes: Done | None = None
    model: AskedModel | None = None

    @property
    def base(self) -> Settings:
        """The settings of a content whose places ask for nothing else."""
        return self.policy.settings_for()

    @property
    def inputs(self) -> dict[str, Ref]:
        """What every stage has among its inputs that opens a store of released texts, or of what is derived from them."""
        return scopes_input(self.scopes)

    @property
    def pairs(self) -> dict[str, object]:
        """What belongs to the key of a store about pairs of released texts: all scopes, since its ids have none."""
        return {"scope": scope_of(self.base), "scopes": digest_of_scopes(self.scopes)}


def released_stores(text_form: TextForm) -> dict[str, str]:
    """Keys of the stores that released texts come from; `scope` is that of the base."""
    base = text_form.base
    key = RELEASED_OF.key(
        notebooks=text_form.notebooks,
        rules=rules_digest(),
        own_rules=digest_of(base.rules) if base.rules else None,
        obey_pragmas=base.obey_pragmas,
        model=None
        if text_form.model is None
        else {**text_form.model.record, "code": source_digest("pii.model_detector")},
    )
    return {"bodies": BODIES_OF.key(), "released": key, "scope": scope_of(base)}


def annotate_secrets(task: Task) -> Mapping[str, pa.Table]:
    """Scan, redact and sketch every content of the bucket that was not seen before at its scope.

    A content that was scanned before, for another sketch or for none, is only sketched.
    """
    wanted = task.sql("select distinct sha256, length from t order by sha256", t=task.read("passed"))
    store, bodies = RELEASED_OF.open(task), BODIES_OF.open(task)
    sketched = task.config["sketch"] is not None
    if carried := _carried(task, store.missing(wanted)):
        store.append(carried)
    missing = store.missing(wanted)
    task.count("annotated.secrets", missing.num_rows)
    for piece in in_batches(missing, "length", _TEXT_BYTES):
        rows = task.sql("select sha256, body from b order by sha256", b=bodies.read(wanted=piece))
        for settings, part in _by_settings(task, rows):
            annotated, released = _scanned(task, part, settings)
            store.append(annotated)
            if sketched:
                append_sketches(task, part["sha256"], released)
    store.compact()
    if sketched:
        sketches = SKETCH_OF.open(task)
        for piece in in_batches(sketches.missing(wanted), "length", _TEXT_BYTES):
            texts = released_texts(task, piece)
            append_sketches(task, texts["sha256"], texts["content"].combine_chunks())
        sketches.compact()
    return {}


def _carried(task: Task, missing: pa.Table) -> pa.Table | None:
    """Annotations of missing contents that are known from another allow-list at the same levels: an allow-list says nothing
    of a text without findings.
    """
    store = RELEASED_OF.open(task)
    if missing.num_rows == 0:
        return None
    known = store.scopes_of(["findings", "spared"], missing)
    if known.num_rows == 0:
        return None
    same = task.sql(
        """
        select k.sha256, min(k.scope) as scope from k join m using (sha256)
        where len(k.findings) = 0 and len(k.spared) = 0 and starts_with(k.scope, m.levels) group by k.sha256
        """,
        k=known,
        m=_with_levels(store.placed(missing)),
    )
    if same.num_rows == 0:
        return None
    task.count("carried.secrets", same.num_rows)
    return store.everywhere(RELEASED.names, same)


def _with_levels(placed: pa.Table) -> pa.Table:
    levels = [levels_of(scope) for scope in placed["scope"].to_pylist()]
    return pa.table({"sha256": placed["sha256"], "levels": pa.array(levels, pa.string())})


def _by_settings(task: Task, rows: pa.Table) -> Iterator[tuple[Settings, pa.Table]]:
    """The rows of each scope, with its settings."""
    base = settings_from(task.config["settings"])
    if "scopes" not in task.refs:
        yield base, rows
        return
    scopes = task.read("scopes")
    at = pc.index_in(rows["sha256"], value_set=scopes["sha256"].combine_chunks())
    told = pc.fill_null(scopes["settings"].take(at), "")
    for one in sorted(pc.unique(told).to_pylist()):
        yield (settings_of_scope(base, one) if one else base), rows.filter(pc.equal(told, one))


def _scanned(task: Task, rows: pa.Table, settings: Settings) -> tuple[pa.Table, pa.Array]:
    """The annotations of some bodies, and their released texts."""
    texts = text_of(rows["body"].combine_chunks().cast(pa.large_binary()), task.config["notebooks"])
    text = texts["text"].combine_chunks()
    task.bytes_in += pc.sum(pc.binary_length(text)).as_py() or 0
    scanned = scan(text, settings, also=model_findings(task, text))
    found = scanned.filter(pc.is_null(scanned["spared"]))
    released, redactions = redact_batch(text, found, settings.replacement)
    for kind in pc.value_counts(found["kind"]).to_pylist():
        task.count(f"found.{kind['values']}", kind["counts"])
    documents = pa.array(range(len(text)), pa.int64())
    pragmas = scanned.filter(scanned["pragma"])["doc"].to_numpy()
    annotated = pa.table(
        [
            rows["sha256"],
            texts["notebook"].combine_chunks(),
            _grouped(found, len(text), FINDING),
            redactions.cast(pa.list_(REDACTION)),
            _grouped(_spared(scanned, redactions), len(text), SPARED),
            _grouped(_explained(scanned), len(text), EXPLAINED),
            pa.array(np.bincount(pragmas, minlength=len(documents)).astype(np.int64)),
            pa.array([hashlib.sha256(_view(value)).hexdigest() for value in released]),
            pc.binary_length(released).cast(pa.int64()),
        ],
        names=[name for name in RELEASED.names if name != "scope"],
    )
    return annotated, released


def _view(value: pa.Scalar) -> memoryview:
    return memoryview(value.as_buffer())


def _spared(scanned: pa.Table, redactions: pa.ListArray) -> pa.Table:
    """What the settings spare, with its place in the released text; `redactions`: of the same texts."""
    by_settings = pc.fill_null(_by_the_settings(scanned["spared"]), True)
    left = released_spared(scanned.filter(by_settings), redactions)
    return left.rename_columns(["why" if name == "spared" else name for name in left.column_names])


def _by_the_settings(why: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.or_(pc.starts_with(why, ALLOWED), pc.equal(why, PRAGMA))


def _explained(scanned: pa.Table) -> pa.Table:
    """What is no secret, counted by document, kind, rule and explanation, in that order."""
    keys = ["doc", "kind", "rule", "spared"]
    rows = scanned.filter(pc.fill_null(pc.invert(_by_the_settings(scanned["spared"])), False))
    counted = rows.group_by(keys).aggregate([([], "count_all")]).select([*keys, "count_all"])
    return counted.sort_by([(name, "ascending") for name in keys]).rename_columns(
        ["doc", "kind", "rule", "why", "findings"]
    )


def _grouped(found: pa.Table, documents: int, kind: pa.StructType) -> pa.Array:
    """Rows as one list per document; `found` is sorted by document."""
    ends = np.searchsorted(found["doc"].to_numpy(), np.arange(documents), side="right")
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    columns = [found[field.name].combine_chunks().cast(field.type) for field in kind]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(columns, fields=list(kind)))


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
    released, _ = redact_batch(
        text,
        _flat(rows["findings"].combine_chunks()),
        replacement_of(task.config["stores"].get("scope", "")),
    )
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
        inputs={"passed": judged.ref("passed"), **text_form.inputs},
        outputs={},
        config={
            "settings": settings_config(text_form.base),
            "notebooks": text_form.notebooks,
            "sketch": sketched,
            "stores": stores,
            "model": None if text_form.model is None else dict(text_form.model.record),
        },
        extra={} if text_form.model is None else {"model": dict(text_form.model.given)},
        heavy=text_form.model is not None,
    )
    if sketched is not None and not runner.dry and not runner.is_done(stage) and not kernels_are_cached():
        compile_kernels()  # here, once: or each worker of this machine would
    return runner.run(stage)
