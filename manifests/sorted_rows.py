"""Writing a Parquet file of a release whose rows are sorted by an id, in pieces, so that its bytes do not tell the pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.errors import ReleaseError
from manifests.shards import sync

GROUP_ROWS = 131_072
"""Rows of a row group, whatever pieces they came in."""


def write_sorted(
    tables: Iterable[pa.Table],
    file: Path,
    schema: pa.Schema,
    options: Mapping[str, Any],
    *,
    key: str = "row_id",
    repeats: bool = False,
) -> int:
    """Write rows of `schema`, already sorted by `key` over all `tables`; returns their number.

    The bytes depend on the rows alone, not on how they were cut. `options`: of `pyarrow.parquet.ParquetWriter`. Memory: one
    row group and one table. `repeats`: a key may have several rows. Raises `ReleaseError` when a key does not ascend.
    """
    rows, last = 0, ""
    with pq.ParquetWriter(file, schema, **options) as writer:
        for group in _groups(tables):
            ids = group.column(key)
            first = ids[0].as_py()
            ascends = pc.all(
                (pc.less_equal if repeats else pc.less)(ids.slice(0, group.num_rows - 1), ids.slice(1))
            )
            if ascends.as_py() is False or first < last or (first == last and not repeats):
                raise ReleaseError(f"{file.name}: the rows are not sorted by {key}, or one is there twice")
            last = ids[-1].as_py()
            writer.write_table(group, row_group_size=GROUP_ROWS)
            rows += group.num_rows
    sync(file)
    return rows


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        start = 0
        while start < table.num_rows:
            piece = table.slice(start, GROUP_ROWS - count)
            held.append(piece)
            start, count = start + piece.num_rows, count + piece.num_rows
            if count == GROUP_ROWS:
                yield pa.concat_tables(held).combine_chunks()
                held, count = [], 0
    if held:
        yield pa.concat_tables(held).combine_chunks()
