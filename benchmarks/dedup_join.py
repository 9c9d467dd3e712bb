"""All pairs of texts whose Jaccard similarity reaches a threshold: the truth that de-duplication is held against.

Shares no code with the package `dedup`. Tokens are found by a regular expression of the standard library.
Nothing is hashed: tokens, and then runs of 2, 4 and 5 tokens, are numbered exactly, so equal shingles have
equal numbers and different ones never do.

The join is the prefix filter (Chaudhuri, Ganti, Kaushik 2006; Bayardo, Ma, Srikant 2007). Shingles are ordered
by the number of documents that hold them, rarest first. Two sets of sizes s <= n with Jaccard >= t share at
least ceil(t n) elements, so they share one among the n - ceil(t n) + 1 rarest of each; and s >= t n. What passes
both filters is counted exactly. All comparisons are in integers.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

I64s = npt.NDArray[np.int64]
TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
SHINGLE = 5


@dataclass(frozen=True)
class Sets:
    """The distinct shingles of document i, rarest first: values[offsets[i] : offsets[i + 1]].

    A value is the rank of the shingle by (documents that hold it, number); `documents[value]` is that count.
    """

    values: npt.NDArray[np.uint32]
    offsets: I64s
    documents: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> I64s:
        """Distinct shingles of each document."""
        return np.diff(self.offsets)

    def of(self, document: int) -> npt.NDArray[np.uint32]:
        """Return the shingles of one document, rarest first."""
        return self.values[self.offsets[document] : self.offsets[document + 1]]


@dataclass(frozen=True)
class TruePairs:
    """Pairs low[i] < high[i] of documents, ordered, with the sizes of intersection and union of their sets."""

    low: I64s
    high: I64s
    inter: I64s
    union: I64s

    def __len__(self) -> int:
        return len(self.low)

    @property
    def similarity(self) -> npt.NDArray[np.float64]:
        """Jaccard similarity of each pair."""
        return self.inter / self.union


def shingle_sets(texts: Sequence[bytes]) -> Sets:
    """Number the shingles of all texts. Memory: about 60 bytes per token at the peak."""
    tokens, borders = _token_numbers(texts)
    lengths = np.diff(borders)
    two = _number(tokens[:-1], tokens[1:])
    four = _number(two[:-2], two[2:])
    shingles = np.maximum(lengths - SHINGLE + 1, 0)  # a document's last 4 tokens start none
    start = np.arange(int(shingles.sum())) + np.repeat(
        borders[:-1] - (np.cumsum(shingles) - shingles), shingles
    )
    five = _number(four[start], tokens[start + 4])
    del two, four, tokens, start
    document = np.repeat(np.arange(len(texts), dtype=np.uint64), shingles)
    held = _unique((document << np.uint64(32)) | five)
    del five, document
    number = (held & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    documents = np.bincount(number).astype(np.uint32)
    order = np.argsort(documents, kind="stable").astype(np.uint32)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order), dtype=np.uint32)
    held = np.sort((held & ~np.uint64(0xFFFFFFFF)) | rank[number])
    offsets = np.searchsorted(held >> np.uint64(32), np.arange(len(texts) + 1, dtype=np.uint64))
    return Sets((held & np.uint64(0xFFFFFFFF)).astype(np.uint32), offsets.astype(np.int64), documents[order])


def _token_numbers(texts: Sequence[bytes]) -> tuple[npt.NDArray[np.uint32], I64s]:
    numbers: defaultdict[bytes, int] = defaultdict(count().__next__)
    tokens = array("I")
    borders = [0]
    for text in texts:
        tokens.extend(map(numbers.__getitem__, TOKEN.findall(text)))
        borders.append(len(tokens))
    padded = np.concatenate((np.frombuffer(tokens, np.uint32), np.zeros(SHINGLE, np.uint32)))
    return padded, np.asarray(borders, np.int64)


def _number(left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Number the distinct pairs (left[i], right[i])."""
    size = min(len(left), len(right))
    pairs = left[:size].astype(np.uint64) << np.uint64(32)
    pairs |= right[:size]
    order = np.argsort(pairs)
    pairs = pairs[order]
    step = np.zeros(size, np.uint32)
    step[1:] = pairs[1:] != pairs[:-1]
    out = np.empty(size, np.uint32)
    out[order] = np.cumsum(step, dtype=np.uint32)
    return out


def _unique(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = np.sort(values)
    new = np.ones(len(values), np.bool_)
    new[1:] = values[1:] != values[:-1]
    return values[new]


def similarity_join(sets: Sets, numerator: int = 7, denominator: int = 10) -> TruePairs:
    """Find all pairs with inter / union >= numerator / denominator; documents without shingles have none."""
    found: list[tuple[int, int, int, int]] = []
    sizes = sets.sizes
    marked = np.full(len(sets.documents) + 1, -1, np.int32)  # shingle -> the last document that marked it
    for document, candidates in _candidates(sets, numerator, denominator):
        own = sets.of(document)
        marked[own] = document
        for other in sorted(candidates):
            inter = int(np.count_nonzero(marked[sets.of(other)] == document))
            union = int(sizes[document] + sizes[other]) - inter
            if inter * denominator >= numerator * union:
                found.append((min(document, other), max(document, other), inter, union))
    found.sort()
    columns = np.asarray(found, np.int64).reshape(-1, 4).T
    return TruePairs(*columns)


def _candidates(sets: Sets, numerator: int, denominator: int) -> Iterator[tuple[int, set[int]]]:
    """Yield each document with the ones before it, in order of size, that pass the two filters."""
    sizes = sets.sizes
    holders: defaultdict[int, list[int]] = defaultdict(list)
    for document in np.argsort(sizes, kind="stable").tolist():
        size = int(sizes[document])
        if size == 0:
            continue
        prefix = sets.of(document)[: size - -(-numerator * size // denominator) + 1]
        shared = prefix[sets.documents[prefix] > 1].tolist()  # what one document holds brings nobody together
        near: set[int] = set()
        for shingle in shared:
            near.update(holders[shingle])
            holders[shingle].append(document)
        yield document, {other for other in near if denominator * sizes[other] >= numerator * size}


def exact_similarity(sets: Sets, a: I64s, b: I64s) -> tuple[I64s, I64s]:
    """Sizes of intersection and union of the sets of documents a[i] and b[i]."""
    inter = np.asarray(
        [len(np.intersect1d(sets.of(x), sets.of(y), assume_unique=True)) for x, y in zip(a, b, strict=True)],
        np.int64,
    )
    return inter, sets.sizes[a] + sets.sizes[b] - inter
