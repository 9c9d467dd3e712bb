"""Containment: which kept contents lie in bigger ones, as a signal that decides nothing.

    kept ─▶ sampled shingles (annotation) ─▶ rare hashes ─▶ pairs ─▶ the likeliest, compared exactly (annotation) ─▶ the best

Only kept contents are asked about and named, so what is told is of rows that a reader of the release has. Pairs whose sizes
allow a near-duplicate are left to the search for those. See `dedup.containment`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.containment import CAP, LEAST, rare_samples, samples, shared_samples, worth_verifying
from dedup.verify import ShingleSets, Threshold, intersections, shingle_sets
from pipeline.engine.annotations import Annotator, require_all
from pipeline.engine.buckets import bucket_of
from pipeline.engine.lookup import parts
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.stages.reading import in_batches
from pipeline.stages.scopes import ScopedAnnotator
from pipeline.stages.secrets import TextForm, released_stores, released_texts

SAMPLES = pa.schema(
    [
        ("sha256", pa.string()),
        ("shingles", pa.int64()),  # distinct ones
        ("sample", pa.list_(pa.uint64())),
    ]
)
SAMPLES_OF = ScopedAnnotator(
    name="samples",
    ids=("sha256", "scope"),
    schema=pa.schema([*SAMPLES, ("scope", pa.string())]),
    modules=("dedup.containment", "dedup.shingles"),
    functions=("pipeline.stages.signals_contained:annotate_samples",),
)

CONTAINED = pa.schema(
    [
        ("sha256", pa.string()),
        ("bigger", pa.string()),  # sha256 of a bigger content
        ("inter", pa.int64()),  # distinct shingles in both
    ]
)
CONTAINED_OF = Annotator(
    name="containment",
    ids=("sha256", "bigger"),
    schema=CONTAINED,
    modules=("dedup.verify", "dedup.shingles"),
    functions=("pipeline.stages.signals_contained:_compared",),
)

POSTINGS = pa.schema([("hash", pa.uint64()), ("sha256", pa.string()), ("shingles", pa.int64())])
SHARED = pa.schema(
    [
        ("sha256", pa.string()),
        ("bigger", pa.string()),  # null: `shared` counts the rare hashes of the content
        ("shared", pa.int64()),
        ("shingles", pa.int64()),  # distinct, of the content
        ("bigger_shingles", pa.int64()),
    ]
)
BEST = pa.schema(
    [
        ("sha256", pa.string()),
        ("contained_in", pa.string()),  # sha256
        ("inter", pa.int64()),
        ("shingles", pa.int64()),
    ]
)
"""The contents that lie in a bigger one, with the one that holds most of it."""

_LIKELIEST = 4  # bigger contents that one is compared with
_BATCH_BYTES = 8 << 20  # of text whose shingles are held at once
_BATCH_SHINGLES = 1 << 20  # of one side that are compared at once: 8 MB, of some 10 MB of text
_ROWS_BYTES = 64 << 20  # of text whose samples are held at once


def annotate_samples(task: Task) -> Mapping[str, pa.Table]:
    """Sample the shingles of every kept content of the bucket that was not seen before."""
    kept = task.sql("select sha256, released_bytes from t order by sha256", t=task.read("kept"))
    store = SAMPLES_OF.open(task)
    missing = store.missing(kept)
    task.count("annotated.samples", missing.num_rows)
    for piece in in_batches(missing, "released_bytes", _BATCH_BYTES):
        texts = released_texts(task, piece)
        task.bytes_in += texts.nbytes
        found = samples(texts["content"].combine_chunks())
        lists = pa.ListArray.from_arrays(pa.array(found.offsets.astype(np.int32)), pa.array(found.values))
        store.append(pa.table([texts["sha256"], pa.array(found.sizes), lists], schema=SAMPLES))
    store.compact()
    return {}


def postings(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """One row per sampled hash of a content that is big enough to be asked about."""
    return {"postings": _postings(task)}


def _postings(task: Task) -> Iterator[pa.Table]:
    kept = task.sql("select sha256, released_bytes from t order by sha256", t=task.read("kept"))
    store = SAMPLES_OF.open(task)
    for piece in in_batches(kept, "released_bytes", _ROWS_BYTES):
        rows = store.read(wanted=piece)
        require_all(SAMPLES_OF.name, piece.num_rows, rows.num_rows)
        yield task.sql(
            f"select unnest(sample) as hash, sha256, shingles from t where shingles >= {LEAST}", t=rows
        )


def shared(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Pairs of contents with the number of rare hashes in the bucket that they share, and each content's own number."""
    return {"shared": _shared(task)}


def _shared(task: Task) -> Iterator[pa.Table]:
    similar = Threshold.of(task.config["similar"])
    for rows in parts(task, "postings", POSTINGS, "hash"):
        names = task.sql("select distinct sha256, shingles from t order by sha256", t=rows)
        sha256, sizes = names["sha256"].combine_chunks(), names["shingles"].to_numpy()
        members = pc.index_in(rows["sha256"].combine_chunks(), value_set=sha256).to_numpy()
        rare = rare_samples(rows["hash"].to_numpy(), members.astype(np.int64), cap=CAP)
        task.count("hot_hashes", rare.hot_hashes)
        task.count("hot_holders", rare.hot_holders)
        count = np.bincount(rare.members, minlength=len(sizes))
        own = np.flatnonzero(count)
        nobody = pa.nulls(len(own), pa.string()), pa.nulls(len(own), pa.int64())
        yield pa.table(
            [sha256.take(pa.array(own)), nobody[0], pa.array(count[own]), pa.array(sizes[own]), nobody[1]],
            schema=SHARED,
        )
        for pairs in shared_samples(rare, sizes, similar=similar):
            ends = sha256.take(pa.array(pairs.inner)), sha256.take(pa.array(pairs.outer))
            shingles = pa.array(sizes[pairs.inner]), pa.array(sizes[pairs.outer])
            yield pa.table([*ends, pa.array(pairs.shared), *shingles], schema=SHARED)


def contained(task: Task) -> Mapping[str, pa.Table]:
    """Compare each content of the bucket with the likeliest of the bigger ones, and keep the one that holds most of it."""
    least = Threshold.of(task.config["least"])
    rows = task.sql(
        """
        select sha256, bigger, sum(shared)::bigint as shared, any_value(shingles) as shingles,
            any_value(bigger_shingles) as bigger_shingles
        from t group by sha256, bigger
        """,
        t=task.read("shared"),
    )
    pairs = task.sql(
        """
        select p.*, r.shared as rare from t p join t r using (sha256) where p.bigger is not null and r.bigger is null
        order by sha256, bigger
        """,
        t=rows,
    )
    task.count("candidates", pairs.num_rows)
    likely = worth_verifying(pairs["shared"].to_numpy(), pairs["rare"].to_numpy(), least)
    wanted = task.sql(
        f"""
        select * from t qualify row_number() over (
            partition by sha256 order by shared desc, bigger_shingles, bigger) <= {_LIKELIEST}
        order by sha256, bigger
        """,
        t=pairs.filter(pa.array(likely)),
    )
    task.count("compared", wanted.num_rows)
    store = CONTAINED_OF.open(task)
    for piece in _compared(task, store.missing(wanted)):
        store.append(piece)
    store.compact()
    known = store.read(wanted=wanted)
    require_all(CONTAINED_OF.name, wanted.num_rows, known.num_rows)
    best = task.sql(
        f"""
        select sha256, bigger as contained_in, k.inter, w.shingles from w join k using (sha256, bigger)
        where {least.denominator} * k.inter >= {least.numerator} * w.shingles
        qualify row_number() over (partition by sha256 order by k.inter desc, w.bigger_shingles, bigger) = 1
        """,
        w=wanted,
        k=known,
    )
    task.count("contained", best.num_rows)
    return {"contained": best}


def _compared(task: Task, wanted: pa.Table) -> Iterator[pa.Table]:
    """Exact intersections of pairs: the smaller ones, of this bucket, in batches of bounded bytes; for each batch the bigger
    ones bucket by bucket, likewise. `wanted`: sha256, bigger, shingles, bigger_shingles.
    """
    wanted = wanted.sort_by([("sha256", "ascending"), ("bigger", "ascending")])
    for left in in_batches(_distinct(task, wanted, "sha256", "shingles"), "shingles", _BATCH_SHINGLES):
        sets, ids = _sets(task, left, task.bucket)
        mine = wanted.filter(pc.is_in(wanted["sha256"], value_set=ids))
        buckets = bucket_of(mine["bigger"], task.buckets)
        for bucket in np.unique(buckets).tolist():
            there = mine.filter(pa.array(buckets == bucket))
            for right in in_batches(
                _distinct(task, there, "bigger", "bigger_shingles"), "shingles", _BATCH_SHINGLES
            ):
                other_sets, other_ids = _sets(task, right, bucket)
                rows = there.filter(pc.is_in(there["bigger"], value_set=other_ids))
                a = pc.index_in(rows["sha256"].combine_chunks(), value_set=ids).to_numpy()
                b = pc.index_in(rows["bigger"].combine_chunks(), value_set=other_ids).to_numpy()
                inter, _ = intersections(sets, other_sets, a.astype(np.int64), b.astype(np.int64))
                yield pa.table([rows["sha256"], rows["bigger"], pa.array(inter)], schema=CONTAINED)


def _sets(task: Task, wanted: pa.Table, bucket: int) -> tuple[ShingleSets, pa.Array]:
    """The shingle sets of some contents of a bucket, and which ones they are."""
    texts = released_texts(task, wanted.select(["sha256"]), bucket)
    return shingle_sets(texts["content"].combine_chunks()), texts["sha256"].combine_chunks()


def _distinct(task: Task, rows: pa.Table, name: str, size: str) -> pa.Table:
    """The distinct contents of a column, with their number of shingles."""
    query = f"select distinct {name} as sha256, {size} as shingles from t order by 1"
    return task.sql(query, t=rows.select([name, size]))


@dataclass(frozen=True)
class Contained:
    """The last stage, whose table is `contained`, and the one that paired the holders of rare hashes."""

    done: Done
    pairs: Done


def contained_wave(runner: Runner, kept: Done, *, least: str, similar: str, text_form: TextForm) -> Contained:
    """Run the stages over the contents of the stage `kept`.

    `least`: containment that is told; `similar`: Jaccard similarity of near-duplicates, which are left out.
    """
    texts = released_stores(text_form)
    sampled = {**texts, SAMPLES_OF.name: SAMPLES_OF.key(texts=texts["released"])}
    libraries = ("duckdb", "pyarrow", "numpy", "numba")
    runner.run(
        Stage(
            name="annotate.samples",
            run=annotate_samples,
            inputs={"kept": kept.ref("kept"), **text_form.inputs},
            outputs={},
            config={"stores": sampled},
            libraries=libraries,
        )
    )
    listed = runner.run(
        Stage(
            name="signals.postings",
            run=postings,
            inputs={"kept": kept.ref("kept"), **text_form.inputs},
            outputs={"postings": Output(schema=POSTINGS, order=("hash", "sha256"), route="hash")},
            config={"stores": sampled},
            libraries=libraries,
        )
    )
    paired = runner.run(
        Stage(
            name="signals.shared",
            run=shared,
            inputs={"postings": listed.ref("postings")},
            outputs={"shared": Output(schema=SHARED, order=("sha256", "bigger"), route="sha256")},
            config={"similar": similar},
            libraries=libraries,
        )
    )
    compared = {**texts, CONTAINED_OF.name: CONTAINED_OF.key(texts=texts["released"], **text_form.pairs)}
    done = runner.run(
        Stage(
            name="signals.contained",
            run=contained,
            inputs={"shared": paired.ref("shared"), **text_form.inputs},
            outputs={"contained": Output(schema=BEST, order=("sha256",))},
            config={"stores": compared, "least": least},
            libraries=libraries,
        )
    )
    return Contained(done, paired)
