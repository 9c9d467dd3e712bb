"""Writing shards: rows of schema `DATA` to Parquet files whose bytes depend on the rows alone.

How the rows were cut into batches does not show in the file: row groups are filled greedily in row order to
fixed bounds and written one by one from contiguous memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.checksums import sha256_file
from manifests.errors import ShardError
from manifests.facts import ShardFacts
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.names import check_path, shard_path
from manifests.schema import DATA, IDS, LARGE_IDS

MAX_GROUP_ROWS = 10_000
"""Most rows of a row group: the Hub's viewer shows pages of a group, and refuses groups above 286 MiB."""

MAX_GROUP_BYTES = 64 << 20
"""Most raw bytes (`row_bytes`) of a row group, unless one row alone is larger."""

LOW_CARDINALITY: Final = (
    "src_encoding",
    "language",
    "extension",
    "origin",
    "repo_name",
    "snapshot_id",
    "revision_id",
    "branch_name",
    "directory_id",
    "license_type",
    "license_expression",
    "detected_licenses.list.element",
    "license_evidence.list.element.path",
    "license_evidence.list.element.swhid",
    "license_evidence.list.element.expression",
    "license_evidence.list.element.detector",
    "license_evidence.list.element.rule",
    "redactions.list.element.kind",
    "redactions.list.element.rule",
    "num_occurrences",
    "num_origins",
    "cluster_size",
    "visit_date",
    "revision_date",
    "committer_date",
)
"""Columns that repeat within a row group, as Parquet paths; the only ones with a dictionary."""

_WITH_STATISTICS: Final = (
    "row_id",
    "sha256",
    "content_sha256",
    "length_bytes",
    "language",
    "extension",
    "origin",
    "repo_name",
    "license_expression",
    "num_lines",
)
"""Columns that readers filter by. Minimum and maximum of `content` would put pieces of files into every
footer."""

SHARD_WRITER_OPTIONS: Final[dict[str, Any]] = {
    "version": "2.6",
    "compression": "zstd",
    "use_dictionary": list(LOW_CARDINALITY),
    "write_statistics": list(_WITH_STATISTICS),
    "write_page_checksum": True,  # with the next: 0.1 % of the size
    "write_page_index": True,
    "data_page_version": "1.0",
    "data_page_size": 1 << 20,
}
"""Options of `pyarrow.parquet.ParquetWriter` for shards besides `ShardForm`. A change of these changes every release's
bytes."""


@dataclass(frozen=True, kw_only=True)
class ShardForm:
    """What a release may choose of how its shards are written; each of these changes the bytes."""

    group_rows: int = MAX_GROUP_ROWS
    """Most rows of a row group."""
    group_bytes: int = MAX_GROUP_BYTES
    """Most raw bytes (`row_bytes`) of a row group, unless one row alone is larger."""
    compression_level: int = 3
    """Of zstd. Measured on code, one core: level 3 gives 5.9x at 240 MiB/s or more, level 9 7.8x at 98."""
    content_defined_chunking: bool = False
    """Cut pages where the content says, so that a store of pieces (Xet) finds unchanged ones again; larger files."""

    def options(self) -> dict[str, Any]:
        """Options of `pyarrow.parquet.ParquetWriter`."""
        more = {"use_content_defined_chunking": True} if self.content_defined_chunking else {}
        return {**SHARD_WRITER_OPTIONS, "compression_level": self.compression_level, **more}


IDS_WRITER_OPTIONS: Final[dict[str, Any]] = {
    **SHARD_WRITER_OPTIONS,
    "compression_level": 3,
    "use_dictionary": ["shard"],
    "write_statistics": ["row_id", "shard"],
}
"""The same for `ids.parquet`."""

IDS_GROUP_ROWS = 131_072
"""Rows of a row group of `ids.parquet`: about 20 MiB raw."""


def row_bytes(array: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the bytes of each value of an array in Arrow memory, without validity bitmaps.

    Fixed-width values count their width, strings and lists 4 bytes of offset and what they hold, structs
    their fields.
    """
    if isinstance(array, pa.ChunkedArray):
        parts = [row_bytes(chunk) for chunk in array.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    kind = array.type
    sizes: npt.NDArray[np.int64]
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        sizes = _int64(pc.binary_length(array)) + 4
    elif pa.types.is_list(kind):
        lengths = _int64(pc.list_value_length(array))
        ends = np.cumsum(lengths)
        inner = np.concatenate([[0], np.cumsum(row_bytes(array.flatten()))])
        sizes = inner[ends] - inner[ends - lengths] + 4
    elif pa.types.is_struct(kind):
        sizes = np.zeros(len(array), dtype=np.int64)
        for child in array.flatten():
            sizes += row_bytes(child)
    else:
        sizes = np.full(len(array), max(1, kind.bit_width // 8), dtype=np.int64)
    return sizes


def _int64(lengths: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def memory_bytes(rows: pa.Table | pa.RecordBatch) -> int:
    """Return the size of a row group's columns in Arrow memory: `num_bytes` of the dataset card, summed over
    groups.

    The sum of `row_bytes`, but booleans as bits, and a validity bitmap for each column that holds a null, or
    could and is of fixed width (Arrow's reader makes one for those): what `datasets` counts when it prepares
    a shard (equal to the byte where row groups have equal numbers of rows).
    """
    bits = (rows.num_rows + 7) // 8
    total = 0
    for field, column in zip(rows.schema, rows.columns, strict=True):
        total += bits if pa.types.is_boolean(column.type) else int(row_bytes(column).sum())
        bitmap = column.null_count or (field.nullable and pa.types.is_primitive(column.type))
        total += bits if bitmap else 0
    return total


def _batches(
    rows: pa.Table | Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    parts: Iterable[Any] = [rows] if isinstance(rows, pa.Table | pa.RecordBatch) else rows
    for part in parts:
        if not part.schema.equals(schema):
            raise ShardError(f"rows do not have the schema of a shard: {_difference(part.schema, schema)}")
        yield from part.to_batches() if isinstance(part, pa.Table) else [part]


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    if found.names != wanted.names:
        missing = [name for name in wanted.names if name not in found.names]
        extra = [name for name in found.names if name not in wanted.names]
        return (
            f"missing columns {missing}, unknown columns {extra}"
            if missing or extra
            else "columns out of order"
        )
    for name in wanted.names:
        if not found.field(name).equals(wanted.field(name)):
            return f"column {name} is {found.field(name)}, not {wanted.field(name)}"
    return "metadata"


def row_groups(
    batches: Iterable[pa.RecordBatch], *, max_rows: int = MAX_GROUP_ROWS, max_bytes: int = MAX_GROUP_BYTES
) -> Iterator[pa.Table]:
    """Cut rows into row groups, greedily in order: a group ends before the row that would break a bound.

    The cuts depend on the rows alone. Memory: one row group and one batch.
    """
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in batches:
        sizes = np.zeros(batch.num_rows, dtype=np.int64)
        for column in batch.columns:
            sizes += row_bytes(column)
        ends = np.cumsum(sizes)
        start, before = 0, 0
        while start < batch.num_rows:
            fit = int(np.searchsorted(ends, before + max_bytes - held_bytes, side="right")) - start
            take = min(fit, max_rows - held_rows, batch.num_rows - start)
            if take <= 0 and held_rows == 0:
                take = 1  # one row larger than the bound is a group of its own
            if take > 0:
                held.append(batch.slice(start, take))
                held_rows += take
                start += take
                held_bytes += int(ends[start - 1]) - before
                before = int(ends[start - 1])
            if start < batch.num_rows:
                yield pa.Table.from_batches(held).combine_chunks()
                held, held_rows, held_bytes = [], 0, 0
    if held:
        yield pa.Table.from_batches(held).combine_chunks()


def write_shard(
    rows: pa.Table | Iterable[pa.RecordBatch | pa.Table],
    file: Path,
    *,
    path: str | None = None,
    form: ShardForm | None = None,
) -> ShardFacts:
    """Write rows of one language, in the order given, to a Parquet file and return what the manifest says of
    it.

    `file` is written as it is (commit by renaming is the caller's) and flushed to disk. `path` is the shard's
    path in the release; by default `data/<language-dir>/` and the name of `file`. The same rows give the same
    bytes however they are cut into batches. Raises `ShardError` for rows of another schema than `DATA`, with
    nulls where it has none, of several languages, or for no rows; `OSError` as the file system does.
    """
    language: str | None = None
    count = groups = text = memory = 0
    if path is not None:
        check_path(path)
    columns: list[pa.Table] = []
    form = form or ShardForm()
    cut = {"max_rows": form.group_rows, "max_bytes": form.group_bytes}
    with pq.ParquetWriter(file, DATA, **form.options()) as writer:
        for group in row_groups(_batches(rows, DATA), **cut):
            for column in DATA:
                if not column.nullable and group.column(column.name).null_count:
                    raise ShardError(f"column {column.name} holds a null")
            spoken = pc.unique(group.column("language")).to_pylist()
            if len({*spoken, language or spoken[0]}) > 1:
                raise ShardError(f"rows of several languages in one shard: {spoken[:5]}")
            language = spoken[0]
            writer.write_table(group, row_group_size=group.num_rows)
            count += group.num_rows
            groups += 1
            text += int(_int64(pc.binary_length(group.column("content"))).sum())
            memory += memory_bytes(group)
            columns.append(group.select(["row_id", "content_sha256"]))
    if language is None:
        raise ShardError("a shard needs at least one row")
    sync(file)
    sha256, size = sha256_file(file)
    if path is None:
        path = f"{shard_path(language).rpartition('/')[0]}/{file.name}"
    return ShardFacts(
        path=check_path(path),
        language=language,
        sha256=sha256,
        bytes=size,
        rows=count,
        row_groups=groups,
        text_bytes=text,
        memory_bytes=memory,
        merkle_root=root_of(ids_leaf_hashes(_ids(pa.concat_tables(columns), path))).hex(),
    )


def shard_ids(file: Path, path: str) -> pa.Table:
    """Return the rows of schema `IDS` that a shard contributes; reads two columns, page checksums
    verified."""
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        return _ids(parquet.read(columns=["row_id", "content_sha256"]), path)


def _ids(columns: pa.Table, path: str) -> pa.Table:
    rows = columns.num_rows
    return pa.Table.from_arrays(
        [
            columns.column("row_id"),
            columns.column("content_sha256"),
            pa.repeat(pa.scalar(path, pa.string()), rows),
            pa.array(np.arange(rows, dtype=np.int64)),
        ],
        schema=IDS,
    )


def write_ids(ids: pa.Table, file: Path) -> None:
    """Write `ids.parquet` from rows of schema `IDS` or `LARGE_IDS` that are already sorted by row_id."""
    with pq.ParquetWriter(file, IDS, **IDS_WRITER_OPTIONS) as writer:
        for start in range(0, ids.num_rows, IDS_GROUP_ROWS):
            group = ids.slice(start, IDS_GROUP_ROWS).cast(IDS).combine_chunks()
            writer.write_table(group, row_group_size=IDS_GROUP_ROWS)
    sync(file)


def read_ids(file: Path | BinaryIO) -> pa.Table:
    """Read `ids.parquet` as schema `LARGE_IDS`, page checksums verified; raises `ShardError` for another
    schema."""
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        if not parquet.schema_arrow.equals(IDS):
            raise ShardError(f"not the columns of ids.parquet: {_difference(parquet.schema_arrow, IDS)}")
        return (
            pa.Table.from_batches(parquet.iter_batches(IDS_GROUP_ROWS), IDS).cast(LARGE_IDS).combine_chunks()
        )


def sync(file: Path) -> None:
    """Flush a written file to disk."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
