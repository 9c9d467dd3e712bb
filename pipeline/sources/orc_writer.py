"""Writing a graph table in the ORC form of public exports: zstd, dates as timestamps in UTC, bloom filters on ids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyorc

from pipeline.sources.orc_process import CONVERTERS
from pipeline.tables import DATE

_FILTERED = ("id", "url", "origin", "snapshot_id", "directory_id", "sha1_git", "target", "directory")
_TYPES = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.int16(): "smallint",
    pa.timestamp("us"): "timestamp",
    DATE: "timestamp",
}
_BATCH_ROWS = 16_384  # that are Python objects at once


def write_orc(table: pa.Table, path: Path, name: str) -> None:
    """Write `table`, a table of pipeline.tables.GRAPH called `name`; the same rows give the same bytes.

    ORC cannot hold a time of the last second before 1970 that has a fraction: it reads as one second later.
    """
    columns = ",".join(f"{field.name}:{_TYPES[field.type]}" for field in table.schema)
    with (
        path.open("wb") as stream,
        pyorc.Writer(
            stream,
            f"struct<{columns}>",
            compression=pyorc.CompressionKind.ZSTD,
            converters=CONVERTERS,
            bloom_filter_columns=[n for n in table.column_names if n in _FILTERED],
        ) as writer,
    ):
        writer.set_user_metadata(swh_object_type=name.encode())
        for batch in table.to_batches(_BATCH_ROWS):
            writer.writerows(zip(*map(_values, batch.columns), strict=True))


def _values(column: pa.Array) -> Iterable[Any]:
    if column.type == DATE:
        pairs = zip(
            column.field(0).to_pylist(),
            column.field(1).to_pylist(),
            column.is_valid().to_pylist(),
            strict=True,
        )
        return [(seconds, micro * 1000) if valid else None for seconds, micro, valid in pairs]
    if pa.types.is_timestamp(column.type):
        micros = column.cast(pa.int64()).to_pylist()
        return [None if m is None else (m // 1_000_000, m % 1_000_000 * 1000) for m in micros]
    values: list[Any] = column.to_pylist()
    return values
