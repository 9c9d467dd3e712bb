"""Texts -> fingerprints: few of the shingle hashes, chosen so that a shared passage shares one of them.

Winnowing (S. Schleimer, D. Wilkerson, A. Aiken, "Winnowing: Local Algorithms for Document Fingerprinting",
SIGMOD 2003): of every window of w consecutive shingles the least hash is a fingerprint.

Guarantee: every w consecutive shingles of a document, which are w + 4 tokens, hold one of its fingerprints.
So whoever knows ALL shingles of a text finds every document that shares a run of w + 4 tokens with it.
About 2 / (w + 1) of the shingles of a long document are fingerprints.

A document of n < 4w shingles has a window of n / 4, rounded down but at least 1: so it, too, has about eight
fingerprints, and is found by what it shares here and there, not only by its longest run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dedup.documents import as_documents
from dedup.errors import DedupError
from dedup.machine import I64s, U64s, kernel, read_only
from dedup.shingles import shingle_blocks

WINDOW = 16
"""Shingles per window (w): a shared run of 20 tokens, two to four lines of code, is found for certain."""

WINDOWS = 4  # windows side by side that a document has room for, if it has so many shingles


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """`hashes`: uint64[m]; `index`: int64[m], the document of each, ascending; `shingles`: int64[n], how many
    each document has, with repetitions.

    Within a document hashes come in text order; one that stands there more than once may come more than once.
    """

    hashes: U64s
    index: I64s
    shingles: I64s


def fingerprints(texts: Any, window: int = WINDOW) -> Fingerprints:
    """Make the fingerprints of each document. `texts`: as for `as_documents`.

    Linear in the bytes, at most `window` steps per token. Raises DedupError for a window below 1.
    """
    if window < 1:
        raise DedupError(f"window must be at least 1, not {window}")
    documents = as_documents(texts)
    shingles = np.zeros(len(documents), np.int64)
    hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for block in shingle_blocks(documents):
        room = int(block.borders[-1])
        chosen, owner = np.empty(room, np.uint64), np.empty(room, np.int64)
        count = _winnow(block.values, block.borders, window, chosen, owner)
        hashes.append(chosen[:count].copy())
        owners.append(owner[:count] + block.first)
        shingles[block.first : block.last] = np.diff(block.borders)
    return Fingerprints(np.concatenate(hashes), np.concatenate(owners), shingles)


def winnow(values: U64s, window: int = WINDOW) -> U64s:
    """The fingerprints of one document, given its shingle hashes in text order."""
    chosen, owner = np.empty(len(values), np.uint64), np.empty(len(values), np.int64)
    count = _winnow(read_only(values), read_only(np.array([0, len(values)])), window, chosen, owner)
    return chosen[:count]


@kernel
def _winnow(values: U64s, borders: I64s, window: int, chosen: U64s, owner: I64s) -> int:
    count = 0
    for d in range(borders.shape[0] - 1):
        start, stop = borders[d], borders[d + 1]
        width = min(window, max(1, (stop - start) // WINDOWS))
        least = start - 1  # the place of the last fingerprint
        for last in range(start + width - 1, stop):
            first = last - width + 1
            if least < first:  # it has left the window
                least = first
                for i in range(first + 1, last + 1):
                    if values[i] <= values[least]:  # of equal ones the last, which stays longest
                        least = i
            elif values[last] < values[least]:
                least = last
            else:
                continue
            chosen[count] = values[least]
            owner[count] = d
            count += 1
    return count
