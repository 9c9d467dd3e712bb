"""Routed parts: what one map task sends to all reducers, as ONE object of independent segments.

    segment (chunk 0, bucket 0) | segment (0, 1) | ... | segment (1, 0) | ... | table

A segment is an Arrow IPC stream, its buffers packed with zstd. The table at the end has one row of 24 bytes per
(bucket, chunk): offset and length in bytes, rows, CRC-32. It lies at a place that follows from the object's size and the
number of chunks, which are in the unit's sidecar: a reader fetches the rows of its own bucket, which lie together, and
those segments, never a footer that grows with the number of buckets. A task that has more rows than it should hold writes
several chunks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.engine.buckets import ROW_GROUP_ROWS, bucket_of, sort_table
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError

_ENTRY = np.dtype([("offset", "<u8"), ("length", "<u8"), ("rows", "<u4"), ("crc", "<u4")])
_OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1))


def write_routed(
    path: Path, chunks: Iterable[pa.Table], *, order: Sequence[str], route: str, buckets: int
) -> tuple[int, int]:
    """Write a routed part; each chunk is sorted by `order` and split by the bucket of its column `route`.

    Returns (rows, chunks). Nulls in `route` are a ValueError.
    """
    tables: list[npt.NDArray[np.void]] = []
    rows = 0
    with path.open("wb") as stream:
        for chunk in chunks:
            if chunk.num_rows:
                rows += chunk.num_rows
                tables.append(_write_chunk(stream, sort_table(chunk.combine_chunks(), order), route, buckets))
        if tables:
            stream.write(np.stack(tables, axis=1).tobytes())
    return rows, len(tables)


def _write_chunk(stream: BinaryIO, table: pa.Table, route: str, buckets: int) -> npt.NDArray[np.void]:
    entries = np.zeros(buckets, _ENTRY)
    numbers = bucket_of(table[route], buckets)
    counts = np.bincount(numbers, minlength=buckets)
    # Already in the order of its buckets where the route leads the sort key.
    if np.any(numbers[1:] < numbers[:-1]):
        # 4,096 buckets at most: numpy sorts numbers of 16 bits by radix.
        table = table.take(pa.array(np.argsort(numbers.astype(np.uint16), kind="stable")))
    starts = np.concatenate([[0], np.cumsum(counts)])
    for bucket in np.flatnonzero(counts):
        sink = pa.BufferOutputStream()
        piece = table.slice(int(starts[bucket]), int(counts[bucket]))
        with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
            writer.write_table(piece, max_chunksize=ROW_GROUP_ROWS)
        data = sink.getvalue()
        entries[bucket] = (stream.tell(), data.size, piece.num_rows, zlib.crc32(data))
        stream.write(data)
    return entries


def read_routed(
    store: Store,
    key: str,
    *,
    size: int,
    chunks: int,
    buckets: int,
    bucket: int | None,
    columns: list[str] | None,
) -> list[pa.Table]:
    """The segments of one bucket, or of all of them (`bucket=None`), in the order of chunks and buckets.

    Raises IntegrityError when the object is not what its writer left.
    """
    of_bucket = chunks * _ENTRY.itemsize
    first = size - buckets * of_bucket
    wanted = [(first, buckets * of_bucket)] if bucket is None else [(first + bucket * of_bucket, of_bucket)]
    entries = np.frombuffer(b"".join(store.read_ranges(key, wanted)), _ENTRY)
    entries = np.sort(entries[entries["rows"] > 0], order="offset")
    spans = [(int(entry["offset"]), int(entry["length"])) for entry in entries]
    if any(offset + length > first for offset, length in spans):
        raise _damaged(store, key, "its table leads outside of it")
    tables = []
    for entry, data in zip(entries, store.read_ranges(key, spans), strict=True):
        if zlib.crc32(data) != entry["crc"]:
            raise _damaged(store, key, "a checksum differs")
        tables.append(_read_segment(data, columns))
    return tables


def _read_segment(data: bytes, columns: list[str] | None) -> pa.Table:
    source = pa.py_buffer(data)
    if columns is None:
        return pa.ipc.open_stream(source).read_all()
    names = pa.ipc.open_stream(source).schema.names
    included = pa.ipc.IpcReadOptions(
        included_fields=[names.index(name) for name in columns], use_threads=False
    )
    return pa.ipc.open_stream(source, options=included).read_all().select(columns)


def _damaged(store: Store, key: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{store.uri}/{key} is damaged: {why}; delete it, or the folder that it is in, and run again"
    )
