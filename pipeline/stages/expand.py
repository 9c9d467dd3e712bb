"""The join of the walk: rows of (root, path, directory) with the entries of their directories, in bounded chunks.

Entries are sorted by directory, so each row's entries are one range of them: the join is one look-up per row and two
gathers per pair, and any part of the pairs can be made without the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.buckets import bucket_of
from pipeline.engine.lookup import run_starts

CHUNK_ROWS = 1 << 18
"""Rows of a chunk: at 4,096 buckets still 64 for each, and some 40 MB with paths of usual length."""
CHUNK_BYTES = 64 << 20
"""Bytes of paths in a chunk, unless a single one is longer."""


def expand(frontier: pa.Table, entries: pa.Table, buckets: int) -> Iterator[pa.Table]:
    """Every (row, entry of its directory): root, path of the entry, then what else `entries` has, in its order.

    `frontier` has root, path and directory; `entries` has directory (sorted), name, target and more. Chunks follow the
    rows of `frontier`; a row without entries gives none. Inside a chunk pairs are in the order of the target's bucket,
    as a routed output needs them: to order numbers before the gather is cheaper than rows after it.
    """
    if frontier.num_rows == 0 or entries.num_rows == 0:
        return
    entries = entries.combine_chunks()
    ids = entries["directory"].combine_chunks()
    first = run_starts(ids)
    # One more range, empty, for directories that are not there.
    starts = np.append(first, 0)
    counts = np.append(np.diff(first, append=len(ids)), 0)
    directories = ids.take(pa.array(first))
    columns = [name for name in entries.column_names if name not in ("directory", "name")]
    rest, names = entries.select(columns), entries["name"].combine_chunks()
    buckets_of = bucket_of(entries["target"], buckets).astype(
        np.uint16
    )  # 16 bits: numpy sorts these by radix
    for batch in frontier.combine_chunks().to_batches():
        places = pc.fill_null(pc.index_in(batch["directory"], value_set=directories), len(first))
        at = np.asarray(places).astype(np.int64)
        yield from _pairs(batch, starts[at], counts[at], names, rest, buckets_of)


def _pairs(
    rows: pa.RecordBatch,
    starts: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    names: pa.Array,
    rest: pa.Table,
    buckets_of: npt.NDArray[np.uint16],
) -> Iterator[pa.Table]:
    ends = np.cumsum(counts)
    begins = ends - counts
    prefixes = pc.if_else(
        pc.equal(rows["path"], b""), b"", pc.binary_join_element_wise(rows["path"], b"", b"/")
    )
    lengths, name_lengths = np.asarray(pc.binary_length(prefixes)), np.asarray(pc.binary_length(names))
    total = int(ends[-1]) if len(ends) else 0
    windows = [(low, min(low + CHUNK_ROWS, total)) for low in range(0, total, CHUNK_ROWS)][::-1]
    while windows:
        low, high = windows.pop()
        first, last = np.searchsorted(ends, low, "right"), np.searchsorted(begins, high, "left")
        within = slice(int(first), int(last))
        part = np.minimum(ends[within], high) - np.maximum(begins[within], low)
        row = np.repeat(np.arange(first, last), part)
        entry = np.arange(low, high) + np.repeat(starts[within] - begins[within], part)
        if high - low > 1 and int(lengths[row].sum() + name_lengths[entry].sum()) > CHUNK_BYTES:
            middle = (low + high) // 2
            windows += [(middle, high), (low, middle)]
            continue
        order = np.argsort(buckets_of[entry], kind="stable")
        parent, child = pa.array(row[order]), pa.array(entry[order])
        paths = pc.binary_join_element_wise(prefixes.take(parent), names.take(child), b"")
        others = rest.take(child)
        columns = {name: others[name] for name in rest.column_names}
        yield pa.table({"root": rows["root"].take(parent), "path": paths, **columns})


def gather(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer, larger tables."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        waiting.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)
