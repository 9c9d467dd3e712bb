"""Where rows lie, which unit writes them, and how a shard's rows are read back: for any sizes and any order of arrival."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.schema import DATA
from pipeline.engine.buckets import bucket_of
from pipeline.stages import shard_files
from pipeline.stages.emit import KEY_BITS, leaves, routes, start_of
from pipeline.stages.shard_files import SHARD_ROWS

sizes_of = st.lists(st.integers(0, 300), min_size=1, max_size=60)
few = settings(max_examples=60, deadline=None)


# ------------------------------------------------------------------------------------------------------------ leaves


@few
@given(sizes_of, st.integers(1, 400), st.integers(0, 2**32), st.integers(1, 5))
def test_leaves_are_the_nodes_that_fit(sizes, target, seed, distinct):
    """They part the rows in order; none is larger than the target unless it cannot be split; none could be one level up."""
    draw = np.random.default_rng(seed)
    pool = [draw.bytes(16).hex() for _ in range(max(1, len(sizes) // distinct))]
    keys = np.asarray(sorted(pool[draw.integers(len(pool))] for _ in sizes), "S32")
    total = np.concatenate([[0], np.cumsum(sizes)])
    found = leaves(keys, total, 0, len(keys), target)
    assert [(low, high) for _, low, high in found] == list(
        pairwise([low for _, low, _ in found] + [len(keys)])
    )
    bits = [f"{int(key, 16):0{KEY_BITS}b}" for key in keys]
    for prefix, low, high in found:
        assert all(bit.startswith(prefix) for bit in bits[low:high])
        assert total[high] - total[low] <= target or keys[low] == keys[high - 1]
        if prefix:
            above = [size for size, bit in zip(sizes, bits, strict=True) if bit.startswith(prefix[:-1])]
            assert sum(above) > target, (
                "its parent does not fit: growth splits one shard, and renames no other"
            )
        assert start_of(prefix) <= keys[low].decode()


# ------------------------------------------------------------------------------------------------------------- routes


@few
@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=200), st.sampled_from([1, 2, 16, 64]))
def test_units_get_equal_shares_of_the_bytes(sizes, buckets):
    """Whatever the number of buckets: no unit has more than its share and one shard's bytes."""
    numbers = bucket_of(pa.array(routes(sizes)), buckets)
    assert (np.diff(numbers.astype(np.int64)) >= 0).all(), "neighbours stay together"
    for bucket in np.unique(numbers):
        mine = [size for size, number in zip(sizes, numbers, strict=True) if number == bucket]
        assert sum(mine) <= sum(sizes) / buckets + max(sizes) + 1


def test_a_language_of_nine_tenths_and_many_tiny_ones():
    """The large one is spread over the units; hundreds of small ones share a few."""
    large, tiny = [256 << 20] * 90, [(10 * 256 << 20) // 700] * 700
    numbers = bucket_of(pa.array(routes(large + tiny)), 16)
    assert np.bincount(numbers[:90], minlength=16).max() <= 8
    assert len(set(numbers[90:].tolist())) <= 3


# --------------------------------------------------------------------------------------------------- rows of a shard


def rows(count: int, seed: int) -> pa.Table:
    draw = np.random.default_rng(seed)
    columns = []
    for field in SHARD_ROWS:
        if field.name in ("key", "row_id"):
            values = [draw.bytes(2 if field.name == "key" else 16).hex() for _ in range(count)]
        elif field.name == "content":
            values = ["x" * int(n) for n in draw.integers(0, 400, count)]
        elif pa.types.is_string(field.type):
            values = [f"{field.name} {n}" for n in range(count)]
        else:
            values = [None] * count
        columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=pa.schema([f.with_nullable(True) for f in SHARD_ROWS]))


@pytest.mark.parametrize("seed", range(4))
def test_rows_come_in_order_and_in_bounded_pieces(tmp_path: Path, monkeypatch, seed):
    """However they were spilled; a piece is no larger than the bound, unless it is one row."""
    monkeypatch.setattr(shard_files, "_PIECE_BYTES", 1_000)
    monkeypatch.setattr(shard_files, "DATA", pa.schema([f.with_nullable(True) for f in DATA]))
    table = rows(300, seed)
    cuts = sorted(np.random.default_rng(seed).integers(0, 300, 7).tolist())
    file = tmp_path / "rows.arrow"
    with pa.ipc.new_file(file, table.schema) as writer:
        for first, last in pairwise([0, *cuts, 300]):
            run = table.slice(first, last - first)
            writer.write_table(run.sort_by([("key", "ascending"), ("row_id", "ascending")]))
    pieces = list(shard_files._Rows(file).in_order())
    assert len(pieces) > 20
    for piece in pieces:
        assert piece.num_rows == 1 or sum(map(len, piece["content"].to_pylist())) <= 1_000
    wanted = table.sort_by([("key", "ascending"), ("row_id", "ascending")]).select(DATA.names)
    assert pa.concat_tables(pieces).equals(wanted)
    assert not file.exists()
