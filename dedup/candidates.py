"""Band keys -> candidate pairs: documents that share a key, with bounded work per bucket.

A **bucket** is the set of documents that hold one key (all 64 bits equal). Up to `cap` members, every pair is
a candidate. Above, each member pairs only with the `best` best-ranked members: what is near to many is near
to the ones that would be kept, and m members cost 16 m pairs instead of m^2 / 2. Such hot buckets and what
they skip are counted.

The pairs depend on the set of (key, ordinal) rows only. A bucket lies wholly in one partition of the key
space, so any partitioning gives the same pairs after the distinct union.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dedup.errors import DedupError
from dedup.machine import U64, Bools, I64s, U64s, kernel, read_only

CAP = 64
"""The largest bucket of which all pairs are taken."""

BEST = 16
"""In a larger bucket: how many best-ranked members each member pairs with."""

PAIRS_AT_ONCE = 1 << 22
"""Emitted before they are made distinct: 32 MB."""

SPARSE = 8  # bits of each of the two bit tables per key: one lone key in nine survives a look
_WORTH = 0.5  # of the keys at most must survive a look, or another one is not worth it

Ordinals = npt.NDArray[np.integer]
Number = TypeVar("Number", bound=np.integer)
Other = TypeVar("Other", bound=np.integer)


@dataclass(frozen=True, slots=True)
class BucketStats:
    """Counts over the buckets of two or more members; they add up over partitions of the keys."""

    buckets: int = 0
    members: int = 0
    hot_buckets: int = 0
    hot_members: int = 0
    skipped_pairs: int = 0

    def __add__(self, other: BucketStats) -> BucketStats:
        return BucketStats(
            self.buckets + other.buckets,
            self.members + other.members,
            self.hot_buckets + other.hot_buckets,
            self.hot_members + other.hot_members,
            self.skipped_pairs + other.skipped_pairs,
        )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Distinct candidate pairs: low[i] < high[i], ordered by (low, high); of the dtype of the ordinals
    given."""

    low: npt.NDArray[np.integer]
    high: npt.NDArray[np.integer]
    stats: BucketStats

    def __len__(self) -> int:
        return len(self.low)


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets, each in rank order, and how their pairs are made. A few have one member, and no pairs.

    Row i, the document `ranked[member[i]]`, is paired with the `made[i]` rows from `first[i]` on, all of them
    better-ranked rows of its bucket. `until[i]`: pairs of the rows up to and with i.
    """

    ranked: Ordinals  # distinct ordinals, ascending
    member: U64s
    first: I64s
    made: I64s
    until: I64s
    stats: BucketStats

    def portions(self, at_once: int | None = None) -> Iterator[U64s]:
        """The pairs as low << 32 | high of the numbers in `ranked`, distinct and sorted within each portion.

        A portion is of `at_once` pairs at most (PAIRS_AT_ONCE), or those of one row: less than the cap, or
        `best`. So its memory is bounded however many members a bucket has. A pair whose documents share
        several keys may be in several portions.
        """
        at_once = PAIRS_AT_ONCE if at_once is None else at_once
        row = 0
        while row < len(self.until):
            before = int(self.until[row - 1]) if row else 0
            last = max(row + 1, int(np.searchsorted(self.until, before + at_once, side="right")))
            words = np.empty(int(self.until[last - 1]) - before, np.uint64)
            _emit_pairs(self.member, self.first, self.made, row, last, words)
            if len(words):
                yield _distinct(words, len(self.ranked))
            row = last

    def ends(self, words: U64s) -> tuple[Ordinals, Ordinals]:
        """The ordinals of the better- and the worse-ranked documents of the pairs in a portion."""
        return self.ranked[words >> U64(32)], self.ranked[words & U64(0xFFFFFFFF)]


def make_buckets(keys: U64s, ordinals: Ordinals, *, cap: int = CAP, best: int = BEST) -> Buckets:
    """Find the documents that share a key.

    `keys`: uint64[n]; `ordinals`: int64[n] or uint64[n], the rank of the document (lower is better; at most
    one document per ordinal). Rows may come in any order; a repeated row counts once.
    Time: O(n) for keys that stand alone, O(m log m) for the m that do not. Memory: 5 bytes per key and 90
    bytes per shared one, above the input. Raises DedupError for shapes, types and bounds.
    """
    if keys.dtype != np.uint64 or keys.shape != ordinals.shape or keys.ndim != 1:
        raise DedupError(f"keys must be uint64[n] with one ordinal each, not {keys.dtype}{list(keys.shape)}")
    if ordinals.dtype not in (np.dtype(np.int64), np.dtype(np.uint64)):
        raise DedupError(f"ordinals must be int64 or uint64, not {ordinals.dtype}")
    if not 1 <= best <= cap:
        raise DedupError(f"best must lie between 1 and cap, not best={best}, cap={cap}")
    keys, ordinals = _without_lone(keys, ordinals)
    # Dense numbers in rank order: comparing them compares the ordinals, and a pair packs into one word.
    ranked, number = np.unique(ordinals, return_inverse=True)
    if len(ranked) > 1 << 32:
        raise DedupError("more than 2^32 documents share keys: partition the keys by their top bits")
    keys, member = distinct_rows(keys, number.astype(np.uint64))
    count = len(keys)
    borders = np.concatenate((np.flatnonzero(_starts(keys)), [count])).astype(np.int64)
    sizes = np.diff(borders)
    first = np.repeat(borders[:-1], sizes)
    made = np.arange(count, dtype=np.int64) - first  # with every better-ranked one
    np.minimum(made, best, out=made, where=np.repeat(sizes > cap, sizes))
    many, hot = sizes[sizes > 1], sizes[sizes > cap]
    head, tail = best * (best - 1) // 2, (hot - best) * best  # pairs within the best ones, and with them
    stats = BucketStats(
        buckets=len(many),
        members=int(many.sum()),
        hot_buckets=len(hot),
        hot_members=int(hot.sum()),
        skipped_pairs=int((hot * (hot - 1) // 2 - head - tail).sum()),
    )
    return Buckets(ranked, member, first, made, np.cumsum(made), stats)


def bucket_pairs(keys: U64s, ordinals: Ordinals, *, cap: int = CAP, best: int = BEST) -> Pairs:
    """Pair the documents that share a key: `make_buckets`, and all their distinct pairs at once.

    Memory: 8 bytes per distinct pair more, twice that while they are merged.
    """
    buckets = make_buckets(keys, ordinals, cap=cap, best=best)
    parts: list[U64s] = []
    pending, settled = 0, PAIRS_AT_ONCE
    for words in buckets.portions():
        parts.append(words)
        pending += len(words)
        if pending > 2 * settled:  # amortised: each merge at least doubles what the last one left
            parts = [_distinct(np.concatenate(parts), len(buckets.ranked))]
            pending = len(parts[0])
            settled = max(settled, pending)
    words = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    if len(parts) > 1:
        words = _distinct(words, len(buckets.ranked))
    return Pairs(*buckets.ends(words), buckets.stats)


def across_owners(pairs: Pairs, owners: npt.NDArray[np.integer]) -> Pairs:
    """The pairs whose documents have different owners; `owners[ordinal]`: any number per document.

    Buckets and their best-ranked members are those of all documents: what pairs are left out afterwards does
    not change which others there are.
    """
    apart = owners[pairs.low] != owners[pairs.high]
    return Pairs(pairs.low[apart], pairs.high[apart], pairs.stats)


def merge_pairs(parts: list[Pairs]) -> Pairs:
    """Unite the pairs of several partitions of the keys, or of several band groups: distinct and sorted."""
    if not parts:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), BucketStats())
    low, high = np.concatenate([p.low for p in parts]), np.concatenate([p.high for p in parts])
    return Pairs(*distinct_rows(low, high), sum((p.stats for p in parts), BucketStats()))


def distinct_rows(
    a: npt.NDArray[Number], b: npt.NDArray[Other]
) -> tuple[npt.NDArray[Number], npt.NDArray[Other]]:
    """The distinct rows (a[i], b[i]), by a, then by b."""
    order = np.lexsort((b, a))
    a, b = a[order], b[order]
    first = _starts(a) | _starts(b)
    return a[first], b[first]


def _starts(words: npt.NDArray[np.integer]) -> Bools:
    """Mark the first row of each run of equal words."""
    starts = np.ones(len(words), np.bool_)
    np.not_equal(words[1:], words[:-1], out=starts[1:])
    return starts


def _distinct(words: U64s, members: int) -> U64s:
    """Sort packed pairs of numbers below `members` and drop repetitions."""
    if members <= len(words):  # linear: two counting sorts, by the high number, then by the low one
        counts = np.empty(members + 1, np.int64)
        spare = np.empty_like(words)
        _counting_sort(words, U64(0), counts, spare)
        _counting_sort(spare, U64(32), counts, words)
    else:
        words = np.sort(words)
    return words[_starts(words)]


def _without_lone(keys: U64s, ordinals: Ordinals) -> tuple[U64s, Ordinals]:
    """Drop rows whose key occurs once, most of them: they need no sort. Two looks leave one lone key in 80."""
    for low in (0, 17):
        if not len(keys):
            break
        shared = _maybe_shared(keys, low)
        few = int(np.count_nonzero(shared)) <= _WORTH * len(keys)
        keys, ordinals = keys[shared], ordinals[shared]
        if not few:
            break
    return keys, ordinals


def _maybe_shared(keys: U64s, low: int) -> Bools:
    """Mark every key that occurs at least twice, and some that do not, by the bits from `low` on."""
    bits = min(40, max(10, (SPARSE * len(keys)).bit_length()))
    once = np.zeros(1 << (bits - 3), np.uint8)
    twice = np.zeros(1 << (bits - 3), np.uint8)
    shared = np.empty(len(keys), np.bool_)
    _mark_shared(read_only(keys), U64(low), U64((1 << bits) - 1), once, twice, shared)
    return shared


@kernel
def _mark_shared(  # noqa: PLR0917 - a kernel
    keys: U64s,
    low: np.uint64,
    mask: np.uint64,
    once: npt.NDArray[np.uint8],
    twice: npt.NDArray[np.uint8],
    shared: Bools,
) -> None:
    # Not the top bits: they are equal throughout a partition of a shuffle.
    for i in range(keys.shape[0]):
        at = (keys[i] >> low) & mask
        byte = np.int64(at >> U64(3))
        bit = np.uint8(1 << (np.int64(at) & 7))
        twice[byte] |= once[byte] & bit
        once[byte] |= bit
    for i in range(keys.shape[0]):
        at = (keys[i] >> low) & mask
        shared[i] = (twice[np.int64(at >> U64(3))] >> np.uint8(np.int64(at) & 7)) & 1


@kernel
def _counting_sort(words: U64s, shift: np.uint64, counts: I64s, out: U64s) -> None:
    """Copy words to out, stably sorted by the 32-bit number at `shift`, which is below len(counts) - 1."""
    counts[:] = 0
    for i in range(words.shape[0]):
        counts[np.int64((words[i] >> shift) & U64(0xFFFFFFFF)) + 1] += 1
    for i in range(counts.shape[0] - 1):
        counts[i + 1] += counts[i]
    for i in range(words.shape[0]):
        at = np.int64((words[i] >> shift) & U64(0xFFFFFFFF))
        out[counts[at]] = words[i]
        counts[at] += 1


@kernel
def _emit_pairs(  # noqa: PLR0917 - a kernel
    member: U64s, first: I64s, made: I64s, row: int, last: int, out: U64s
) -> None:
    n = 0
    for high in range(row, last):
        for low in range(first[high], first[high] + made[high]):
            out[n] = (member[low] << U64(32)) | member[high]
            n += 1
