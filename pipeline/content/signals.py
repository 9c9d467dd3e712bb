r"""Quality signals: numbers about a text that a filter profile turns into reasons (quality.py).

Lengths are in characters (code points). Definitions:

- A line ends at `\n`, `\r\n`, a lone `\r`, or the end of the text; its end is not part of its length. Text
  behind the last line end is a line, an empty text has none.
- `alpha_fraction`, `alphanum_fraction`: share of letters, of letters and numbers, among all characters,
  line ends included. Letters are Unicode letters (data/letters.json: Python's `isalpha`/`isalnum`, Unicode
  pinned).
- `encoded_fraction`: share of characters inside at least one match of the three patterns below;
  `longest_encoded_run`: the longest single match. The patterns are those of StarCoder2 (arXiv 2402.19173),
  with the ASCII meaning of `\b` and `\s`, each matched on its own, left to right, without overlap:

      base64   [a-zA-Z0-9+/\n=]{64,}
      hex      (?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}
      unicode  (?:\\u[0-9a-fA-F]{4}){8,}

All fractions of an empty text are 0. Work is linear in the text, whatever it is. Input is meant to be
valid UTF-8; a byte that is not counts as a character that is no letter.
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from pipeline.content.buffers import buffers
from pipeline.content.characters import BASE64, CLASSES, ESCAPED, HEX, LETTERS, SPACE, WORD
from pipeline.content.generated import marked_generated
from pipeline.content.signal_schema import SCHEMA

_BASE64_LEAST = 64
_UNITS_LEAST = 8
_ESCAPED_LEAST = 3 * _UNITS_LEAST - 1  # the shortest hex match: eight pairs and the separators between them


def signals(texts: pa.LargeBinaryArray) -> pa.Table:
    """The signals of every text (`SCHEMA`); a row of nulls for a null text."""
    texts = texts.cast(pa.large_binary())
    _, offsets, data = buffers(texts)
    lines = np.zeros((len(texts), 6), np.int64)
    encoded = np.zeros((len(texts), 2), np.int64)
    _measure_all(data, offsets, LETTERS, lines)
    _find_encoded(data, offsets, CLASSES, encoded)
    characters, num_lines, in_lines, longest, alphabetic, alphanumeric = lines.T
    inside, longest_run = encoded.T
    columns = {
        "num_lines": num_lines,
        "avg_line_length": _share(in_lines, num_lines),
        "max_line_length": longest,
        "alpha_fraction": _share(alphabetic, characters),
        "alphanum_fraction": _share(alphanumeric, characters),
        "encoded_fraction": _share(inside, characters),
        "longest_encoded_run": longest_run,
    }
    missing = texts.is_null().to_numpy(zero_copy_only=False)
    arrays = [
        pa.array(columns[field.name], field.type, mask=missing) for field in SCHEMA if field.name in columns
    ]
    return pa.Table.from_arrays([*arrays, marked_generated(texts)], schema=SCHEMA)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return (part / np.maximum(whole, 1)).astype(np.float32)


# --------------------------------------------------------------------------------------------------------
# Lines and letters.


@numba.njit(nogil=True, cache=True)
def _measure_all(data, offsets, letters, out):
    for row in range(offsets.shape[0] - 1):
        _measure(data, offsets[row], offsets[row + 1], letters, out[row])


@numba.njit(nogil=True, cache=True)
def _measure(data, at, end, letters, out):
    """Characters, lines, characters in lines, longest line, letters, letters and numbers of one text."""
    characters = lines = in_lines = longest = alphabetic = alphanumeric = 0
    line_start = 0  # in characters
    while at < end:
        byte = data[at]
        if byte >= 0x80:
            point, length = _code_point(data, at, end)
            flags = letters[point]
            alphabetic += flags & 1
            alphanumeric += flags >> 1
            characters += 1
            at += length
        elif byte in (10, 13):
            length = characters - line_start
            in_lines += length
            longest = max(longest, length)
            lines += 1
            characters += 1
            at += 1
            if byte == 13 and at < end and data[at] == 10:
                characters += 1
                at += 1
            line_start = characters
        else:
            flags = letters[byte]
            alphabetic += flags & 1
            alphanumeric += flags >> 1
            characters += 1
            at += 1
    if characters > line_start:
        length = characters - line_start
        in_lines += length
        longest = max(longest, length)
        lines += 1
    out[0], out[1], out[2], out[3], out[4], out[5] = (
        characters,
        lines,
        in_lines,
        longest,
        alphabetic,
        alphanumeric,
    )


@numba.njit(nogil=True, cache=True)
def _code_point(data, at, end):
    """The code point that starts here and its bytes; (U+0080, 1), no letter, for a byte that starts none."""
    lead = data[at]
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or at + length > end:
        return 0x80, 1
    point = lead & (0x7F >> length)
    for i in range(at + 1, at + length):
        if data[i] & 0xC0 != 0x80:
            return 0x80, 1
        point = point << 6 | (data[i] & 0x3F)
    return (point, length) if point < 0x110000 else (0x80, 1)


# --------------------------------------------------------------------------------------------------------
# Encoded data. All bytes of a match are ASCII, so bytes are characters.


@numba.njit(nogil=True, cache=True)
def _find_encoded(data, offsets, classes, out):
    for row in range(offsets.shape[0] - 1):
        start, end = offsets[row], offsets[row + 1]
        plain, some = _base64_spans(data, start, end, classes)
        chains, others = _escaped_spans(data, start, end, classes)
        out[row, 0], out[row, 1] = _union(plain, some, chains, others)


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
    """Matches of the hex and the unicode pattern, in order; they cannot overlap each other."""
    spans, count = np.empty((4, 2), np.int64), 0
    first, last = _next_run(data, start, end, classes, ESCAPED)
    while first < end:
        at = first
        while at < last:
            units, stop = _hex_chain(data, at, start, end, classes)
            if units == 0:
                units, stop = _unicode_chain(data, at, end, classes)
            if units >= _UNITS_LEAST:
                spans = _appended(spans, count, at, stop)
                count += 1
            # A chain that is too short is so from each of its units on: nothing in it is tried again.
            at = max(stop, at + 1)
        first, last = _next_run(data, last, end, classes, ESCAPED)
    return spans, count


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
