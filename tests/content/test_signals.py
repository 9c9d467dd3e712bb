"""Signals against a plain reference, on random text and on texts made of the patterns' own pieces."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.content.characters import LETTERS
from pipeline.content.generated import PHRASES
from pipeline.content.signals import SCHEMA, signals

PATTERNS = (
    re.compile(r"[a-zA-Z0-9+/\n=]{64,}"),
    re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}", re.ASCII),
    re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}"),
)


def reference(text: str) -> dict[str, object]:
    lines = re.split("\r\n|\n|\r", text)
    if lines[-1] == "":
        lines.pop()
    covered: set[int] = set()
    longest = 0
    for pattern in PATTERNS:
        for match in pattern.finditer(text):
            covered.update(range(*match.span()))
            longest = max(longest, len(match.group()))
    size = len(text) or 1
    return {
        "num_lines": len(lines),
        "avg_line_length": np.float32(sum(map(len, lines)) / (len(lines) or 1)),
        "max_line_length": max(map(len, lines), default=0),
        "alpha_fraction": np.float32(sum(bool(LETTERS[ord(c)] & 1) for c in text) / size),
        "alphanum_fraction": np.float32(sum(bool(LETTERS[ord(c)] & 2) for c in text) / size),
        "encoded_fraction": np.float32(len(covered) / size),
        "longest_encoded_run": longest,
        "first_lines_generated": any(
            phrase.decode() in _ascii_lower(line) for phrase in PHRASES for line in lines[:5]
        ),
    }


def _ascii_lower(text: str) -> str:
    return text.encode().lower().decode()


PIECES = [
    "0x",
    "\\x",
    "41",
    "ff",
    "a",
    "g",
    ",",
    " ",
    "\n",
    "\r",
    "\r\n",
    "\\u",
    "\\u00ff",
    "0041",
    "x",
    "é",
    "_",
    "=",
    "ff,",
    "41 ",
    "\\x41",
    "\t",
    "4",
    "0x41,",
    "中",
    "😀",
    "\u2028",
    "A" * 20,
    "Auto-Generated",
    "²",
    "١",
    "\x0c",
    "\x0b",
    "\x1c",
    "@generated",
    "İ",
]
TEXTS = st.one_of(
    st.text(max_size=200),
    st.text("ab1\n\r\u00e9\u4e2d \t", max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.tuples(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3), st.integers(1, 40)).map(
        lambda pair: "".join(pair[0]) * pair[1]
    ),
)


@given(st.lists(TEXTS, max_size=5))
@example(
    ["\\x41" * 9, "41 42 43 44 45 46 47 48", "x41,42,43,44,45,46,47,48,", "41, 42, 43, 44, 45, 46, 47, 48"]
)
@example(["A" * 64, "A" * 63, "A" * 70 + " " + "\\u0041" * 8, "\n" * 64])
def test_equals_the_reference(texts):
    table = signals(pa.array([text.encode() for text in texts], pa.large_binary()))
    assert table.schema == SCHEMA
    assert table.to_pylist() == [reference(text) for text in texts]


@given(
    st.lists(st.one_of(st.none(), TEXTS.map(str.encode), st.binary(max_size=80)), max_size=6),
    st.integers(0, 6),
)
def test_does_not_depend_on_the_batch_and_never_fails(texts, cut):
    def rows(some):
        return signals(pa.array(some, pa.large_binary())).to_pylist()

    whole = rows(texts)
    assert rows(texts[:cut]) + rows(texts[cut:]) == whole
    assert signals(pa.array([b"\n\n", *texts], pa.large_binary())[1:]).to_pylist() == whole
    for text, row in zip(texts, whole, strict=True):
        assert (text is None) == all(value is None for value in row.values())


def test_letters_are_those_of_python():
    # On another Unicode version newer letters may differ; all that existed in Unicode 3.2 must not.
    import unicodedata

    old = unicodedata.ucd_3_2_0
    for point in range(0, 0x30000, 7):
        character = chr(point)
        if old.category(character) != "Cn":
            assert bool(LETTERS[point] & 1) == character.isalpha(), hex(point)
            assert bool(LETTERS[point] & 2) == character.isalnum(), hex(point)


@pytest.mark.parametrize(
    "text",
    [
        b"a" * 3000000,
        b"41 " * 1000000,
        b" " * 3000000,
        b"41" + b" " * 3000000,
        b"\\u" * 1500000,
        b"41 42 43 44 45 46 47 g " * 100000,
        b"\r" * 3000000,
        b"\x00" * 3000000,
        b"\x80" * 3000000,
        b"generated" * 300000,
        (b"A" * 63 + b" ") * 50000,
        (b"41," * 7 + b"z ") * 100000,
    ],
)
def test_hostile_texts_take_linear_time(text):
    # About 10 ms each; anything quadratic in 3 MB would take hours.
    assert signals(pa.array([text], pa.large_binary())).num_rows == 1
