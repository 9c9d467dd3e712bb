"""Candidate pairs and texts -> the decision, comparing no more than one walk in rank order needs.

A document is compared with its better-ranked candidates in their order, only with those that are kept, and no
further than the first edge: that is its best-ranked kept neighbour. The outcome is that of `decide` over all
pairs. Shingle sets are made in blocks of bounded bytes of text, of what a block needs.
"""

from __future__ import annotations

import numpy as np

from dedup.decide import Decision
from dedup.documents import Documents
from dedup.errors import DedupError
from dedup.machine import Bools, I64s, U32s, kernel, read_only
from dedup.sketch import SLOTS
from dedup.verify import Edges, Shortcut, Threshold, first_edges, shingle_sets

BLOCK_BYTES = 64 << 20
"""Text of which shingle sets are held at once: as many bytes of sets, 8 for each token. One document with its
candidates may need more."""


def decide_lazily(
    documents: Documents,
    low: I64s,
    high: I64s,
    threshold: Threshold,
    *,
    shortcut: Shortcut | None = None,
    signatures: U32s | None = None,
    block_bytes: int = BLOCK_BYTES,
    operators: bool = False,
) -> Decision:
    """Decide over candidate pairs in any order; ordinals are positions in `documents`, lower is better.

    A repeated pair counts once. `shortcut` needs the `signatures` of all documents: uint32[n, 256].
    `operators`: as for `shingle_blocks`.
    Raises DedupError unless low[i] < high[i] for all i.
    """
    if len(low) != len(high) or not (low < high).all():
        raise DedupError("each pair must have its better-ranked (lower) ordinal first")
    if len(low) and (low.min() < 0 or high.max() >= len(documents)):
        raise DedupError(f"a pair points outside the {len(documents)} documents")
    order = np.lexsort((low, high))
    low, high = low[order].astype(np.int64), high[order].astype(np.int64)
    guesses = None if shortcut is None else (_checked(signatures, documents), *shortcut.counts(SLOTS))
    dropped = np.zeros(len(documents), np.bool_)
    number = np.empty(len(documents), np.int64)  # of a document in the sets of its block
    stamps = np.full(len(documents), -1, np.int64)  # the block that last needed a document
    needed = np.empty(len(documents), np.int64)
    lengths = documents.lengths
    parts: list[Edges] = []
    first = 0
    while first < len(low):
        last, count = _next_block(
            read_only(low), read_only(high), read_only(lengths), dropped, first, block_bytes, stamps, needed
        )
        wanted = np.sort(needed[:count])
        number[wanted] = np.arange(count)
        sets = shingle_sets(documents.take(wanted), operators=operators)
        pairs = low[first:last], high[first:last]
        parts.append(first_edges(sets, number, *pairs, dropped, threshold=threshold, shortcut=guesses))
        first = last
    none = np.empty(0, np.int64)
    return Decision(
        dropped=np.concatenate([none, *(part.dropped for part in parts)]),
        kept=np.concatenate([none, *(part.kept for part in parts)]),
        inter=np.concatenate([none, *(part.inter for part in parts)]),
        union=np.concatenate([none, *(part.union for part in parts)]),
        estimated=np.concatenate([np.empty(0, np.bool_), *(part.estimated for part in parts)]),
        compared=sum(part.compared for part in parts),
    )


def _checked(signatures: U32s | None, documents: Documents) -> U32s:
    if signatures is None or signatures.shape != (len(documents), SLOTS):
        raise DedupError(f"the shortcut needs the signatures of all documents: uint32[n, {SLOTS}]")
    return signatures


@kernel
def _next_block(  # noqa: PLR0917 - called by position
    low: I64s,
    high: I64s,
    lengths: I64s,
    dropped: Bools,
    first: int,
    most: int,
    stamps: I64s,
    needed: I64s,
) -> tuple[int, int]:
    """Take whole documents with their pairs from `first` on, until the texts that they may need exceed `most`.

    Returns the end of the pairs and how many documents are needed, written to `needed`.
    """
    at, count, size = first, 0, 0
    while at < low.shape[0]:
        end = at
        before = count
        while end < low.shape[0] and high[end] == high[at]:
            better = low[end]
            if not dropped[better]:
                for document in (better, high[at]):
                    if stamps[document] != first:
                        stamps[document] = first
                        needed[count] = document
                        count += 1
                        size += lengths[document]
            end += 1
        if size > most and at > first:
            for k in range(before, count):  # they belong to the next block
                stamps[needed[k]] = -1
            return at, before
        at = end
    return at, count
