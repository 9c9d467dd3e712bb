"""Buckets: a table is the union of its buckets, whatever their number, and twice as many split each one in two."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine import buckets as engine_buckets
from pipeline.engine.buckets import bucket_of, check_buckets, sort_table, write_part

COUNTS = st.sampled_from([1, 2, 4, 8, 64, 256, 1024, 4096])
HEX = st.text("0123456789abcdef", min_size=3, max_size=40)
IDS = st.lists(HEX, max_size=60)
HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=60)


def rows(ids: list[str]) -> pa.Table:
    numbers = pa.array(range(len(ids)), pa.int64())
    return pa.table({"id": pa.array(ids, pa.string()), "number": numbers})


@given(ids=IDS, count=COUNTS)
def test_the_bucket_is_the_leading_bits(ids, count):
    bits = count.bit_length() - 1
    expected = [int(one[:3], 16) >> (12 - bits) for one in ids]
    assert bucket_of(pa.array(ids, pa.string()), count).tolist() == expected


@given(values=HASHES, count=COUNTS)
def test_the_bucket_of_a_hash_is_its_leading_bits(values, count):
    bits = count.bit_length() - 1
    assert bucket_of(pa.array(values, pa.uint64()), count).tolist() == [v >> (64 - bits) for v in values]


@given(ids=IDS, count=COUNTS.filter(lambda n: n < 4096))
def test_twice_the_buckets_split_each_in_two(ids, count):
    coarse = bucket_of(pa.array(ids, pa.string()), count)
    fine = bucket_of(pa.array(ids, pa.string()), 2 * count)
    assert ((fine == 2 * coarse) | (fine == 2 * coarse + 1)).all()


@given(ids=IDS, count=COUNTS)
def test_order_over_buckets_is_the_order_of_ids(ids, count):
    numbers = bucket_of(pa.array(sorted(ids), pa.string()), count)
    assert (np.diff(numbers.astype(np.int64)) >= 0).all()


@given(
    ids=st.lists(HEX, min_size=1, max_size=30), count=COUNTS, start=st.integers(0, 29), chunks=st.booleans()
)
def test_slices_and_chunks_are_seen_as_they_are(ids, count, start, chunks):
    whole = bucket_of(pa.array(ids, pa.string()), count)
    array = pa.array(ids, pa.string()).slice(min(start, len(ids)))
    given_ids = pa.chunked_array([array[:2], array[2:]]) if chunks else array
    assert bucket_of(given_ids, count).tolist() == whole[min(start, len(ids)) :].tolist()


@pytest.mark.parametrize("ids", [["abc", None], ["ab", "abc"], [""]])
def test_ids_that_cannot_be_routed_are_refused(ids):
    with pytest.raises(ValueError, match="cannot be routed"):
        bucket_of(pa.array(ids, pa.string()), 8)


@pytest.mark.parametrize("count", [0, 3, 12, -2, 8192])
def test_bucket_counts_are_powers_of_two(count):
    with pytest.raises(ValueError, match="power of two"):
        check_buckets(count)


@pytest.mark.parametrize("ids", [[], ["abc"], [f"{n * 37 % 4096:03x}" for n in range(300)]])
def test_a_part_is_its_table_in_bounded_row_groups(tmp_path, monkeypatch, ids):
    monkeypatch.setattr(engine_buckets, "ROW_GROUP_ROWS", 10)
    table = rows(ids)
    assert write_part(tmp_path / "part", [table], table.schema, order=("id",)) == len(ids)
    with pq.ParquetFile(tmp_path / "part", page_checksum_verification=True) as file:
        assert all(file.metadata.row_group(g).num_rows <= 10 for g in range(file.num_row_groups))
        assert file.read().to_pylist() == sort_table(table, ("id",)).to_pylist()
        assert file.schema_arrow.names == ["id", "number"]


VALUES = st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 3) | st.none()), max_size=40)


@settings(max_examples=60, deadline=None)
@given(values=VALUES, shuffle=st.randoms(use_true_random=False))
def test_the_bytes_of_a_part_do_not_depend_on_arrival(tmp_path_factory, values, shuffle):
    folder = tmp_path_factory.mktemp("sorted")
    arrived = list(values)
    shuffle.shuffle(arrived)
    for name, one in (("a", values), ("b", arrived)):
        table = pa.table(
            {"k": pa.array([k for k, _ in one], pa.binary()), "v": pa.array([v for _, v in one], pa.int64())}
        )
        half = len(one) // 2
        pieces = pa.concat_tables([table.slice(0, half), table.slice(half)])
        write_part(folder / name, [pieces], pieces.schema, order=("k", "v"))
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
