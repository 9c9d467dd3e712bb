"""Buckets: a table is split by the leading bits of its key's hex digest.

A bucket number is a prefix of the id's bits, so with twice the buckets each one splits in two and the order of
rows over all buckets stays the order of the ids. Ids are lower-case hex strings or unsigned 64-bit hashes.

A part that stays in its bucket is a Parquet file; one that is routed to others is laid out by shuffle.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MAX_BUCKETS = 4096  # three hex digits; the largest split that DESIGN plans for
ROW_GROUP_ROWS = 131_072  # rows held per row group of an intermediate table
_ROW_GROUP_BYTES = 64 << 20

_NIBBLE = np.zeros(256, np.uint32)
_NIBBLE[np.frombuffer(b"0123456789", np.uint8)] = np.arange(10)
_NIBBLE[np.frombuffer(b"abcdef", np.uint8)] = np.arange(10, 16)


def check_buckets(count: int) -> int:
    """`count` if it is a power of two in 1..MAX_BUCKETS; ValueError otherwise."""
    if not 1 <= count <= MAX_BUCKETS or count & (count - 1):
        raise ValueError(f"the number of buckets must be a power of two from 1 to {MAX_BUCKETS}, not {count}")
    return count


def bucket_of(ids: pa.Array | pa.ChunkedArray, buckets: int) -> npt.NDArray[np.uint32]:
    """Bucket number of each id: hex string (at least 3 digits) or uint64. Null ids are not allowed.

    More than MAX_BUCKETS, for a finer split of one bucket, need ids of at least 5 digits.
    """
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if ids.null_count:
        raise ValueError("a row without an id cannot be routed to a bucket")
    bits = buckets.bit_length() - 1
    if pa.types.is_uint64(ids.type):
        values = np.asarray(ids.to_numpy(zero_copy_only=False), np.uint64)
        return (
            (values >> np.uint64(64 - bits)).astype(np.uint32) if bits else np.zeros(len(values), np.uint32)
        )
    if len(ids) == 0:
        return np.zeros(0, np.uint32)
    text = pc.cast(ids, pa.large_string())
    buffers = text.buffers()
    starts = np.frombuffer(buffers[1], np.int64, len(text) + 1, text.offset * 8)
    digits = 3 if bits <= 12 else 5
    if int(np.diff(starts).min()) < digits:
        raise ValueError("an id shorter than three hex digits cannot be routed to a bucket")
    data = np.frombuffer(buffers[2], np.uint8)
    leading = np.zeros(len(text), np.uint32)
    for place in range(digits):
        leading = (leading << np.uint32(4)) | _NIBBLE[data[starts[:-1] + place]]
    return leading >> np.uint32(4 * digits - bits)


def sort_table(table: pa.Table, order: Sequence[str]) -> pa.Table:
    """`table` sorted ascending by the full key `order`, nulls last: bytes do not depend on arrival."""
    if table.num_rows < 2 or not order:
        return table
    keys = [(name, "ascending") for name in order]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def write_part(path: Path, chunks: Iterable[pa.Table], schema: pa.Schema, *, order: Sequence[str]) -> int:
    """Write one part that stays in its bucket, each chunk sorted by `order`; returns the rows."""
    rows = 0
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_page_checksum=True,
        store_schema=True,
    ) as writer:
        for chunk in chunks:
            for piece in _row_groups(sort_table(chunk.combine_chunks(), order)):
                writer.write_table(piece, row_group_size=max(1, piece.num_rows))
                rows += piece.num_rows
    return rows


def _row_groups(table: pa.Table) -> list[pa.Table]:
    per_row = max(1, table.nbytes // max(1, table.num_rows))
    step = max(1, min(ROW_GROUP_ROWS, _ROW_GROUP_BYTES // per_row))
    return [table.slice(start, step) for start in range(0, table.num_rows, step)]
