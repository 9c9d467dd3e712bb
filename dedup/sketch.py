"""Similarity sketches: 256 values per document, equal in a slot with probability = Jaccard similarity.

Fast Similarity Sketching (Dahlgaard, Knudsen, Thorup: "Fast Similarity Sketching", FOCS 2017). In round 0
each shingle hash picks one slot and offers one value, the least stays; slots still empty are filled by
further rounds with another seed each, never replacing what an earlier round put there. One pass for any
document with a few thousand shingles, O(k log k) draws for a short one, against k passes of classic MinHash;
and the estimate is at least as good (RMSE 0.021 against 0.026 on pairs with Jaccard >= 0.5, measured on real
code).

The sketch is a function of the SET of shingles: order and repetitions do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from dedup.documents import as_documents
from dedup.errors import DedupError
from dedup.machine import K0, K1, U32, U64, I64s, U32s, U64s, fold, kernel
from dedup.minhash import minhash_block, permutations
from dedup.shingles import shingle_blocks

SLOTS = 256
"""Values per sketch (k)."""

Method = Literal["fast", "minhash"]
"""How a sketch is made; both have 256 values of 32 bits, equal in a slot with probability = Jaccard similarity."""

EMPTY = U32(0xFFFFFFFF)  # no value is odd, so none is EMPTY
EVEN = U32(0xFFFFFFFE)
SLOT_SHIFT = U64(64 - 8)  # the slot is the top log2(SLOTS) bits of a hash
BLOCKED = U32(0)  # no value is less: a slot filled in an earlier round

NEVER = U64(0xFFFFFFFFFFFFFFFF)  # the (round, value) of an empty slot
LOW_EVEN = U64(0xFFFFFFFE)
FEW = 16  # empty slots below which a branch is cheaper

# After this many draws of DISTINCT shingles a slot is empty still in one of 35,000 documents (256 * e^-16). So one with
# empty slots repeats itself: its distinct hashes are taken, and no text costs more than a few draws per token.
REPETITIVE = 4096
MOST_STEPS = 8  # per value past its own place in the table; on hashes as they are, less than one
TABLE = 1 << 14  # holds twice the distinct hashes with which a slot stays empty in 3 of 10^12 documents


@dataclass(frozen=True, slots=True)
class Sketches:
    """`signatures`: uint32[n, 256]; `counts`: int64[n], shingles with repetitions (tokens - 4, or 0 below 5
    tokens).

    A document without shingles has a row of 0xFFFFFFFF; such rows say nothing about similarity.
    """

    signatures: U32s
    counts: I64s


def sketch(texts: Any, *, operators: bool = False, method: Method = "fast") -> Sketches:
    """Sketch each document. One pass, linear in the bytes.

    `texts`: as for `as_documents`; `operators`: as for `shingle_blocks`; `method`: "fast" (Fast Similarity
    Sketching) or "minhash" (classic, the reference; see `dedup.minhash`). Sketches are comparable only with those
    made with the same settings. Raises DedupError for another method.
    """
    if method not in get_args(Method):
        raise DedupError(f"method must be one of {', '.join(get_args(Method))}, not {method!r}")
    documents = as_documents(texts)
    signatures = np.empty((len(documents), SLOTS), np.uint32)
    counts = np.empty(len(documents), np.int64)
    best, table = np.empty(SLOTS, np.uint64), np.empty(TABLE, np.uint64)
    for block in shingle_blocks(documents, operators=operators):
        counts[block.first : block.last] = np.diff(block.borders)
        rows = signatures[block.first : block.last]
        if method == "minhash":
            minhash_block(block.values, block.borders, *permutations(SLOTS), rows)
        else:
            _sketch_block(block.values, block.borders, rows, best, table)
    return Sketches(signatures, counts)


def signatures_to_arrow(signatures: U32s) -> pa.FixedSizeBinaryArray:
    """One FixedSizeBinary(1024) value per document: its 256 values, little-endian. No copy."""
    if signatures.ndim != 2 or signatures.shape[1] != SLOTS or signatures.dtype != np.uint32:
        raise DedupError(
            f"signatures must be uint32[n, {SLOTS}], not {signatures.dtype}{list(signatures.shape)}"
        )
    buffer = pa.py_buffer(np.ascontiguousarray(signatures))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(4 * SLOTS), len(signatures), [None, buffer])


def signatures_from_arrow(column: Any) -> U32s:
    """Undo `signatures_to_arrow`: uint32[n, 256], read-only, without a copy for an array of one chunk."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if column.type != pa.binary(4 * SLOTS) or column.null_count:
        raise DedupError(
            f"signatures must be fixed_size_binary[{4 * SLOTS}] without nulls, not {column.type}"
        )
    if len(column) == 0:
        return np.empty((0, SLOTS), np.uint32)
    values = np.frombuffer(column.buffers()[1], np.uint32, len(column) * SLOTS, column.offset * 4 * SLOTS)
    return values.reshape(-1, SLOTS)


def agreement(signatures: U32s, a: I64s, b: I64s) -> I64s:
    """Count the equal slots (of 256) of documents a[i] and b[i]; / 256 it estimates their Jaccard
    similarity."""
    step = 1 << 14  # bounds the gathered rows to 32 MB
    out = np.empty(len(a), np.int64)
    for i in range(0, len(a), step):
        out[i : i + step] = (signatures[a[i : i + step]] == signatures[b[i : i + step]]).sum(axis=1)
    return out


@kernel
def _sketch_block(values: U64s, borders: I64s, rows: U32s, best: U64s, table: U64s) -> int:
    """Sketch the documents of a block; return how many hashes were drawn: the measure of the work.

    `best`: uint64[SLOTS], `table`: uint64[TABLE], scratch.
    """
    draws = 0
    for d in range(rows.shape[0]):
        first, last = borders[d], borders[d + 1]
        row = rows[d]
        row[:] = EMPTY
        for i in range(first, last):
            h = values[i]
            slot = h >> SLOT_SHIFT
            row[slot] = min(row[slot], U32(h) & EVEN)
        empty = 0
        for j in range(SLOTS):
            empty += row[j] == EMPTY
        if empty > 0 and first < last:
            draws += _fill(values[first:last], row, empty, best, table)
        else:
            draws += int(last - first)
    return draws


@kernel
def _fill(values: U64s, row: U32s, empty: int, best: U64s, table: U64s) -> int:
    """Fill the empty slots of a row by further rounds; return the draws, round 0 included.

    A slot holds the least (round, value) offered to it, as one word: so what an earlier round put there stays.
    """
    for j in range(SLOTS):
        best[j] = NEVER if row[j] == EMPTY else U64(row[j])
    draws: int = values.shape[0]
    distinct = False
    turn = 1
    while empty > 0 and turn < SLOTS:
        if draws > REPETITIVE and not distinct:
            values = _distinct(values, table)
            distinct = True
        seed, offer = U64(turn) * K0, U64(turn) << U64(32)
        if empty > FEW:  # which draw meets an empty slot is not predictable: no branch
            for i in range(values.shape[0]):
                h = fold(values[i] ^ seed, K1)
                slot = h >> SLOT_SHIFT
                empty -= best[slot] == NEVER
                best[slot] = min(best[slot], offer | (h & LOW_EVEN))
        else:  # nearly none does
            for i in range(values.shape[0]):
                h = fold(values[i] ^ seed, K1)
                slot = h >> SLOT_SHIFT
                if (offer | (h & LOW_EVEN)) < best[slot]:
                    empty -= best[slot] == NEVER
                    best[slot] = offer | (h & LOW_EVEN)
        draws += values.shape[0]
        turn += 1
    for j in range(SLOTS):
        row[j] = U32(best[j])  # NEVER ends in EMPTY
        if best[j] == NEVER:  # after SLOTS rounds: each slot the least value under a seed of its own
            seed = U64(SLOTS + j) * K0
            least = EMPTY
            for i in range(values.shape[0]):
                least = min(least, U32(fold(values[i] ^ seed, K1)) & EVEN)
            row[j] = least
            draws += values.shape[0]
    return draws


@kernel
def _distinct(values: U64s, table: U64s) -> U64s:
    """The distinct values, in any order, in a part of `table`; the values as they are if they are too many for
    it, or made to collide in it."""
    size = 64
    while size < 2 * values.shape[0] and size < table.shape[0]:
        size *= 2
    table[:size] = U64(0)
    used, steps, zero = 0, 0, False
    for i in range(values.shape[0]):
        value = values[i]
        at = np.int64(value) & (size - 1)
        while table[at] != value and table[at] != U64(0):
            at = (at + 1) & (size - 1)
            steps += 1
        zero |= value == U64(0)
        used += table[at] != value
        table[at] = value
        if 2 * used > size or steps > MOST_STEPS * (i + 64):
            return values
    count = 0
    for i in range(size):
        value = table[i]
        if value != U64(0):
            table[count] = value
            count += 1
    if zero:
        table[count] = U64(0)
        count += 1
    return table[:count]
