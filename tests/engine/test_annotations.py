"""Annotation stores: what is there is not asked for again, duplicates do no harm, segments fold into one."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine import annotations
from pipeline.engine.annotations import AnnotationStore, require_all
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError

ONE = pa.schema([("sha256", pa.string()), ("value", pa.int64())])
TWO = pa.schema([("sha256", pa.string()), ("name", pa.binary()), ("value", pa.int64())])


def opened(folder, schema=ONE, ids=("sha256",), bucket=0, key="k") -> AnnotationStore:
    return AnnotationStore(Store(str(folder)), "test", key, bucket, ids, schema)


def rows(*numbers: int) -> pa.Table:
    return pa.table([[f"{n:064x}" for n in numbers], [n * n for n in numbers]], schema=ONE)


def values(store: AnnotationStore, **how) -> list[int]:
    return sorted(store.read(**how)["value"].to_pylist())


def test_what_is_missing_is_what_nobody_appended(tmp_path):
    store = opened(tmp_path)
    assert store.missing(rows(1, 2, 3)).num_rows == 3
    store.append(rows(1, 3))
    left = store.missing(rows(1, 2, 3, 2))
    assert left["value"].to_pylist() == [4], "distinct, with whatever else the rows carry"
    assert store.read(columns=["value"], wanted=rows(3, 9)).to_pylist() == [
        {"sha256": f"{3:064x}", "value": 9}
    ]
    assert store.read(wanted=rows(9)).num_rows == 0
    assert store.read(wanted=rows()).num_rows == 0


def test_buckets_and_keys_are_apart(tmp_path):
    opened(tmp_path).append(rows(1))
    assert opened(tmp_path, bucket=1).read().num_rows == 0
    assert opened(tmp_path, key="other").read().num_rows == 0


@settings(max_examples=40, deadline=None)
@given(
    appends=st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=8),
    asked=st.lists(st.integers(0, 40)),
)
def test_any_history_of_appends_reads_the_same(tmp_path_factory, appends, asked):
    """Overlapping, repeated, empty segments: one row per id, and missing is the complement."""
    store = opened(tmp_path_factory.mktemp("history"))
    for numbers in appends:
        store.append(rows(*numbers))
    there = set().union(*appends) if appends else set()
    assert values(store) == sorted(n * n for n in there)
    assert sorted(store.missing(rows(*asked))["value"].to_pylist()) == sorted(
        n * n for n in set(asked) - there
    )
    wanted = store.read(wanted=rows(*asked))
    assert sorted(wanted["value"].to_pylist()) == sorted(n * n for n in set(asked) & there)


def test_the_same_segment_twice_changes_nothing(tmp_path):
    store = opened(tmp_path)
    store.append(rows(1, 2))
    first = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    store.append(rows(2, 1))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == first


def test_two_writers_of_one_bucket(tmp_path):
    """Both found the same ids missing and append at the same time: as a retried task does."""
    a, b = opened(tmp_path), opened(tmp_path)
    wanted = rows(*range(10))
    mine, yours = a.missing(wanted), b.missing(wanted)
    a.append(mine.slice(0, 6))
    b.append(yours)
    a.append(mine.slice(6))
    assert values(opened(tmp_path)) == [n * n for n in range(10)]


def test_an_unfinished_segment_is_not_seen(tmp_path):
    store = opened(tmp_path)
    store.append(rows(1))
    segment = next(tmp_path.rglob("*.parquet"))
    segment.with_name(f"{segment.name}.tmp-0123456789ab").write_bytes(b"PAR1 half")
    assert values(store) == [1]


def test_many_segments_are_folded_and_nothing_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "COMPACT_AT", 5)
    store = opened(tmp_path)
    for number in range(4):
        store.append(rows(number, number + 1))
    assert store.compact() == 0
    store.append(rows(77))
    before = values(store)
    assert store.compact() == 5
    assert values(store) == before
    assert len(store._segments()) == 1
    store.append(rows(78))  # a segment that came in between is folded the next time
    assert values(store) == sorted([*before, 78 * 78])


def test_folding_leaves_large_files_alone_and_holds_a_row_group_at_a_time(tmp_path, monkeypatch):
    """Bodies are rewritten about twice, not with every later run; and a bucket of any size is folded in bounded memory."""
    monkeypatch.setattr(annotations, "COMPACT_AT", 4)
    monkeypatch.setattr(annotations, "_FOLD_ROW_GROUP_BYTES", 2_000)
    store = opened(tmp_path)
    for number in range(4):
        store.append(rows(*range(number * 40, number * 40 + 60)))
    monkeypatch.setattr(
        annotations, "FOLDED_BYTES", max(p.stat().st_size for p in tmp_path.rglob("*.parquet")) + 1
    )
    assert store.compact() == 4
    (folded,) = tmp_path.rglob("*.parquet")
    with store.store.parquet(store._segments()[0]) as file:
        assert file.metadata.num_rows == 180, "each id once"
        assert file.num_row_groups > 3
        assert max(file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)) < 90
    before = folded.read_bytes()
    for number in range(4):
        store.append(rows(1_000 + number))
    assert store.compact() == 4
    assert folded.read_bytes() == before
    assert len(store._segments()) == 2
    assert values(store) == sorted(n * n for n in [*range(180), *range(1_000, 1_004)])


def test_a_crash_in_the_middle_of_folding_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "COMPACT_AT", 3)
    store = opened(tmp_path)
    for number in range(4):
        store.append(rows(number))
    real, done = Store.delete, []

    def delete(self, key):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(key)
        real(self, key)

    monkeypatch.setattr(Store, "delete", delete)
    with pytest.raises(KeyboardInterrupt):
        store.compact()
    monkeypatch.setattr(Store, "delete", real)
    assert values(store) == [0, 1, 4, 9]
    assert store.compact() == 3
    assert values(store) == [0, 1, 4, 9]


def test_ids_of_two_columns(tmp_path):
    """(content, name class): the class is any bytes, also none and such that could run into the other column."""
    names = [b"", b"\0", b".py", b"\xff", b"0"]
    draw = random.Random(3)
    table = pa.table(
        [[f"{n // 5:064x}" for n in range(50)], [names[n % 5] for n in range(50)], list(range(50))],
        schema=TWO,
    )
    store = opened(tmp_path, TWO, ("sha256", "name"))
    some = pa.array(sorted(draw.sample(range(50), 20)))
    store.append(table.take(some))
    assert values(store) == some.to_pylist()
    assert sorted(store.missing(table)["value"].to_pylist()) == sorted(set(range(50)) - set(some.to_pylist()))


def test_annotations_that_vanished_are_an_error_with_a_way_out():
    require_all("text", 5, 5)
    with pytest.raises(IntegrityError, match="1 of 5 annotations of 'text' are missing"):
        require_all("text", 5, 4)
