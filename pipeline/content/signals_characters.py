"""Signals of characters: how many there are of each kind, and how evenly the bytes are spread."""

from __future__ import annotations

import numba
import numpy as np

from pipeline.content.characters import (
    ALPHABETIC,
    ALPHANUMERIC,
    BIDI,
    CLASSES,
    CONTROL,
    DIGIT,
    INVISIBLE,
    NO_CHARACTER,
    POINTS,
    PUNCTUATION,
    SPACE,
)

COUNTS = (
    "characters", "alphabetic", "alphanumeric", "digits", "spaces", "punctuation", "non_ascii", "bidi", "invisible",
    "control", "entropy",
)  # fmt: skip
"""Columns of `count_characters`; entropy is in units of 2**-16 bits, times the bytes of the text."""

LOG_BITS = 16


def count_characters(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """`COUNTS` of every text, int64."""
    out = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    _count_all(data, offsets, POINTS, CLASSES, out)
    return dict(zip(COUNTS, out.T, strict=True))


@numba.njit(nogil=True, cache=True)
def _count_all(data, offsets, points, classes, out):
    bytes_of = np.zeros((4, 256), np.int64)
    for row in range(offsets.shape[0] - 1):
        start, end = offsets[row], offsets[row + 1]
        bytes_of[:] = 0
        # Four tables: counting the same byte twice in a row would wait for the first addition.
        whole = start + (end - start) // 4 * 4
        for at in range(start, whole, 4):
            bytes_of[0, data[at]] += 1
            bytes_of[1, data[at + 1]] += 1
            bytes_of[2, data[at + 2]] += 1
            bytes_of[3, data[at + 3]] += 1
        for at in range(whole, end):
            bytes_of[0, data[at]] += 1
        for byte in range(256):
            bytes_of[0, byte] += bytes_of[1, byte] + bytes_of[2, byte] + bytes_of[3, byte]
        _add(data, start, end, bytes_of[0], points, classes, out[row])


@numba.njit(nogil=True, cache=True)
def _add(data, start, end, bytes_of, points, classes, out):  # noqa: PLR0917 - arrays and positions of one kernel
    plain = 0
    for byte in range(128):
        count = bytes_of[byte]
        if count:
            plain += count
            out[1] += count * (points[byte] & ALPHABETIC != 0)
            out[2] += count * (points[byte] & ALPHANUMERIC != 0)
            out[3] += count * (classes[byte] & DIGIT != 0)
            out[4] += count * (classes[byte] & SPACE != 0)
            out[5] += count * (classes[byte] & PUNCTUATION != 0)
            out[9] += count * (points[byte] & CONTROL != 0)
    at = start
    while plain < end - start and at < end:
        if data[at] < 0x80:
            at += 1
            continue
        point, length = _code_point(data, at, end)
        flags = points[point]
        out[1] += flags & ALPHABETIC != 0
        out[2] += flags & ALPHANUMERIC != 0
        out[6] += 1
        out[7] += flags & BIDI != 0
        out[8] += flags & INVISIBLE != 0
        out[9] += flags & CONTROL != 0
        at += length
    out[0] = plain + out[6]
    out[10] = _entropy(bytes_of, end - start)


@numba.njit(nogil=True, cache=True)
def _entropy(bytes_of, total):
    """Shannon entropy of the bytes, times their number, in units of 2**-LOG_BITS bits."""
    spread = total * _log2(total)
    for byte in range(256):
        if bytes_of[byte]:
            spread -= bytes_of[byte] * _log2(bytes_of[byte])
    return spread


@numba.njit(nogil=True, cache=True)
def _log2(number):
    """floor(2**LOG_BITS * log2) by repeated squaring: the logarithm of a mathematics library is another one on other machines."""
    if number < 2:
        return 0
    whole = 0
    while number >> (whole + 1):
        whole += 1
    rest = np.uint64(number << 31 - whole) if whole <= 31 else np.uint64(number >> whole - 31)
    value = whole
    for _ in range(LOG_BITS):
        rest = rest * rest >> np.uint64(31)
        bit = rest >> np.uint64(32)
        rest >>= bit
        value = value << 1 | np.int64(bit)
    return value


@numba.njit(nogil=True, cache=True)
def _code_point(data, at, end):
    """The code point that starts here and its bytes; (NO_CHARACTER, 1) for a byte that starts none, as Python decodes."""
    lead = data[at]
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or at + length > end:
        return NO_CHARACTER, 1
    point = lead & (0x7F >> length)
    for i in range(at + 1, at + length):
        if data[i] & 0xC0 != 0x80:
            return NO_CHARACTER, 1
        point = point << 6 | (data[i] & 0x3F)
    if (
        point >= 0x110000
        or 0xD800 <= point < 0xE000
        or (length == 3 and point < 0x800)
        or (length == 4 and point < 0x10000)
    ):
        return NO_CHARACTER, 1
    return point, length
