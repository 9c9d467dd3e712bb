"""The rows of one bucket, a part at a time, where they are too many to hold: split by the next bits of their ids, on disk.

A bucket of the whole archive's entries is tens of gigabytes, and there are at most MAX_BUCKETS buckets. What fits is handed
on as it is; what does not is written once to local files and read back once, in the order of the ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.engine.buckets import bucket_of

PARTS = 256  # of a bucket: 8 more bits of the id


def in_parts(
    rows: Iterable[pa.Table], *, route: str, bucket: int, buckets: int, at_most: int, scratch: Path
) -> Iterator[pa.Table]:
    """The rows of `bucket` as tables whose ids ascend from one to the next: an id is in one table only.

    One table when all rows together have no more than `at_most` bytes, up to PARTS of them otherwise. Memory: `at_most` and
    one piece of `rows`, or the largest part. The files in `scratch` are gone when the last part was taken.
    """
    held: list[pa.Table] = []
    size = 0
    with _Files(scratch) as files:
        for piece in rows:
            held.append(piece)
            size += piece.nbytes
            if size > at_most:
                files.add(*_split(held, route, bucket, buckets))
                held, size = [], 0
        if held and files.used:
            files.add(*_split(held, route, bucket, buckets))
            held = []
    if held:
        yield pa.concat_tables(held)
    yield from files.parts()


def _split(
    held: list[pa.Table], route: str, bucket: int, buckets: int
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """The rows by part, and where each part ends."""
    table = pa.concat_tables(held)
    numbers = bucket_of(table[route], buckets * PARTS) - np.uint32(bucket * PARTS)
    ends = np.cumsum(np.bincount(numbers, minlength=PARTS))
    return table.take(pa.array(np.argsort(numbers.astype(np.uint16), kind="stable"))), ends


class _Files:
    """One file for each part that has rows."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()

    @property
    def used(self) -> bool:
        return bool(self._writers)

    def add(self, table: pa.Table, ends: npt.NDArray[np.int64]) -> None:
        for part, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
            if start < end:
                if part not in self._writers:
                    self._writers[part] = pa.ipc.new_stream(self._path(part), table.schema)
                self._writers[part].write_table(table.slice(start, end - start))

    def parts(self) -> Iterator[pa.Table]:
        for part in sorted(self._writers):
            with pa.ipc.open_stream(pa.OSFile(str(self._path(part)))) as reader:
                table = reader.read_all()
            self._path(part).unlink()
            yield table

    def _path(self, part: int) -> Path:
        return self._scratch / f"spill-{part:02x}.arrow"
