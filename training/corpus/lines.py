"""The lines of a file, plain or compressed with gzip or Zstandard: all of them once, then single ones by their number.

The first reading hashes the file as it lies on the disk, and keeps of each line where it begins in the decompressed bytes and
64 bits of its SHA-256: 16 bytes a line. After that only the lines that are asked for are read again. One that is not what it
was is an error, so nothing is used that the file's SHA-256 does not stand for.

A plain file is read from where a line begins. A compressed one has to be read from its beginning; a process that stops in the
middle keeps its place, and goes on from there when it is next asked for later lines. So units of work that are taken in the
order of the file cost one reading of it, not one each.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from training.errors import TrainingDataError

MAX_LINE_BYTES = 1 << 26
"""64 MiB: a longer line is never held in memory."""

_GZIP = b"\x1f\x8b"
_ZSTANDARD = (b"\x28\xb5\x2f\xfd", *(bytes((first, 0x2A, 0x4D, 0x18)) for first in range(0x50, 0x60)))
"""First bytes of a frame, and of the skippable frames that parallel compressors put before it (RFC 8878)."""

_PIECE = 1 << 20
_AT_ONCE = 1 << 16
"""Lines whose numbers are Python objects at the same time."""


class _Hashed(io.RawIOBase):
    """The bytes of a file, hashed as they are read."""

    def __init__(self, file: io.FileIO) -> None:
        self.file, self.sha = file, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self.file.readinto(buffer)
        self.sha.update(memoryview(buffer)[:count])
        return count


class _Zstandard(io.RawIOBase):
    """The decompressed bytes of one or several frames; unlike the library's reader, an end inside a frame is an error.

    Input is taken in small pieces: the most that a hostile one can become is 128 MiB (a block of 128 KiB from 4 bytes).
    """

    PIECE = 1 << 12

    def __init__(self, source: BinaryIO) -> None:
        self.source, self.pending = source, memoryview(b"")
        self.frame: Any = None  # zstandard's, while one is being read
        self.left = b""  # after the end of a frame: the beginning of the next one

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        import zstandard

        while not self.pending:
            piece = self.left or self.source.read(self.PIECE)
            self.left = b""
            if not piece:
                if self.frame is not None:
                    raise EOFError("the file ends inside a compressed frame")
                return 0
            if self.frame is None:
                self.frame = zstandard.ZstdDecompressor().decompressobj()
            self.pending = memoryview(self.frame.decompress(piece))
            if self.frame.eof:
                self.left, self.frame = self.frame.unused_data, None
        count = min(len(buffer), len(self.pending))
        buffer[:count] = self.pending[:count]
        self.pending = self.pending[count:]
        return count


class _Reader:
    """The decompressed bytes of an open file, read forwards.

    Attributes:
        source: the bytes as they lie on the disk, from their beginning.
        compressed: only what comes later can be read.
        at: place of the next byte among the decompressed ones.
    """

    def __init__(self, file: io.FileIO, raw: io.RawIOBase | None = None) -> None:
        self._file, self.at = file, 0
        magic = file.read(4) or b""
        file.seek(0)
        self.source = io.BufferedReader(raw or file, _PIECE)
        self.compressed = True
        if magic[:2] == _GZIP:
            self.stream: BinaryIO = io.BufferedReader(gzip.GzipFile(fileobj=self.source), _PIECE)
        elif magic in _ZSTANDARD:
            self.stream = io.BufferedReader(_Zstandard(self.source), _PIECE)
        else:
            self.stream, self.compressed = self.source, False

    def bytes(self, begin: int, end: int) -> bytes:
        """The bytes from `begin`, which is not before `at` in a compressed file, to `end`; fewer at the file's end."""
        if not self.compressed and begin != self.at:
            self.stream.seek(begin)
            self.at = begin
        while self.at < begin and (piece := self.stream.read(min(_PIECE, begin - self.at))):
            self.at += len(piece)
        found = self.stream.read(end - begin)
        self.at += len(found)
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    __del__ = close


_paused: dict[tuple[str, str], _Reader] = {}
"""(path, SHA-256) of compressed files -> where this process stopped reading them."""


class Lines:
    """The lines of a file.

    Attributes:
        path: of the file.
        digest: SHA-256 (hex) of its bytes on the disk, once `first` has come to its end.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.digest = path, ""
        self._begins, self._sums = np.zeros(1, np.int64), np.zeros(0, np.uint64)

    def first(self) -> Iterator[bytes | None]:
        """Each line without its end; None for one that is too long. To be read to the end, once.

        Raises:
            TrainingDataError: the file is damaged, or cannot be read.
        """
        begins, sums = array("q", [0]), array("Q")
        with self._failures(begins), self.path.open("rb", buffering=0) as file:
            raw = _Hashed(file)
            reader = _Reader(file, raw)
            stream = reader.stream
            while line := stream.readline(MAX_LINE_BYTES + 1):
                size, whole = len(line), True
                if size > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    whole = False
                    while part := stream.readline(_PIECE):
                        size += len(part)
                        if part.endswith(b"\n"):
                            break
                begins.append(begins[-1] + size)
                sums.append(_sum(line) if whole else 0)
                yield line.removesuffix(b"\n") if whole else None
            while reader.source.read(_PIECE):  # so that the digest is that of the whole file
                pass
            self.digest = raw.sha.hexdigest()
        self._begins, self._sums = np.array(begins, np.int64), np.array(sums, np.uint64)

    def again(self, numbers: np.ndarray) -> Iterator[tuple[int, bytes]]:
        """(number from 0, line without its end) of these lines, none too long; numbers rise.

        Raises:
            TrainingDataError: the file has changed since it was first read, or cannot be read.
        """
        if not len(numbers):
            return
        key = (str(self.path), self.digest)
        with self._failures(self._begins[: numbers[0] + 1]):
            reader = _paused.pop(key, None)
            if reader is None or reader.at > self._begins[numbers[0]]:
                reader = _Reader(self.path.open("rb", buffering=0))
            for at in range(0, len(numbers), _AT_ONCE):
                some = numbers[at : at + _AT_ONCE]
                places = (some, self._begins[some], self._begins[some + 1], self._sums[some])
                for number, begin, end, wanted in zip(*(place.tolist() for place in places), strict=True):
                    line = reader.bytes(begin, end)
                    if _sum(line) != wanted:
                        raise TrainingDataError(
                            f"{self.path}: has changed since it was first read: line {number + 1} is not what it was"
                        )
                    yield number, line.removesuffix(b"\n")
        if reader.compressed and reader.at < self._begins[-1]:
            _paused[key] = reader

    @contextmanager
    def _failures(self, begins: Any) -> Iterator[None]:
        """Say what is wrong with the file; `begins` has one entry more than there are whole lines before."""
        import zstandard

        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise TrainingDataError(
                f"{self.path}: damaged after line {len(begins) - 1}: {error}; fetch or compress it again"
            ) from error
        except OSError as error:
            raise TrainingDataError(f"{self.path}: cannot be read: {error.strerror or error}") from error


def _sum(line: bytes) -> int:
    return int.from_bytes(hashlib.sha256(line).digest()[:8], "big")
