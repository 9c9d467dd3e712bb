"""Fingerprints -> an inverted index, and the documents that have most of a text's shingles among theirs.

A **posting** is (fingerprint, document). The index is three plain arrays, so that it can be a file that is
mapped into memory: `directory` (where each bin of fingerprints starts), `keys` and `documents`. Of a hash only
its low bits + 32 are kept: the upper `bits` of these choose the bin, the other 32 are the key. With 2^bits
bins for some 128 postings each, a shingle meets a posting of another one with probability 128 / 2^32;
whoever asks compares the texts themselves afterwards.

The work per text is bounded: of a fingerprint that stands in more than `common` documents (license headers,
imports) the first `common` are taken, and after `most` postings in all, the rarest fingerprints first, the
rest is left out. Both are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.errors import DedupError
from dedup.machine import U32, U64, I64s, U32s, U64s, kernel, read_only

Float64s = npt.NDArray[np.float64]

COMMON = 4_096
"""Documents per fingerprint that are looked at."""

MOST = 1 << 20
"""Postings per text that are looked at."""

ALIKE = 256
"""Documents, at most, that are returned for their estimated similarity ..."""

LEAST_ALIKE = 0.35
"""... which is at least this: half of what makes a near-duplicate, as the estimate is of a dozen fingerprints."""

PER_BIN = 128  # postings: 1 KB, some cache lines more than a binary search touches
LEAST_BITS, MOST_BITS = 4, 20  # 2^20 bins take 8 MB of directory, which every sorted run has, too
KEY_BITS = U64(32)
DIGIT = 11  # bits per pass of the radix sort: 2,048 counters stay in the first cache


@dataclass(frozen=True, slots=True)
class Postings:
    """`directory`: uint64[2^bits + 1]; `keys`, `documents`: uint32[n], sorted by bin, key, document, distinct."""

    directory: U64s
    keys: U32s
    documents: U32s

    @property
    def bits(self) -> int:
        """The number of bins is two to the power of this."""
        return (len(self.directory) - 1).bit_length() - 1

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of each indexed document, with repetitions: its `shingles` and its `fingerprints`, uint32[n] each."""

    shingles: U32s
    fingerprints: U32s


@dataclass(frozen=True, slots=True)
class Candidates:
    """Documents that share fingerprints with a text, and what was not looked at."""

    documents: I64s
    """Those that share most, rare things first, then those that are most similar and not among these."""
    scores: Float64s
    """Of each the sum of the rarity of what it shares."""
    similarities: Float64s
    """Of each the Jaccard similarity, estimated from its fingerprints."""
    found: int
    """Documents that share anything; `documents` are the best of these."""
    known: int
    """Shingles of the text that are a fingerprint of some document."""
    common: int
    """Of these, those that stand in more than `COMMON` documents."""
    skipped: int
    """Of `known`, those left out because `MOST` postings had been looked at."""


def bin_bits(postings: int) -> int:
    """Bits for the bins of an index of about so many postings."""
    return min(MOST_BITS, max(LEAST_BITS, (postings // PER_BIN).bit_length()))


def bins_of(hashes: U64s, bits: int) -> I64s:
    """The bin of each hash."""
    return ((hashes >> KEY_BITS) & U64((1 << bits) - 1)).astype(np.int64)


def sort_postings(hashes: U64s, documents: npt.NDArray[np.integer], bits: int) -> Postings:
    """Index postings in any order of hashes; `documents` must not descend. Repeated postings count once.

    Time: linear. Memory: 24 bytes per posting. Raises DedupError for bounds.
    """
    if not 0 < bits <= MOST_BITS:
        raise DedupError(f"bits must lie between 1 and {MOST_BITS}, not {bits}")
    if len(hashes) != len(documents):
        raise DedupError(f"{len(hashes)} hashes, {len(documents)} documents: one each is needed")
    if len(documents) and not 0 <= documents.min() <= documents.max() < 1 << 32:
        raise DedupError("documents must be numbered from 0 to at most 2^32 - 1")
    mask = U64((1 << (bits + 32)) - 1)
    keys, owners = hashes & mask, documents.astype(np.uint32)
    other_keys, other_owners = np.empty_like(keys), np.empty_like(owners)
    counts = np.empty((1 << DIGIT) + 1, np.int64)
    for shift in range(0, bits + 32, DIGIT):
        _radix_pass(keys, owners, U64(shift), counts, other_keys, other_owners)
        keys, owners, other_keys, other_owners = other_keys, other_owners, keys, owners
    if len(keys):
        first = np.concatenate(([True], (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])))
        keys, owners = keys[first], owners[first]
    directory = np.searchsorted(keys >> KEY_BITS, np.arange((1 << bits) + 1, dtype=np.uint64))
    return Postings(directory.astype(np.uint64), (keys & U64(0xFFFFFFFF)).astype(np.uint32), owners)


def unite(parts: Sequence[Postings], first: int, last: int) -> Postings:
    """Bins first .. last - 1 of several indexes in one; the directory covers these bins only, from 0 on.

    The documents of a part must all come before those of the next one.
    """
    hashes, documents = [], []
    for part in parts:
        borders = part.directory[first : last + 1]
        start, stop = int(borders[0]), int(borders[-1])
        bins = np.repeat(np.arange(last - first, dtype=np.uint64), np.diff(borders).astype(np.int64))
        hashes.append((bins << KEY_BITS) | part.keys[start:stop])
        documents.append(part.documents[start:stop])
    united = sort_postings(
        np.concatenate(hashes), np.concatenate(documents), max(1, (last - first - 1).bit_length())
    )
    return Postings(united.directory[: last - first + 1], united.keys, united.documents)


def spans(postings: Postings, hashes: U64s) -> tuple[I64s, I64s]:
    """Where the postings of each hash lie: from .. to, int64[n] each, in `keys` and `documents`."""
    low, high = np.empty(len(hashes), np.int64), np.empty(len(hashes), np.int64)
    _spans(
        read_only(postings.directory), read_only(postings.keys), read_only(hashes), postings.bits, low, high
    )
    return low, high


def rarity(counts: I64s, documents: int) -> Float64s:
    """What it says that two texts share a fingerprint which `counts` of all `documents` have: log2(1 + N / n).

    One that is in none of them counts as if it were in one.
    """
    weight: Float64s = np.log2(1.0 + documents / np.maximum(counts, 1))
    return weight


def candidates(
    postings: Postings,
    sizes: Sizes,
    shingles: U64s,
    *,
    best: int,
    within: Sequence[tuple[int, int]] | None = None,
    common: int = COMMON,
    most: int = MOST,
) -> Candidates:
    """Find the documents that have some of `shingles`, the distinct shingle hashes of a text.

    Of those found, `best` by what they share are returned, and `ALIKE` by their estimated similarity: where a
    text is license header for the most part, the first are any with that header, not its near-duplicates.
    `within`: ranges (from, to) of documents that may be found, disjoint and ascending, all by default.
    """
    low, high = spans(postings, shingles)
    counts = high - low
    known = np.flatnonzero(counts)
    order = known[np.argsort(counts[known], kind="stable")]
    taken = order[: int(np.searchsorted(np.cumsum(np.minimum(counts[order], common)), most, side="right"))]
    ranges = np.array(within if within is not None else [(0, 1 << 32)], np.int64).reshape(-1, 2)
    room = int(np.minimum(counts[taken], common).sum())
    hits, of = np.empty(room, np.uint32), np.empty(room, np.int64)
    found = _gather(read_only(postings.documents), low[taken], high[taken], ranges, common, hits, of)
    owners, place = np.unique(hits[:found], return_inverse=True)
    weights = rarity(counts[taken], len(sizes.shingles))
    scores = np.bincount(place, weights=weights[of[:found]], minlength=len(owners)).astype(np.float64)
    length = sizes.shingles[owners].astype(np.float64)
    shared = np.bincount(place, minlength=len(owners)) / sizes.fingerprints[owners]  # of the document
    inter = np.minimum(shared, 1.0) * length
    similarities = inter / (len(shingles) + length - np.minimum(inter, len(shingles)))
    by_score = np.lexsort((owners, -scores))[:best]
    by_similarity = np.lexsort((owners, -similarities))[:ALIKE]
    by_similarity = by_similarity[similarities[by_similarity] >= LEAST_ALIKE]
    chosen = np.concatenate((by_score, by_similarity[~np.isin(by_similarity, by_score)]))
    return Candidates(
        documents=owners[chosen].astype(np.int64),
        scores=scores[chosen],
        similarities=similarities[chosen],
        found=len(owners),
        known=len(known),
        common=int((counts > common).sum()),
        skipped=len(order) - len(taken),
    )


@kernel
def _radix_pass(  # noqa: PLR0917 - called by position
    keys: U64s, owners: U32s, shift: np.uint64, counts: I64s, out_keys: U64s, out_owners: U32s
) -> None:
    """One stable counting sort by the DIGIT bits at `shift`."""
    mask = U64((1 << DIGIT) - 1)
    counts[:] = 0
    for i in range(keys.shape[0]):
        counts[np.int64((keys[i] >> shift) & mask) + 1] += 1
    for i in range(counts.shape[0] - 1):
        counts[i + 1] += counts[i]
    for i in range(keys.shape[0]):
        digit = np.int64((keys[i] >> shift) & mask)
        out_keys[counts[digit]] = keys[i]
        out_owners[counts[digit]] = owners[i]
        counts[digit] += 1


@kernel
def _lower(values: U32s, low: Any, high: Any, wanted: Any) -> Any:
    """The first place in low .. high whose value is at least `wanted`, else high."""
    while low < high:
        middle = (low + high) >> 1
        if np.int64(values[middle]) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _spans(  # noqa: PLR0917 - called by position
    directory: U64s, keys: U32s, hashes: U64s, bits: int, low: I64s, high: I64s
) -> None:
    mask = U64((1 << bits) - 1)
    for i in range(hashes.shape[0]):
        at = np.int64((hashes[i] >> KEY_BITS) & mask)
        start, stop = np.int64(directory[at]), np.int64(directory[at + 1])
        key = np.int64(U32(hashes[i]))
        low[i] = _lower(keys, start, stop, key)
        high[i] = _lower(keys, low[i], stop, key + 1)


@kernel
def _gather(  # noqa: PLR0917 - called by position
    documents: U32s, low: I64s, high: I64s, ranges: I64s, common: int, hits: U32s, of: I64s
) -> int:
    """Write the first `common` documents of each span that lie in the ranges, and which span they are of."""
    count = 0
    for i in range(low.shape[0]):
        left = common
        for r in range(ranges.shape[0]):
            start = _lower(documents, low[i], high[i], ranges[r, 0])
            stop = min(_lower(documents, start, high[i], ranges[r, 1]), start + left)
            for j in range(start, stop):
                hits[count] = documents[j]
                of[count] = i
                count += 1
            left -= stop - start
            if left <= 0:
                break
    return count
