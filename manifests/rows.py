"""Checks of the rows of one shard: figures, hashes, spans, and what columns say of each other."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.facts import ShardFacts
from manifests.merkle import leaf_bytes, leaf_hash, root_of
from manifests.schema import DATA
from manifests.shards import memory_bytes

Finding: TypeAlias = tuple[str, str]
"""(code, message)."""

MAX_GROUP_BYTES = 1 << 31
"""Largest declared row group that is read: 32 times what a shard may have, so larger is an attack or an
accident."""

MAX_GROUP_ROWS = 1_000_000
"""Most rows of a row group, whatever a release is configured to."""

VIEWER_GROUP_BYTES = 286 << 20
"""Largest row group, uncompressed, that the Hub's viewer reads."""

_HEX = {"row_id": None, "sha256": 64, "blake2s256": 64, "content_sha256": 64, "blob_id": 40, "content_id": 40}


@dataclass
class Counts:
    """What the rows hold, counted while they are checked."""

    licenses: Counter[str] = field(default_factory=Counter)
    """SPDX expression -> rows."""
    redactions: Counter[str] = field(default_factory=Counter)
    """Kind -> spans."""


def check_shard(
    file: Path | BinaryIO, shard: ShardFacts, ids: pa.Table | None, counts: Counts | None = None
) -> Iterator[Finding]:
    """Yield what is wrong with a shard's rows, at most one finding of each kind and row group.

    `ids` are the shard's rows of `ids.parquet` in row order, or None to leave that comparison out; `counts` are
    added to. Reads every page with its checksum verified; memory: one row group. Raises nothing for what is in the
    file.
    """
    counts = Counts() if counts is None else counts
    leaves: list[bytes] = []
    try:
        with pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False) as parquet:
            if not parquet.schema_arrow.equals(DATA):
                yield "schema", "does not have the columns of a shard"
                return
            meta = parquet.metadata
            if (meta.num_rows, meta.num_row_groups) != (shard.rows, shard.row_groups):
                yield (
                    "rows",
                    f"{meta.num_rows:,} rows in {meta.num_row_groups:,} groups,"
                    f" the manifest says {shard.rows:,} in {shard.row_groups:,}",
                )
                return
            first = text = memory = 0
            for number in range(meta.num_row_groups):
                if meta.row_group(number).total_byte_size > MAX_GROUP_BYTES:
                    yield "rows", f"row group {number} declares more than {MAX_GROUP_BYTES:,} bytes"
                    return
                if message := _beyond(meta.row_group(number)):
                    yield "groups", f"row group {number} has {message}"
                group = parquet.read_row_group(number)
                group.validate(full=True)  # offsets in bounds, valid UTF-8
                yield from _check_group(group.combine_chunks(), first, shard.language)
                if ids is not None:
                    yield from _check_ids(group, first, ids.slice(first, group.num_rows))
                leaves.extend(_leaves(group, first, shard.path))
                _count(counts, group)
                first += group.num_rows
                text += pc.sum(pc.binary_length(group.column("content"))).as_py() or 0
                memory += memory_bytes(group)
    except (pa.ArrowException, OSError) as error:
        yield "parquet", f"cannot be read: {error}"
        return
    for name, found, wanted in (
        ("rows", first, shard.rows),
        ("text_bytes", text, shard.text_bytes),
        ("memory_bytes", memory, shard.memory_bytes),
    ):
        if found != wanted:
            yield "rows", f"{name} is {found:,}, the manifest says {wanted:,}"
    if (root := root_of(leaves).hex()) != shard.merkle_root:
        yield "merkle", f"Merkle root of its rows is {root}, the manifest says {shard.merkle_root}"


def _beyond(group: pq.RowGroupMetaData) -> str | None:
    """What a row group has too much of for the Hub's viewer; a single row may have any size."""
    if group.num_rows > MAX_GROUP_ROWS:
        return f"{group.num_rows:,} rows, more than {MAX_GROUP_ROWS:,}"
    if group.num_rows > 1 and group.total_byte_size > VIEWER_GROUP_BYTES:
        return f"{group.total_byte_size:,} bytes, more than {VIEWER_GROUP_BYTES:,}"
    return None


def _leaves(group: pa.Table, first: int, path: str) -> Iterator[bytes]:
    columns = [group.column(name).to_pylist() for name in ("row_id", "content_sha256")]
    for row, (row_id, content) in enumerate(zip(*columns, strict=True), first):
        yield leaf_hash(leaf_bytes(row_id, content, path, row))


def _count(counts: Counts, group: pa.Table) -> None:
    chunks = [chunk.flatten().field("kind") for chunk in group.column("redactions").chunks]
    spans = pa.chunked_array(chunks, pa.string())
    for counter, values in (
        (counts.licenses, group.column("license_expression")),
        (counts.redactions, spans),
    ):
        found = pc.value_counts(values)
        for value, number in zip(
            found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True
        ):
            counter[value] += number


def _check_ids(group: pa.Table, first: int, ids: pa.Table) -> Iterator[Finding]:
    for name in ("row_id", "content_sha256"):
        same = pc.equal(group.column(name).cast(pa.large_string()), ids.column(name))
        if (bad := _first_false(same)) is not None:
            yield "ids", f"row {first + bad:,}: {name} is not that of ids.parquet"


def _first_false(truths: pa.ChunkedArray | pa.Array) -> int | None:
    position = pc.index(pc.fill_null(truths, False), False).as_py()
    return None if position < 0 else int(position)


def _check_group(group: pa.Table, first: int, language: str) -> Iterator[Finding]:
    """Check a row group; `first` is the number in the shard of its first row."""
    if group.num_rows == 0:
        return
    for name, length in _HEX.items():
        form = r"^[\x21-\x7e]+$" if length is None else rf"^[0-9a-f]{{{length}}}$"
        if (bad := _first_false(pc.match_substring_regex(group.column(name), form))) is not None:
            yield "rows", f"row {first + bad:,}: {name} is malformed"
    content_id, row_id = group.column("content_id"), group.column("row_id")
    relations = (
        (
            "swhid is not that of content_id",
            pc.equal(group.column("swhid"), _prefixed("swh:1:cnt:", content_id)),
        ),
        (f"language is not {language!a}", pc.equal(group.column("language"), language)),
        ("cluster_id is not row_id", pc.equal(group.column("cluster_id"), row_id)),
        ("cluster_size is below 1", pc.greater_equal(group.column("cluster_size"), 1)),
        ("num_origins is below 1", pc.greater_equal(group.column("num_origins"), 1)),
        (
            "num_occurrences is below num_origins",
            pc.greater_equal(group.column("num_occurrences"), group.column("num_origins")),
        ),
    )
    for message, truths in relations:
        if (bad := _first_false(truths)) is not None:
            yield "rows", f"row {first + bad:,}: {message}"
    content = group.column("content").chunk(0)
    offsets, data = string_buffers(content)
    yield from _check_digests(group, first, offsets, data)
    yield from _check_redactions(group, first, offsets, data)


def _prefixed(prefix: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(pa.scalar(prefix), column, "")


def string_buffers(array: pa.StringArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return (offsets, bytes) of a string array without nulls: value i is bytes[offsets[i] : offsets[i +
    1]]."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1].astype(
        np.int64
    )
    return ends, np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)


def _check_digests(
    group: pa.Table, first: int, offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]
) -> Iterator[Finding]:
    view = data.data
    edges = offsets.tolist()
    recorded = group.column("content_sha256").to_pylist()
    sha256 = hashlib.sha256
    for row, wanted in enumerate(recorded):
        if sha256(view[edges[row] : edges[row + 1]]).hexdigest() != wanted:
            yield "content", f"row {first + row:,}: content_sha256 is not the SHA-256 of content"
            return


def _check_redactions(
    group: pa.Table, first: int, offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]
) -> Iterator[Finding]:
    """Spans are not empty, in order, apart from each other, inside the content, and on character
    boundaries."""
    column = group.column("redactions").chunk(0)
    counts = np.asarray(pc.list_value_length(column), dtype=np.int64)
    spans = column.flatten()
    if len(spans) == 0:
        return
    row = np.repeat(np.arange(len(counts)), counts)
    start = np.asarray(spans.field("start"), dtype=np.int64)
    end = np.asarray(spans.field("end"), dtype=np.int64)
    length = np.diff(offsets)[row]
    bad = (start < 0) | (end <= start) | (end > length)
    bad[1:] |= (row[1:] == row[:-1]) & (start[1:] < end[:-1])
    if not bad.any():
        bad = _inside_character(data, offsets[row] + start, offsets[row + 1])
        bad |= _inside_character(data, offsets[row] + end, offsets[row + 1])
    if bad.any():
        at = int(np.argmax(bad))
        yield (
            "redaction",
            f"row {first + int(row[at]):,}: redaction {int(start[at])}:{int(end[at])} does not"
            " lie in its content"
            f" of {int(length[at]):,} bytes, after the one before, on character boundaries",
        )


def _inside_character(
    data: npt.NDArray[np.uint8], position: npt.NDArray[np.int64], limit: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Tell which positions (below or at `limit`) fall on a UTF-8 continuation byte."""
    inner = position < limit
    found = np.zeros(len(position), dtype=bool)
    found[inner] = (data[position[inner]] & 0xC0) == 0x80
    return found
