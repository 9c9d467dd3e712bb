"""How fast one process may ask one object store: a rate, the objects in flight that it takes, and a pause for all.

Little's law: objects in flight = rate x latency. With a target of 2,000 objects per second and 30 ms from a request to
verified bytes, 60 threads are at work; with 2 ms (a server in the same rack), 4. The latency is measured as the mean of
the last answers, so the number follows the network, between 1 and the bound that is configured.

A store that asks for fewer requests (503 SlowDown, 429) speaks to the whole process: every thread pauses until the same
moment, the rate is halved, and each answer gives back 1/500 of the target (additive increase, multiplicative decrease,
as in TCP). While the store keeps throttling, the pause doubles from 0.1 s up to 30 s, jittered so that the workers of a
cluster do not come back all at once.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable

_FIRST_GUESS = 16  # objects in flight before the first latency is known
_LATENCY_WEIGHT = 1 / 64  # of the newest answer in the running mean
_RECOVERY = 1 / 500  # of the target rate, per answer
_LOWEST = 1 / 64  # of the target rate: halving ends here, the growing pause does the rest
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 30.0


class Pace:
    """Shared by all threads of a process that ask one store.

    `rate`: target in objects per second, infinite for none; `most`: bound on the objects in flight. The clock, the
    sleep and the jitter (a number in [0, 1)) are passed in by tests.
    """

    def __init__(
        self,
        rate: float,
        most: int,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._now, self._sleep, self._jitter = now, sleep, jitter
        self._lock = threading.Lock()
        self.target = self.rate = rate
        self.most = most
        self.latency: float | None = None  # seconds, the running mean
        self.throttled_times = 0  # pauses so far
        self._in_a_row = 0  # pauses without an answer in between
        self._turn = -math.inf  # when the next request may start
        self._paused_until = -math.inf

    @property
    def in_flight(self) -> int:
        """How many objects should be in flight now."""
        if math.isinf(self.rate):
            return self.most
        if self.latency is None:
            return min(self.most, _FIRST_GUESS)
        return max(1, math.ceil(min(self.most, self.rate * self.latency)))

    def wait(self) -> None:
        """Sleep until this thread may send its next request."""
        while True:
            with self._lock:
                now = self._now()
                turn = max(now, self._turn, self._paused_until)
                self._turn = turn + 1 / self.rate
            if turn > now:
                self._sleep(turn - now)
            if self._paused_until <= turn:  # or a pause began meanwhile: take a new turn behind it
                return

    def answered(self, seconds: float) -> None:
        """An answer came, `seconds` after its request was sent."""
        with self._lock:
            self._in_a_row = 0
            before = seconds if self.latency is None else self.latency
            self.latency = before + (seconds - before) * _LATENCY_WEIGHT
            if self.rate < self.target:
                self.rate = min(self.target, self.rate + self.target * _RECOVERY)

    def throttled(self) -> None:
        """The store asked for fewer requests: pause all threads and halve the rate.

        Answers to requests that were under way when the pause began belong to the same event and change nothing.
        """
        with self._lock:
            now = self._now()
            if now < self._paused_until:
                return
            self.throttled_times += 1
            longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**self._in_a_row)
            self._in_a_row += 1
            self._paused_until = now + longest * (0.5 + self._jitter() / 2)
            if math.isfinite(self.target):
                self.rate = max(self.target * _LOWEST, self.rate / 2)
