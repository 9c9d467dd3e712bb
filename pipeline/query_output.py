"""Writing the answer of a query: a table for a terminal, JSON lines, a Parquet file. Rows go through a batch at a time."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.names import visible
from pipeline.content.names import escape
from pipeline.engine.store_errors import disk_errors
from pipeline.errors import ConfigError

_CELL = 120  # characters of a value that a table shows


def plain(value: Any) -> Any:
    """A value as JSON has it: dates in ISO form, bytes with those that are not UTF-8 as `\\xNN`, no NaN."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return escape(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def json_line(value: Any) -> str:
    """One line of ASCII: control characters and those that hide are escaped, so a terminal shows what is there."""
    return json.dumps(plain(value), ensure_ascii=True) + "\n"


def write_json(batches: Iterable[pa.RecordBatch], stream: TextIO) -> int:
    """One JSON object a line; returns the rows."""
    rows = 0
    for batch in batches:
        stream.writelines(json_line(row) for row in batch.to_pylist())
        rows += batch.num_rows
    return rows


def write_table(batches: Iterable[pa.RecordBatch], stream: TextIO) -> int:
    """A table; long values are cut, control characters escaped. Returns the rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = 0
    for batch in batches:
        if not table.columns:
            for name, kind in zip(batch.schema.names, batch.schema.types, strict=True):
                number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
                table.add_column(Text(visible(name)), justify="right" if number else "left", overflow="fold")
        for row in batch.to_pylist():
            table.add_row(*[Text(_cell(value)) for value in row.values()])
        rows += batch.num_rows
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else 200)
    if rows:
        console.print(table)
    return rows


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    text = visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=True))
    return text if len(text) <= _CELL else text[: _CELL - 3] + "..."


def write_parquet(reader: pa.RecordBatchReader, file: Path) -> int:
    """A Parquet file, in its place only when it is whole; returns the rows. Raises ConfigError when it is there already."""
    if file.exists() or file.is_symlink():
        raise ConfigError(f"{file} exists; give another name")
    rows = 0
    temporary = file.with_name(f"{file.name}.tmp-{uuid.uuid4().hex[:12]}")
    try:
        with disk_errors(str(file)):
            with pq.ParquetWriter(
                temporary, reader.schema, compression="zstd", write_page_checksum=True
            ) as out:
                for batch in reader:
                    out.write_batch(batch)
                    rows += batch.num_rows
            os.link(temporary, file)  # unlike a rename it fails where another has written meanwhile
    finally:
        temporary.unlink(missing_ok=True)
    return rows
