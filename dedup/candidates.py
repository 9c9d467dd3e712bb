"""Band keys -> candidate pairs: documents that share a key, with bounded work per bucket.

A **bucket** is the set of documents that hold one key (all 64 bits equal). Up to `cap` members, every pair is
a candidate. Above, each member pairs only with the `best` best-ranked members: what is near to many is near
to the ones that would be kept, and m members cost 16 m pairs instead of m^2 / 2. Such hot buckets and what
they skip are counted.

The pairs depend on the set of (key, ordinal) rows only. A bucket lies wholly in one partition of the key
space, so any partitioning gives the same pairs after the distinct union.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dedup.errors import DedupError
from dedup.machine import U64, Bools, I64s, U64s, kernel, read_only

CAP = 64
"""The largest bucket of which all pairs are taken."""

BEST = 16
"""In a larger bucket: how many best-ranked members each member pairs with."""

PAIRS_AT_ONCE = 1 << 22  # emitted before they are made distinct: 32 MB
SPARSE = 8  # bits of each of the two bit tables per key: one lone key in nine survives the first look


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


def bucket_pairs(keys: U64s, ordinals: npt.NDArray[np.integer], *, cap: int = CAP, best: int = BEST) -> Pairs:
    """Pair the documents that share a key.

    `keys`: uint64[n]; `ordinals`: int64[n] or uint64[n], the rank of the document (lower is better; at most
    one document per ordinal). Rows may come in any order; a repeated row counts once.
    Time: O(n) for keys that stand alone, O(m log m) for the m that do not, plus the pairs. Memory: 2 bytes
    per key and 8 bytes per distinct pair, above the input. Raises DedupError for shapes, types and bounds.
    """
    if keys.dtype != np.uint64 or keys.shape != ordinals.shape or keys.ndim != 1:
        raise DedupError(f"keys must be uint64[n] with one ordinal each, not {keys.dtype}{list(keys.shape)}")
    if ordinals.dtype not in (np.dtype(np.int64), np.dtype(np.uint64)):
        raise DedupError(f"ordinals must be int64 or uint64, not {ordinals.dtype}")
    if not 1 <= best <= cap:
        raise DedupError(f"best must lie between 1 and cap, not best={best}, cap={cap}")
    shared = _maybe_shared(keys)
    keys, ordinals = keys[shared], ordinals[shared]
    # Dense numbers in rank order: comparing them compares the ordinals, and a pair packs into one word.
    ranked, member = np.unique(ordinals, return_inverse=True)
    if len(ranked) > 1 << 32:
        raise DedupError("more than 2^32 documents share keys: partition the keys by their top bits")
    order = np.lexsort((member, keys))
    keys, member = keys[order], member[order].astype(np.uint64)
    if len(keys):
        first = np.concatenate(([True], (keys[1:] != keys[:-1]) | (member[1:] != member[:-1])))
        keys, member = keys[first], member[first]
    borders = np.concatenate((np.flatnonzero(_starts(keys)), [len(keys)])).astype(np.int64)
    sizes = np.diff(borders)
    # A hot bucket: all pairs within its best ones, then each other member with each of them.
    emitted = np.where(sizes > cap, best * (best - 1) // 2 + (sizes - best) * best, sizes * (sizes - 1) // 2)
    hot = sizes > cap
    stats = BucketStats(
        buckets=int((sizes > 1).sum()),
        members=int(sizes[sizes > 1].sum()),
        hot_buckets=int(hot.sum()),
        hot_members=int(sizes[hot].sum()),
        skipped_pairs=int((sizes[hot] * (sizes[hot] - 1) // 2 - emitted[hot]).sum()),
    )
    packed = _distinct_pairs(member, borders, emitted, cap, best, len(ranked))
    return Pairs(ranked[packed >> U64(32)], ranked[packed & U64(0xFFFFFFFF)], stats)


def merge_pairs(parts: list[Pairs]) -> Pairs:
    """Unite the pairs of several partitions of the keys, or of several band groups: distinct and sorted."""
    if not parts:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), BucketStats())
    low, high = np.concatenate([p.low for p in parts]), np.concatenate([p.high for p in parts])
    order = np.lexsort((high, low))
    low, high = low[order], high[order]
    if len(low):
        first = np.concatenate(([True], (low[1:] != low[:-1]) | (high[1:] != high[:-1])))
        low, high = low[first], high[first]
    return Pairs(low, high, sum((p.stats for p in parts), BucketStats()))


def _starts(sorted_keys: U64s) -> Bools:
    """Mark the first row of each run of equal keys."""
    starts = np.ones(len(sorted_keys), np.bool_)
    np.not_equal(sorted_keys[1:], sorted_keys[:-1], out=starts[1:])
    return starts


def _distinct_pairs(  # noqa: PLR0917 - as the kernel it feeds
    member: U64s, borders: I64s, emitted: I64s, cap: int, best: int, members: int
) -> U64s:
    """Emit the pairs of all buckets as low << 32 | high, distinct and sorted, in bounded portions."""
    total = np.cumsum(emitted)
    parts: list[U64s] = []
    pending = 0
    settled = PAIRS_AT_ONCE
    first = 0
    while first < len(emitted):
        before = int(total[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(total, before + PAIRS_AT_ONCE, side="right")))
        out = np.empty(int(total[last - 1]) - before, np.uint64)
        _emit_pairs(member, borders[first : last + 1], cap, best, out)
        parts.append(_distinct(out, members))
        pending += len(parts[-1])
        if pending > 2 * settled:  # amortised: each merge at least doubles what the last one left
            parts = [_distinct(np.concatenate(parts), members)]
            pending = len(parts[0])
            settled = max(settled, pending)
        first = last
    if len(parts) == 1:
        return parts[0]
    return _distinct(np.concatenate(parts), members) if parts else np.empty(0, np.uint64)


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


def _maybe_shared(keys: U64s) -> Bools:
    """Mark every key that occurs at least twice, and some that do not: most keys stand alone and need no
    sort."""
    bits = max(10, (SPARSE * len(keys)).bit_length())
    once = np.zeros(1 << (bits - 3), np.uint8)
    twice = np.zeros(1 << (bits - 3), np.uint8)
    shared = np.empty(len(keys), np.bool_)
    _mark_shared(read_only(keys), U64((1 << bits) - 1), once, twice, shared)
    return shared


@kernel
def _mark_shared(
    keys: U64s, mask: np.uint64, once: npt.NDArray[np.uint8], twice: npt.NDArray[np.uint8], shared: Bools
) -> None:
    # The low bits: the top ones are equal throughout a partition of a shuffle.
    for i in range(keys.shape[0]):
        at = keys[i] & mask
        byte = np.int64(at >> U64(3))
        bit = np.uint8(1 << (np.int64(at) & 7))
        twice[byte] |= once[byte] & bit
        once[byte] |= bit
    for i in range(keys.shape[0]):
        at = keys[i] & mask
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
def _emit_pairs(member: U64s, borders: I64s, cap: int, best: int, out: U64s) -> None:
    n = 0
    for b in range(borders.shape[0] - 1):
        first, last = borders[b], borders[b + 1]
        hot = last - first > cap
        for high in range(first + 1, last):
            until = min(high, first + best) if hot else high
            for low in range(first, until):
                out[n] = (member[low] << U64(32)) | member[high]
                n += 1
