"""Where sequences of the table may begin and end in a text: rolling hashes, one pass, compiled.

A text's words are 64-bit numbers. A sequence is found by its anchor, the hash of its first 1, 2, 4 or 8
words (the longest that fits), then by the hash of all its words, both cut to 32 bits in the table. What is
found is a candidate; the caller compares a cryptographic digest of the words before it believes.

Work: words x 4 look-ups, and for each anchor that is in the table one look-up per length that sequences with
this anchor have (at most some hundreds).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

ANCHORS = (8, 4, 2, 1)
"""Words of an anchor, longest first."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


def anchor_words(length: int) -> int:
    """Words of the anchor of a sequence of `length` words."""
    return next(words for words in ANCHORS if words <= length)


@numba.njit(nogil=True, cache=True)
def prefix_hashes(words: Any) -> tuple[Any, Any]:
    """Hash of words[:i] for i in 0..n, and the powers of the base; all modulo 2**64."""
    n = len(words)
    prefix = np.zeros(n + 1, dtype=np.uint64)
    powers = np.ones(n + 1, dtype=np.uint64)
    for i in range(n):
        prefix[i + 1] = prefix[i] * _BASE + words[i]
        powers[i + 1] = powers[i] * _BASE
    return prefix, powers


@numba.njit(nogil=True, cache=True)
def span_hash(prefix: Any, powers: Any, start: int, end: int) -> Any:
    """32 mixed bits of the hash of words[start:end]."""
    value = prefix[end] - prefix[start] * powers[end - start]
    value = (value ^ (value >> np.uint64(33))) * _MIX
    value = value ^ (value >> np.uint64(29))
    return np.uint32(value >> np.uint64(32))


@numba.njit(nogil=True, cache=True)
def _lower_bound(values: Any, value: Any) -> int:
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(nogil=True, cache=True)
def candidates(prefix: Any, powers: Any, arrays: Any, per_start: int) -> tuple[Any, Any, Any]:
    """Start, length and entry of every candidate, at most `per_start` per word, the longest ones.

    `arrays` is `table.Table.arrays`: for anchors of sizes[k] words, anchors[firsts[k] : firsts[k + 1]] are
    their hashes, sorted; the entries of anchors[i] are offsets[i] to offsets[i + 1], each with its length
    (falling) and the hash of all its words.
    """
    sizes, firsts, anchors, offsets, lengths, hashes = arrays
    n = len(prefix) - 1
    starts = np.empty(max(16, n), dtype=np.int64)
    spans = np.empty(max(16, n), dtype=np.int64)
    entries = np.empty(max(16, n), dtype=np.int64)
    count = 0
    for start in range(n):
        here = 0
        for k in range(len(sizes)):
            size = sizes[k]
            if start + size > n:
                continue
            block_start, block_end = firsts[k], firsts[k + 1]
            value = span_hash(prefix, powers, start, start + size)
            place = block_start + _lower_bound(anchors[block_start:block_end], value)
            if place == block_end or anchors[place] != value:
                continue
            for index in range(offsets[place], offsets[place + 1]):
                length = lengths[index]
                if start + length > n or here == per_start:
                    continue
                if span_hash(prefix, powers, start, start + length) != hashes[index]:
                    continue
                if count == len(starts):
                    starts = np.concatenate((starts, np.empty_like(starts)))
                    spans = np.concatenate((spans, np.empty_like(spans)))
                    entries = np.concatenate((entries, np.empty_like(entries)))
                starts[count], spans[count], entries[count] = start, length, index
                count += 1
                here += 1
    return starts[:count], spans[:count], entries[:count]
