"""The order as SQL and the order as a Python key are one strict total order."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import ELECTION_ORDER, election_key, log2_floor, order_by_sql

COUNT = st.one_of(st.none(), st.integers(0, 9), st.sampled_from([2**53 - 2, 2**53 - 1, 2**53, 2**63 - 1, -1]))
OCCURRENCE = st.fixed_dictionaries(
    {
        "is_fork": st.one_of(st.none(), st.booleans()),
        "stars": COUNT,
        "forks": COUNT,
        "revision_date": st.one_of(st.none(), st.integers(-2, 2), st.sampled_from([-(2**62), 2**62])),
        "path_components": st.integers(1, 3),
        "origin": st.sampled_from([b"", b"a", b"B", b"\xff", b"a\0", b"a\0b"]),
        "path": st.one_of(st.sampled_from([b"x", b"x/y", b"X"]), st.binary(max_size=3)),
    }
)
SCHEMA = pa.schema([pa.field(key.column, key.type) for key in ELECTION_ORDER])


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@given(rows=st.lists(OCCURRENCE, min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_sql_and_key_agree(connection, rows):
    connection.register("occurrences", pa.Table.from_pylist(rows, schema=SCHEMA))
    found = connection.execute(f"SELECT * FROM occurrences o ORDER BY {order_by_sql('o')}").fetchall()
    expected = [tuple(row[name] for name in SCHEMA.names) for row in sorted(rows, key=election_key)]
    # occurrences that differ in what does not count (3 or 2 stars) may stand in either order
    names = SCHEMA.names
    keys = [[election_key(dict(zip(names, row, strict=True))) for row in side] for side in (found, expected)]
    assert keys[0] == keys[1]
    assert {(r[5], r[6]) for r in found[:1]} == {(r[5], r[6]) for r in expected[:1]}


def row(**changes):
    usual = {"is_fork": False, "stars": 5, "forks": 5, "revision_date": 100, "path_components": 2}
    return {**usual, "origin": b"o", "path": b"p/q", **changes}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (row(stars=0), row(is_fork=True, stars=10**6)),
        (row(stars=7), row(stars=6, forks=10**6)),  # 8 is a power of two
        (row(stars=3, forks=3), row(stars=6, forks=2)),
        (row(stars=4, revision_date=1), row(stars=6, revision_date=2)),  # as rough as it should be
        (row(revision_date=-5), row(revision_date=0)),
        (row(revision_date=2**60), row(revision_date=None, path_components=1)),
        (row(path_components=1), row(path_components=2, origin=b"a")),
        (row(origin=b"a", path=b"z/z"), row(origin=b"b", path=b"a/a")),
        (row(origin=b"Z"), row(origin=b"a")),
        (row(path=b"p"), row(path=b"p\0")),
        (row(origin="é"), row(origin=b"\xff")),
    ],
)
def test_order_of_examples(better, worse):
    assert election_key(better) < election_key(worse)


def test_log2_floor_is_exact():
    assert [log2_floor(n) for n in (None, -3, 0, 1, 2, 3, 6, 7, 2**53 - 2, 2**53 - 1, 2**63 - 1)] == [
        0, 0, 0, 1, 1, 2, 2, 3, 52, 53, 63,
    ]  # fmt: skip


def test_columns_are_qualified_and_quoted():
    terms = order_by_sql('we"ird', then=("sha256",)).split(", ")
    assert terms[-2:] == ['"we""ird"."path" ASC NULLS LAST', '"we""ird"."sha256" ASC NULLS LAST']
    assert order_by_sql().startswith('coalesce("is_fork", false) ASC')
