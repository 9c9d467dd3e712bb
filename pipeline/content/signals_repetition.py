r"""Signals of repetition: words, and lines that a text has twice.

A word is a match of `\w+`: letters, numbers and underscores (of Unicode, as in characters.py). Lines are compared without the
ASCII white space around them; blank ones do not count. Things are equal if their bytes are, not only their hashes.
"""

from __future__ import annotations

import numba
import numpy as np

from pipeline.content.characters import ALPHANUMERIC, CLASSES, NO_CHARACTER, POINTS, SPACE, WORD

COUNTS = ("words", "in_words", "different", "most", "filled", "repeated", "line_bytes", "repeated_bytes")
"""Columns of `count_repeated`: words; characters in them; different words; how often the commonest comes; lines that are not
blank; those equal to an earlier one; bytes of the former, of the latter."""

_LEAST = 1 << 10  # slots of the smallest table
_BYTES_A_SLOT = (
    8  # of the text, in the first table that is tried; code has a new word in 40 bytes, a new line in 50
)

_PROBES = 256
"""Slots that are looked at for one word or line. Tables are at most half full, so no text comes near it but one that was made
to; of such a text equal things may count as different, and its time stays linear."""

_PRIME = np.uint64(0x9E3779B97F4A7C15)


def count_repeated(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """`COUNTS` of every text, int64."""
    out = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    _count_all(data, offsets, POINTS, CLASSES, out)
    return dict(zip(COUNTS, out.T, strict=True))


@numba.njit(nogil=True, cache=True)
def _count_all(data, offsets, points, classes, out):
    slots, entries = np.zeros(_LEAST, np.int64), np.empty((_LEAST // 2, 4), np.int64)
    stamp = 0
    for row in range(offsets.shape[0] - 1):
        start, end = offsets[row], offsets[row + 1]
        for lines in (False, True):
            wide = _LEAST
            while wide < (end - start) // _BYTES_A_SLOT:
                wide *= 2
            done = False
            while (
                not done
            ):  # begun again with a larger table where this one is half full: at most a third more work
                if wide > slots.shape[0]:
                    slots, entries = np.zeros(wide, np.int64), np.empty((wide // 2, 4), np.int64)
                stamp += 1
                done = (
                    _lines(data, start, end, classes, slots, entries, wide - 1, stamp, out[row])
                    if lines
                    else _words(data, start, end, points, classes, slots, entries, wide - 1, stamp, out[row])
                )
                wide *= 4


@numba.njit(nogil=True, cache=True)
def _words(data, at, end, points, classes, slots, entries, mask, stamp, out):  # noqa: PLR0917 - arrays and positions of one kernel
    """Fill the first four columns; False where the table has no room."""
    words = characters = different = most = known = 0
    while at < end:
        first, hidden, length = at, 0, 1
        state = eight = np.uint64(0)
        while at < end:
            byte = data[at]
            if byte < 0x80:
                length = 1
                if not classes[byte] & WORD:
                    break
                if at - first & 7 == 0:
                    state, eight = (state ^ eight) * _PRIME, np.uint64(0)
                eight = eight << np.uint64(8) | np.uint64(byte)
                at += 1
                continue
            point, length = _code_point(data, at, end)
            if not points[point] & ALPHANUMERIC:
                break
            for i in range(at, at + length):
                if i - first & 7 == 0:
                    state, eight = (state ^ eight) * _PRIME, np.uint64(0)
                eight = eight << np.uint64(8) | np.uint64(data[i])
            hidden += length - 1
            at += length
        if at == first:
            at += length
            continue
        if 2 * known > mask:
            return False
        words += 1
        characters += at - first - hidden
        place = _placed(data, slots, entries, mask, stamp, state ^ eight, first, at - first, known)
        different += place < 0 or place == known
        known += place == known
        most = max(most, entries[place, 3] if place >= 0 else 1)
    out[0], out[1], out[2], out[3] = words, characters, different, most
    return True


@numba.njit(nogil=True, cache=True)
def _lines(data, at, end, classes, slots, entries, mask, stamp, out):  # noqa: PLR0917 - arrays and positions of one kernel
    """Fill the last four columns; False where the table has no room."""
    filled = repeated = line_bytes = repeated_bytes = known = 0
    while at < end:
        while at < end and classes[data[at]] & SPACE:  # line ends of blank lines, too
            at += 1
        if at == end:
            break
        first = at
        while at < end and data[at] != 10 and data[at] != 13:
            at += 1
        stop = at
        while classes[data[stop - 1]] & SPACE:
            stop -= 1
        if 2 * known > mask:
            return False
        filled += 1
        line_bytes += stop - first
        state = _hashed(data, first, stop)
        place = _placed(data, slots, entries, mask, stamp, state, first, stop - first, known)
        if place >= 0 and place != known:
            repeated += 1
            repeated_bytes += stop - first
        known += place == known
    out[4], out[5], out[6], out[7] = filled, repeated, line_bytes, repeated_bytes
    return True


# --------------------------------------------------------------------------------------------------------
# A table of ranges of bytes: `slots` holds (stamp of the text, number of the entry) in one integer, so that nothing need be
# cleared for the next text; `entries` are (hash, first byte, length, times).


@numba.njit(nogil=True, cache=True, inline="always")
def _placed(data, slots, entries, mask, stamp, state, first, length, known):  # noqa: PLR0917 - arrays and positions of one kernel
    """The entry of equal bytes, which is counted; entry `known` where this is the first; -1 where there is no slot in reach."""
    mixed = (state ^ state >> np.uint64(32)) * _PRIME
    slot = np.int64(mixed >> np.uint64(32)) & mask
    for _ in range(_PROBES):
        held = slots[slot]
        if held >> 32 != stamp:
            slots[slot] = stamp << 32 | known
            entries[known, 0], entries[known, 1], entries[known, 2], entries[known, 3] = (
                np.int64(state),
                first,
                length,
                1,
            )
            return known
        place = held & 0xFFFFFFFF
        if entries[place, 0] == np.int64(state) and entries[place, 2] == length:
            # Of up to eight bytes the hash is the bytes.
            other, same = entries[place, 1], length if length <= 8 else 0
            while same < length and data[other + same] == data[first + same]:
                same += 1
            if same == length:
                entries[place, 3] += 1
                return place
        slot = slot + 1 & mask
    return -1


@numba.njit(nogil=True, cache=True)
def _hashed(data, first, stop):
    state = eight = np.uint64(0)
    at = first
    while at + 8 <= stop:
        for i in range(at, at + 8):
            eight = eight << np.uint64(8) | np.uint64(data[i])
        at += 8
        if at < stop:
            state, eight = (state ^ eight) * _PRIME, np.uint64(0)
    for i in range(at, stop):
        eight = eight << np.uint64(8) | np.uint64(data[i])
    return state ^ eight


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
