"""Sketches without texts, drawn from a seed: what benchmarks/near_scale.py searches for near-duplicates.

Document i is made of i alone, so any process can make any document again and nothing is stored. Its id is 64 hex digits
that hold i. One document in `ALONE` of 100 has values of its own in all slots. The others belong to families: family
c has a base sketch, and a member has each slot replaced by a value of its own with a chance between 0 and 0.4 of the
member, so that two members agree in 36 to 100 % of the slots: as in real code, many pairs share a band and are no
near-duplicates. Families grow like the cube root of their number allows: a few of tens of thousands, most of a handful.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from dedup.sketch import SLOTS

ALONE = 85  # of 100 documents; 3.7 % of the band keys of real code are shared by two documents or more
SHARE = 4  # documents of families per family
SLICES = 256  # documents are dealt to the first byte of their ids in turn
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


@njit(cache=True, nogil=True)
def _mix(x: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64: any 64 bits to 64 uniform ones."""
    x = np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def _draw(numbers: npt.NDArray[np.uint64], families: int, out: npt.NDArray[np.uint32]) -> None:
    even = np.uint32(0xFFFFFFFE)
    for d in range(numbers.shape[0]):
        own = _mix(numbers[d])
        base, replaced = own, np.uint64(1 << 32)  # of 2^32: all slots
        if own % np.uint64(100) >= np.uint64(ALONE):
            place = np.float64(_mix(own ^ np.uint64(1)) >> np.uint64(11)) / 9007199254740992.0
            base = _mix(np.uint64(families * place * place * place) ^ np.uint64(0xFA31174AA55AA55A))
            replaced = (_mix(own ^ np.uint64(2)) >> np.uint64(32)) * np.uint64(2) // np.uint64(5)
        for j in range(out.shape[1]):
            mine = _mix(own + np.uint64(j) * np.uint64(0x9FB21C651E98DF25))
            if mine >> np.uint64(32) >= replaced:
                mine = _mix(base + np.uint64(j) * np.uint64(0x9FB21C651E98DF25))
            out[d, j] = np.uint32(mine) & even


def numbers_of(first: int, last: int, documents: int) -> npt.NDArray[np.uint64]:
    """The documents whose ids start with the bytes first .. last - 1 (of 256), ascending by id."""
    return np.concatenate([np.arange(one, documents, SLICES, dtype=np.uint64) for one in range(first, last)])


def ids(numbers: npt.NDArray[np.uint64]) -> pa.Array:
    """The id of each document: 64 hex digits, the first two of them `number % 256`, then its number, then a filling."""
    words = np.empty((len(numbers), 4), ">u8")
    words[:, 0] = ((numbers % np.uint64(SLICES)) << np.uint64(56)) | numbers
    words[:, 1:] = words[:, :1] * np.array([[3, 5, 7]], np.uint64)
    octets = words.view(np.uint8).reshape(-1)
    text = np.empty((len(octets), 2), np.uint8)
    text[:, 0], text[:, 1] = _HEX[octets >> 4], _HEX[octets & 15]
    return (
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(64), len(numbers), [None, pa.py_buffer(text)])
        .cast(pa.binary())
        .cast(pa.string())
    )


def numbers_from(found: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Undo `ids`."""
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    if len(found) == 0:
        return np.empty(0, np.uint64)
    flat = found.cast(pa.binary()).cast(pa.binary(64))
    text = np.frombuffer(flat.buffers()[1], np.uint8, 64 * len(flat), 64 * flat.offset).reshape(-1, 64)
    digits = np.where(text[:, 2:16] >= 97, text[:, 2:16] - 87, text[:, 2:16] - 48).astype(np.uint64)
    out = np.zeros(len(text), np.uint64)
    for place in range(digits.shape[1]):
        out = (out << np.uint64(4)) | digits[:, place]
    return out


def sketches(numbers: npt.NDArray[np.uint64], documents: int) -> npt.NDArray[np.uint32]:
    """Sketch of each document: uint32[n, 256]; `documents` is how many there are in all, which sets the families."""
    out = np.empty((len(numbers), SLOTS), np.uint32)
    families = max(1, documents * (100 - ALONE) // 100 // SHARE)
    _draw(numbers, families, out)
    return out
