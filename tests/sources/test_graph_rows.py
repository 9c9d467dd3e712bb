"""Checking, moving and sorting rows in bulk gives what a plain sort of a set gives."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.graph_rows import hex_or_null, is_hex, sort_unique, take

MANY = settings(max_examples=100, deadline=None, derandomize=True)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("target", pa.string()),
        ("name", pa.binary()),
        ("type", pa.string()),
        ("perms", pa.int32()),
    ]
)
# Ids that share a prefix of eight digits, so that a sort by prefixes alone would go wrong.
IDS = st.sampled_from(["a" * 40, "a" * 39 + "b", "0" * 40, "a" * 8 + "c" * 32, "f" * 40, "01234567" * 5])
ANY = st.one_of(IDS, st.none(), st.sampled_from(["", "short", "é" * 20, "A" * 40, "f" * 41]))
NAMES = st.sampled_from([b"", b"\0", b"a", b"a\0", b"README.md", b"README.txt", b"\xff" * 9, b"\xff" * 8])
KINDS = st.sampled_from(["file", "dir", None])


def rows_of(ids: st.SearchStrategy, targets: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(st.tuples(ids, targets, NAMES, KINDS, st.sampled_from([1, 2, None])), max_size=24)


def check(rows: list[tuple], parts: int) -> None:
    tables = [
        pa.Table.from_pylist(
            [dict(zip(SCHEMA.names, row, strict=True)) for row in rows[n::parts]], schema=SCHEMA
        )
        for n in range(parts)
    ]
    found = sort_unique(pa.concat_tables(tables), SCHEMA.names)

    def key(row: tuple) -> list:
        return [(x is None, b"" if x is None else x.encode() if isinstance(x, str) else x) for x in row]

    assert [tuple(row.values()) for row in found.to_pylist()] == sorted(set(rows), key=key)
    assert found.schema == SCHEMA
    found.validate(full=True)


@MANY
@given(rows_of(IDS, IDS), st.integers(1, 4))
def test_sorted_and_each_once(rows: list, parts: int) -> None:
    check(rows, parts)


@MANY
@given(rows_of(ANY, ANY), st.integers(1, 4))
def test_sorted_and_each_once_whatever_is_in_the_ids(rows: list, parts: int) -> None:
    check(rows, parts)


def test_what_sorts_by_numbers_too() -> None:
    table = pa.table({"n": pa.array([3, 1, None, 3]), "s": ["x", "y", "z", "x"]})
    assert sort_unique(table, ["n", "s"]).to_pylist() == [
        {"n": 1, "s": "y"},
        {"n": 3, "s": "x"},
        {"n": None, "s": "z"},
    ]


@MANY
@given(st.lists(st.one_of(ANY, st.text(max_size=45))), st.integers(0, 5), st.sampled_from([4, 40, 64]))
def test_ids_are_those_that_a_pattern_finds(values: list, start: int, digits: int) -> None:
    column = pa.chunked_array([pa.array(values, pa.string()).slice(start), pa.array(["f" * digits])])
    wanted = [
        v is not None and bool(re.fullmatch(f"[0-9a-f]{{{digits}}}", v, re.ASCII)) for v in column.to_pylist()
    ]
    assert is_hex(column, digits).tolist() == wanted
    assert hex_or_null(column, digits).to_pylist() == [
        v if w else None for v, w in zip(column.to_pylist(), wanted, strict=True)
    ]


@MANY
@given(rows_of(ANY, IDS), st.data())
def test_rows_are_moved_as_they_are(rows: list, data: st.DataObject) -> None:
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    assert take(table, np.array(wanted, np.intp)).to_pylist() == [table.to_pylist()[n] for n in wanted]
