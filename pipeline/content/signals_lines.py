r"""Signals of lines: their number and lengths, indentation, and how deep brackets are nested.

A line ends at `\n`, `\r\n`, a lone `\r`, or the end of the text; its end is not part of its length. Text behind the last line
end is a line, an empty text has none. Lengths are in characters.
"""

from __future__ import annotations

import numba
import numpy as np

COUNTS = ("lines", "in_lines", "longest", "squares", "long", "blank", "indents", "brackets")
"""Columns of `measure_lines`: lines; characters in them; of the longest; the sum of squared lengths; lines longer than
`LONG_LINE`; lines of nothing but white space; the most open indentations; the most open brackets."""

LONG_LINE = 100
"""Characters of a line from which on more are many: The Stack v2's bound of a file's average (arXiv 2402.19173)."""

MOST_INDENTS = 1_000
"""Indentations that are told apart: a text cannot make the work for a line grow without end."""

_TAB = 8
_END, _HIGH, _OPEN, _CLOSE = 1, 2, 3, 4


def _kinds() -> np.ndarray:
    kinds = np.zeros(256, np.uint8)
    kinds[[10, 13]] = _END
    kinds[0x80:] = _HIGH
    kinds[list(b"([{")] = _OPEN
    kinds[list(b")]}")] = _CLOSE
    return kinds


_KINDS = _kinds()


def measure_lines(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """`COUNTS` of every text, int64."""
    out = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    _measure_all(data, offsets, _KINDS, out)
    return dict(zip(COUNTS, out.T, strict=True))


@numba.njit(nogil=True, cache=True)
def _measure_all(data, offsets, kinds, out):
    stack = np.zeros(MOST_INDENTS + 1, np.int64)
    for row in range(offsets.shape[0] - 1):
        _measure(data, offsets[row], offsets[row + 1], kinds, stack, out[row])


@numba.njit(nogil=True, cache=True)
def _measure(data, at, end, kinds, stack, out):  # noqa: PLR0917 - arrays and positions of one kernel
    open_indents = open_brackets = 0
    while at < end:
        first = at
        at, width = _indentation(data, at, end)
        if at == end or kinds[data[at]] == _END:
            out[5] += 1
        else:
            # As Python's tokenizer counts: a deeper line opens one, a shallower one closes all that are deeper than it.
            while open_indents and stack[open_indents] > width:
                open_indents -= 1
            if width > stack[open_indents] and open_indents < MOST_INDENTS:
                open_indents += 1
                stack[open_indents] = width
            out[6] = max(out[6], open_indents)
        hidden = 0  # bytes of characters behind their first
        while at < end:
            kind = kinds[data[at]]
            if kind == 0:
                at += 1
            elif kind == _HIGH:
                length = _length(data, at, end)
                hidden += length - 1
                at += length
            elif kind == _END:
                break
            else:
                open_brackets = open_brackets + 1 if kind == _OPEN else max(0, open_brackets - 1)
                out[7] = max(out[7], open_brackets)
                at += 1
        length = at - first - hidden
        out[0] += 1
        out[1] += length
        out[2] = max(out[2], length)
        out[3] += length * length
        out[4] += length > LONG_LINE
        if at < end:
            at += 2 if data[at] == 13 and at + 1 < end and data[at + 1] == 10 else 1


@numba.njit(nogil=True, cache=True)
def _indentation(data, at, end):
    """Where the white space at the beginning of a line ends, and its width: a tab reaches to the next multiple of 8."""
    width = 0
    while at < end:
        if data[at] == 32:
            width += 1
        elif data[at] == 9:
            width += _TAB - width % _TAB
        elif data[at] != 11 and data[at] != 12:
            break
        at += 1
    return at, width


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
