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
from pipeline.engine.stage import Task
from pipeline.stages.judge import in_batches
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
    functions=("pipeline.stages.near_verify:_similarities", "pipeline.stages.near_verify:_sets"),
)
"""Shingles that two released texts share: whoever was compared once is not compared again."""

_PAIRS_AT_ONCE = 8_192  # pairs whose shingle sets are held together
_SKETCHES_AT_ONCE = 32_768  # pairs whose sketches are held together: 1 KB on either side


def verify(task: Task) -> Mapping[str, pa.Table]:
    """Intersections and unions of the shingle sets of every candidate pair; those that are known are looked up."""
    asked = task.sql("select distinct * from t order by low, high", t=task.read("pairs"))
    estimated, wanted = _estimates(task, asked)
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
    require_all("similarity", asked.num_rows, edges.num_rows)
    return {"edges": edges}


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
    """Compare pairs. The first of each lives in this bucket and is read once, in blocks of bounded bytes; the others are read
    bucket by bucket, in pieces of bounded bytes.
    """
    for block in _blocks(task, wanted, "first", task.bucket):
        left, of_left = _sets(task, block["first"], task.bucket)
        other = bucket_of(block["second"], task.buckets)
        placed = block.append_column("left", pa.array(of_left))
        for bucket in np.unique(other):
            mine = placed.take(pa.array(np.flatnonzero(other == bucket))).sort_by("second")
            for piece in _blocks(task, mine, "second", int(bucket)):
                right, right_at = _sets(task, piece["second"], int(bucket))
                inter, union = intersections(left, right, piece["left"].to_numpy(), right_at)
                columns = piece.select(["first", "second"]).columns
                yield pa.table(
                    [*columns, pa.array(inter, pa.int64()), pa.array(union, pa.int64())], schema=SIMILARITY
                )


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
    at = pc.index_in(ids.combine_chunks(), value_set=texts["sha256"].combine_chunks())
    sets = shingle_sets(texts["content"].combine_chunks(), operators=task.config["operators"])
    return sets, at.to_numpy().astype(np.int64)
