"""Arrow's variable-length arrays as numpy views, for numba kernels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def buffers(
    array: pa.LargeBinaryArray | pa.LargeStringArray,
) -> tuple[pa.Buffer | None, np.ndarray, np.ndarray]:
    """Validity buffer, offsets (int64, one more than rows) and bytes (uint8) of an array; nothing is copied.

    The offsets point into the bytes as they are: in a slice they need not start at 0. What lies behind a null is
    unspecified, its offsets are valid all the same.
    """
    validity, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return validity, np.zeros(1, np.int64), np.zeros(0, np.uint8)
    values = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return validity, np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8), values
