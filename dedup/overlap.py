"""What two texts have in common: how many of their shingles, and the longest run of tokens, with its place.

All of it is about tokens: white space and punctuation between them do not count. Exact: shingles are compared
by their 64-bit hashes, runs by the sequence of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dedup.documents import Documents
from dedup.machine import Bools, I64s, U64s, kernel
from dedup.shingles import SHINGLE_TOKENS, shingle_blocks

LONGEST_SEARCH = 1 << 18
"""Shared shingles of either text that the search for the longest run looks at: the first ones, about 2 MB."""

STEPS_PER_SHINGLE, STEPS = 8, 1 << 16  # beyond these the texts repeat themselves: 0.1 ms wasted

_TOKEN_BYTES = np.zeros(256, np.int8)
_TOKEN_BYTES[0x80:] = 1
for _byte in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_":
    _TOKEN_BYTES[_byte] = 1


@dataclass(frozen=True, slots=True)
class Shingled:
    """One text as its shingles."""

    values: U64s
    """Hashes in text order: shingle i is of tokens i .. i + 4."""
    distinct: U64s
    """The set of them, ascending."""

    @classmethod
    def of(cls, text: bytes) -> Shingled:
        """Shingle a text; of fewer than five tokens it has none."""
        values = np.empty(0, np.uint64)
        # Not an Arrow array: making one of a list loads pandas, which takes longer than a look-up.
        data, stop = np.frombuffer(text, np.uint8), np.array([len(text)], np.int64)
        for block in shingle_blocks(Documents(data, stop - stop, stop)):
            values = block.values[: block.borders[-1]].copy()
        return cls(values, distinct(values))

    def shared(self, other: Shingled) -> I64s:
        """Where in `distinct` the shingles stand that the other text has, too; ascending."""
        at, there = _found(self.distinct, other.distinct)
        return at[there]

    def has(self, hashes: U64s) -> Bools:
        """Which of these shingles stand in the text."""
        return _found(self.distinct, hashes)[1]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What texts a and b share. The run is empty (`tokens` 0) iff no shingle is shared."""

    shared: int
    """Distinct shingles of both."""
    union: int
    """Distinct shingles of either."""
    tokens: int
    """Length of the longest run of tokens that stands in both, at least 5 if there is one."""
    a_token: int
    """Where it starts in a, in tokens; the first such place."""
    b_token: int


def distinct(hashes: U64s) -> U64s:
    """The set of some hashes, ascending; `np.unique` of numpy 2.4 takes five times as long."""
    ascending = np.sort(hashes)
    first = np.ones(len(hashes), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    return ascending[first]


def token_spans(text: bytes) -> tuple[I64s, I64s]:
    """Where each token of a text starts and ends, in bytes."""
    marks = np.zeros(len(text) + 2, np.int8)
    marks[1:-1] = _TOKEN_BYTES[np.frombuffer(text, np.uint8)]
    turns = np.flatnonzero(marks[1:] != marks[:-1]).astype(np.int64)
    return turns[::2], turns[1::2]


def overlap(a: Shingled, b: Shingled) -> Overlap:
    """Compare two texts: O(n log n) in the shared shingles, which are at most `LONGEST_SEARCH` for the run."""
    few, many = (a, b) if len(a.distinct) <= len(b.distinct) else (b, a)
    in_both = many.has(few.distinct)
    shared = int(in_both.sum())
    union = len(a.distinct) + len(b.distinct) - shared
    if shared == 0:
        return Overlap(0, union, 0, 0, 0)

    def numbered(text: Shingled) -> I64s:
        """The shingles of a text as numbers of the smaller set, -1 for what is not shared."""
        at, there = _found(few.distinct, text.values)
        return np.where(there & in_both[at], at, -1)

    length, start, other = _longest_run(numbered(a), numbered(b))
    return Overlap(shared, union, length + SHINGLE_TOKENS - 1, start, other)


def _found(within: U64s, wanted: U64s) -> tuple[I64s, Bools]:
    """Where each of `wanted` is in the sorted `within`, and whether it is there."""
    if len(within) == 0:
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(within, wanted), len(within) - 1).astype(np.int64)
    return at, within[at] == wanted


def _longest_run(a: I64s, b: I64s) -> tuple[int, int, int]:
    """Length and first places of the longest run of numbers >= 0 that a and b have in common; one is there.

    By extending every common number, which is linear unless the texts repeat themselves; else by doubling.
    """
    spots_a, room_a = _spots(a)
    spots_b, room_b = _spots(b)
    first, second = a[spots_a], b[spots_b]
    steps = STEPS_PER_SHINGLE * (len(first) + len(second)) + STEPS
    length, start, other = _by_extension(first, room_a, second, room_b, int(first.max()) + 1, steps)
    if length == 0:
        length, start, other = _by_doubling(first, room_a, second, room_b)
    return length, int(spots_a[start]), int(spots_b[other])


@kernel
def _by_extension(  # noqa: PLR0917 - called by position
    a: I64s, room_a: I64s, b: I64s, room_b: I64s, numbers: int, steps: int
) -> tuple[int, int, int]:
    """Length and places of the longest common run; length 0 when that takes more than so many steps."""
    head = np.full(numbers, -1, np.int64)  # of each number its first place in a
    following = np.empty(a.shape[0], np.int64)  # of each place the next one with the same number
    for back in range(a.shape[0]):
        i = a.shape[0] - 1 - back
        following[i] = head[a[i]]
        head[a[i]] = i
    best, start, other = 0, 0, 0
    for j in range(b.shape[0]):
        i = head[b[j]]
        while i >= 0:
            if steps < 0:
                return 0, 0, 0
            steps -= 1
            before = i > 0 and j > 0 and a[i - 1] == b[j - 1]
            before = before and room_a[i - 1] > room_a[i] and room_b[j - 1] > room_b[j]
            if not before:  # else it is a part of a run that was measured
                most = min(room_a[i], room_b[j])
                n = 1
                while n < most and a[i + n] == b[j + n]:
                    n += 1
                steps -= n
                if n > best or (n == best and i < start):
                    best, start, other = n, i, j
            i = following[i]
    return best, start, other


def _by_doubling(a: I64s, room_a: I64s, b: I64s, room_b: I64s) -> tuple[int, int, int]:
    """The same in O(n log^2 n) whatever the texts: ranks of all runs of length 1, 2, 4, ... by prefix doubling.

    R. Karp, R. Miller, A. Rosenberg, STOC 1972. It goes on while a and b share one; the length is then
    completed by ever smaller powers.
    """
    # One array for both. A run stays inside its stretch of shared shingles, whose end `room` tells.
    room = np.concatenate((room_a, room_b))
    border = len(a)
    powers = [np.concatenate((a, b))]
    while True:
        longer = _joined(powers[-1], powers[-1], 1 << (len(powers) - 1), 1 << len(powers), room)
        if not _in_both(longer, border).any():
            break
        powers.append(longer)
    length = 1 << (len(powers) - 1)
    current = powers[-1]
    for power in range(len(powers) - 2, -1, -1):
        longer = _joined(current, powers[power], length, length + (1 << power), room)
        if _in_both(longer, border).any():
            current, length = longer, length + (1 << power)
    start = int(np.flatnonzero(_in_both(current, border))[0])
    return length, start, int(np.flatnonzero(current[border:] == current[start])[0])


def _spots(numbers: I64s) -> tuple[I64s, I64s]:
    """The places of the first numbers >= 0, and how many such stand in a row from each on."""
    spots = np.flatnonzero(numbers >= 0)[:LONGEST_SEARCH].astype(np.int64)
    last = np.flatnonzero(np.append(spots[1:] != spots[:-1] + 1, True))  # the ends of stretches
    ends = last[np.searchsorted(last, np.arange(len(spots)))]
    return spots, ends - np.arange(len(spots)) + 1


def _joined(left: I64s, right: I64s, offset: int, length: int, room: I64s) -> I64s:
    """Ranks of the runs of `length`, each from its left part and, `offset` on, its right one; -1 where there is none."""
    whole = np.flatnonzero(room >= length)
    joined = np.full(len(room), -1, np.int64)
    pairs = left[whole] * (int(right.max(initial=0)) + 1) + right[whole + offset]
    joined[whole] = np.unique(pairs, return_inverse=True)[1]
    return joined


def _in_both(rank: I64s, border: int) -> Bools:
    """Mark the places before the border whose rank stands after it, too."""
    after = np.zeros(int(rank.max()) + 2, np.bool_)
    after[rank[border:]] = True
    after[-1] = False  # -1 is no rank
    marked: Bools = after[rank[:border]]
    return marked
