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

CHUNK_ROWS = 1 << 18
"""Rows of a chunk: at 4,096 buckets still 64 for each, and some 40 MB with paths of usual length."""
CHUNK_BYTES = 64 << 20
"""Bytes of paths in a chunk, unless a single one is longer."""


def expand(frontier: pa.Table, entries: pa.Table) -> Iterator[pa.Table]:
    """Every (row, entry of its directory): root, path of the entry, then what else `entries` has, in its order.

    `frontier` has root, path and directory; `entries` has directory (sorted), name and more. The chunks follow the
    rows of `frontier`; a row without entries gives none.
    """
    if frontier.num_rows == 0 or entries.num_rows == 0:
        return
    entries = entries.combine_chunks()
    runs = pc.run_end_encode(entries["directory"].combine_chunks())
    ends = np.asarray(runs.run_ends).astype(np.int64)
    # One more range, empty, for directories that are not there.
    starts = np.concatenate([[0], ends[:-1], [0]])
    counts = np.concatenate([np.diff(ends, prepend=0), [0]])
    columns = [name for name in entries.column_names if name not in ("directory", "name")]
    rest, names = entries.select(columns), entries["name"].combine_chunks()
    for batch in frontier.combine_chunks().to_batches():
        places = pc.fill_null(pc.index_in(batch["directory"], value_set=runs.values), len(ends))
        at = np.asarray(places).astype(np.int64)
        yield from _pairs(batch, starts[at], counts[at], names, rest)


def _pairs(
    rows: pa.RecordBatch,
    starts: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    names: pa.Array,
    rest: pa.Table,
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
        taken = pa.array(entry)
        paths = pc.binary_join_element_wise(prefixes.take(pa.array(row)), names.take(taken), b"")
        others = rest.take(taken)
        columns = {name: others[name] for name in rest.column_names}
        yield pa.table({"root": rows["root"].take(pa.array(row)), "path": paths, **columns})


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
