"""Exact similarities of many pairs with the shingle sets of few texts in memory.

Texts are cut, in the order in which they lie in their source, into groups of bounded bytes. The sets of one
group are held while those of each other group that has pairs with it come by. So a text is read at most once
per group and per pair of its own, and where everything fits into one group each text is read once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dedup.machine import Bools, I64s
from dedup.verify import ShingleSets, Threshold, intersections

Read = Callable[[I64s], Any]
"""Gives the texts of ascending numbers, as for `dedup.documents.as_documents`."""

LengthsOf = Callable[[I64s], I64s]
"""Gives the bytes of these texts."""


@dataclass(frozen=True, slots=True)
class Compared:
    """`inter`, `union`: int64[pairs], exact for pairs that reach the threshold; how many texts were read."""

    inter: I64s
    union: I64s
    texts: int
    bytes: int


def compare(  # noqa: PLR0917 - as they stand in a sentence
    a: I64s,
    b: I64s,
    lengths_of: LengthsOf,
    read: Read,
    sets_of: Callable[[Any], ShingleSets],
    threshold: Threshold,
    *,
    group_bytes: int,
) -> Compared:
    """Compare texts a[i] and b[i], which are numbered as they lie in their source.

    Memory: texts and shingle sets of two groups of `group_bytes` (or of one longer text): at most 9 bytes per
    byte of text, for code about 2.
    """
    inter, union = np.zeros(len(a), np.int64), np.ones(len(a), np.int64)
    numbers = np.unique(np.concatenate((a, b)))
    lengths = lengths_of(numbers)
    group_of = (np.cumsum(lengths) - lengths) // group_bytes
    low, high = np.minimum(a, b), np.maximum(a, b)
    left, right = group_of[np.searchsorted(numbers, low)], group_of[np.searchsorted(numbers, high)]
    texts = size = 0
    for group in np.unique(left).tolist():
        here = np.flatnonzero(left == group)
        others = right[here]
        own = np.unique(np.concatenate((low[here], high[here[others == group]])))
        sets = sets_of(read(own))
        texts, size = texts + len(own), size + int(lengths_of(own).sum())
        for other in np.unique(others).tolist():
            pairs = here[others == other]
            theirs, their_sets = own, sets
            if other != group:
                theirs = np.unique(high[pairs])
                their_sets = sets_of(read(theirs))
                texts, size = texts + len(theirs), size + int(lengths_of(theirs).sum())
            ia, ib = np.searchsorted(own, low[pairs]), np.searchsorted(theirs, high[pairs])
            possible: Bools = threshold.possible(sets.sizes[ia], their_sets.sizes[ib])
            found = intersections(sets, their_sets, ia[possible], ib[possible], threshold=threshold)
            inter[pairs[possible]], union[pairs[possible]] = found
    return Compared(inter, union, texts, size)
