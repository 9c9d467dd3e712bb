"""SHA-256 of files, and the SHA256SUMS file that `sha256sum -c` of GNU coreutils reads.

Format of a line: digest, blank, `*` or blank (binary or text mode: the same bytes here), name. A name with a
backslash, newline or carriage return is written with `\\\\`, `\\n`, `\\r` and the line then starts with a
backslash (coreutils manual, "md5sum invocation").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

from manifests.errors import ChecksumError

BUFFER_BYTES = 1 << 20
"""Read size; from 256 KiB on the hash is the limit, not the calls."""

_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)
_UNESCAPE = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


def sha256_file(path: Path, progress: Callable[[int], None] | None = None) -> tuple[str, int]:
    """Return the SHA-256 (hex) and length in bytes of a file, read once through a fixed buffer.

    `progress` is called with the number of bytes of each read. Hashing and reading release the interpreter
    lock, so several files can be hashed by threads. Raises `OSError` as the file system does.
    """
    with path.open("rb", buffering=0) as file:
        return sha256_stream(file, progress)


def sha256_stream(
    file: RawIOBase | BinaryIO, progress: Callable[[int], None] | None = None
) -> tuple[str, int]:
    """The same of what is left to read of an open file (one with `readinto`)."""
    hasher = hashlib.sha256()
    view = memoryview(bytearray(BUFFER_BYTES))
    length = 0
    while count := file.readinto(view):  # type: ignore[union-attr]
        hasher.update(view[:count])
        length += count
        if progress is not None:
            progress(count)
    return hasher.hexdigest(), length


def sha256_files(
    root: Path, names: list[str], *, threads: int = 1, progress: Callable[[int], None] | None = None
) -> dict[str, tuple[str, int]]:
    """Return name -> (SHA-256, bytes) of files below `root`, hashed by `threads` threads; `OSError` if one
    fails."""
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        results = pool.map(lambda name: sha256_file(root / name, progress), names)
        return dict(zip(names, results, strict=True))


def format_sums(digests: Mapping[str, str]) -> bytes:
    """Return the bytes of a SHA256SUMS file for name -> digest, one line per name, sorted by the bytes of the
    name."""
    lines = []
    for name, digest in sorted((name.encode("utf-8"), digest) for name, digest in digests.items()):
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        mark = b"\\" if escaped != name else b""
        lines.append(mark + digest.encode("ascii") + b"  " + escaped + b"\n")
    return b"".join(lines)


def parse_sums(data: bytes) -> dict[str, str]:
    """Return name -> digest of a SHA256SUMS file, in the order of the file.

    Raises `ChecksumError` with the line number for a malformed line, a bad escape, a name that is not UTF-8,
    a name given twice, or a last line without its newline.
    """
    found: dict[str, str] = {}
    if not data:
        return found
    lines = data.split(b"\n")
    if lines.pop() != b"":
        raise ChecksumError(f"SHA256SUMS, line {len(lines) + 1}: the file does not end with a newline")
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ChecksumError(f"SHA256SUMS, line {number}: not '<64 hex digits>  <name>'")
        mark, digest, raw = match.groups()
        if mark:
            if re.sub(rb"\\[\\nr]", b"", raw).count(b"\\"):
                raise ChecksumError(f"SHA256SUMS, line {number}: unknown escape in the name")
            raw = re.sub(rb"\\[\\nr]", lambda found: _UNESCAPE[found.group()], raw)
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ChecksumError(f"SHA256SUMS, line {number}: the name is not UTF-8") from error
        if name in found:
            raise ChecksumError(f"SHA256SUMS, line {number}: {ascii(name)[:200]} is given twice")
        found[name] = digest.decode("ascii")
    return found
