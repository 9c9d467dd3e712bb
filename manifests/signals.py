"""`signals.parquet`: what is known of rows beside what they hold, where the release was asked for it.

Only rows that have something to tell are in it, sorted by row_id. A reader joins it to `data` by `row_id`:

    SELECT * FROM 'data/*/*.parquet' ANTI JOIN (FROM 'signals.parquet' WHERE repeated_share > 0.5) USING (row_id)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from manifests.shards import SHARD_WRITER_OPTIONS
from manifests.sorted_rows import write_sorted

SIGNALS = pa.schema(
    [
        pa.field("row_id", pa.string(), nullable=False),
        pa.field("contained_in", pa.string()),  # row_id of a bigger row; null: in none, or not asked
        pa.field(
            "shared_shingles", pa.int64()
        ),  # distinct shingles in both; null as contained_in, as the next two
        pa.field("shingles", pa.int64()),  # distinct shingles of the row
        pa.field("containment", pa.float64()),  # shared_shingles / shingles
        pa.field("repeated_bytes", pa.int64()),  # of lines in blocks that many files hold; null: not asked
        pa.field("repeated_share", pa.float64()),  # of the bytes of all lines; null: not asked
    ]
)
"""`signals.parquet`, sorted by row_id."""

SIGNALS_WRITER_OPTIONS: Final[dict[str, Any]] = {
    **SHARD_WRITER_OPTIONS,
    "use_dictionary": False,
    "write_statistics": ["row_id", "containment", "repeated_share"],
}
"""Options of `pyarrow.parquet.ParquetWriter` for `signals.parquet`."""


def write_signals(tables: Iterable[pa.Table], file: Path) -> int:
    """Write rows of schema `SIGNALS`, already sorted by row_id over all `tables`; see `write_sorted`."""
    return write_sorted(tables, file, SIGNALS, SIGNALS_WRITER_OPTIONS)
