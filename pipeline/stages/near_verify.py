"""Wave W4, second part: the exact Jaccard similarity of candidate pairs, each compared once and for ever.

With `near_duplicates.shortcut` pairs whose sketches agree very much, or very little, are settled by that share instead. It
comes first, whatever is known: the outcome must not depend on what earlier releases compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.sketch import SLOTS, agreement, signatures_from_arrow
from dedup.verify import ShingleSets, Shortcut, Threshold, intersections, shingle_sets
from pipeline.engine.annotations import Annotator, require_all
from pipeline.engine.buckets import bucket_of
from pipeline.engine.lookup import pieces
from pipeline.engine.stage import Task
from pipeline.stages.reading import BATCH_BYTES, in_batches
from pipeline.stages.secrets import RELEASED_OF, released_texts
from pipeline.stages.sketches import SKETCH, SKETCH_OF

SIMILARITY = pa.schema(
    [
        ("first", pa.string()),  # sha256 of the two contents, the smaller one first
        ("second", pa.string()),
        ("inter", pa.int64()),
        ("union", pa.int64()),
    ]
)
SIMILARITY_OF = Annotator(
    name="similarity",
    ids=("first", "second"),
    schema=SIMILARITY,
    modules=("dedup.verify", "dedup.shingles"),
    functions=("pipeline.stages.near_verify:_compared", "pipeline.stages.near_verify:_sets"),
)
"""Shingles that two released texts share: whoever was compared once is not compared again."""

_PAIRS_AT_ONCE = 8_192  # pairs whose shingle sets are held together
_SKETCHES_AT_ONCE = 32_768  # pairs whose sketches are held together: 1 KB on either side


def verify(task: Task) -> Mapping[str, pa.Table]:
    """Intersections and unions of the shingle sets of every candidate pair; those that are known are looked up."""
    estimated, wanted = pairs_to_compare(task)
    store = SIMILARITY_OF.open(task)
    missing = store.missing(wanted.select(["first", "second"])).sort_by(
        [("first", "ascending"), ("second", "ascending")]
    )
    task.count("verified", missing.num_rows)
    task.count("estimated", estimated.num_rows)
    for piece in _similarities(task, missing):
        store.append(piece)
    store.compact()
    edges = task.sql(
        """
        select w.* exclude (first, second), k.inter, k.union, false as estimated from w join k using (first, second)
        union all select * exclude (first, second) from e
        order by low, high
        """,
        w=wanted,
        k=store.read(wanted=wanted),
        e=estimated,
    )
    require_all("similarity", wanted.num_rows + estimated.num_rows, edges.num_rows)
    return {"edges": edges}


def pairs_to_compare(task: Task) -> tuple[pa.Table, pa.Table]:
    """The distinct pairs of the bucket: those that their sketches settle, with the answer, and the others."""
    return _estimates(task, task.sql("select distinct * from t order by low, high", t=task.read("pairs")))


def _estimates(task: Task, pairs: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The pairs that their sketches settle, with how many values are equal, and the others."""
    if (shares := task.config["shortcut"]) is None:
        columns = {"inter": pa.int64(), "union": pa.int64(), "estimated": pa.bool_()}
        nothing = pa.schema([*pairs.schema, *columns.items()]).empty_table()
        return nothing, pairs
    shortcut = Shortcut.of(shares["accept"], shares["reject"], Threshold.of(task.config["threshold"]))
    accept, reject = shortcut.counts(SLOTS)
    ordered = pairs.sort_by([("first", "ascending"), ("second", "ascending")])
    equal = np.empty(ordered.num_rows, np.int64)
    for start in range(0, ordered.num_rows, _SKETCHES_AT_ONCE):
        block = ordered.slice(start, _SKETCHES_AT_ONCE)
        left, at = _signatures(task, block["first"], task.bucket)
        other = bucket_of(block["second"], task.buckets)
        for bucket in np.unique(other):
            mine = np.flatnonzero(other == bucket)
            right, of_right = _signatures(task, block["second"].take(pa.array(mine)), int(bucket))
            both = np.concatenate([left, right])
            equal[start + mine] = agreement(both, at[mine], of_right + len(left))
    settled = (equal >= accept) | (equal < reject)
    found = ordered.filter(pa.array(settled))
    answer = [
        pa.array(equal[settled]),
        pa.repeat(pa.scalar(SLOTS, pa.int64()), found.num_rows),
        pa.repeat(True, found.num_rows),
    ]
    for name, column in zip(("inter", "union", "estimated"), answer, strict=True):
        found = found.append_column(name, column)
    return found, ordered.filter(pa.array(~settled))


def _signatures(
    task: Task, ids: pa.ChunkedArray, bucket: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Signatures of the distinct contents among `ids`, and the position of each id in them."""
    distinct = pc.unique(ids)
    known = SKETCH_OF.open(task, bucket).read(["sketch"], wanted=pa.table({"sha256": distinct}))
    require_all("sketch", len(distinct), known.num_rows)
    at = pc.index_in(ids.combine_chunks(), value_set=known["sha256"].combine_chunks())
    return signatures_from_arrow(known["sketch"].cast(SKETCH.field("sketch").type)), at.to_numpy().astype(
        np.int64
    )


def _similarities(task: Task, wanted: pa.Table) -> Iterator[pa.Table]:
    """Compare pairs, by `first`. The first of each lives in this bucket, and is read in blocks of bounded bytes. The others
    were sent here (near_texts), or they are read bucket by bucket, in pieces of bounded bytes: where there are few buckets.
    """
    if "texts" in task.refs:
        for sent in _gathered(pieces(task, "texts", ["sha256", "content"])):
            ids = sent["sha256"].combine_chunks()
            mine = wanted.filter(pc.is_in(wanted["second"], value_set=ids))
            wanted = wanted.filter(pc.invert(pc.is_in(wanted["second"], value_set=ids)))
            right = shingle_sets(sent["content"], operators=task.config["operators"])
            for block in _blocks(task, mine, "first", task.bucket):
                at = pc.index_in(block["second"].combine_chunks(), value_set=ids).to_numpy()
                yield _compared(block, *_sets(task, block["first"], task.bucket), right, at.astype(np.int64))
    for block in _blocks(task, wanted, "first", task.bucket):
        left, of_left = _sets(task, block["first"], task.bucket)
        other = bucket_of(block["second"], task.buckets)
        placed = block.append_column("left", pa.array(of_left))
        for bucket in np.unique(other):
            mine = placed.take(pa.array(np.flatnonzero(other == bucket))).sort_by("second")
            for piece in _blocks(task, mine, "second", int(bucket)):
                right, right_at = _sets(task, piece["second"], int(bucket))
                yield _compared(piece, left, piece["left"].to_numpy(), right, right_at)


def _compared(
    pairs: pa.Table,
    left: ShingleSets,
    of_left: npt.NDArray[np.int64],
    right: ShingleSets,
    of_right: npt.NDArray[np.int64],
) -> pa.Table:
    inter, union = intersections(left, right, of_left, of_right)
    return pa.table([pairs["first"], pairs["second"], pa.array(inter), pa.array(union)], schema=SIMILARITY)


def _gathered(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of about the bytes of a batch."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        if held and size + table.nbytes > BATCH_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
        held.append(table)
        size += table.nbytes
    if held:
        yield pa.concat_tables(held)


def _blocks(task: Task, rows: pa.Table, name: str, bucket: int) -> Iterator[pa.Table]:
    """Runs of `rows`, in which those of one text lie together: texts of BATCH_BYTES at most, and some thousand pairs."""
    ids = pc.unique(rows[name])
    sizes = RELEASED_OF.open(task, bucket).read(["released_bytes"], wanted=pa.table({"sha256": ids}))
    at = pc.index_in(ids, value_set=sizes["sha256"].combine_chunks())
    known = pa.table(
        {"bytes": pc.fill_null(sizes["released_bytes"].take(at), 0)}
    )  # what is missing is told later
    numbers = pc.index_in(
        rows[name].combine_chunks(), value_set=ids
    ).to_numpy()  # ascends: ids are as they come
    first = 0
    for batch in in_batches(known, "bytes"):
        start, end = np.searchsorted(numbers, [first, first + batch.num_rows])
        for place in range(int(start), int(end), _PAIRS_AT_ONCE):
            yield rows.slice(place, min(_PAIRS_AT_ONCE, int(end) - place))
        first += batch.num_rows


def _sets(task: Task, ids: pa.ChunkedArray, bucket: int) -> tuple[ShingleSets, npt.NDArray[np.int64]]:
    """Shingle sets of the distinct contents among `ids`, and the position of each id in them."""
    distinct = pa.table({"sha256": pc.unique(ids)})
    texts = released_texts(task, distinct, bucket)
    task.count("texts_read", texts.num_rows)
    at = pc.index_in(ids.combine_chunks(), value_set=texts["sha256"].combine_chunks())
    sets = shingle_sets(texts["content"].combine_chunks(), operators=task.config["operators"])
    return sets, at.to_numpy().astype(np.int64)
