"""Texts as words, and runs of n words as 64-bit hashes: the kernels of the search for benchmark texts.

A word is a run of ASCII letters and digits and of two-byte UTF-8 characters (Latin, Greek, Cyrillic, ...); letters count
without their case, underscores not at all, so `hasCloseElements` and `has_close_elements` are the same word. A character of
three or four bytes (Chinese, Japanese, ...) is a word of its own. All else separates words and says nothing: white space, as it
is and as `\\n`, `\\r`, `\\t` in strings, punctuation, operators, comment marks, quotes, symbols. So a text may be wrapped,
indented, commented, or put into a string, a notebook or JSON, and has the same words.
"""

from __future__ import annotations

import numba
import numpy as np

LONGEST = 64
"""Words of the longest n-gram."""

SEPARATOR, IGNORED, LEAD_2, LEAD_3, LEAD_4, ESCAPE = 0, 1, 2, 3, 4, 5
WORD = 6  # and above: a byte of a word


def _classes() -> np.ndarray:
    """Byte -> what it is: one of the above, or the byte that it counts as, within a word."""
    classes = np.zeros(256, np.uint8)
    for byte in b"0123456789abcdefghijklmnopqrstuvwxyz":
        classes[byte] = byte
    for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        classes[byte] = byte | 0x20
    classes[ord("_")] = IGNORED
    classes[ord("\\")] = ESCAPE
    classes[0xC3:0xE0] = LEAD_2  # 0xC2: controls, non-breaking space and signs
    classes[0xE0:0xF0] = LEAD_3
    classes[0xE2] = SEPARATOR  # U+2000 to U+2FFF: punctuation, arrows, mathematics, box drawing
    classes[0xEF] = SEPARATOR  # U+F000 to U+FFFF: private use, byte order mark, full-width forms
    classes[0xF0:0xF5] = LEAD_4
    return classes


CLASSES = _classes()
CLASSES.flags.writeable = False

_START = np.uint64(0xCBF29CE484222325)  # FNV-1a, 64 bits: what a word's bytes are hashed with
_PRIME = np.uint64(0x100000001B3)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: of the polynomial over the words of a run
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's last step
_SHIFT = np.uint64(33)
_EMOJI = 0x9F  # second byte of U+1F000 to U+1FFFF: pictures, no words
_SPACES = (ord("n"), ord("r"), ord("t"))  # after a backslash
_CJK_SIGNS = 0x80  # second byte of U+3000 to U+303F after 0xE3


@numba.njit(nogil=True, cache=True)
def mixed(value):
    """A 64-bit value with every bit depending on all."""
    value ^= value >> _SHIFT
    value *= _MIX_1
    value ^= value >> _SHIFT
    value *= _MIX_2
    return value ^ (value >> _SHIFT)


@numba.njit(nogil=True, cache=True)
def power(exponent):
    """_BASE to the power of `exponent`, in 64 bits."""
    value = np.uint64(1)
    for _ in range(exponent):
        value *= _BASE
    return value


@numba.njit(nogil=True, cache=True)
def next_word(data, at, end, classes):
    """The next word from `at` on: its hash, first byte and the byte behind it, whether it has two characters and a letter.

    The first byte is `end` where there is no word any more.
    """
    while at < end:
        kind = classes[data[at]]
        if kind >= WORD or kind == LEAD_2:
            break
        if kind == ESCAPE and at + 1 < end and data[at + 1] in _SPACES:
            at += 1
        elif kind in (LEAD_3, LEAD_4) and at + 1 < end:
            length, second = (3, data[at + 1]) if kind == LEAD_3 else (4, data[at + 1])
            sign = (data[at] == 0xE3 and second == _CJK_SIGNS) or (data[at] == 0xF0 and second == _EMOJI)
            stop = min(end, at + length)
            if sign:
                at = stop
                continue
            value = _START
            for i in range(at, stop):
                value = (value ^ np.uint64(data[i])) * _PRIME
            return mixed(value), at, stop, True
        at += 1
    if at >= end:
        return np.uint64(0), end, end, False
    start, stop = at, at
    value = _START
    count, letters = 0, False
    while at < end:
        kind = classes[data[at]]
        if kind >= WORD:
            value = (value ^ np.uint64(kind)) * _PRIME
            if kind >= 97:
                letters = True
            at += 1
        elif kind == IGNORED:
            at += 1
            continue
        elif kind == LEAD_2 and at + 1 < end:
            value = (((value ^ np.uint64(data[at])) * _PRIME) ^ np.uint64(data[at + 1])) * _PRIME
            letters = True
            at += 2
        elif kind == LEAD_2:
            at += 1
            break
        else:
            break
        count += 1
        stop = at
    if count == 0:  # a byte of UTF-8 that was cut off: no word, and the end of the text
        return np.uint64(0), end, end, False
    return mixed(value), start, stop, letters and count > 1


@numba.njit(nogil=True, cache=True)
def grams(data, offsets, n, classes):
    """The n-grams of some texts.

    Returns, for every n-gram in the order of the texts: its text, its hash, whether it tells anything (see `telling`); and for
    every text the number of its words.
    """
    size = np.int64(1024)
    rows = np.empty(size, np.int32)
    hashes = np.empty(size, np.uint64)
    tells = np.empty(size, np.bool_)
    words = np.zeros(offsets.shape[0] - 1, np.int64)
    ring = np.zeros(LONGEST, np.uint64)
    good = np.zeros(LONGEST, np.bool_)
    leaving = power(n)
    found = 0
    for row in range(offsets.shape[0] - 1):
        at, end = offsets[row], offsets[row + 1]
        state = np.uint64(0)
        count = 0
        while True:
            value, start, at, letters = next_word(data, at, end, classes)
            if start >= end:
                break
            slot = count % n
            state = state * _BASE + value
            if count >= n:
                state -= ring[slot] * leaving
            ring[slot], good[slot] = value, letters
            count += 1
            if count >= n:
                if found == size:
                    size *= 2
                    rows, hashes, tells = grown(rows, size), grown(hashes, size), grown(tells, size)
                rows[found], hashes[found], tells[found] = row, mixed(state), telling(ring, good, n)
                found += 1
        words[row] = count
    return rows[:found], hashes[:found], tells[:found], words


@numba.njit(nogil=True, cache=True)
def grown(array, size):
    """A copy with room for more."""
    larger = np.empty(size, array.dtype)
    larger[: array.shape[0]] = array
    return larger


@numba.njit(nogil=True, cache=True)
def telling(ring, good, n):
    """Whether half of the n-gram's words, at least, are different words of two characters and a letter.

    Rows of numbers, of single letters, or of one word again and again are in many files.
    """
    different = 0
    for i in range(n):
        if good[i]:
            again = 0
            for j in range(i):
                if ring[j] == ring[i]:
                    again += 1
            if again == 0:
                different += 1
    return 2 * different >= n


# ------------------------------------------------------------------------------------------------------------ the search


@numba.njit(nogil=True, cache=True)
def make_table(hashes, bits, filter_bits):
    """Hashes -> their numbers: an open hash table of 2^bits places, and a bitmap of 2^filter_bits bits to ask first."""
    keys = np.zeros(1 << bits, np.uint64)
    values = np.full(1 << bits, -1, np.int32)
    bitmap = np.zeros(max(1, (1 << filter_bits) >> 6), np.uint64)
    mask = (1 << bits) - 1
    for number in range(hashes.shape[0]):
        value = hashes[number]
        bit = value >> np.uint64(64 - filter_bits)
        bitmap[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
        place = np.int64(value & np.uint64(mask))
        while values[place] >= 0:
            place = (place + 1) & mask
        keys[place], values[place] = value, number
    return keys, values, bitmap


@numba.njit(nogil=True, cache=True)
def scan(  # noqa: PLR0917 - called by position
    data, offsets, n, classes, keys, values, bitmap, filter_bits, slots, part_of, reach, least
):
    """Where parts of benchmarks stand in texts.

    `slots`: n-gram -> its first slot (one more than n-grams); a slot is an n-gram of a part, `part_of` says of which.
    `reach`: words that a match of a part may span; `least`: slots that make one.
    Returns a row per (text, part) with a match, in the order of the texts, then of the places: text, part, slots matched, first
    byte and the byte behind the last within the text. Of several places the first with the most slots counts: the n-grams of the
    part within `reach` words, each counted once.
    """
    number_of_slots, parts = part_of.shape[0], reach.shape[0]
    # Per part a list of its slots, the one that was seen longest ago first: what is out of reach is at its head.
    last = np.full(number_of_slots, -1, np.int64)
    begin = np.zeros(number_of_slots, np.int64)
    before = np.full(number_of_slots, -1, np.int32)
    behind = np.full(number_of_slots, -1, np.int32)
    head = np.full(parts, -1, np.int32)
    tail = np.full(parts, -1, np.int32)
    held = np.zeros(parts, np.int64)
    best = np.zeros(parts, np.int64)
    best_start = np.zeros(parts, np.int64)
    best_end = np.zeros(parts, np.int64)
    touched = np.empty(parts, np.int32)
    out = np.empty((64, 5), np.int64)
    found = 0

    ring = np.zeros(LONGEST, np.uint64)
    starts = np.zeros(LONGEST, np.int64)
    leaving = power(n)
    mask = keys.shape[0] - 1
    filter_shift = np.uint64(64 - filter_bits)
    for row in range(offsets.shape[0] - 1):
        base, end = offsets[row], offsets[row + 1]
        at = base
        state = np.uint64(0)
        count, slot_of_ring, touches = 0, 0, 0
        while True:
            value, start, at, _ = next_word(data, at, end, classes)
            if start >= end:
                break
            state = state * _BASE + value - ring[slot_of_ring] * leaving
            ring[slot_of_ring], starts[slot_of_ring] = value, start
            slot_of_ring += 1
            if slot_of_ring == n:
                slot_of_ring = 0
            count += 1
            if count < n:
                continue
            gram = mixed(state)
            bit = gram >> filter_shift
            if not (bitmap[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
                continue
            place = np.int64(gram & np.uint64(mask))
            while values[place] >= 0 and keys[place] != gram:
                place = (place + 1) & mask
            number = values[place]
            if number < 0:
                continue
            first = starts[slot_of_ring]
            for slot in range(slots[number], slots[number + 1]):
                part = part_of[slot]
                if best[part] == 0:
                    touched[touches] = part
                    touches += 1
                if last[slot] >= 0:
                    _unlink(slot, part, before, behind, head, tail)
                    held[part] -= 1
                before[slot], behind[slot] = tail[part], -1
                if tail[part] >= 0:
                    behind[tail[part]] = slot
                else:
                    head[part] = slot
                tail[part] = slot
                held[part] += 1
                last[slot], begin[slot] = count, first
                while count - last[head[part]] > reach[part]:
                    gone = head[part]
                    last[gone] = -1
                    _unlink(gone, part, before, behind, head, tail)
                    held[part] -= 1
                if held[part] > best[part]:
                    best[part], best_start[part], best_end[part] = held[part], begin[head[part]], at
        for touch in range(touches):
            part = touched[touch]
            if best[part] >= least[part]:
                if found == out.shape[0]:
                    larger = np.empty((2 * found, 5), np.int64)
                    larger[:found] = out
                    out = larger
                out[found, 0], out[found, 1], out[found, 2] = row, part, best[part]
                out[found, 3], out[found, 4] = best_start[part] - base, best_end[part] - base
                found += 1
            slot = head[part]
            while slot >= 0:
                last[slot] = -1
                slot = behind[slot]
            head[part] = tail[part] = -1
            held[part] = best[part] = 0
        for i in range(n):
            ring[i] = np.uint64(0)
    return out[:found]


@numba.njit(nogil=True, cache=True)
def _unlink(slot, part, before, behind, head, tail):  # noqa: PLR0917 - called by position
    """Take a slot out of the list of its part."""
    left, right = before[slot], behind[slot]
    if left >= 0:
        behind[left] = right
    else:
        head[part] = right
    if right >= 0:
        before[right] = left
    else:
        tail[part] = left
