"""`secrets-spared.parquet`: findings that the configuration leaves in the text, where it may leave any.

One row per finding, sorted by row_id, start and end; offsets are bytes of the row's `content`. The values themselves are in no
file but the text. With it the text can be scanned again: what is found lies in `redactions`, or here.

    SELECT content[start + 1:end] FROM 'data/*/*.parquet' JOIN 'secrets-spared.parquet' USING (row_id)   -- if it is ASCII
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from manifests.shards import SHARD_WRITER_OPTIONS
from manifests.sorted_rows import write_sorted

SECRETS_SPARED = pa.schema(
    [
        pa.field("row_id", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("why", pa.string(), nullable=False),  # `allowed: <reason>` or `pragma`
    ]
)
"""`secrets-spared.parquet`."""

WORDS = (
    "`secrets-spared.parquet` lists the findings that were left in the text, by `row_id` and byte offsets: those that the"
    " publisher's allow-list names, each with the reason, and those that a comment in the file asks to leave."
)
"""What the card says of the file."""

WRITER_OPTIONS: Final[dict[str, Any]] = {
    **SHARD_WRITER_OPTIONS,
    "use_dictionary": ["kind", "rule", "why"],
    "write_statistics": ["row_id"],
}
"""Options of `pyarrow.parquet.ParquetWriter` for `secrets-spared.parquet`."""


def write_secrets_spared(tables: Iterable[pa.Table], file: Path) -> int:
    """Write rows of schema `SECRETS_SPARED`, sorted by row_id over all `tables`; see `write_sorted`."""
    return write_sorted(tables, file, SECRETS_SPARED, WRITER_OPTIONS, repeats=True)
