"""A stored object as a file that is read in blocks: readers that ask for many small pieces cost few requests."""

from __future__ import annotations

import io
from collections import OrderedDict

from pipeline.engine.store import Store

BLOCK_BYTES = 2 << 20
BLOCKS = 16  # kept: a reader goes through some columns of a stripe side by side


class BlockFile(io.RawIOBase):
    """Reads `key` in aligned blocks of BLOCK_BYTES, the last BLOCKS of them kept (32 MiB).

    One request per block, and pieces of several blocks in one. What the store raised is kept in `failure`: a native reader
    that is in between tells of it in words of its own.
    """

    def __init__(self, store: Store, key: str, size: int) -> None:
        self._store, self._key, self._size = store, key, size
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.failure: Exception | None = None
        self.requests = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read starts."""
        return self._at

    def size(self) -> int:
        """Bytes of the object."""
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.IOBase."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """See io.RawIOBase; never short of what the object has."""
        stop = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if stop <= self._at:
            return b""
        first, last = self._at // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
        pieces = self._fetch(first, last)
        data = b"".join(pieces) if len(pieces) > 1 else pieces[0]
        start = self._at - first * BLOCK_BYTES
        self._at = stop
        return data[start : start + stop - first * BLOCK_BYTES - start]

    def _fetch(self, first: int, last: int) -> list[bytes]:
        missing = [number for number in range(first, last + 1) if number not in self._blocks]
        fetched = {}
        if (
            missing
        ):  # one range: what is there already and lies between is rather read twice than asked around
            begin, end = missing[0] * BLOCK_BYTES, min(self._size, (missing[-1] + 1) * BLOCK_BYTES)
            try:
                (data,) = self._store.read_ranges(self._key, [(begin, end - begin)])
            except Exception as error:
                self.failure = error
                raise
            self.requests += 1
            fetched = {
                number: data[(number - missing[0]) * BLOCK_BYTES :][:BLOCK_BYTES]
                for number in range(missing[0], missing[-1] + 1)
            }
        pieces = [
            fetched[number] if number in fetched else self._blocks[number]
            for number in range(first, last + 1)
        ]
        for number, piece in zip(range(first, last + 1), pieces, strict=True):
            self._blocks[number] = piece
            self._blocks.move_to_end(number)
        while len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return pieces
