"""Texts -> 64-bit hashes of their 5-token shingles, straight from Arrow buffers.

A **token** is a maximal run of the bytes [A-Za-z0-9_] or >= 0x80: identifiers, keywords, numbers, and any
non-ASCII text in UTF-8, case kept; punctuation and white space only separate. A **shingle** is five
successive tokens. A document with fewer than five tokens has no shingle and takes part in exact
de-duplication only: otherwise all tiny files would look alike.

The work goes in stages over small arrays that stay in cache (token borders from 64-byte masks, token hashes
from two unaligned loads, a rolling polynomial over five token hashes): 7.4 ns per token where one fused loop
takes 36 (measured on 601 MB of source code, one core at 2.6 GHz). Long documents go through in windows, so
the scratch memory of the stages does not grow with them; the hashes themselves take 8 bytes per token.

Equal shingles have equal hashes; different ones collide with probability about 2^-64 per pair. The hash is
fast, not cryptographic: texts made by an adversary can be given equal hashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dedup.documents import as_documents
from dedup.machine import (
    BASE,
    K0,
    K1,
    K2,
    K3,
    ONES,
    U64,
    Bytes,
    I32s,
    I64s,
    U64s,
    fold,
    inlined,
    kernel,
    load64,
    token_mask64,
    trailing_zeros,
)

SHINGLE_TOKENS = 5
"""Tokens per shingle: the setting of The Stack and of most code datasets."""

WINDOW_BYTES = 1 << 15  # its borders (128 KB) and token hashes (128 KB) fit in an L2 cache
BLOCK_BYTES = 1 << 20  # documents go through the stages in groups of about this size
BASE_POW_4 = U64(pow(int(BASE), SHINGLE_TOKENS - 1, 1 << 64))


@dataclass(frozen=True, slots=True)
class ShingleBlock:
    """The shingle hashes of documents first .. last - 1, in text order, with repetitions.

    Those of document first + i are values[borders[i] : borders[i + 1]]. Both arrays are scratch memory: they
    are overwritten when the next block is asked for.
    """

    first: int
    last: int
    values: U64s
    borders: I64s


def shingle_blocks(texts: Any) -> Iterator[ShingleBlock]:
    """Hash the shingles of all documents, block by block, in order.

    `texts`: as for `as_documents`. Work is linear in the bytes. Memory: about 4 bytes per byte of the largest
    block at worst, a block being 1 MiB of documents or one longer document.
    """
    documents = as_documents(texts)
    cuts = _block_borders(documents.lengths)
    if len(cuts) == 1:
        return
    total = np.concatenate(([0], np.cumsum(documents.lengths)))
    # k tokens need at least 2k - 1 bytes
    room = int(((total[cuts[1:]] - total[cuts[:-1]]) // 2 + np.diff(cuts)).max())
    values = np.empty(room, np.uint64)
    borders = np.zeros(int(np.diff(cuts).max()) + 1, np.int64)
    edges = np.empty(WINDOW_BYTES + 4, np.int32)
    tokens = np.empty(WINDOW_BYTES // 2 + SHINGLE_TOKENS + 4, np.uint64)
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        starts, stops = documents.starts[first:last], documents.stops[first:last]
        _shingle_block(documents.data, starts, stops, edges, tokens, values, borders)
        yield ShingleBlock(first, last, values, borders[: last - first + 1])


def _block_borders(lengths: I64s) -> I64s:
    """Cut documents into blocks: one starts where the bytes so far pass a multiple of `BLOCK_BYTES`."""
    if len(lengths) == 0:
        return np.zeros(1, np.int64)
    # + 1: a block is bounded in documents too, however many are empty
    number = np.cumsum(lengths + 1) // BLOCK_BYTES
    ends = np.flatnonzero(number[1:] != number[:-1]) + 1
    return np.concatenate(([0], ends, [len(lengths)])).astype(np.int64)


@kernel
def _shingle_block(  # noqa: PLR0917 - called by position
    data: Bytes, starts: I64s, stops: I64s, edges: I32s, tokens: U64s, values: U64s, borders: I64s
) -> None:
    count = 0
    for d in range(starts.shape[0]):
        count = _document(data, starts[d], stops[d], edges, tokens, values, count)
        borders[d + 1] = count


@kernel
def _document(  # noqa: PLR0917 - called by position
    data: Bytes, start: int, stop: int, edges: I32s, tokens: U64s, values: U64s, count: int
) -> int:
    """Append the shingle hashes of data[start:stop] to values[:count]; return the new count."""
    carried = 0  # hashes of the last (up to 4) tokens of the windows before
    at = start
    while at < stop:
        end = min(at + WINDOW_BYTES, stop)
        if end < stop:
            end = _run_end(data, end, stop)  # no token is cut in two
        found = _token_edges(data, at, end, edges)
        _token_hashes(data, at, found, edges, tokens, carried)
        known = carried + found
        if known >= SHINGLE_TOKENS:
            h = U64(0)
            for i in range(SHINGLE_TOKENS):
                h = h * BASE + tokens[i]
            values[count] = fold(h ^ K2, K3)
            for i in range(SHINGLE_TOKENS, known):
                h = (h - tokens[i - SHINGLE_TOKENS] * BASE_POW_4) * BASE + tokens[i]
                values[count + i - (SHINGLE_TOKENS - 1)] = fold(h ^ K2, K3)
            count += known - (SHINGLE_TOKENS - 1)
        carried = min(known, SHINGLE_TOKENS - 1)
        for i in range(carried):
            tokens[i] = tokens[known - carried + i]
        at = end
    return count


@kernel
def _is_token_byte(c: int) -> bool:
    lower = c | 32
    return c >= 0x80 or (lower >= 97 and lower <= 122) or (c >= 48 and c <= 57) or c == 95


@kernel
def _run_end(data: Bytes, at: int, stop: int) -> int:
    """Return the first position >= at whose byte is not a token byte, or stop."""
    limit = data.shape[0]
    while at < stop:
        if at + 64 <= limit:
            gap = ~token_mask64(data, at)
            if gap != U64(0):
                found: int = at + trailing_zeros(gap)
                return min(found, stop)
            at += 64
        elif _is_token_byte(data[at]):
            at += 1
        else:
            return at
    return stop


@kernel
def _token_edges(data: Bytes, start: int, stop: int, edges: I32s) -> int:
    """Write start, end, start, end, ... of the tokens of data[start:stop], relative to start; return how many
    tokens."""
    limit = data.shape[0]
    n = 0
    before = U64(0)  # 1 iff the byte before belongs to a token
    at = start
    while at < stop:
        if at + 64 <= limit:
            mask = token_mask64(data, at)
        else:  # near the end of the buffer no 64 bytes can be read
            mask = U64(0)
            for i in range(stop - at if stop - at < 64 else 64):
                if _is_token_byte(data[at + i]):
                    mask |= U64(1) << U64(i)
        if at + 64 > stop:
            mask &= (U64(1) << U64(stop - at)) - U64(1)
        turns = mask ^ ((mask << U64(1)) | before)
        before = mask >> U64(63)
        while turns != U64(0):
            edges[n] = at - start + trailing_zeros(turns)
            turns &= turns - U64(1)
            n += 1
        at += 64
    if n & 1:
        edges[n] = stop - start
        n += 1
    return n >> 1


@inlined
def _hash16(data: Bytes, at: Any, length: Any) -> Any:
    """Hash the first 16 bytes of a token without a branch; reads data[at : at + 16]."""
    a = min(length, 8)
    b = min(length, 16) - a
    low = load64(data, at) & (ONES >> U64(64 - 8 * a))
    # two half shifts: a shift by 64 is undefined
    high = load64(data, at + 8) & ((ONES >> U64(32 - 4 * b)) >> U64(32 - 4 * b))
    return fold(low ^ K0, high ^ K1 ^ U64(length))


@inlined
def _hash16_bytewise(data: Bytes, at: Any, length: Any) -> Any:
    """Return the value of `_hash16`, reading nothing after the token."""
    low = U64(0)
    high = U64(0)
    for i in range(min(length, 8)):
        low |= U64(data[at + i]) << U64(8 * i)
    for i in range(8, min(length, 16)):
        high |= U64(data[at + i]) << U64(8 * (i - 8))
    return fold(low ^ K0, high ^ K1 ^ U64(length))


@inlined
def _hash_rest(data: Bytes, start: Any, stop: Any, h: Any) -> Any:
    """Mix the bytes of a token after its 16th into h; the last 16 bytes are read as they end."""
    at = start + 16
    while stop - at > 16:
        h = fold(load64(data, at) ^ h ^ K0, load64(data, at + 8) ^ K1)
        at += 16
    return fold(load64(data, stop - 16) ^ h ^ K2, load64(data, stop - 8) ^ K1)


@kernel
def _token_hashes(data: Bytes, start: int, found: int, edges: I32s, tokens: U64s, carried: int) -> None:  # noqa: PLR0917 - called by position
    """Write the hashes of the tokens at edges (relative to start) to tokens[carried:]."""
    safe = found  # the last tokens of the buffer have no 16 bytes after their start
    while safe > 0 and start + edges[2 * safe - 2] + 16 > data.shape[0]:
        safe -= 1
    for j in range(safe):
        at = np.int64(edges[2 * j])
        length = np.int64(edges[2 * j + 1]) - at
        at += start
        h = _hash16(data, at, length)
        if length > 16:
            h = _hash_rest(data, at, at + length, h)
        tokens[carried + j] = h
    for j in range(safe, found):  # shorter than 16 bytes, all of them
        at = np.int64(edges[2 * j])
        length = np.int64(edges[2 * j + 1]) - at
        tokens[carried + j] = _hash16_bytewise(data, at + start, length)
