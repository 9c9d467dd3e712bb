"""`quality-signals.parquet`: the quality signals of every row, beside the rows; what a reader's own thresholds need.

One row per row of `data`, sorted by row_id: `row_id`, `language`, and a column for each signal. Which signals there are depends
on the pipeline that made the release, so the schema is the writer's; the two first columns are always there. A reader joins it:

    SELECT * FROM 'data/*/*.parquet' SEMI JOIN (FROM 'quality-signals.parquet' WHERE max_line_length < 300) USING (row_id)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from manifests.shards import SHARD_WRITER_OPTIONS
from manifests.sorted_rows import write_sorted

WORDS = (
    "`quality-signals.parquet` has the quality signals of every row, by `row_id`, for thresholds of your own: lines, characters,"
    " words, repetition, encoded data, hidden characters."
)
"""What the card says of the file."""

KEYS = (pa.field("row_id", pa.string(), nullable=False), pa.field("language", pa.string(), nullable=False))
"""The first columns, as `data` has them."""

WRITER_OPTIONS: Final[dict[str, Any]] = {
    **SHARD_WRITER_OPTIONS,
    "compression_level": 3,
    "use_dictionary": ["language"],
    "write_statistics": ["row_id", "language"],
}
"""Options of `pyarrow.parquet.ParquetWriter` for `quality-signals.parquet`."""


def quality_signals_schema(signals: Iterable[pa.Field]) -> pa.Schema:
    """The schema of the file with these columns of signals."""
    return pa.schema([*KEYS, *signals])


def write_quality_signals(tables: Iterable[pa.Table], file: Path, schema: pa.Schema) -> int:
    """Write rows of a `quality_signals_schema`, already sorted by row_id over all `tables`; see `write_sorted`."""
    return write_sorted(tables, file, schema, WRITER_OPTIONS)
