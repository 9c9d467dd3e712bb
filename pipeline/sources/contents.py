"""Content objects: `content/<sha1>` is the gzip of the bytes. Every object ends in exactly one status.

    ok         the bytes have the declared length, sha1 and sha256
    missing    the store has no such object
    corrupt    not one gzip stream, cut off, longer than declared, or a hash differs
    failed     the store could not be asked; raised as TransientError, so that the unit is tried again

Nothing is ever inflated beyond its declared length plus one byte, and no object is read that is larger than the gzip of so
many bytes can be.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.engine.store import Store, TooLargeError

OK, MISSING, CORRUPT = "ok", "missing", "corrupt"

_LARGEST_HEADER = 65_536  # bytes of a gzip header with a name and a comment, generously


@dataclass(frozen=True)
class Wanted:
    """One object to fetch: its key in the store and what its bytes must be. Hashes are lower-case hex."""

    sha1: str
    sha256: str
    length: int


@dataclass(frozen=True)
class Fetched:
    """The outcome for one object; `body` only when the status is ok, `detail` says why when it is not."""

    wanted: Wanted
    status: str
    body: bytes | None
    detail: str


def fetch(store: Store, wanted: Wanted) -> Fetched:
    """Get, inflate and verify one object."""
    # Deflate stores what it cannot pack: 5 bytes per block of at least 8 KiB, so 1/1,000 is more than enough.
    at_most = wanted.length + wanted.length // 1_000 + _LARGEST_HEADER
    try:
        packed = store.read(
            f"content/{wanted.sha1}" if not store.uri.rstrip("/").endswith("/content") else wanted.sha1,
            at_most=at_most,
        )
    except TooLargeError as error:
        return Fetched(wanted, CORRUPT, None, str(error))
    except FileNotFoundError:
        return Fetched(wanted, MISSING, None, "the object store has no such object")
    inflate = zlib.decompressobj(31)
    try:
        body = inflate.decompress(packed, wanted.length + 1)
    except zlib.error as error:
        return Fetched(wanted, CORRUPT, None, f"not a gzip stream: {error}")
    problem = _problem(wanted, body, inflate.eof, inflate.unused_data)
    return Fetched(wanted, CORRUPT, None, problem) if problem else Fetched(wanted, OK, body, "")


def _problem(wanted: Wanted, body: bytes, ended: bool, rest: bytes) -> str:
    if len(body) > wanted.length:
        return f"inflates to more than the declared {wanted.length} bytes"
    if len(body) < wanted.length or not ended:
        return f"cut off: {len(body)} of {wanted.length} bytes"
    if rest:
        return "there is data after the end of the gzip stream"
    if hashlib.sha1(body, usedforsecurity=False).hexdigest() != wanted.sha1:
        return "the sha1 of the bytes is not the object's name"
    if hashlib.sha256(body).hexdigest() != wanted.sha256:
        return "the sha256 of the bytes is not the one in the graph"
    return ""


def fetch_all(store: Store, wanted: Iterable[Wanted], *, in_flight: int) -> Iterator[Fetched]:
    """Fetch objects with at most `in_flight` at once, in the order given."""
    with ThreadPoolExecutor(max_workers=in_flight) as pool:
        yield from pool.map(lambda one: fetch(store, one), wanted)
