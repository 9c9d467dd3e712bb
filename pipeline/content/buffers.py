"""Arrow's variable-length arrays as numpy views, for numba kernels."""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa


def buffers(
    array: pa.LargeBinaryArray | pa.LargeStringArray,
) -> tuple[pa.Buffer | None, np.ndarray, np.ndarray]:
    """Validity buffer, offsets (int64, one more than rows) and bytes (uint8) of an array; nothing is copied.

    The offsets point into the bytes as they are: in a slice they need not start at 0. What lies behind a
    null is unspecified, its offsets are valid all the same.
    """
    validity, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        views = np.zeros(1, np.int64), np.zeros(0, np.uint8)
    else:
        values = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
        views = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8), values
    for view in views:
        view.flags.writeable = False  # one type for the kernels: a second would be compiled again
    return validity, *views


def heads_of(array: pa.LargeBinaryArray, rows: np.ndarray, size: int) -> pa.LargeBinaryArray:
    """The first `size` bytes of the given rows, which must not be null."""
    _, offsets, data = buffers(array)
    starts = offsets[rows]
    lengths = np.minimum(offsets[rows + 1] - starts, size)
    out_offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    out = np.empty(int(out_offsets[-1]), np.uint8)
    copy_ranges(data, starts, out_offsets, out)
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(rows), [None, pa.py_buffer(out_offsets), pa.py_buffer(out)]
    )


@numba.njit(nogil=True, cache=True)
def copy_ranges(data, starts, out_offsets, out):
    """Copies range i, which starts at starts[i], to out_offsets[i]:out_offsets[i + 1]."""
    for row in range(starts.shape[0]):
        shift = starts[row] - out_offsets[row]
        for at in range(out_offsets[row], out_offsets[row + 1]):
            out[at] = data[at + shift]
