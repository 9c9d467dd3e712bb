"""One object: the retry loop around request, body, inflating and hashing, with a clock that nobody waits for."""

from __future__ import annotations

import gzip
import hashlib
import math

import pytest

from pipeline.engine.store import Store, TooLargeError
from pipeline.errors import DeniedError, SourceError, ThrottledError, TransientError
from pipeline.sources.contents import (
    CORRUPT,
    FAILED,
    MISSING,
    OK,
    ORDINARY,
    TOO_LARGE,
    Contents,
    Patience,
    Wanted,
)
from pipeline.sources.pace import Pace

BODY = b"def area(width, height):\n    return width * height\n" * 20
PACKED = gzip.compress(BODY, mtime=0)
WANTED = Wanted(hashlib.sha1(BODY).hexdigest(), hashlib.sha256(BODY).hexdigest(), len(BODY))


class Scripted:
    """Contents of a remote store whose answers are a list: bytes, or an exception."""

    def __init__(self, *answers: bytes | Exception, patience: Patience = ORDINARY) -> None:
        self.answers = list(answers)
        self.slept: list[float] = []
        self.paused: list[float] = []
        self.time = 0.0
        pace = Pace(math.inf, 4, now=lambda: self.time, sleep=self._pause, jitter=lambda: 1.0)
        self.contents = Contents(
            Store("s3://bucket/archive", True), pace, patience, sleep=self.slept.append, jitter=lambda: 0.5
        )
        self.contents._store = self  # type: ignore[assignment]

    def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.time += seconds

    def read(self, key: str, *, at_most: int) -> bytes:
        assert key == f"content/{WANTED.sha1}" and at_most > len(PACKED)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def fetch(self):
        return self.contents.fetch(WANTED)


FLIPPED = PACKED[:40] + bytes([PACKED[40] ^ 1]) + PACKED[41:]


@pytest.mark.parametrize(
    "passing",
    [
        TransientError("503"),
        TransientError("timed out"),
        ThrottledError("SlowDown"),
        TooLargeError("lying header"),
        FLIPPED,
        PACKED[:-9],
        b"",
        gzip.compress(b"x" * (len(BODY) + 1)),
        gzip.compress(BODY[::-1]),
    ],
)
def test_what_passes_is_tried_again(passing):
    script = Scripted(passing, passing, PACKED)
    got = script.fetch()
    assert (got.status, got.body, got.tries) == (OK, BODY, 3)


@pytest.mark.parametrize(
    ("staying", "status", "tries"),
    [
        (FileNotFoundError(), MISSING, 1),
        (TransientError("reset"), FAILED, 6),
        (DeniedError("no"), FAILED, 1),
        (ThrottledError("SlowDown"), FAILED, 18),
        (TooLargeError("9 GB"), TOO_LARGE, 6),
        (gzip.compress(bytes(1 << 20)), TOO_LARGE, 6),
        (FLIPPED, CORRUPT, 6),
        (PACKED[:-3], CORRUPT, 6),
        (PACKED + b"more", CORRUPT, 6),
        (gzip.compress(BODY[::-1]), CORRUPT, 6),
    ],
)
def test_what_stays_has_its_status(staying, status, tries):
    got = Scripted(staying).fetch()
    assert (got.status, got.body, got.tries) == (status, None, tries)
    assert got.detail


def test_an_error_that_no_retry_helps_is_raised():
    with pytest.raises(SourceError, match="no such bucket"):
        Scripted(SourceError("no such bucket")).fetch()


def test_the_last_word_decides_between_corrupt_and_failed():
    """A store that fails at the end was not heard out: the object is no corrupt one yet."""
    assert Scripted(FLIPPED, TransientError("reset")).fetch().status == FAILED
    assert Scripted(TransientError("reset"), FLIPPED).fetch().status == CORRUPT


def test_the_back_off_doubles_and_is_bounded_and_jittered():
    script = Scripted(TransientError("x"), patience=Patience(tries=6, first_seconds=0.2, longest_seconds=1.0))
    script.fetch()
    assert script.slept == [0.2, 0.4, 0.8, 1.0, 1.0]
    patience = Patience(first_seconds=1.0)
    assert [patience.back_off(1, jitter) for jitter in (0.0, 0.5)] == [0.5, 1.0]


def test_throttling_waits_at_the_pace_and_costs_no_try():
    script = Scripted(*[ThrottledError("SlowDown")] * 10, *[TransientError("x")] * 5, PACKED)
    got = script.fetch()
    assert (got.status, got.tries) == (OK, 16)
    assert script.paused == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0])
    assert len(script.slept) == 5
    assert script.contents.pace.throttled_times == 10


def test_who_is_told_to_give_up_does_so_after_the_try():
    script = Scripted(TransientError("x"))
    script.contents.abandoned = True
    assert (script.fetch().tries, script.slept) == (1, [])


def test_a_folder_is_asked_once_for_what_is_corrupt(tmp_path):
    store = Store(str(tmp_path))
    store.put(f"content/{WANTED.sha1}", FLIPPED)
    slept: list[float] = []
    got = Contents(store, Pace(math.inf, 1), sleep=slept.append).fetch(WANTED)
    assert (got.status, got.tries, slept) == (CORRUPT, 1, [])


def test_an_address_that_ends_in_content_is_the_folder_itself(tmp_path):
    Store(str(tmp_path)).put(f"content/{WANTED.sha1}", PACKED)
    for address in (tmp_path, tmp_path / "content", f"{tmp_path}/content/"):
        contents = Contents(Store(str(address)), Pace(math.inf, 1))
        assert contents.fetch(WANTED).status == OK
        assert contents.address(WANTED) == f"{tmp_path}/content/{WANTED.sha1}"
