"""`removals.jsonl`: cumulative tombstones, with which a downloader brings older copies in line.

One line for each row that some earlier release had and that is withdrawn: canonical JSON, sorted by row_id:

    {"content_sha256":"<hex>","reason":"withdrawn","row_id":"<id>","version":"2.2"}

`content_sha256` is of the text as it was last released, `version` the release that left it out first. Opt-out, license
correction and takedown look alike; the SWHID is not told, so that the list does not lead to what was withdrawn. Rows that
are gone for other reasons have no tombstone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from manifests import canonical
from manifests.errors import CanonicalError, PathError, RemovalsError
from manifests.names import check_version

WITHDRAWN = "withdrawn"

MAX_LINE_BYTES = 1024
"""Of a line; ours have about 200."""

_KEYS = {"content_sha256", "reason", "row_id", "version"}
_ROW_ID = re.compile(r"[0-9a-f]{16,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Tombstone:
    """A withdrawn row."""

    row_id: str
    content_sha256: str
    version: str


def format_line(tombstone: Tombstone) -> bytes:
    """Return the line of a tombstone, with its newline (equal to `canonical.dumps`, written out for speed)."""
    return (
        f'{{"content_sha256":"{tombstone.content_sha256}","reason":"{WITHDRAWN}",'
        f'"row_id":"{tombstone.row_id}","version":"{tombstone.version}"}}\n'
    ).encode("ascii")


def read_removals(stream: BinaryIO, where: str) -> Iterator[Tombstone]:
    """Yield the tombstones of a file, a line at a time; memory does not grow with the file.

    Raises `RemovalsError`, with `where` and the number of the line, for a line that is too long or no tombstone, and for
    row ids that do not ascend.
    """
    before, number = "", 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        place = f"{where}, line {number:,}"
        if len(line) > MAX_LINE_BYTES:
            raise RemovalsError(f"{place}: longer than {MAX_LINE_BYTES:,} bytes; this is no removals.jsonl")
        if not line.endswith(b"\n"):
            raise RemovalsError(f"{place}: the file ends in the middle of a line; fetch it again")
        tombstone = _tombstone(line, place)
        if tombstone.row_id <= before:
            raise RemovalsError(f"{place}: not sorted by row_id, or a row twice")
        before = tombstone.row_id
        yield tombstone


def _tombstone(line: bytes, place: str) -> Tombstone:
    try:
        value = canonical.load(line)
    except CanonicalError as error:
        raise RemovalsError(f"{place}: {error}") from error
    if not isinstance(value, dict) or set(value) != _KEYS:
        raise RemovalsError(f"{place}: not an object with exactly the keys {', '.join(sorted(_KEYS))}")
    row_id, content, reason, version = (
        value[key] for key in ("row_id", "content_sha256", "reason", "version")
    )
    if not isinstance(row_id, str) or not _ROW_ID.fullmatch(row_id):
        raise RemovalsError(f"{place}: row_id is not 16 to 128 hex digits")
    if not isinstance(content, str) or not _SHA256.fullmatch(content):
        raise RemovalsError(f"{place}: content_sha256 is not 64 hex digits")
    if reason != WITHDRAWN:
        raise RemovalsError(f"{place}: the reason is not {WITHDRAWN!r}")
    try:
        check_version(version if isinstance(version, str) else "")
    except PathError as error:
        raise RemovalsError(f"{place}: {error}") from error
    return Tombstone(row_id, content, version)


def format_removals(tombstones: Iterable[Tombstone]) -> bytes:
    """Return the bytes of a small file: the lines sorted by row_id."""
    return b"".join(map(format_line, sorted(tombstones, key=lambda one: one.row_id)))
