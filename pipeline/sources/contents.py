"""Content objects: `content/<sha1>` is the gzip of the bytes. Every object ends in exactly one status.

    ok         the bytes have the declared length, sha1 and sha256
    missing    the store has no such object: an answer at once
    corrupt    not one gzip stream, cut off, or a hash differs, and still so after the retries
    too_large  larger than the gzip of the declared length can be, or inflating beyond it; also after the retries
    failed     no answer after the retries (throttled, timed out, reset, refused): never a verdict on the content

One loop stands around request, body, inflating and hashing; the client below it repeats nothing. Nothing is ever
inflated beyond its declared length plus one byte, and no object is read that is larger than the gzip of so many bytes
can be.
"""

from __future__ import annotations

import hashlib
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.engine.store import Store, TooLargeError
from pipeline.errors import DeniedError, ThrottledError, TransientError
from pipeline.sources.pace import Pace

OK, MISSING, CORRUPT, TOO_LARGE, FAILED = "ok", "missing", "corrupt", "too_large", "failed"

_LARGEST_HEADER = 65_536  # bytes of a gzip header with a name and a comment, generously
_THROTTLED_TRIES = 3  # times as many tries for an object while the store throttles: the pauses grow meanwhile


@dataclass(frozen=True)
class Wanted:
    """One object to fetch: its key in the store and what its bytes must be. Hashes are lower-case hex."""

    sha1: str
    sha256: str
    length: int


@dataclass(frozen=True)
class Fetched:
    """The outcome for one object; `body` only when the status is ok, `detail` says why when it is not.

    `tries`: requests that it took; 0 after an answer that needed none.
    """

    wanted: Wanted
    status: str
    body: bytes | None
    detail: str
    tries: int = 1


@dataclass(frozen=True)
class Patience:
    """How long to insist on one object: tries, and the back-off between them, doubling, jittered by half."""

    tries: int = 6  # at 5% faults, one object in 64 million fails six times by chance
    first_seconds: float = 0.2
    longest_seconds: float = 20.0
    request_seconds: float = 30.0  # of one request: connect, send, and read the body

    def back_off(self, number: int, jitter: float) -> float:
        """Seconds to wait after the `number`-th try (from 1); `jitter` in [0, 1)."""
        return min(self.longest_seconds, self.first_seconds * 2 ** (number - 1)) * (0.5 + jitter)


ORDINARY = Patience()
STUBBORN = Patience(first_seconds=1.0, request_seconds=120.0)
"""For the objects that were set aside, one at a time: over half a minute each, and slow ones have four times as long."""


class _WrongObjectError(Exception):
    """What came is not the object: its status, should it stay so, and what is wrong."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Contents:
    """The content objects of an archive, asked for at a pace and with a patience. Safe to share between threads."""

    def __init__(
        self,
        store: Store,
        pace: Pace,
        patience: Patience = ORDINARY,
        *,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.pace, self.patience = pace, patience
        self._sleep, self._jitter = sleep, jitter
        self._local = store.root is not None
        self._store = Store(store.uri, store.anonymous, retries=0, request_seconds=patience.request_seconds)
        self.abandoned = False  # set to have every thread give up after the try that it is at
        self._prefix = "" if store.uri.rstrip("/").endswith("/content") else "content/"

    def address(self, wanted: Wanted) -> str:
        """Where the object lies, for messages."""
        return f"{self._store.uri.rstrip('/')}/{self._prefix}{wanted.sha1}"

    def fetch(self, wanted: Wanted) -> Fetched:
        """Get, inflate and verify one object, again after what may pass. Raises SourceError where asking on is idle:
        no such bucket, a disk that cannot be read.
        """
        tries = throttled = 0
        while True:
            tries += 1
            self.pace.wait()
            started = time.perf_counter()
            try:
                body = self._attempt(wanted)
            except FileNotFoundError:
                self.pace.answered(time.perf_counter() - started)
                return Fetched(wanted, MISSING, None, "the object store has no such object", tries)
            except _WrongObjectError as error:
                self.pace.answered(time.perf_counter() - started)
                outcome = Fetched(wanted, error.status, None, error.detail, tries)
                if self._local:  # a disk gives the same bytes again
                    return outcome
            except ThrottledError as error:
                self.pace.throttled()
                throttled += 1
                if throttled >= _THROTTLED_TRIES * self.patience.tries or self.abandoned:
                    return Fetched(wanted, FAILED, None, str(error), tries)
                continue
            except TransientError as error:
                outcome = Fetched(wanted, FAILED, None, str(error), tries)
            except DeniedError as error:
                return Fetched(wanted, FAILED, None, str(error), tries)
            else:
                self.pace.answered(time.perf_counter() - started)
                return Fetched(wanted, OK, body, "", tries)
            number = tries - throttled
            if number >= self.patience.tries or self.abandoned:
                return outcome
            self._sleep(self.patience.back_off(number, self._jitter()))

    def _attempt(self, wanted: Wanted) -> bytes:
        # Deflate stores what it cannot pack: 5 bytes per block of at least 8 KiB, so 1/1,000 is more than enough.
        at_most = wanted.length + wanted.length // 1_000 + _LARGEST_HEADER
        try:
            packed = self._store.read(self._prefix + wanted.sha1, at_most=at_most)
        except TooLargeError as error:
            raise _WrongObjectError(TOO_LARGE, str(error)) from error
        return unpack(wanted, packed)


def unpack(wanted: Wanted, packed: bytes) -> bytes:
    """The verified bytes of an object."""
    inflate = zlib.decompressobj(31)
    try:
        body = inflate.decompress(packed, wanted.length + 1)
    except zlib.error as error:
        raise _WrongObjectError(CORRUPT, f"not a gzip stream: {error}") from error
    if len(body) > wanted.length:
        raise _WrongObjectError(TOO_LARGE, f"inflates to more than the declared {wanted.length:,} bytes")
    if problem := _problem(wanted, body, inflate.eof, inflate.unused_data):
        raise _WrongObjectError(CORRUPT, problem)
    return body


def _problem(wanted: Wanted, body: bytes, ended: bool, rest: bytes) -> str:
    if len(body) < wanted.length or not ended:
        return f"cut off: {len(body):,} of {wanted.length:,} bytes"
    if rest:
        return "there is data after the end of the gzip stream"
    if hashlib.sha1(body, usedforsecurity=False).hexdigest() != wanted.sha1:
        return "the sha1 of the bytes is not the object's name"
    if hashlib.sha256(body).hexdigest() != wanted.sha256:
        return "the sha256 of the bytes is not the one in the graph"
    return ""
