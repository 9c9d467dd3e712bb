"""Sets of rows as small JSON: packed bits, and ranges for people where there are few.

    {"count": 7, "bits": "eJz...", "ranges": [[0, 5], [9, 11]]}        rows 0 to 4, 9 and 10

bits: one per row, the first row in the highest bit of the first byte (numpy.packbits), zlib (RFC 1950), base64
(RFC 4648). ranges: first row, and the row after the last; null where there are more than `MOST_RANGES`.

Bits cost at most 1.34 bits per row, whatever the set; sets with structure (whole owners, whole epochs) cost less.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from training.errors import CheckpointError

MOST_RANGES = 32
"""Of a set of more ranges than this only the bits are written."""

_MOST_ROWS = 1 << 40


def ranges(chosen: np.ndarray) -> np.ndarray:
    """Maximal runs of True in a bool array: int64 of shape (runs, 2), first index and index after the last."""
    edges = np.diff(chosen.astype(np.int8), prepend=0, append=0)
    return np.stack((np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)), axis=1)


def pack(chosen: np.ndarray) -> dict[str, Any]:
    """The rows marked in a bool array, as JSON."""
    count, runs = int(np.count_nonzero(chosen)), ranges(chosen)
    packed = zlib.compress(np.packbits(chosen).tobytes(), 6)
    return {
        "count": count,
        "bits": base64.b64encode(packed).decode("ascii"),
        "ranges": runs.tolist() if len(runs) <= MOST_RANGES else None,
    }


def unpack(packed: Any, rows: int) -> np.ndarray:
    """`pack` undone: bool of shape (rows,).

    Raises:
        CheckpointError: not such a set, or not one of `rows` rows.
    """
    try:
        if not 0 <= rows <= _MOST_ROWS:
            raise ValueError("no such number of rows")
        size = -(-rows // 8)
        unpacker = zlib.decompressobj()  # bounded: a small text must not become gigabytes
        data = unpacker.decompress(base64.b64decode(packed["bits"], validate=True), size + 1)
        if len(data) != size or not unpacker.eof:
            raise ValueError("not as many bits as rows")
        chosen = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=rows).astype(bool)
        if packed["ranges"] is not None and ranges(chosen).tolist() != packed["ranges"]:
            raise ValueError("bits and ranges differ")
        if int(chosen.sum()) != packed["count"]:
            raise ValueError("the count is another")
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        raise CheckpointError(f"lineage.json: a set of {rows} rows cannot be read: {error}") from error
    return chosen
