"""Texts -> 64-bit hashes of their 5-token shingles, straight from Arrow buffers.

A **word** is a maximal run of the bytes [A-Za-z0-9_] or >= 0x80: identifiers, keywords, numbers, and any
non-ASCII text in UTF-8, case kept. By default the words are the **tokens**, and punctuation and white space only
separate. With `operators`, each byte of ASCII punctuation (0x21 to 0x7E outside the words) is a token, too, and
only white space and control bytes separate. Single bytes, not runs of them: so white space beside punctuation makes
no difference, `f(x[0])` and `f( x[ 0 ] )` are the same tokens, where runs would take `])` for another token than
`] )`. On 493 files of nine languages, other operators in 10 % of the places leave a Jaccard similarity of 0.90 with
bytes and 0.89 with runs (1 with words alone), but spaces beside 10 % of the punctuation 1 and 0.87. As there are more
tokens, a change of words weighs less: other words in 5 % of the places leave 0.80, with words alone 0.67.

A **shingle** is five successive tokens. A document with fewer than five tokens has no shingle and takes part
in exact de-duplication only: otherwise all tiny files would look alike.

The work goes in stages over small arrays that stay in cache (token borders from 64-byte masks, token hashes
from two unaligned loads, a rolling polynomial over five token hashes). benchmarks/dedup_kernels.py measures each.
Long documents go through in windows, so the scratch memory of the stages does not grow with them; the hashes
themselves take 8 bytes per token.

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
    ALL_BITS,
    BASE,
    K0,
    K1,
    K2,
    K3,
    U64,
    Bytes,
    I32s,
    I64s,
    U64s,
    fold,
    inlined,
    kernel,
    load64,
    ones,
    trailing_zeros,
    visible_mask64,
    word_mask64,
)

SHINGLE_TOKENS = 5
"""Tokens per shingle: the setting of The Stack and of most code datasets."""

WINDOW_BYTES = 1 << 15  # its borders (128 KB) and token hashes (128 KB) fit in an L2 cache
BLOCK_BYTES = 1 << 20  # documents go through the stages in groups of about this size
BASE_POW_5 = U64(pow(int(BASE), SHINGLE_TOKENS, 1 << 64))
BITS_AT_ONCE = 16  # of a 64-byte mask of real code: 15 edges of words, 16 tokens with operators


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


def shingle_blocks(texts: Any, *, operators: bool = False) -> Iterator[ShingleBlock]:
    """Hash the shingles of all documents, block by block, in order.

    `texts`: as for `as_documents`. Work is linear in the bytes. Memory: about 4 bytes per byte of the largest
    block at worst, 8 with `operators`, a block being 1 MiB of documents or one longer document.
    """
    documents = as_documents(texts)
    cuts = _block_borders(documents.lengths)
    if len(cuts) == 1:
        return
    total = np.concatenate(([0], np.cumsum(documents.lengths)))
    # k words need at least 2k - 1 bytes, k operators k
    per_token = 1 if operators else 2
    room = int(((total[cuts[1:]] - total[cuts[:-1]]) // per_token + np.diff(cuts)).max())
    values = np.empty(room, np.uint64)
    borders = np.zeros(int(np.diff(cuts).max()) + 1, np.int64)
    most = WINDOW_BYTES // per_token + 2  # tokens of a window
    edges = np.empty(2 * (most + BITS_AT_ONCE), np.int32)
    tokens = np.empty(most + SHINGLE_TOKENS, np.uint64)
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        starts, stops = documents.starts[first:last], documents.stops[first:last]
        _shingle_block(documents.data, starts, stops, operators, edges, tokens, values, borders)
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
    data: Bytes,
    starts: I64s,
    stops: I64s,
    operators: bool,
    edges: I32s,
    tokens: U64s,
    values: U64s,
    borders: I64s,
) -> None:
    count = 0
    for d in range(starts.shape[0]):
        count = _document(data, starts[d], stops[d], operators, edges, tokens, values, count)
        borders[d + 1] = count


@kernel
def _document(  # noqa: PLR0917 - called by position
    data: Bytes,
    start: int,
    stop: int,
    operators: bool,
    edges: I32s,
    tokens: U64s,
    values: U64s,
    count: int,
) -> int:
    """Append the shingle hashes of data[start:stop] to values[:count]; return the new count."""
    carried = 0  # hashes of the last (up to 4) tokens of the windows before
    at = start
    while at < stop:
        end = min(at + WINDOW_BYTES, stop)
        if end < stop:
            end = _run_end(data, end, stop)  # no token is cut in two
        found = (
            _word_and_operator_edges(data, at, end, edges) if operators else _word_edges(data, at, end, edges)
        )
        _token_hashes(data, at, found, edges, tokens, carried)
        known = carried + found
        count = _shingle_hashes(tokens, known, values, count)
        carried = min(known, SHINGLE_TOKENS - 1)
        for i in range(carried):
            tokens[i] = tokens[known - carried + i]
        at = end
    return count


@kernel
def _shingle_hashes(tokens: U64s, known: int, values: U64s, count: int) -> int:
    """Append the hashes of the shingles of tokens[:known] to values[:count]; return the new count."""
    made = known - (SHINGLE_TOKENS - 1)
    if made <= 0:
        return count
    # A step waits for the product of the step before. So two independent halves go side by side.
    half = made >> 1
    g, h = U64(0), U64(0)
    for i in range(SHINGLE_TOKENS):
        g = g * BASE + tokens[i]
        h = h * BASE + tokens[half + i]
    values[count] = fold(g ^ K2, K3)
    values[count + half] = fold(h ^ K2, K3)
    for i in range(1, made - half):
        old, new = i - 1, i + SHINGLE_TOKENS - 1
        if i < half:
            g = g * BASE + (tokens[new] - tokens[old] * BASE_POW_5)
            values[count + i] = fold(g ^ K2, K3)
        h = h * BASE + (tokens[half + new] - tokens[half + old] * BASE_POW_5)
        values[count + half + i] = fold(h ^ K2, K3)
    return count + made


@kernel
def _is_word_byte(c: int) -> bool:
    lower = c | 32
    return c >= 0x80 or (lower >= 97 and lower <= 122) or (c >= 48 and c <= 57) or c == 95


@kernel
def _run_end(data: Bytes, at: int, stop: int) -> int:
    """Return the first position >= at whose byte is not a word byte, or stop."""
    limit = data.shape[0]
    while at < stop:
        if at + 64 <= limit:
            gap = ~word_mask64(data, at)
            if gap != U64(0):
                found: int = at + trailing_zeros(gap)
                return min(found, stop)
            at += 64
        elif _is_word_byte(data[at]):
            at += 1
        else:
            return at
    return stop


@kernel
def _partial_masks(data: Bytes, at: int, stop: int) -> tuple[np.uint64, np.uint64]:
    """The word bytes and the operator bytes of data[at:stop], less than 64; reads nothing after stop."""
    words, operators = U64(0), U64(0)
    for j in range(stop - at):
        if _is_word_byte(data[at + j]):
            words |= U64(1) << U64(j)
        elif data[at + j] >= 0x21 and data[at + j] <= 0x7E:
            operators |= U64(1) << U64(j)
    return words, operators


@inlined
def _write_edges(turns: Any, at: Any, edges: I32s, n: Any) -> Any:
    """Append at + the position of each bit of turns to edges[:n]."""
    # Their number varies from mask to mask, and a loop that ends by it is mispredicted each time: so many are
    # written whatever there are; the surplus is overwritten later.
    if turns == U64(0):  # inside a long token or gap
        return n
    count = ones(turns)
    for k in range(BITS_AT_ONCE):
        edges[n + k] = at + trailing_zeros(turns)
        turns &= turns - U64(1)
    k = BITS_AT_ONCE
    while turns != U64(0):
        edges[n + k] = at + trailing_zeros(turns)
        turns &= turns - U64(1)
        k += 1
    return n + count


@kernel
def _word_edges(data: Bytes, start: int, stop: int, edges: I32s) -> int:
    """Write start, end, start, end, ... of the words of data[start:stop], relative to start; return how many
    words."""
    n = 0
    before = U64(0)  # 1 iff the byte before is of a word
    length = stop - start
    at = 0
    while at + 64 <= length:
        words = word_mask64(data, start + at)
        n = _write_edges(words ^ ((words << U64(1)) | before), at, edges, n)
        before = words >> U64(63)
        at += 64
    if at < length:
        if start + at + 64 <= data.shape[0]:
            words = word_mask64(data, start + at) & ((U64(1) << U64(length - at)) - U64(1))
        else:  # near the end of the buffer no 64 bytes can be read
            words, _ = _partial_masks(data, start + at, stop)
        n = _write_edges(words ^ ((words << U64(1)) | before), at, edges, n)
    if n & 1:
        edges[n] = length
        n += 1
    return n >> 1


@inlined
def _write_tokens(  # noqa: PLR0917 - called by position
    words: Any, operators: Any, before: Any, at: Any, edges: I32s, started: Any, ended: Any
) -> Any:
    """As `_write_edges`, where tokens can touch: their starts and their ends are two masks. `before`: bit 0 is
    set iff the byte before is of a word, bit 1 iff it is an operator."""
    after_word = (words << U64(1)) | (before & U64(1))
    starts = (words & ~after_word) | operators
    ends = (after_word & ~words) | (operators << U64(1)) | (before >> U64(1))
    if starts | ends == U64(0):
        return started, ended
    more_started, more_ended = ones(starts), ones(ends)
    for k in range(BITS_AT_ONCE):
        edges[2 * (started + k)] = at + trailing_zeros(starts)
        starts &= starts - U64(1)
        edges[2 * (ended + k) + 1] = at + trailing_zeros(ends)
        ends &= ends - U64(1)
    k = BITS_AT_ONCE
    while starts != U64(0) or ends != U64(0):
        edges[2 * (started + k)] = at + trailing_zeros(starts)
        starts &= starts - U64(1)
        edges[2 * (ended + k) + 1] = at + trailing_zeros(ends)
        ends &= ends - U64(1)
        k += 1
    return started + more_started, ended + more_ended


@kernel
def _word_and_operator_edges(data: Bytes, start: int, stop: int, edges: I32s) -> int:
    """As `_word_edges`, with every operator byte a token of its own."""
    started, ended = 0, 0
    before = U64(0)
    length = stop - start
    at = 0
    while at + 64 <= length:
        words = word_mask64(data, start + at)
        operators = visible_mask64(data, start + at) & ~words
        started, ended = _write_tokens(words, operators, before, at, edges, started, ended)
        before = (words >> U64(63)) | (operators >> U64(63) << U64(1))
        at += 64
    if at < length:
        if start + at + 64 <= data.shape[0]:
            inside = (U64(1) << U64(length - at)) - U64(1)
            words = word_mask64(data, start + at)
            operators = visible_mask64(data, start + at) & ~words & inside
            words &= inside
        else:
            words, operators = _partial_masks(data, start + at, stop)
        started, ended = _write_tokens(words, operators, before, at, edges, started, ended)
    if ended < started:
        edges[2 * ended + 1] = length
    return started


@inlined
def _hash16(data: Bytes, at: Any, length: Any) -> Any:
    """Hash the first 16 bytes of a token without a branch; reads data[at : at + 16]."""
    a = min(length, 8)
    b = min(length, 16) - a
    low = load64(data, at) & (ALL_BITS >> U64(64 - 8 * a))
    # two half shifts: a shift by 64 is undefined
    high = load64(data, at + 8) & ((ALL_BITS >> U64(32 - 4 * b)) >> U64(32 - 4 * b))
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
