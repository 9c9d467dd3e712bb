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
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.documents import as_documents
from dedup.errors import DedupError
from dedup.machine import K0, K1, U32, U64, I64s, U32s, U64s, fold, kernel
from dedup.shingles import shingle_blocks

SLOTS = 256
"""Values per sketch (k)."""

EMPTY = U32(0xFFFFFFFF)  # no value is odd, so none is EMPTY
EVEN = U32(0xFFFFFFFE)
SLOT_SHIFT = U64(64 - 8)  # the slot is the top log2(SLOTS) bits of a hash
BLOCKED = U32(0)  # no value is less: a slot filled in an earlier round

# With this many DISTINCT shingles round 0 leaves a slot empty once in 35,000 documents (256 * e^-16), so a
# longer document with empty slots repeats itself: its distinct hashes are taken before rounds that cost its
# length each.
REPETITIVE = 4096


@dataclass(frozen=True, slots=True)
class Sketches:
    """`signatures`: uint32[n, 256]; `counts`: int64[n], shingles with repetitions (tokens - 4, or 0 below 5
    tokens).

    A document without shingles has a row of 0xFFFFFFFF; such rows say nothing about similarity.
    """

    signatures: U32s
    counts: I64s


def sketch(texts: Any) -> Sketches:
    """Sketch each document. `texts`: as for `as_documents`. One pass, linear in the bytes."""
    documents = as_documents(texts)
    signatures = np.empty((len(documents), SLOTS), np.uint32)
    counts = np.empty(len(documents), np.int64)
    late = np.empty(len(documents), np.int64)
    for block in shingle_blocks(documents):
        rows = signatures[block.first : block.last]
        counts[block.first : block.last] = np.diff(block.borders)
        for i in late[: _sketch_block(block.values, block.borders, rows, late)].tolist():
            distinct = np.unique(block.values[block.borders[i] : block.borders[i + 1]])
            _fill(distinct, 0, len(distinct), rows[i])
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
def _sketch_block(values: U64s, borders: I64s, rows: U32s, late: I64s) -> int:
    """Sketch the documents of a block; those too repetitive for `_fill` as they are go to late[:returned]."""
    postponed = 0
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
        if empty == 0 or first == last:
            continue
        if last - first > REPETITIVE:
            late[postponed] = d
            postponed += 1
        else:
            _fill(values, first, last, row)
    return postponed


@kernel
def _fill(values: U64s, first: int, last: int, row: U32s) -> None:
    """Fill the empty slots of a row by further rounds over values[first:last]; a round costs last - first."""
    best = np.empty(SLOTS, np.uint32)  # of this round; BLOCKED where the row is filled
    touched = np.empty(SLOTS, np.int64)
    empty = 0
    for j in range(SLOTS):
        if row[j] == EMPTY:
            best[j] = EMPTY
            empty += 1
        else:
            best[j] = BLOCKED
    turn = 1
    while empty > 0 and turn < SLOTS:
        seed = U64(turn) * K0
        n = 0
        for i in range(first, last):
            h = fold(values[i] ^ seed, K1)
            slot = h >> SLOT_SHIFT
            value = U32(h) & EVEN
            if value < best[slot]:
                if best[slot] == EMPTY:
                    touched[n] = slot
                    n += 1
                best[slot] = value
        for i in range(n):
            row[touched[i]] = best[touched[i]]
            best[touched[i]] = BLOCKED
        empty -= n
        turn += 1
    for j in range(SLOTS):  # after SLOTS rounds: each slot the least value under a seed of its own
        if row[j] == EMPTY:
            seed = U64(SLOTS + j) * K0
            least = EMPTY
            for i in range(first, last):
                least = min(least, U32(fold(values[i] ^ seed, K1)) & EVEN)
            row[j] = least
