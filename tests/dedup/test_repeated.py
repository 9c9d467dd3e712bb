"""Blocks of lines, held against plain Python."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.errors import DedupError
from dedup.repeated import LineBlocks, bytes_per_document, line_blocks, repeated_lines

LINE = st.sampled_from(
    [b"", b"  ", b"}", b"x", b"// x", b"\tx;", b"x y", b"x  y", b"\xe4\xb8\xad", b"# \xe4\xb8\xad\r", b"a" * 40, b"a" * 15,
     b"\x00a\x00", b"0123456789abcdef", b"0123456789abcdef_", b" -- 0123456789abcdef_."]
)  # fmt: skip
TEXTS = st.lists(st.lists(LINE, max_size=12).map(b"\n".join), max_size=6)


def plain_lines(text: bytes) -> list[tuple[int, bytes]]:
    """The number and the text of each line, from its first to its last token byte."""
    found = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        core = re.sub(rb"^[^A-Za-z0-9_\x80-\xff]+|[^A-Za-z0-9_\x80-\xff]+$", b"", line)
        if core:
            found.append((number, core))
    return found


def plain_blocks(text: bytes, lines: int, least: int) -> list[tuple[bytes, ...] | None]:
    """The block that begins with each line; None where none does."""
    core = [line for _, line in plain_lines(text)]
    runs = [tuple(core[i : i + lines]) for i in range(len(core))]
    return [run if len(run) == lines and sum(map(len, run)) >= least else None for run in runs]


def made(texts: list[bytes], lines: int, least: int) -> LineBlocks:
    return line_blocks(pa.array(texts, pa.large_binary()), lines=lines, least_bytes=least)


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, lines=st.integers(1, 4), least=st.integers(0, 30))
def test_blocks_are_equal_where_their_lines_are(texts, lines, least):
    found = made(texts, lines, least)
    names: dict[tuple[bytes, ...], int] = {}
    assert len(found) == len(texts)
    for place, text in enumerate(texts):
        here = slice(found.offsets[place], found.offsets[place + 1])
        plain = plain_lines(text)
        assert found.numbers[here].tolist() == [number for number, _ in plain]
        assert found.lengths[here].tolist() == [len(line) for _, line in plain]
        for block, run in zip(found.blocks[here].tolist(), plain_blocks(text, lines, least), strict=True):
            assert (block != 0) == (run is not None)
            if run is not None:
                assert names.setdefault(run, block) == block
    assert len(set(names.values())) == len(names)


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, lines=st.integers(1, 4), data=st.data())
def test_a_frequent_block_covers_its_lines(texts, lines, data):
    found = made(texts, lines, 0)
    frequent = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(found.blocks), max_size=len(found.blocks))), bool
    )
    frequent &= found.blocks != 0
    marked = repeated_lines(found, frequent, lines=lines)
    for first, last in zip(found.offsets[:-1], found.offsets[1:], strict=True):
        covered = {line for at in np.flatnonzero(frequent[first:last]) for line in range(at, at + lines)}
        assert set(np.flatnonzero(marked[first:last])) == covered
    assert bytes_per_document(found, marked).sum() == found.lengths[marked].sum()
    assert (bytes_per_document(found, marked) <= bytes_per_document(found)).all()
    assert bytes_per_document(found).sum() == found.lengths.sum()


def test_a_notice_is_the_same_whatever_marks_its_comments():
    notice = [
        b"Licensed under the Apache License, Version 2.0",
        b"you may not use this file",
        b"except in compliance",
    ]
    forms = [b"/*\n" + b"".join(b" * " + line + b"\n" for line in notice) + b" */\n",
             b"".join(b"# " + line + b"\r\n" for line in notice),
             b"".join(b"\n    // " + line for line in notice)]  # fmt: skip
    found = made(forms, 3, 60)
    assert len({found.blocks[start] for start in found.offsets[:-1]}) == 1


def test_where_a_text_lies_in_its_buffer_does_not_matter():
    text = b"alpha beta\ngamma delta epsilon zeta eta theta\n" * 3
    alone = made([text], 2, 0)
    among = line_blocks(
        pa.array([b"x" * 7, text, b"y\n"], pa.large_binary()).slice(1, 1), lines=2, least_bytes=0
    )
    assert among.blocks.tolist() == alone.blocks.tolist()


@pytest.mark.parametrize("lines", [0, -1, 1_001])
def test_a_block_has_some_lines(lines):
    with pytest.raises(DedupError, match="lines must lie"):
        made([b"a"], lines, 0)


def test_nothing_is_in_nothing():
    for texts in ([], [b""], [b"}\n{\n", b"\n\n"]):
        found = made(texts, 5, 100)
        assert len(found.blocks) == 0 and bytes_per_document(found).tolist() == [0] * len(texts)
        assert repeated_lines(found, np.zeros(0, np.bool_)).tolist() == []


def test_one_line_of_everything():
    """A minified file is one line: no block of five."""
    found = made([b"x=1;" * 500_000], 5, 100)
    assert found.blocks.tolist() == [0] and found.lengths.tolist() == [1_999_999]
