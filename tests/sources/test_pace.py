"""The pace with a clock of its own: Little's law, a rate that is kept, a pause for all, and the way back."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.pace import Pace


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.time += seconds


def paced(rate: float = 100.0, most: int = 64, jitter: float = 1.0) -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(rate, most, now=clock.now, sleep=clock.sleep, jitter=lambda: jitter), clock


@pytest.mark.parametrize(
    ("rate", "latency", "in_flight"),
    [(2_000, 0.030, 60), (2_000, 0.002, 4), (2_000, 0.0001, 1), (2_000, 1.0, 64), (10, 0.05, 1)],
)
def test_in_flight_is_rate_times_latency(rate, latency, in_flight):
    pace, _ = paced(rate)
    assert pace.in_flight == 16, "before anything is known"
    for _ in range(1_000):
        pace.answered(latency)
    assert pace.in_flight == in_flight


@given(st.lists(st.floats(0, 1e6) | st.just("throttled"), max_size=60), st.integers(1, 1024))
def test_in_flight_is_always_between_one_and_the_bound(events, most):
    pace, _ = paced(1_000, most)
    for event in events:
        if event == "throttled":
            pace.throttled()
        else:
            pace.answered(event)
        assert 1 <= pace.in_flight <= most
        assert 1_000 / 64 <= pace.rate <= 1_000


def test_the_rate_is_kept():
    pace, clock = paced(rate=50)
    start = clock.time
    for _ in range(101):
        pace.wait()
    assert clock.time - start == pytest.approx(2.0)


def test_time_that_passed_unused_is_not_made_up_for():
    """After an hour of writing there is no burst of an hour's requests."""
    pace, clock = paced(rate=50)
    pace.wait()
    clock.time += 3_600
    before = clock.time
    for _ in range(51):
        pace.wait()
    assert clock.time - before == pytest.approx(1.0)


def test_a_folder_has_no_rate():
    pace, clock = paced(math.inf, 8)
    for _ in range(1_000):
        pace.wait()
        pace.answered(0.0)
    assert not clock.slept and pace.in_flight == 8
    pace.throttled()
    assert pace.rate == math.inf


def test_throttling_halves_the_rate_pauses_and_recovers():
    pace, clock = paced(rate=1_000)
    pace.throttled()
    assert (pace.rate, pace.throttled_times) == (500, 1)
    pace.throttled()  # an answer to a request that was under way: the same event
    assert (pace.rate, pace.throttled_times) == (500, 1)
    before = clock.time
    pace.wait()
    assert clock.time - before == pytest.approx(0.1)
    for _ in range(249):
        pace.answered(0.01)
    assert 990 < pace.rate < 1_000
    for _ in range(10):
        pace.answered(0.01)
    assert pace.rate == 1_000


def test_the_pause_doubles_while_the_store_keeps_throttling_and_is_bounded():
    pace, clock = paced(rate=1e9)
    pauses = []
    for _ in range(12):
        pace.throttled()
        before = clock.time
        pace.wait()
        pauses.append(round(clock.time - before, 3))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]
    pace.answered(0.01)
    clock.time += 1
    pace.throttled()
    before = clock.time
    pace.wait()
    assert clock.time - before == pytest.approx(0.1), "an answer ends the row"


def test_the_pause_is_jittered_by_up_to_half():
    pace, clock = paced(rate=1e9, jitter=0.0)
    pace.throttled()
    before = clock.time
    pace.wait()
    assert clock.time - before == pytest.approx(0.05)


def test_a_thread_that_waits_for_its_turn_joins_a_pause_that_begins_meanwhile():
    """All threads pause together, also those that had a turn already."""
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 1:
            pace.throttled()

    pace = Pace(10, 4, now=clock.now, sleep=sleep, jitter=lambda: 1.0)
    pace.wait()
    pace.wait()  # has its turn in 0.1 s; when it wakes up, the store has begun to throttle
    assert len(clock.slept) == 2
    assert clock.time == pytest.approx(100 + 0.1 + 0.1)


def test_every_thread_sees_the_same_pause():
    """Real threads, a clock that stands still: each of them is told to sleep to the end of the pause or later."""
    slept, lock = [], threading.Lock()

    def sleep(seconds: float) -> None:
        with lock:
            slept.append(seconds)

    pace = Pace(1e9, 8, now=lambda: 0.0, sleep=sleep, jitter=lambda: 1.0)
    pace.throttled()
    threads = [threading.Thread(target=pace.wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(slept) == 8 and min(slept) == pytest.approx(0.1)
