"""Routed parts: the segments of all buckets are the table, each bucket gets its own rows, and damage is told."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine import shuffle
from pipeline.engine.buckets import bucket_of, sort_table
from pipeline.engine.shuffle import read_routed, write_routed
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError

COUNTS = st.sampled_from([1, 2, 8, 64, 4096])
HEX = st.text("0123456789abcdef", min_size=3, max_size=40)
CHUNKS = st.lists(st.lists(HEX, max_size=40), max_size=3)


def rows(ids: list[str]) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "number": pa.array(range(len(ids)), pa.int64()),
            "text": pa.array([one.encode() * 3 for one in ids], pa.binary()),
        }
    )


def written(folder, chunks: list[pa.Table], buckets: int) -> dict[str, int]:
    path = folder / "part"
    count, number = write_routed(path, chunks, order=("id", "number"), route="id", buckets=buckets)
    assert count == sum(chunk.num_rows for chunk in chunks)
    return {"size": path.stat().st_size, "chunks": number, "buckets": buckets}


def read(
    folder, facts: dict[str, int], bucket: int | None, columns: list[str] | None = None
) -> list[dict[str, object]]:
    tables = read_routed(Store(str(folder)), "part", bucket=bucket, columns=columns, **facts)
    return [row for table in tables for row in table.to_pylist()]


@settings(max_examples=60, deadline=None)
@given(chunks=CHUNKS, count=COUNTS)
def test_the_segments_of_all_buckets_are_the_table(tmp_path_factory, chunks, count):
    folder = tmp_path_factory.mktemp("part")
    tables = [rows(ids) for ids in chunks]
    facts = written(folder, tables, count)
    expected = [row for table in tables for row in sort_table(table, ("id", "number")).to_pylist()]
    assert read(folder, facts, None) == expected
    asked = {int(row["id"][:3], 16) >> (12 - (count.bit_length() - 1)) for row in expected} | {0, count - 1}
    found = []
    for bucket in sorted(asked):  # the others are empty: ask for a few, not for thousands
        mine = read(folder, facts, bucket)
        assert {int(n) for n in bucket_of(pa.array([row["id"] for row in mine], pa.string()), count)} <= {
            bucket
        }
        found += mine
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_only_the_columns_that_are_asked_for(tmp_path):
    facts = written(tmp_path, [rows(["abc", "fff"])], 4)
    assert read(tmp_path, facts, 2, ["number", "id"]) == [{"number": 0, "id": "abc"}]


def test_an_id_that_cannot_be_routed_is_refused(tmp_path):
    table = rows(["abc"]).set_column(0, "id", pa.array([None], pa.string()))
    with pytest.raises(ValueError, match="cannot be routed"):
        write_routed(tmp_path / "part", [table], order=("number",), route="id", buckets=4)


def test_damage_is_told(tmp_path):
    """A flipped bit in a segment, a table that leads outside, a file that was cut off."""
    facts = written(tmp_path, [rows([f"{n:03x}" for n in range(0, 4096, 16)])], 2)
    whole = (tmp_path / "part").read_bytes()
    for place in (100, len(whole) - 48):  # in the first segment; in the first offset
        (tmp_path / "part").write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :])
        with pytest.raises(IntegrityError, match="part is damaged"):
            read(tmp_path, facts, 0)
    (tmp_path / "part").write_bytes(whole[:-30])
    with pytest.raises(IntegrityError, match="cut off"):
        read(tmp_path, facts, None)


def test_a_reader_asks_for_its_own_rows_only(tmp_path, monkeypatch):
    """One row of the table and one segment: what a reader fetches does not grow with the number of buckets."""
    facts = written(tmp_path, [rows([f"{n:03x}" for n in range(4096)])], 4096)
    asked = []
    real = Store.read_ranges
    monkeypatch.setattr(Store, "read_ranges", lambda *a: asked.extend(n for _, n in a[2]) or real(*a))
    assert read(tmp_path, facts, 77) == [{"id": "04d", "number": 77, "text": b"04d" * 3}]
    assert asked[0] == shuffle._ENTRY.itemsize
    assert len(asked) == 2
