"""Look-ups: the rows of a bucketed table that belong to given ids, without holding, or reading, the rest of it.

A table's parts that stay in their buckets are sorted by id, and Parquet knows the first and the last one of each row
group: a few ids cost a few row groups, whatever the table's size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.engine.buckets import bucket_of
from pipeline.engine.measure import drawn, phase
from pipeline.engine.shuffle import read_routed
from pipeline.engine.spill import in_parts
from pipeline.engine.stage import Ref, Task, part_name, read_summary
from pipeline.engine.store import Store

MEMORY_SHARE = 8
"""Of a task's memory, one part of so many holds rows that are to be sorted or joined: these make copies."""

ID_DIGITS = 40  # of object ids: SHA-1 in hex
_REQUESTS = 16  # parts of an object store read at once; each is held while it is filtered
_KEPT_BYTES = 32 << 20  # of stored parts, about four times that in memory


def distinct(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Each id once, ascending."""
    values = pc.unique(ids)
    return values.take(pc.sort_indices(values))


def without(table: pa.Table, column: str, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The rows whose `column` is none of `ids`."""
    if len(ids) == 0:
        return table
    return table.filter(pc.invert(pc.is_in(table[column], value_set=_one(ids))))


def minus(ids: pa.Array, others: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The ids that are none of `others`, in their order."""
    return ids.filter(pc.invert(pc.is_in(ids, value_set=_one(others)))) if len(others) else ids


def only(table: pa.Table, column: str, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The rows whose `column` is one of `ids`."""
    return table.filter(pc.is_in(table[column], value_set=_one(ids)))


def _sorted_only(table: pa.Table, column: str, words: npt.NDArray[np.bytes_]) -> pa.Table:
    """The same for a table sorted by `column`, and ascending ids: a few steps per id, whatever the table's size."""
    have = _words(_one(table[column]))
    if len(have) == 0:
        return table
    words = words[np.searchsorted(words, have[0]) : np.searchsorted(words, have[-1], "right")]
    first, last = np.searchsorted(have, words, "left"), np.searchsorted(have, words, "right")
    counts = last - first
    total = int(counts.sum())
    if total == len(have):
        return table
    return table.take(pa.array(np.arange(total) + np.repeat(last - np.cumsum(counts), counts)))


def run_starts(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Where each run of equal ids begins."""
    parts = _words(ids).view("<u8").reshape(-1, ID_DIGITS // 8)
    begins = np.ones(len(ids), np.bool_)
    if len(ids):
        begins[1:] = False
        for part in parts.T:
            begins[1:] |= part[1:] != part[:-1]
    return np.flatnonzero(begins)


def _one(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    return ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids


def pieces(task: Task, name: str, columns: list[str]) -> Iterator[pa.Table]:
    """The rows of input `name` in the unit's bucket, a row group or a segment at a time."""

    def tables() -> Iterator[pa.Table]:
        for part in _parts(task, name):
            if part.routed is not None:
                yield from part.segments(task.bucket, columns)
            elif part.bucket == task.bucket:
                yield from part.row_groups(columns)

    for table in drawn(tables(), "read"):
        task.rows_in += table.num_rows
        task.bytes_in += table.nbytes
        yield table


def parts(
    task: Task, name: str, schema: pa.Schema, route: str, *, share: int | None = None
) -> Iterator[pa.Table]:
    """The rows of the task's bucket, as pipeline.engine.spill gives them: at once where they take no more than the memory's
    `share`-th part (`MEMORY_SHARE` by default), else by the next bits of the column `route`."""
    return in_parts(
        pieces(task, name, schema.names),
        route=route,
        bucket=task.bucket,
        buckets=task.buckets,
        at_most=task.memory_bytes // (share or MEMORY_SHARE),
        scratch=task.scratch,
    )


def find(
    task: Task, name: str, ids: pa.Array, *, column: str, columns: list[str], kept: Kept | None = None
) -> pa.Table:
    """The rows of input `name`, of whatever buckets, whose `column` is one of `ids` (distinct, ascending).

    Each chunk and row group must be sorted by `column`; so is the result, if the input is one table in buckets. With
    `kept`, small parts are read once for all calls.
    """
    words = _words(ids)
    numbers = bucket_of(ids, task.buckets)  # ascending, as the ids are
    schema = _schema(task, task.refs[name][0])
    place = schema.names.index(column)

    def jobs() -> Iterator[tuple[_Part, int, npt.NDArray[np.bytes_], bool]]:
        for part in _parts(task, name):
            for bucket in np.unique(numbers) if part.routed is not None else [part.bucket]:
                first, last = np.searchsorted(numbers, [bucket, bucket + 1])
                if first < last:
                    yield part, int(bucket), words[first:last], kept is not None and kept.takes(part)

    def load(job: tuple[_Part, int, npt.NDArray[np.bytes_], bool]) -> list[pa.Table]:
        part, bucket, wanted, whole = job
        if part.routed is not None:
            found: Iterable[pa.Table] = part.segments(bucket, columns)
        else:
            found = part.row_groups(columns, None if whole else (place, wanted))
            if kept is not None and whole:
                found = kept.whole(part, found)
        return [_sorted_only(table, column, wanted) for table in found]

    tables = [schema.empty_table().select(columns)]
    with phase("read"):
        if task.store.root is None:  # what waits for answers waits for many at once
            with ThreadPoolExecutor(_REQUESTS) as pool:
                tables += itertools.chain.from_iterable(pool.map(load, jobs()))
        else:
            tables += itertools.chain.from_iterable(map(load, jobs()))
    result = pa.concat_tables(tables)
    task.rows_in += result.num_rows
    task.bytes_in += result.nbytes
    return result


@dataclass(frozen=True)
class _Part:
    """What one unit wrote of a table; `routed`: into how many buckets it is split, None if it stays in `bucket`."""

    store: Store
    key: str
    bytes: int
    chunks: int
    bucket: int
    routed: int | None

    def segments(self, bucket: int, columns: list[str]) -> list[pa.Table]:
        assert self.routed is not None
        return read_routed(
            self.store,
            self.key,
            size=self.bytes,
            chunks=self.chunks,
            buckets=self.routed,
            bucket=bucket,
            columns=columns,
        )

    def row_groups(
        self, columns: list[str], among: tuple[int, npt.NDArray[np.bytes_]] | None = None
    ) -> Iterator[pa.Table]:
        """All row groups, or those that may hold one of some words in the column of that number."""
        with self.store.parquet(self.key) as file:
            for number in range(file.num_row_groups):
                if among is None or _may_hold(file.metadata.row_group(number), *among):
                    yield file.read_row_group(number, columns=columns, use_threads=False)


@dataclass
class Kept:
    """Parts that a task asks for again and again: held in memory as long as they are small together."""

    tables: dict[str, list[pa.Table]] = field(default_factory=dict)
    stored_bytes: int = 0

    def takes(self, part: _Part) -> bool:
        """Whether the part is held, or is to be from now on."""
        if part.routed is not None or part.key in self.tables:
            return part.routed is None
        if self.stored_bytes + part.bytes > _KEPT_BYTES:
            return False
        self.stored_bytes += part.bytes
        self.tables[part.key] = []
        return True

    def whole(self, part: _Part, tables: Iterable[pa.Table]) -> list[pa.Table]:
        """The part's tables; they are taken from `tables` the first time."""
        if not self.tables[part.key]:
            self.tables[part.key] = list(tables)
        return self.tables[part.key]


def _parts(task: Task, name: str) -> Iterator[_Part]:
    """Every part of the input that has rows."""
    for ref in task.refs[name]:
        summary = read_summary(task.store, ref.folder)
        routed = summary["outputs"][ref.output]["buckets"]
        for unit, sidecar in sorted(summary["units"].items()):
            written = sidecar["outputs"][ref.output]
            if written["rows"]:
                key = f"{ref.folder}/{part_name(ref.output, unit, routed=routed is not None)}"
                yield _Part(task.store, key, written["bytes"], written["chunks"], sidecar["bucket"], routed)


def _schema(task: Task, ref: Ref) -> pa.Schema:
    described = read_summary(task.store, ref.folder)["outputs"][ref.output]["schema"]
    return pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(described)))


def _may_hold(group: pq.RowGroupMetaData, column: int, words: npt.NDArray[np.bytes_]) -> bool:
    bounds = group.column(column).statistics
    if bounds is None or not bounds.has_min_max:
        return True
    first = np.searchsorted(words, np.bytes_(bounds.min.encode()))
    return bool(first < len(words) and words[first] <= bounds.max.encode())


def _words(ids: pa.Array) -> npt.NDArray[np.bytes_]:
    """Ids as fixed-width bytes, which numpy compares."""
    if len(ids) == 0:
        return np.zeros(0, f"S{ID_DIGITS}")
    starts = np.frombuffer(ids.buffers()[1], np.int32, len(ids) + 1, ids.offset * 4)
    assert starts[-1] - starts[0] == ID_DIGITS * len(ids), "an id has not 40 digits"
    return np.frombuffer(ids.buffers()[2], f"S{ID_DIGITS}", len(ids), int(starts[0]))
