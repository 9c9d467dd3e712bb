"""Texts in Arrow memory, without a copy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa


def bodies(texts: pa.Array | pa.ChunkedArray) -> Iterator[memoryview | None]:
    """The bytes of every text of any string or binary array, views into its buffers; None for null."""
    for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
        kind = chunk.type
        if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
            yield from _slices(chunk, np.int64)
        elif pa.types.is_string(kind) or pa.types.is_binary(kind):
            yield from _slices(chunk, np.int32)
        else:  # string views and the like: one Arrow object for each text
            for text in chunk:
                held = text.as_buffer()
                yield None if held is None else memoryview(held)


def _slices(chunk: pa.Array, offset: type[np.int32 | np.int64]) -> Iterator[memoryview | None]:
    _, offsets, values = chunk.buffers()
    if len(chunk) == 0:
        return
    width = np.dtype(offset).itemsize
    ends = np.frombuffer(offsets, offset, len(chunk) + 1, chunk.offset * width).tolist()
    data = memoryview(b"" if values is None else values)
    valid = chunk.is_valid().to_pylist() if chunk.null_count else None
    for i in range(len(chunk)):
        yield data[ends[i] : ends[i + 1]] if valid is None or valid[i] else None
