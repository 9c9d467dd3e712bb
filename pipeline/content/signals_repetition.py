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

_PROBES = 128
"""Slots that are looked at for one word or line. Tables are at most a quarter full, so no text comes near it but one that was
made to; of such a text equal things may count as different, and its time stays linear."""

_PRIME = np.uint64(0x9E3779B97F4A7C15)


def count_repeated(data: np.ndarray, offsets: np.ndarray) -> dict[str, np.ndarray]:
    """`COUNTS` of every text, int64."""
    out = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    _words_all(data, offsets, POINTS, CLASSES, out)
    _lines_all(data, offsets, CLASSES, out)
    return dict(zip(COUNTS, out.T, strict=True))


@numba.njit(nogil=True, cache=True)
def _words_all(data, offsets, points, classes, out):
    slots, entries = np.zeros(1 << 10, np.int64), np.zeros((1 << 8, 4), np.int64)
    for row in range(offsets.shape[0] - 1):
        at, end = offsets[row], offsets[row + 1]
        stamp, mask, known = row + 1, (1 << 10) - 1, 0
        words = characters = most = different = 0
        while at < end:
            first, hidden = at, 0
            state = np.uint64(0)
            while at < end:
                byte = data[at]
                length = 1
                if byte < 0x80:
                    if not classes[byte] & WORD:
                        break
                else:
                    point, length = _code_point(data, at, end)
                    if not points[point] & ALPHANUMERIC:
                        break
                for i in range(at, at + length):
                    state = (state ^ np.uint64(data[i])) * _PRIME
                hidden += length - 1
                at += length
            if at == first:
                at += length
                continue
            words += 1
            characters += at - first - hidden
            if 4 * known > mask:
                slots, mask = _wider(slots, mask, entries, known, stamp)
            place = _find(data, slots, mask, entries, stamp, state, first, at - first)
            if place < 0:  # nothing equal
                entries = _entered(slots, entries, known, stamp, -place - 1, state, first, at - first)
                known += place < -1
                different += 1
                most = max(most, 1)
            else:
                entries[place, 3] += 1
                most = max(most, entries[place, 3])
        out[row, 0], out[row, 1], out[row, 2], out[row, 3] = words, characters, different, most


@numba.njit(nogil=True, cache=True)
def _lines_all(data, offsets, classes, out):
    slots, entries = np.zeros(1 << 10, np.int64), np.zeros((1 << 8, 4), np.int64)
    for row in range(offsets.shape[0] - 1):
        at, end = offsets[row], offsets[row + 1]
        stamp, mask, known = row + 1, (1 << 10) - 1, 0
        filled = repeated = line_bytes = repeated_bytes = 0
        while at < end:
            while at < end and classes[data[at]] & SPACE:  # line ends of blank lines, too
                at += 1
            if at == end:
                break
            first = stop = at
            state = held = np.uint64(0)
            while at < end and data[at] != 10 and data[at] != 13:
                held = (held ^ np.uint64(data[at])) * _PRIME
                at += 1
                if not classes[data[at - 1]] & SPACE:
                    stop, state = at, held
            filled += 1
            line_bytes += stop - first
            if 4 * known > mask:
                slots, mask = _wider(slots, mask, entries, known, stamp)
            place = _find(data, slots, mask, entries, stamp, state, first, stop - first)
            if place < 0:
                entries = _entered(slots, entries, known, stamp, -place - 1, state, first, stop - first)
                known += place < -1
            else:
                repeated += 1
                repeated_bytes += stop - first
        out[row, 4], out[row, 5], out[row, 6], out[row, 7] = filled, repeated, line_bytes, repeated_bytes


# --------------------------------------------------------------------------------------------------------
# A table of ranges of bytes: `slots` holds (stamp of the text, number of the entry) in one integer, so that nothing need be
# cleared for the next text; `entries` (hash, first byte, length, times). Slot 0 is never used: -1 says "no room".


@numba.njit(nogil=True, cache=True)
def _find(data, slots, mask, entries, stamp, state, first, length):
    """The entry of equal bytes; else -1 - (a free slot), or -1 where there is none within reach."""
    slot = _start(state, mask)
    for _ in range(_PROBES):
        held = slots[slot]
        if held >> 32 != stamp:
            return -1 - slot
        place = held & 0xFFFFFFFF
        if entries[place, 0] == np.int64(state) and entries[place, 2] == length:
            other, same = entries[place, 1], 0
            while same < length and data[other + same] == data[first + same]:
                same += 1
            if same == length:
                return place
        slot = slot + 1 & mask
        slot += slot == 0
    return -1


@numba.njit(nogil=True, cache=True)
def _start(state, mask):
    state ^= state >> np.uint64(32)
    state *= _PRIME
    return max(1, np.int64(state >> np.uint64(32)) & mask)


@numba.njit(nogil=True, cache=True)
def _entered(slots, entries, known, stamp, slot, state, first, length):
    """The entries with a new one, at a free slot; unchanged where the slot is 0."""
    if slot == 0:
        return entries
    if known == entries.shape[0]:
        larger = np.zeros((2 * known, 4), np.int64)
        larger[:known] = entries
        entries = larger
    entries[known, 0], entries[known, 1], entries[known, 2], entries[known, 3] = np.int64(state), first, length, 1
    slots[slot] = stamp << 32 | known
    return entries


@numba.njit(nogil=True, cache=True)
def _wider(slots, mask, entries, known, stamp):
    """Slots and mask of a table of twice the size, with the same entries."""
    mask = 2 * mask + 1
    # The same array will do if it is that large: what other texts left there bears another stamp, what this one left is cleared.
    if mask >= slots.shape[0]:
        slots = np.zeros(mask + 1, np.int64)
    else:
        slots[: mask + 1] = 0
    for place in range(known):
        slot = _start(np.uint64(entries[place, 0]), mask)
        for _ in range(_PROBES):
            if slots[slot] >> 32 != stamp:
                slots[slot] = stamp << 32 | place
                break
            slot = slot + 1 & mask
            slot += slot == 0
    return slots, mask


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
    if point >= 0x110000 or 0xD800 <= point < 0xE000 or (length == 3 and point < 0x800) or (length == 4 and point < 0x10000):
        return NO_CHARACTER, 1
    return point, length
