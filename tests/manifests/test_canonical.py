"""Canonical JSON: one value, one sequence of bytes; ambiguous input is refused."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import canonical
from manifests.errors import CanonicalError

SAFE = 2**53 - 1
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.floats(-SAFE, SAFE),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_load_inverts_dumps(value):
    data = canonical.dumps(value)
    assert canonical.load(data) == value
    assert canonical.dumps(canonical.load(data)) == data
    assert canonical.digest(value) == hashlib.sha256(data).hexdigest()


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), st.integers(0, 9), max_size=8))
def test_bytes_do_not_depend_on_the_order_of_keys(mapping):
    assert canonical.dumps(mapping) == canonical.dumps(dict(reversed(mapping.items())))


def test_keys_sort_by_utf16_code_units():
    # U+1F600 is d83d de00 in UTF-16 and so sorts before U+FB33, though its code point is larger.
    assert canonical.dumps({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"",
        b"{",
        b"1 2",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe1\x00",
        b'"\xff"',
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"9" * 10_000,
        b"'a'",
        b'"\x01"',
    ],
)
def test_ambiguous_or_hostile_json_is_refused(data):
    with pytest.raises(CanonicalError):
        canonical.load(data)


def test_size_limit_counts_bytes():
    assert canonical.load(b"[1]", max_bytes=3) == [1]
    with pytest.raises(CanonicalError, match="limit of 2"):
        canonical.load(b"[1]", max_bytes=2)


@pytest.mark.parametrize(
    "value", [2**53, float("nan"), float("inf"), "\ud800", {1: 2}, b"x", {"a": object()}]
)
def test_values_without_canonical_json_are_refused(value):
    with pytest.raises(CanonicalError):
        canonical.dumps(value)


def test_deep_values_are_refused():
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CanonicalError, match="deep"):
        canonical.dumps(value)
    while value:  # taken apart without recursion
        value = value[0]


@given(st.binary(max_size=60))
def test_any_bytes_load_or_raise_our_error(data):
    try:
        value = canonical.load(data)
    except CanonicalError:
        return
    assert json.loads(data) == value
