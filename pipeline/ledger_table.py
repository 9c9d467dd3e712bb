"""The conservation ledger as a table: counted, or written out, one row per occurrence, bucket by bucket.

Memory is bounded by a row group of the ledger and the origins of its bucket, however many occurrences they stand for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.engine.point import scalar
from pipeline.occurrences import expanded, quoted
from pipeline.records import Record
from pipeline.tables import STAGES

SCHEMA = pa.schema(
    [
        ("origin", pa.string()),
        ("path", pa.string()),  # bytes that are not UTF-8, and control characters, shown as \xNN
        ("path_raw", pa.binary()),  # the exact bytes, only where `path` is not exact
        ("kind", pa.string()),
        ("swhid", pa.string()),
        ("sha1_git", pa.string()),
        ("sha1", pa.string()),
        ("sha256", pa.string()),
        ("length", pa.int64()),
        ("language", pa.string()),
        ("decision", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("evidence", pa.string()),
        ("row_id", pa.string()),
        ("stand_in", pa.string()),
        ("stand_in_row_id", pa.string()),
        ("similarity", pa.string()),
        ("root", pa.string()),
    ]
)
"""What is written out."""

BATCH_ROWS = 32_768
_MEMORY = "1GB"


def occurrences(
    record: Record, where: str = "true", origin_id: str | None = None
) -> Iterator[pa.RecordBatch]:
    """The occurrences that meet a condition (`pipeline.occurrences.condition`), in pieces of at most `BATCH_ROWS`.

    With `origin_id`, the SHA-1 of an origin's URL, only the bucket of its root is read.
    """
    yield from _batches(record, expanded("l", "p", where=where), origin_id)


def totals(record: Record, where: str = "true", origin_id: str | None = None) -> dict[str, Any]:
    """Occurrences found, kept, and dropped by stage and reason: of the whole ledger they are those of the manifest."""
    counted: Counter[tuple[str | None, str | None]] = Counter()
    query = (
        f"select stage, reason, count(*) as n from ({expanded('l', 'p', where=where)}) group by stage, reason"
    )
    for batch in _batches(record, query, origin_id):
        for row in batch.to_pylist():
            counted[row["stage"], row["reason"]] += row["n"]
    kept = counted.pop((None, None), 0)
    stages: dict[str, dict[str, int]] = {name: {} for name in STAGES}
    for (stage, reason), amount in sorted(counted.items(), key=str):
        stages[str(stage)][str(reason)] = amount
    dropped = {reason: amount for found in stages.values() for reason, amount in found.items()}
    return {
        "found": kept + sum(dropped.values()),
        "kept": kept,
        "dropped": dict(sorted(dropped.items())),
        "stages": {name: found for name, found in stages.items() if found},
    }


def _batches(record: Record, query: str, origin_id: str | None) -> Iterator[pa.RecordBatch]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"set threads=1; set memory_limit='{_MEMORY}'")
        for ledger, places in _pieces(record, origin_id):
            connection.register("l", ledger)
            connection.register("p", places)
            yield from connection.sql(query).to_arrow_reader(BATCH_ROWS)


def _pieces(record: Record, origin_id: str | None) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Rows of the ledger with the origins of their roots."""
    if origin_id is not None:
        known = record.rows("origins", "ledger", "origin_id", origin_id, ["directory"])
        for root in filter(None, known["directory"].to_pylist()):
            places = record.rows("index", "places", "root", root)
            mine = places.filter(pc.equal(places["origin_id"], scalar(origin_id)))
            yield record.rows("ledger", "ledger", "root", root), mine
        return
    for bucket in range(record.buckets):
        with record.part("index", "places", bucket) as file:
            places = None if file is None else file.read(use_threads=False)
        with record.part("ledger", "ledger", bucket) as file:
            if file is not None and places is not None:
                for number in range(file.num_row_groups):
                    yield file.read_row_group(number, use_threads=False), places


def shown(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Occurrences in `SCHEMA`: paths as text."""
    from pipeline.content.names import escape_paths

    raw = batch["path"].cast(pa.binary())
    text = escape_paths(raw)
    exact = pc.equal(text.cast(pa.binary()), raw)
    columns = {
        **{name: batch[name] for name in batch.schema.names},
        "path": text,
        "path_raw": pc.if_else(exact, pa.scalar(None, pa.binary()), raw),
    }
    return pa.RecordBatch.from_arrays([columns[f.name].cast(f.type) for f in SCHEMA], schema=SCHEMA)


def write_parquet(batches: Iterator[pa.RecordBatch], target: Path) -> int:
    """Write occurrences to a Parquet file, which appears whole; returns the rows."""
    rows = 0
    temporary = target.with_name(f"{target.name}.partial")
    try:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
            for batch in batches:
                writer.write_batch(shown(batch))
                rows += batch.num_rows
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def write_lines(batches: Iterator[pa.RecordBatch], stream: IO[str]) -> int:
    """Write occurrences as JSON, one on a line; returns the rows. `path_raw` is in hex."""
    rows = 0
    for batch in batches:
        for row in shown(batch).to_pylist():
            raw = row["path_raw"]
            stream.write(json.dumps({**row, "path_raw": None if raw is None else raw.hex()}) + "\n")
        rows += batch.num_rows
    return rows


def view(record: Record, name: str = "ledger") -> str:
    """The statement that makes this table a view in DuckDB, over the work directory's files where they lie.

    With `httpfs` it reads a work directory on S3 as well.
    """
    files = (
        f"read_parquet({quoted(f'{record.store.address}/{record.ref(*table).folder}/{table[1]}-*.parquet')})"
        for table in (("ledger", "ledger"), ("index", "places"))
    )
    return f"create or replace view {name} as\n{expanded(*files).strip()};"
