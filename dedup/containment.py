"""Which documents lie inside bigger ones: candidates from sampled shingles, to be verified exactly.

The containment of A in B is |A n B| / |A|, over the sets of shingles. Banded sketches do not find it: a small file inside
a big one has a low Jaccard similarity. A fixed share of all possible hashes does (the "mod m" sketch of Broder, "On the
resemblance and containment of documents", 1997; as the hashes below a bound, FracMinHash: Irber et al., "Lightweight
compositional analysis of metagenomes with FracMinHash and minimum metagenome covers", 2022): the sample of A n B is the
intersection of the samples, whatever the sizes of A and B.

    texts --samples--> hashes below 2^64 / 16 --shared_samples--> pairs with a common rare hash --intersections--> |A n B|

A hash that many documents hold names nobody: one with more than `cap` holders is skipped and counted. So the pairs of n
hashes are at most n * cap / 2, and what consists of text that is everywhere has no candidate: that is what
`dedup.repeated` is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.errors import DedupError
from dedup.machine import U64, Bools, I64s, U64s, kernel, read_only
from dedup.verify import Threshold, shingle_sets

SCALE = 16
"""One shingle in so many is sampled: 4 of the smallest document that is asked about, `LEAST`."""

LEAST = 64
"""Distinct shingles, some ten lines, below which a document is not asked about: a fragment lies in anything."""

CAP = 32
"""Holders of a hash up to which they are paired."""

LEAST_DENOMINATOR = 2
"""A pair is worth verifying when its common share of the rare samples is at least the threshold over this: with 4 samples
and 0.8 in common, 97 in 100 of the pairs are found, with 10 practically all."""

PAIRS_AT_ONCE = 1 << 21  # emitted before equal ones are counted: 16 MB


@dataclass(frozen=True, slots=True)
class Samples:
    """`values[offsets[i] : offsets[i + 1]]`: the sampled shingle hashes of document i, ascending; `sizes`: its distinct
    shingles."""

    values: U64s
    offsets: I64s
    sizes: I64s


def samples(texts: Any, *, scale: int = SCALE) -> Samples:
    """Sample the shingles of each document: those whose hash is below 2^64 / scale. `texts`: as for `as_documents`.

    Raises DedupError for a scale below 1. Memory: 8 bytes per distinct shingle of all texts, twice.
    """
    if scale < 1:
        raise DedupError(f"scale must be at least 1, not {scale}")
    sets = shingle_sets(texts)
    low = sets.values <= U64((1 << 64) // scale - 1)
    before = np.concatenate(([0], np.cumsum(low)))
    return Samples(sets.values[low], before[sets.offsets], sets.sizes)


@dataclass(frozen=True, slots=True)
class SharedSamples:
    """Distinct pairs of documents with the number of rare hashes that they share; sizes[inner] < sizes[outer]."""

    inner: npt.NDArray[np.int64]
    outer: npt.NDArray[np.int64]
    shared: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rare:
    """The hashes with at most `cap` holders. `hot_hashes`, `hot_holders`: how many were skipped, and their holders."""

    hashes: U64s
    members: I64s
    hot_hashes: int
    hot_holders: int


def rare_samples(hashes: U64s, members: I64s, *, cap: int = CAP) -> Rare:
    """Sort (hash, document) rows by both and leave out hashes with more than `cap` holders.

    `hashes`: uint64[n]; `members`: int64[n], below 2^32; each row once. Raises DedupError for a cap below 2.
    """
    if cap < 2:
        raise DedupError(f"cap must be at least 2, not {cap}")
    order = np.lexsort((members, hashes))
    hashes, members = hashes[order], members[order]
    borders = _borders(hashes)
    holders = np.diff(borders)
    hot = holders > cap
    rare = np.repeat(~hot, holders)
    return Rare(hashes[rare], members[rare], int(hot.sum()), int(holders[hot].sum()))


def shared_samples(rare: Rare, sizes: I64s, *, similar: Threshold) -> Iterator[SharedSamples]:
    """Pair the holders of each hash, the smaller one as `inner`, where it is too small to be a near-duplicate.

    `sizes`: int64[documents], distinct shingles. A pair whose sizes alone allow the Jaccard similarity `similar` is left
    to the search for near-duplicates. In portions of bounded size: a pair may stand in several, its counts add up.
    """
    borders = _borders(rare.hashes)
    holders = np.diff(borders)
    total = np.concatenate(([0], np.cumsum(holders * (holders - 1) // 2)))
    first = 0
    while first < len(holders):
        last = max(first + 1, int(np.searchsorted(total, total[first] + PAIRS_AT_ONCE, side="right")) - 1)
        out = np.empty(int(total[last] - total[first]), np.uint64)
        numbers = similar.numerator, similar.denominator
        used = _emit(
            read_only(rare.members), read_only(borders[first : last + 1]), read_only(sizes), *numbers, out
        )
        packed, shared = np.unique(out[:used], return_counts=True)
        if len(packed):
            ends = (packed >> U64(32)).astype(np.int64), (packed & U64(0xFFFFFFFF)).astype(np.int64)
            yield SharedSamples(*ends, shared.astype(np.int64))
        first = last


def worth_verifying(shared: I64s, rare: I64s, threshold: Threshold) -> Bools:
    """Whether a document may lie in another one with which it shares `shared` of its `rare` sampled hashes."""
    return (shared > 0) & (LEAST_DENOMINATOR * threshold.denominator * shared >= threshold.numerator * rare)


def _borders(ascending: U64s) -> I64s:
    """Where each run of equal values starts, and the end."""
    if len(ascending) == 0:
        return np.zeros(1, np.int64)
    starts = np.flatnonzero(ascending[1:] != ascending[:-1]) + 1
    return np.concatenate(([0], starts, [len(ascending)])).astype(np.int64)


@kernel
def _emit(  # noqa: PLR0917 - called by position
    members: I64s, borders: I64s, sizes: I64s, numerator: int, denominator: int, out: U64s
) -> int:
    """Write the pairs of each run as inner << 32 | outer; return how many."""
    n = 0
    for b in range(borders.shape[0] - 1):
        for i in range(borders[b], borders[b + 1]):
            for j in range(i + 1, borders[b + 1]):
                inner, outer = members[i], members[j]
                if sizes[inner] > sizes[outer]:
                    inner, outer = outer, inner
                # min / max is the highest Jaccard similarity that two sets of these sizes can have.
                if denominator * sizes[inner] < numerator * sizes[outer]:
                    out[n] = (U64(inner) << U64(32)) | U64(outer)
                    n += 1
    return n
