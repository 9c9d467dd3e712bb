"""Wave W4, second part: the exact Jaccard similarity of candidate pairs, each compared once and for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.verify import ShingleSets, intersections, shingle_sets
from pipeline.engine.annotations import Annotator, require_all
from pipeline.engine.buckets import bucket_of
from pipeline.engine.stage import Task
from pipeline.stages.judge import in_batches
from pipeline.stages.secrets import RELEASED_OF, released_texts

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
    functions=("pipeline.stages.near_verify:verify", "pipeline.stages.near_verify:_similarities"),
)
"""Shingles that two released texts share: whoever was compared once is not compared again."""

_PAIRS_AT_ONCE = 8_192  # pairs whose shingle sets are held together


def verify(task: Task) -> Mapping[str, pa.Table]:
    """Exact intersections and unions of the shingle sets of every candidate pair; those that are known are looked up."""
    wanted = task.sql("select distinct * from t order by low, high", t=task.read("pairs"))
    store = SIMILARITY_OF.open(task)
    missing = store.missing(wanted.select(["first", "second"])).sort_by(
        [("first", "ascending"), ("second", "ascending")]
    )
    task.count("verified", missing.num_rows)
    for piece in _similarities(task, missing):
        store.append(piece)
    store.compact()
    edges = task.sql(
        """
        select w.* exclude (first, second), k.inter, k.union, false as estimated
        from w join k using (first, second) order by low, high
        """,
        w=wanted,
        k=store.read(wanted=wanted),
    )
    require_all("similarity", wanted.num_rows, edges.num_rows)
    return {"edges": edges}


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
    return shingle_sets(texts["content"].combine_chunks()), at.to_numpy().astype(np.int64)
