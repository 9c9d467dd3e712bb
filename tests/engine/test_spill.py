"""A bucket that does not fit is handed on in parts: every row once, ids ascending from part to part, nothing left on disk."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.buckets import bucket_of
from pipeline.engine.spill import PARTS, in_parts


def table(numbers: list[int]) -> pa.Table:
    ids = [hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest() for number in numbers]
    return pa.table({"id": pa.array(ids, pa.string()), "number": pa.array(numbers, pa.int64())})


def of_bucket(rows: pa.Table, bucket: int, buckets: int) -> pa.Table:
    return rows.filter(pa.array(bucket_of(rows["id"], buckets) == bucket))


@settings(max_examples=50, deadline=None)
@given(
    pieces=st.lists(st.lists(st.integers(0, 500), max_size=60), max_size=6),
    buckets=st.sampled_from([1, 2, 8, 4096]),
    at_most=st.sampled_from([0, 1_000, 10**9]),
)
def test_every_row_is_in_one_part_and_ids_ascend(tmp_path_factory, pieces, buckets, at_most):
    scratch = tmp_path_factory.mktemp("scratch")
    bucket = int(bucket_of(table([7])["id"], buckets)[0])
    rows = [of_bucket(table(numbers), bucket, buckets) for numbers in pieces]
    parts = list(in_parts(rows, route="id", bucket=bucket, buckets=buckets, at_most=at_most, scratch=scratch))
    found = [row["number"] for part in parts for row in part.to_pylist()]
    assert sorted(found) == sorted(row["number"] for piece in rows for row in piece.to_pylist())
    ids = [part["id"].to_pylist() for part in parts if part.num_rows]
    assert all(max(one) < min(other) for one, other in pairwise(ids))
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(("at_most", "parts"), [(10**9, 1), (10_000, PARTS)])
def test_only_what_does_not_fit_is_split(tmp_path, at_most, parts):
    rows = [table(list(range(start, start + 1_000))) for start in range(0, 5_000, 1_000)]
    made = list(in_parts(rows, route="id", bucket=0, buckets=1, at_most=at_most, scratch=tmp_path))
    assert len(made) == parts
    assert sum(part.num_rows for part in made) == 5_000
