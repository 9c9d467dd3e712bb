"""Documents as kernels see them: one byte buffer and where each document starts and stops in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.errors import DedupError, DocumentTooLargeError
from dedup.machine import Bytes, I64s, read_only

MAX_DOCUMENT_BYTES = 1 << 30
"""The longest document taken, in bytes. Positions inside a document are 32-bit; a release keeps far smaller
files."""


@dataclass(frozen=True, slots=True)
class Documents:
    """`data[starts[i] : stops[i]]` is document i. Nothing is copied: `data` is the Arrow buffer itself.

    Invariant: 0 <= starts[i] <= stops[i] <= len(data), and no document is above `MAX_DOCUMENT_BYTES`.
    """

    data: Bytes
    starts: I64s
    stops: I64s

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> I64s:
        """Bytes of each document."""
        return self.stops - self.starts

    def __post_init__(self) -> None:
        for name in ("data", "starts", "stops"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def take(self, indices: I64s) -> Documents:
        """The documents at `indices`, in that order, over the same buffer."""
        return Documents(self.data, self.starts[indices], self.stops[indices])


def as_documents(texts: Any) -> Documents:
    """View an Arrow array of texts as `Documents`; a null is an empty document.

    `texts`: an Array or ChunkedArray of large_binary, large_string, binary or string (slices too), or
    `Documents`. large_* arrays of one chunk are viewed in place; others cost a copy.
    Raises DedupError for other types, DocumentTooLargeError above `MAX_DOCUMENT_BYTES`.
    """
    if isinstance(texts, Documents):
        return texts
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.chunk(0) if texts.num_chunks == 1 else texts.combine_chunks()
    if not isinstance(texts, pa.Array):
        raise DedupError(
            f"texts must be a pyarrow array of large_binary or large_string, not {type(texts).__name__}"
        )
    if pa.types.is_binary(texts.type) or pa.types.is_string(texts.type):
        texts = texts.cast(pa.large_binary())
    if not (pa.types.is_large_binary(texts.type) or pa.types.is_large_string(texts.type)):
        raise DedupError(f"texts must be of type large_binary or large_string, not {texts.type}")
    count = len(texts)
    if count == 0:
        return Documents(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))
    _, offset_buffer, value_buffer = texts.buffers()
    data = np.empty(0, np.uint8) if value_buffer is None else np.frombuffer(value_buffer, np.uint8)
    borders = np.frombuffer(offset_buffer, np.int64, count + 1, texts.offset * 8)
    starts, stops = borders[:-1], borders[1:]
    if texts.null_count:
        stops = np.where(texts.is_null().to_numpy(zero_copy_only=False), starts, stops)
    lengths = stops - starts
    # Kernels read raw memory: an array that lies about its extent must not get that far.
    if starts.min() < 0 or lengths.min() < 0 or stops.max() > len(data):
        raise DedupError("texts is not a valid Arrow array: its offsets leave its value buffer")
    longest = int(lengths.argmax())
    if lengths[longest] > MAX_DOCUMENT_BYTES:
        raise DocumentTooLargeError(
            f"document {longest} has {int(lengths[longest]):,} bytes, the limit is {MAX_DOCUMENT_BYTES:,}: "
            "leave it out or cut it before looking for duplicates"
        )
    return Documents(data, starts, stops)
