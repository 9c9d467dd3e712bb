"""Blocks of lines that many documents hold: license headers, boilerplate, tables that everybody copies.

A **line** is what lies between its first and its last token byte ([A-Za-z0-9_] or >= 0x80, as for shingles): indentation,
comment marks and brackets at its ends do not tell, so the same notice is the same in C and in Python. A line without a
token byte counts for nothing. A **block** is a run of `lines` successive lines with `least_bytes` bytes or more in all;
its hash is 64 bits. A block that enough documents hold is called frequent (who counts that is the caller), and a line is
repeated when a frequent block covers it.

Equal blocks have equal hashes; different ones collide with probability about 2^-64 per pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dedup.documents import as_documents
from dedup.errors import DedupError
from dedup.machine import BASE, K0, K1, K2, K3, U64, Bools, Bytes, I32s, I64s, U64s, fold, kernel, load64

LINES = 5
"""Lines of a block."""

LEAST_BYTES = 100
"""Bytes of a block's lines, in all: five lines of `return x` are no boilerplate."""

MAX_LINES = 1_000


@dataclass(frozen=True, slots=True)
class LineBlocks:
    """The lines of document i are those at offsets[i] : offsets[i + 1].

    `blocks`: uint64, the hash of the block that begins with the line; 0 where none does (too near the end, too few bytes).
    `lengths`: int32, bytes of the line. `numbers`: int32, its number in the text, from 1; lines end with "\\n".
    """

    blocks: U64s
    lengths: I32s
    numbers: I32s
    offsets: I64s

    def __len__(self) -> int:
        return len(self.offsets) - 1


def line_blocks(texts: Any, *, lines: int = LINES, least_bytes: int = LEAST_BYTES) -> LineBlocks:
    """Hash the blocks of each document. `texts`: as for `as_documents`. One pass, linear in the bytes.

    Raises DedupError for `lines` outside of 1 .. 1000. Memory: 16 bytes per line.
    """
    if not 1 <= lines <= MAX_LINES:
        raise DedupError(f"lines must lie between 1 and {MAX_LINES}, not {lines}")
    documents = as_documents(texts)
    offsets = np.zeros(len(documents) + 1, np.int64)
    _count_lines(documents.data, documents.starts, documents.stops, offsets)
    count = int(offsets[-1])
    hashes, blocks = np.empty(count, np.uint64), np.zeros(count, np.uint64)
    lengths, numbers = np.empty(count, np.int32), np.empty(count, np.int32)
    _hash_lines(documents.data, documents.starts, documents.stops, offsets, hashes, lengths, numbers)
    power = U64(pow(int(BASE), lines, 1 << 64))
    _hash_blocks(hashes, lengths, offsets, lines, least_bytes, power, blocks)
    return LineBlocks(blocks, lengths, numbers, offsets)


def repeated_lines(found: LineBlocks, frequent: Bools, *, lines: int = LINES) -> Bools:
    """Mark the lines that a frequent block covers.

    `frequent`: bool[lines of all documents], of the block at each line; false where none begins, so no block leaves its
    document.
    """
    before = np.concatenate(([0], np.cumsum(frequent)))
    at = np.arange(len(found.blocks))
    return before[at + 1] > before[np.maximum(0, at + 1 - lines)]


def bytes_per_document(found: LineBlocks, marked: Bools | None = None) -> I64s:
    """Bytes of the lines of each document; of the marked ones only, if given."""
    sizes = found.lengths.astype(np.int64) if marked is None else np.where(marked, found.lengths, 0)
    return np.diff(np.concatenate(([0], np.cumsum(sizes)))[found.offsets])


@kernel
def _is_token_byte(c: int) -> bool:
    lower = c | 32
    return c >= 0x80 or (lower >= 97 and lower <= 122) or (c >= 48 and c <= 57) or c == 95


@kernel
def _count_lines(data: Bytes, starts: I64s, stops: I64s, offsets: I64s) -> None:
    for d in range(starts.shape[0]):
        n = 0
        token = False
        for i in range(starts[d], stops[d]):
            if data[i] == 10:
                n += token
                token = False
            elif not token:
                token = _is_token_byte(data[i])
        offsets[d + 1] = offsets[d] + n + token


@kernel
def _hash_lines(  # noqa: PLR0917 - called by position
    data: Bytes, starts: I64s, stops: I64s, offsets: I64s, hashes: U64s, lengths: I32s, numbers: I32s
) -> None:
    for d in range(starts.shape[0]):
        n = offsets[d]
        number = 1
        first = last = -1
        for i in range(starts[d], stops[d] + 1):
            if i == stops[d] or data[i] == 10:
                if first >= 0:
                    hashes[n] = _hash(data, first, last + 1)
                    lengths[n] = last + 1 - first
                    numbers[n] = number
                    n += 1
                number += 1
                first = -1
            elif _is_token_byte(data[i]):
                last = i
                if first < 0:
                    first = i


@kernel
def _hash(data: Bytes, start: int, stop: int) -> Any:
    """Hash data[start:stop], reading nothing outside of it."""
    h = U64(stop - start) * K3
    at = start
    while stop - at >= 16:
        h = fold(load64(data, at) ^ h ^ K0, load64(data, at + 8) ^ K1)
        at += 16
    low = U64(0)
    high = U64(0)
    for i in range(at, min(at + 8, stop)):
        low |= U64(data[i]) << U64(8 * (i - at))
    for i in range(at + 8, stop):
        high |= U64(data[i]) << U64(8 * (i - at - 8))
    # K0 and K1 hold bytes of no token at their ends; the products of a text made to be zero only cost a collision.
    return fold(low ^ h ^ K2, high ^ K1)


@kernel
def _hash_blocks(  # noqa: PLR0917 - called by position
    hashes: U64s, lengths: I32s, offsets: I64s, lines: int, least_bytes: int, power: np.uint64, blocks: U64s
) -> None:
    """A rolling polynomial over the hashes of a document's lines; `power` is BASE ** lines."""
    for d in range(offsets.shape[0] - 1):
        h = U64(0)
        size = 0
        for i in range(offsets[d], offsets[d + 1]):
            h = h * BASE + hashes[i]
            size += lengths[i]
            first = i - lines + 1
            if first > offsets[d]:
                h -= hashes[first - 1] * power
                size -= lengths[first - 1]
            if first >= offsets[d] and size >= least_bytes:
                mixed = fold(h ^ K2, K3)
                blocks[first] = mixed if mixed != U64(0) else U64(1)
