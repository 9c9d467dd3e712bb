"""Shards: the same rows give the same bytes, row groups keep their bounds, other rows are refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import ShardError
from manifests.schema import DATA, IDS
from manifests.shards import LOW_CARDINALITY, memory_bytes, row_bytes, row_groups, shard_ids, write_shard


@pytest.fixture(scope="module")
def rows(factory) -> pa.Table:
    return factory.make_rows("C++", 60)


def cut(table: pa.Table, lengths: list[int]) -> list[pa.RecordBatch | pa.Table]:
    parts, start = [], 0
    for number, length in enumerate(lengths):
        part = table.slice(start, length)
        parts.append(part if number % 2 else part.combine_chunks().to_batches()[0] if part.num_rows else part)
        start += length
    return [*parts, table.slice(start)]


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(0, 25), max_size=6))
def test_bytes_do_not_depend_on_the_batches(rows, tmp_path_factory, lengths):
    folder = tmp_path_factory.mktemp("cut")
    whole = write_shard(rows, folder / "a.parquet", path="data/C++/x.parquet")
    pieces = write_shard(iter(cut(rows, lengths)), folder / "b.parquet", path="data/C++/x.parquet")
    assert whole == pieces
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()


def test_facts_are_true(rows, tmp_path):
    facts = write_shard(rows, tmp_path / "train-all.parquet")
    body = (tmp_path / "train-all.parquet").read_bytes()
    assert facts.path == "data/C++/train-all.parquet"
    assert (facts.language, facts.rows, facts.row_groups) == ("C++", 60, 1)
    assert (facts.bytes, facts.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert facts.text_bytes == sum(len(text.encode()) for text in rows.column("content").to_pylist())
    read = pq.read_table(tmp_path / "train-all.parquet", page_checksum_verification=True, partitioning=None)
    assert read.schema.equals(DATA) and read.equals(rows)
    assert facts.memory_bytes == sum(batch.nbytes for batch in read.combine_chunks().to_batches())


def test_file_layout(rows, tmp_path):
    write_shard(rows, tmp_path / "f.parquet")
    meta = pq.ParquetFile(tmp_path / "f.parquet").metadata
    group = meta.row_group(0)
    columns = {
        group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)
    }
    assert set(LOW_CARDINALITY) <= set(columns)
    assert not columns["content"].has_dictionary_page and columns["origin"].has_dictionary_page
    assert columns["content"].statistics is None and columns["row_id"].statistics is not None
    assert all(column.compression == "ZSTD" for column in columns.values())
    assert all(column.has_offset_index for column in columns.values())


def test_a_flipped_byte_in_a_page_is_found(rows, tmp_path):
    file = tmp_path / "f.parquet"
    write_shard(rows, file)
    meta = pq.ParquetFile(file).metadata.row_group(0)
    content = next(
        meta.column(number)
        for number in range(meta.num_columns)
        if meta.column(number).path_in_schema == "content"
    )
    body = bytearray(file.read_bytes())
    body[content.data_page_offset + content.total_compressed_size - 20] ^= 1
    file.write_bytes(body)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.ParquetFile(file, page_checksum_verification=True).read(columns=["content"])


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=60),
    batch=st.integers(1, 20),
    max_rows=st.integers(1, 12),
    max_bytes=st.integers(1, 200),
)
def test_row_groups_are_greedy_bounded_and_complete(sizes, batch, max_rows, max_bytes):
    table = pa.table(
        {"n": pa.array(range(len(sizes)), pa.int64()), "s": pa.array(["x" * size for size in sizes])}
    )
    groups = list(row_groups(table.to_batches(max_chunksize=batch), max_rows=max_rows, max_bytes=max_bytes))
    assert pa.concat_tables(groups).equals(table)
    weights = [size + 4 + 8 for size in sizes]
    expected, count, total = [], 0, 0
    for weight in weights:
        if count and (count == max_rows or total + weight > max_bytes):
            expected.append(count)
            count = total = 0
        count, total = count + 1, total + weight
    assert [group.num_rows for group in groups] == [*expected, count]


@given(
    st.lists(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 9)), max_size=3) | st.none(), max_size=8)
)
def test_row_bytes_of_nested_values(values):
    kind = pa.list_(pa.struct([("s", pa.string()), ("n", pa.int64())]))
    array = pa.array(
        [None if value is None else [{"s": s, "n": n} for s, n in value] for value in values], type=kind
    )
    expected = [4 + sum(4 + len(s.encode()) + 8 for s, _ in value or []) for value in values]
    assert row_bytes(array).tolist() == expected
    assert row_bytes(array.slice(1)).tolist() == expected[1:]


def test_memory_bytes_of_sliced_rows(rows):
    parts = [rows.slice(0, 17), rows.slice(17)]
    assert memory_bytes(parts[0]) == memory_bytes(pa.Table.from_pylist(parts[0].to_pylist(), schema=DATA))
    assert int(row_bytes(rows.column("is_vendor")).sum()) == rows.num_rows
    assert np.all(row_bytes(rows.column("redactions")) >= 4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop_columns(["path"]), "missing columns.*path"),
        (lambda rows: rows.append_column("more", pa.nulls(rows.num_rows)), "unknown columns.*more"),
        (lambda rows: rows.select(list(reversed(rows.column_names))), "out of order"),
        (
            lambda rows: rows.set_column(
                6, pa.field("content", pa.large_string(), False), rows["content"].cast("large_string")
            ),
            "content is",
        ),
        (lambda rows: rows.slice(0, 0), "at least one row"),
        (
            lambda rows: pa.concat_tables(
                [rows, rows.set_column(10, DATA.field("language"), pa.array(["C"] * rows.num_rows))]
            ),
            "several languages",
        ),
        (
            lambda rows: rows.set_column(
                12, DATA.field("path"), pa.array([None, *rows["path"].to_pylist()[1:]], pa.string())
            ),
            "path holds a null",
        ),
    ],
)  # fmt: skip
def test_other_rows_are_refused(rows, tmp_path, spoil, message):
    with pytest.raises(ShardError, match=message):
        write_shard(spoil(rows), tmp_path / "f.parquet")


def test_shard_ids(rows, tmp_path):
    write_shard(rows, tmp_path / "f.parquet")
    ids = shard_ids(tmp_path / "f.parquet", "data/C++/f.parquet")
    assert ids.schema.equals(IDS)
    assert ids.column("row").to_pylist() == list(range(60))
    assert ids.column("row_id").equals(rows.column("row_id"))
