r"""Signals of runs: the longest piece without white space, and lists of numbers.

A list of numbers is a match of

    (?<!\w)[0-9]\w*(?:[-+.,;()\[\]{}\s]+[0-9]\w*)*        (ASCII, of at least LIST characters)

so `1.5, 0x1F, {2e-3}` is one. Lengths are in characters.
"""

from __future__ import annotations

import numba
import numpy as np

COUNTS = ("longest_piece", "longest_list", "in_lists")
"""Columns of `measure_runs`: characters of the longest piece without ASCII white space; of the longest list of numbers,
whatever its length; inside lists of at least `LIST` characters."""

LIST = 64
"""Characters from which on numbers one after the other are a list: as many as make a base64 run in The Stack v2."""

_OTHER, _HIGH, _SPACE, _BETWEEN, _LETTER, _DIGIT = 0, 1, 2, 3, 4, 5


def _kinds() -> np.ndarray:
    kinds = np.zeros(256, np.uint8)
    kinds[0x80:] = _HIGH
    for kind, members in (
        (_SPACE, b" \t\n\r\f\v"),
        (_BETWEEN, b"-+.,;()[]{}"),
        (_LETTER, b"_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        (_DIGIT, b"0123456789"),
    ):
        kinds[list(members)] = kind
    return kinds


_KINDS = _kinds()


def measure_runs(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """`COUNTS` of every text, int64."""
    out = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    _pieces_all(data, offsets, _KINDS, out)
    _lists_all(data, offsets, _KINDS, out)
    return dict(zip(COUNTS, out.T, strict=True))


@numba.njit(nogil=True, cache=True)
def _pieces_all(data, offsets, kinds, out):
    for row in range(offsets.shape[0] - 1):
        start, end = offsets[row], offsets[row + 1]
        high = np.uint8(0)
        for at in range(start, end):
            high |= data[at]
        out[row, 0] = (
            _longest_plain(data, start, end, kinds) if high < 0x80 else _longest(data, start, end, kinds)
        )


@numba.njit(nogil=True, cache=True)
def _longest_plain(data, start, end, kinds):
    """Of ASCII: without a branch, since where pieces end cannot be predicted."""
    longest = length = 0
    for at in range(start, end):
        length = (length + 1) * (kinds[data[at]] != _SPACE)
        longest = max(longest, length)
    return longest


@numba.njit(nogil=True, cache=True)
def _longest(data, at, end, kinds):
    longest = 0
    while at < end:
        first, hidden = at, 0
        while at < end and kinds[data[at]] != _SPACE:
            if kinds[data[at]] == _HIGH:
                length = _length(data, at, end)
                hidden += length - 1
                at += length
            else:
                at += 1
        longest = max(longest, at - first - hidden)
        at += 1
    return longest


@numba.njit(nogil=True, cache=True)
def _lists_all(data, offsets, kinds, out):
    for row in range(offsets.shape[0] - 1):
        at, end = offsets[row], offsets[row + 1]
        first, stop = -1, -1  # of the list that is open
        longest = inside = 0
        while at < end:
            kind = kinds[data[at]]
            if kind == _DIGIT:
                if first < 0:
                    first = at
                while at < end and kinds[data[at]] >= _LETTER:
                    at += 1
                stop = at
                continue
            if kind not in (_SPACE, _BETWEEN) and first >= 0:
                longest = max(longest, stop - first)
                inside += stop - first if stop - first >= LIST else 0
                first = -1
            if kind == _LETTER:
                while at < end and kinds[data[at]] >= _LETTER:
                    at += 1
            else:
                at += 1
        if first >= 0:
            longest = max(longest, stop - first)
            inside += stop - first if stop - first >= LIST else 0
        out[row, 1], out[row, 2] = longest, inside


@numba.njit(nogil=True, cache=True)
def _length(data, at, end):
    """Bytes of the character that starts here; 1 for a byte that starts none."""
    lead, left = data[at], end - at
    if lead < 0xC2 or lead > 0xF4 or left < 2:
        return 1
    second = data[at + 1]
    if lead < 0xE0:
        return 2 if second & 0xC0 == 0x80 else 1
    # No over-long forms, no surrogates, nothing above U+10FFFF.
    lowest = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
    highest = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
    if second < lowest or second > highest or left < 3 or data[at + 2] & 0xC0 != 0x80:
        return 1
    if lead < 0xF0:
        return 3
    return 4 if left >= 4 and data[at + 3] & 0xC0 == 0x80 else 1
