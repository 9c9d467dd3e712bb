r"""Signals of encoded data: base64, hexadecimal, and unicode escapes. Linear in the text, whatever it is.

The patterns are those of StarCoder2 (arXiv 2402.19173), with the ASCII meaning of `\b` and `\s`, each matched on its own, left
to right, without overlap:

    base64   [a-zA-Z0-9+/\n=]{64,}
    hex      (?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}
    unicode  (?:\\u[0-9a-fA-F]{4}){8,}

All bytes of a match are ASCII, so bytes are characters.
"""

from __future__ import annotations

import numba
import numpy as np

from pipeline.content.characters import BASE64, CLASSES, ESCAPED, HEX, SPACE, WORD

COUNTS = ("inside", "longest", "base64", "hex", "unicode")
"""Columns of `find_encoded`: characters inside at least one match; of the longest match; inside matches of each pattern."""

_BASE64_LEAST = 64
_UNITS_LEAST = 8
_ESCAPED_LEAST = 3 * _UNITS_LEAST - 1  # the shortest hex match: eight pairs and the separators between them


def find_encoded(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """`COUNTS` of every text, int64."""
    out = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    _find_all(data, offsets, CLASSES, out)
    return dict(zip(COUNTS, out.T, strict=True))


@numba.njit(nogil=True, cache=True)
def _find_all(data, offsets, classes, out):
    for row in range(offsets.shape[0] - 1):
        start, end = offsets[row], offsets[row + 1]
        plain, some = _base64_spans(data, start, end, classes)
        chains, others, unicode = _escaped_spans(data, start, end, classes)
        out[row, 0], out[row, 1] = _union(plain, some, chains, others)
        out[row, 2] = _sum(plain, some)
        out[row, 3] = _sum(chains, others) - unicode
        out[row, 4] = unicode


@numba.njit(nogil=True, cache=True)
def _next_run(data, at, end, classes, kind):
    """The next run that is long enough for a match and starts at or after `at`; (end, end) if none.

    A run is a maximal range of bytes of the kind. One that starts here and is long enough covers the byte
    `least - 1` further on; when that byte is no member, no such run starts before it, and everything up to
    it is skipped unread.
    """
    least = _BASE64_LEAST if kind == BASE64 else _ESCAPED_LEAST
    start = at
    while start + least <= end:
        probe = start + least - 1
        if not classes[data[probe]] & kind:
            start = probe + 1
            continue
        first = probe
        while first > start and classes[data[first - 1]] & kind:
            first -= 1
        last = probe + 1
        while last < end and classes[data[last]] & kind:
            last += 1
        if last - first >= least:
            return first, last
        start = last + 1
    return end, end


@numba.njit(nogil=True, cache=True)
def _appended(spans, count, first, last):
    if count == spans.shape[0]:
        larger = np.empty((2 * count, 2), np.int64)
        larger[:count] = spans
        spans = larger
    spans[count, 0], spans[count, 1] = first, last
    return spans


@numba.njit(nogil=True, cache=True)
def _base64_spans(data, start, end, classes):
    spans, count = np.empty((4, 2), np.int64), 0
    first, last = _next_run(data, start, end, classes, BASE64)
    while first < end:
        spans = _appended(spans, count, first, last)
        count += 1
        first, last = _next_run(data, last, end, classes, BASE64)
    return spans, count


@numba.njit(nogil=True, cache=True)
def _escaped_spans(data, start, end, classes):
    """Matches of the hex and the unicode pattern, in order, and bytes of the latter; they cannot overlap each other."""
    spans, count = np.empty((4, 2), np.int64), 0
    escapes = 0
    first, last = _next_run(data, start, end, classes, ESCAPED)
    while first < end:
        at = first
        while at < last:
            units, stop = _hex_chain(data, at, start, end, classes)
            hexadecimal = units > 0
            if not hexadecimal:
                units, stop = _unicode_chain(data, at, end, classes)
            if units >= _UNITS_LEAST:
                spans = _appended(spans, count, at, stop)
                count += 1
                escapes += 0 if hexadecimal else stop - at
            # A chain that is too short is so from each of its units on: nothing in it is tried again.
            at = max(stop, at + 1)
        first, last = _next_run(data, last, end, classes, ESCAPED)
    return spans, count, escapes


@numba.njit(nogil=True, cache=True)
def _hex_chain(data, at, start, end, classes):
    """How many hex units follow each other from here, and where they end."""
    units, stop = 0, at
    while stop < end:
        # \b: exactly one of the bytes before and here is a word byte.
        before = stop > start and classes[data[stop - 1]] & WORD != 0
        if before == (classes[data[stop]] & WORD != 0):
            break
        digits = stop
        if stop + 1 < end and data[stop + 1] == 120 and (data[stop] == 48 or data[stop] == 92):  # 0x or \x
            digits += 2
        if digits + 2 > end or not classes[data[digits]] & classes[data[digits + 1]] & HEX:
            break
        behind = digits + 2
        if behind < end and data[behind] == 44:
            behind += 1
        elif behind < end and classes[data[behind]] & WORD:
            break
        else:
            while behind < end and classes[data[behind]] & SPACE:
                behind += 1
        units, stop = units + 1, behind
    return units, stop


@numba.njit(nogil=True, cache=True)
def _unicode_chain(data, at, end, classes):
    """How many escapes of the form \\uXXXX follow each other from here, and where they end."""
    units, stop = 0, at
    while stop + 6 <= end and data[stop] == 92 and data[stop + 1] == 117:
        for i in range(stop + 2, stop + 6):
            if not classes[data[i]] & HEX:
                return units, stop
        units, stop = units + 1, stop + 6
    return units, stop


@numba.njit(nogil=True, cache=True)
def _union(one, ones, other, others):
    """Bytes inside any of two ordered lists of spans, and the longest span."""
    inside = longest = covered = i = j = 0
    while i < ones or j < others:
        if j == others or (i < ones and one[i, 0] <= other[j, 0]):
            first, last = one[i, 0], one[i, 1]
            i += 1
        else:
            first, last = other[j, 0], other[j, 1]
            j += 1
        longest = max(longest, last - first)
        inside += max(0, last - max(first, covered))
        covered = max(covered, last)
    return inside, longest


@numba.njit(nogil=True, cache=True)
def _sum(spans, count):
    total = 0
    for i in range(count):
        total += spans[i, 1] - spans[i, 0]
    return total
