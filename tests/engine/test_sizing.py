"""The number of buckets follows the size of the input, and the rows of a bucket fit the memory of a task."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.amounts import memory_bytes
from pipeline.engine.buckets import MAX_BUCKETS, check_buckets
from pipeline.sizing import LEAST, ROW_BYTES, buckets_for


@given(
    st.fixed_dictionaries({table: st.integers(0, 10**12) for table in ROW_BYTES}),
    st.sampled_from(("1GB", "512MB", "1.5GiB")),
)
def test_the_rows_of_a_bucket_fit_or_there_are_as_many_as_can_be(rows, memory):
    count = check_buckets(buckets_for(rows, memory))
    needed = max(rows[table] * size / count for table, size in ROW_BYTES.items())
    assert needed <= memory_bytes(memory) or count == MAX_BUCKETS
    assert count in (LEAST, 4, 8, MAX_BUCKETS) or 2 * needed > memory_bytes(memory)


def test_examples():
    assert buckets_for({"directory_entry": 70_000, "content": 24_000}, "1GB") == LEAST
    assert buckets_for({"directory_entry": 350_000, "content": 120_000}, "1GB") == 4
    assert buckets_for({"directory_entry": 400_000, "content": 140_000}, "1GB") == 8
    assert buckets_for({"directory_entry": 100_000_000, "content": 20_000_000}, "1GB") == 64
    assert buckets_for({"directory_entry": 10**13}, "1GB") == MAX_BUCKETS
