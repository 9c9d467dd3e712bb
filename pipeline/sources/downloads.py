"""Many objects at once: threads fetch and verify while the caller writes what came before.

The threads take objects in the given order and gather the outcomes in batches of a number of objects or bytes,
whichever comes first. The caller gets whole batches, so it wakes up once in thousands of objects; while it works on one
(writes it, that is), the threads fill the next. What is in hand, asked for or fetched but not yet dealt with, is bounded
by two batches and one object, in number and in bytes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator

from pipeline.sources.contents import Fetched, Wanted


def download(
    fetch: Callable[[Wanted], Fetched],
    wanted: Iterable[Wanted],
    *,
    in_flight: Callable[[], int],
    most: int,
    batch_objects: int,
    batch_bytes: int,
    look: Callable[[Fetched], None] = lambda _: None,
) -> Generator[list[Fetched], None, None]:
    """Outcomes in batches, in the order in which they came; asking for the next batch says that the last is dealt with.

    `in_flight` says how many threads, of at most `most`, should be at work now. `look` sees every outcome, one at a
    time, and may raise to end it all. When it, `fetch` or `wanted` raises, what had come until then is still yielded,
    then the error is raised. Closed before its end, it asks for nothing more.
    """
    run = _Run(
        fetch, iter(wanted), look, in_flight, most=most, batch_objects=batch_objects, batch_bytes=batch_bytes
    )
    try:
        for index in range(most):
            threading.Thread(target=run.work, args=(index,), name=f"fetch-{index}", daemon=True).start()
        while (batch := run.batches.get()) is not None:
            yield batch
            run.settle(batch)
        if run.error is not None:
            raise run.error
    finally:
        run.stop()


class _Run:
    """What the threads of one download share; everything but `batches` is touched under the condition only."""

    def __init__(
        self,
        fetch: Callable[[Wanted], Fetched],
        wanted: Iterator[Wanted],
        look: Callable[[Fetched], None],
        in_flight: Callable[[], int],
        *,
        most: int,
        batch_objects: int,
        batch_bytes: int,
    ) -> None:
        self.batches: queue.SimpleQueue[list[Fetched] | None] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self._fetch, self._wanted, self._in_flight, self._look = fetch, wanted, in_flight, look
        self._batch_objects, self._batch_bytes = batch_objects, batch_bytes
        self._changed = threading.Condition()
        self._working = most  # threads that have not come to their end
        self._allowed = 0  # how many might work when one looked last
        self._ended = False  # nothing more is to be asked for
        self._held_objects = self._held_bytes = 0
        self._batch: list[Fetched] = []
        self._size = 0  # bytes of the batch

    def work(self, index: int) -> None:
        """One thread, from its first object to the end of all."""
        try:
            while (one := self._take(index)) is not None:
                self._give(self._fetch(one))
        except BaseException as error:  # noqa: BLE001 (raised again where the batches are read)
            self.stop(error)
        with self._changed:
            self._working -= 1
            if self._working == 0:
                self._hand_over()
                self.batches.put(None)

    def _take(self, index: int) -> Wanted | None:
        with self._changed:
            while not self._ended:
                allowed = self._in_flight()
                if allowed > self._allowed:
                    self._changed.notify_all()
                self._allowed = allowed
                # Up to the bound, not below it: an object larger than all of it must have its turn, too.
                room = (
                    self._held_objects < 2 * self._batch_objects and self._held_bytes <= 2 * self._batch_bytes
                )
                if index < allowed and room:
                    one = next(self._wanted, None)
                    if one is not None:
                        self._held_objects += 1
                        self._held_bytes += one.length
                        return one
                    self._ended = True
                    self._changed.notify_all()
                else:
                    self._changed.wait()
        return None

    def _give(self, outcome: Fetched) -> None:
        with self._changed:
            self._batch.append(outcome)
            self._size += outcome.wanted.length
            if len(self._batch) >= self._batch_objects or self._size >= self._batch_bytes:
                self._hand_over()
            if self.error is None:
                self._look(outcome)

    def _hand_over(self) -> None:
        if self._batch:
            self.batches.put(self._batch)
            self._batch, self._size = [], 0

    def settle(self, batch: list[Fetched]) -> None:
        """The caller is done with a batch: there is room for as much again."""
        with self._changed:
            self._held_objects -= len(batch)
            self._held_bytes -= sum(one.wanted.length for one in batch)
            self._changed.notify_all()

    def stop(self, error: BaseException | None = None) -> None:
        """Ask for nothing more; threads end after the object that they are at."""
        with self._changed:
            self.error = self.error or error
            self._ended = True
            self._changed.notify_all()
