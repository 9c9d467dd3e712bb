"""Shingle hashes stand one to one for the 5-token runs that a regular expression finds, wherever the text
lies."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError, DocumentTooLargeError, documents, shingle_sets, sketch
from dedup.shingles import BLOCK_BYTES, WINDOW_BYTES, shingle_blocks

TOKENS = st.one_of(
    st.sampled_from([b"a", b"b", b"_", b"0", b"\x80", b"\xff", "変数".encode(), "😀".encode()]),
    st.binary(min_size=1, max_size=40),
    st.sampled_from(range(1, 70)).map(lambda n: b"z" * n),
)
GAPS = st.sampled_from([b" ", b"", b"\n", b"\0", b"(", b"::", b"_", b" += "])
TEXTS = st.lists(st.lists(st.builds(bytes.__add__, TOKENS, GAPS), max_size=60).map(b"".join), max_size=8)
BOTH = pytest.mark.parametrize("operators", [False, True], ids=["words", "operators"])


def hashes(texts, operators=False) -> list[list[int]]:
    out: list[list[int]] = []
    for block in shingle_blocks(texts, operators=operators):
        borders = block.borders.tolist()
        values = block.values[: borders[-1]].tolist()
        out += [values[i:j] for i, j in itertools.pairwise(borders)]
    return out


def assert_one_to_one(texts, shingles_of, operators):
    """Same number of hashes as shingles per text; equal hashes iff equal shingles, over all texts."""
    to_hash: dict = {}
    to_shingle: dict = {}
    found = hashes(pa.array(texts, pa.large_binary()), operators)
    assert len(found) == len(texts)
    for text, values in zip(texts, found, strict=True):
        expected = shingles_of(text, operators)
        assert len(values) == len(expected)
        for value, shingle in zip(values, expected, strict=True):
            assert to_hash.setdefault(shingle, value) == value
            assert to_shingle.setdefault(value, shingle) == shingle


@BOTH
@given(TEXTS)
@settings(deadline=None)
def test_hashes_match_a_regular_expression(shingles_of, operators, texts):
    assert_one_to_one(texts, shingles_of, operators)


@BOTH
def test_every_byte_is_classed_as_the_definition_says(shingles_of, operators):
    # enough text after it that the 64-byte path is taken, and none that the tail path is
    texts = [b"a%cb c d e f" % c + tail for c in range(256) for tail in (b"", b" " * 80)]
    assert_one_to_one(texts, shingles_of, operators)


@BOTH
def test_masks_with_any_number_of_borders(shingles_of, operators):
    """As many as are written at once, one less, one more; and 64-byte edges anywhere in a token."""
    parts = (b"a ", b"ab ", b"+", b"a+", b"  +", b"\xff", b"abcdefg")
    texts = [b" " * shift + part * number + b" 1 2 3 4 5" + b" " * 64
             for part in parts for number in range(40) for shift in (0, 1, 63)]  # fmt: skip
    assert_one_to_one(texts, shingles_of, operators)


def test_tokens_that_differ_in_one_byte_anywhere_differ(shingles_of):
    texts = []
    for length in range(1, 70):
        for at in range(length):
            token = bytearray(b"q" * length)
            token[at] = ord("r")
            texts.append(b"1 2 3 4 " + bytes(token) + b" 5 6 7 8")
    assert_one_to_one(texts, shingles_of, False)


@BOTH
def test_windows_cut_no_token_and_lose_no_shingle(shingles_of, operators):
    rng = random.Random(5)
    texts = []
    for shift in range(6):
        words = [b"x%d" % rng.randrange(1000) for _ in range(3 * WINDOW_BYTES // 5)]
        texts.append(b" " * shift + b" ".join(words))
    texts.append(b"a b c d " + b"L" * (3 * WINDOW_BYTES + 7) + b" e f g h")  # a token longer than a window
    texts.append(b"a b c d " + b"L" * (3 * WINDOW_BYTES + 8) + b" e f g h")
    texts.append(b"a;" * WINDOW_BYTES)  # the densest borders
    texts.append(b" " * (2 * WINDOW_BYTES) + b"a b c d e" + b" " * (2 * WINDOW_BYTES))
    texts += [b"t" * (WINDOW_BYTES - k) + b" a b c d e f" for k in range(4)]
    for byte in (
        b"+",
        b" ",
        b"\0",
        b"\xe5",
        "変".encode(),
        "😀".encode(),
    ):  # on the border, beside it and across
        texts += [b"q" * (WINDOW_BYTES - k) + byte + b"q;a b c d e f" for k in range(6)]
        texts += [b"q " * (WINDOW_BYTES // 2 - 3) + byte * k + b"a b c d e f" for k in range(8)]
    texts.append(b"+" * (2 * WINDOW_BYTES + 1))  # the densest tokens
    assert_one_to_one(texts, shingles_of, operators)


def test_blocks_cover_all_documents_once():
    texts = [b"a b c d e"] * 3 + [b"x " * BLOCK_BYTES] + [b""] * 5 + [b"a b c d e"] * 300_000
    found = [(block.first, block.last) for block in shingle_blocks(pa.array(texts, pa.large_binary()))]
    assert found[0][0] == 0
    assert found[-1][1] == len(texts)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))


@BOTH
def test_the_place_in_the_buffer_does_not_matter(operators):
    text = "naïve tokens, in_any place of the 緩衝 buffer, have one hash each; "
    text = (text + "and_a_token_longer_than_32_bytes_too").encode()
    expected = hashes(pa.array([text], pa.large_binary()), operators)[0]
    for pad in range(70):
        array = pa.array([b"p" * pad, text, b"q" * (pad % 67)], pa.large_binary())
        assert hashes(array, operators)[1] == expected
        assert hashes(array.slice(1, 1), operators) == [expected]


def test_array_forms_agree_and_nulls_are_empty():
    texts = ["one two three four five six", None, "", "a b c d e", "x"]
    expected = hashes(pa.array(texts, pa.large_string()))
    assert [len(h) for h in expected] == [2, 0, 0, 1, 0]
    for kind in (pa.string(), pa.binary(), pa.large_binary()):
        array = pa.array(texts, pa.string()).cast(kind)
        assert hashes(array) == expected
        assert hashes(pa.chunked_array([array.slice(0, 2), array.slice(2)])) == expected
        assert hashes(array.slice(1, 3)) == expected[1:4]
    assert hashes(pa.array([], pa.large_binary())) == []
    assert hashes(pa.array([None, None], pa.large_binary())) == [[], []]


def test_null_slots_that_hold_bytes_are_empty():
    offsets = pa.py_buffer(np.array([0, 9, 18], np.int64))
    array = pa.Array.from_buffers(
        pa.large_binary(), 2, [pa.py_buffer(b"\x02"), offsets, pa.py_buffer(b"a b c d ea b c d e")]
    )
    assert [len(h) for h in hashes(array)] == [0, 1]


def test_arrays_that_leave_their_buffer_are_refused():
    for borders in ([0, 9, 4], [0, -1, 3], [0, 3, 1]):  # pyarrow itself looks at the ends only
        offsets = pa.py_buffer(np.array(borders, np.int64))
        array = pa.Array.from_buffers(pa.large_binary(), 2, [None, offsets, pa.py_buffer(b"abcd")])
        with pytest.raises(DedupError, match="valid"):
            sketch(array)


def test_other_types_are_refused():
    for texts in (["a"], pa.array([1]), pa.array([[b"a"]])):
        with pytest.raises(DedupError, match="large_binary"):
            sketch(texts)


def test_documents_above_the_limit_are_named(monkeypatch):
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 10)
    assert len(sketch(pa.array([b"x" * 10], pa.large_binary())).counts) == 1
    with pytest.raises(DocumentTooLargeError, match="document 1 has 11 bytes"):
        sketch(pa.array([b"", b"x" * 11], pa.large_binary()))


GUARDED = """
import ctypes, mmap, sys
import pyarrow as pa
from dedup import shingle_sets, sketch
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + page), page, 0) == 0
texts = (b"ab " * page, b"a" * page, b"a b c d e ffffffffffffffffffffff " * page, b"  " * page, b"+a" * page)
for length in list(range(1, 140)) + [page - 1, page]:
    for text in texts:
        memory[page - length : page] = text[:length]
        values = pa.foreign_buffer(address + page - length, length)
        offsets = pa.array([0, length // 2, length], pa.int64()).buffers()[1]
        array = pa.Array.from_buffers(pa.large_binary(), 2, [None, offsets, values])
        copy = pa.array(array.to_pylist() + [b"x" * 200], pa.large_binary()).slice(0, 2)
        for operators in (False, True):
            found, wanted = sketch(array, operators=operators), sketch(copy, operators=operators)
            assert (found.signatures == wanted.signatures).all(), (length, text[:9])
        assert (shingle_sets(array).values == shingle_sets(copy).values).all()
print("inside")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
def test_no_byte_outside_the_buffer_is_read():
    """The text ends where an unreadable page begins: one byte too far is a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "inside"), done.stderr


def test_sets_of_a_text_are_its_distinct_hashes():
    text = pa.array([b"a b c d e " * 5 + b"f g h"], pa.large_binary())
    assert shingle_sets(text).values.tolist() == sorted(set(hashes(text)[0]))
