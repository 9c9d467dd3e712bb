"""Many objects through threads: each once, what is in hand bounded, errors after what came before them."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.sources.contents import FAILED, MISSING, OK, Fetched, Wanted
from pipeline.sources.downloads import download
from pipeline.sources.guard import FIRST, IN_A_ROW, Guard


def one(number: int, length: int = 1) -> Wanted:
    return Wanted(f"{number:040x}", f"{number:064x}", length)


def had(wanted: Wanted) -> Fetched:
    return Fetched(wanted, OK, b"", "")


class Hand:
    """Counts what is in hand: taken from the list, and not yet dealt with."""

    def __init__(self, wanted: list[Wanted]) -> None:
        self.wanted, self.lock = wanted, threading.Lock()
        self.objects = self.size = self.most_objects = self.most_size = 0

    def __iter__(self):
        for item in self.wanted:
            with self.lock:
                self.objects += 1
                self.size += item.length
                self.most_objects = max(self.most_objects, self.objects)
                self.most_size = max(self.most_size, self.size)
            yield item

    def settle(self, batch: list[Fetched]) -> None:
        with self.lock:
            self.objects -= len(batch)
            self.size -= sum(item.wanted.length for item in batch)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 300), max_size=80),
    threads=st.integers(1, 9),
    objects=st.integers(1, 12),
    size=st.integers(1, 120),
    allowed=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_every_object_comes_once_in_bounded_batches(lengths, threads, objects, size, allowed):
    """Whatever the sizes (an object larger than everything that may be in hand too) and however the pace changes."""
    hand = Hand([one(n, length) for n, length in enumerate(lengths)])
    turns = iter(range(1 << 30))
    seen: list[Wanted] = []
    for batch in download(
        had,
        hand,
        in_flight=lambda: allowed[next(turns) % len(allowed)],
        most=threads,
        batch_objects=objects,
        batch_bytes=size,
    ):
        assert 1 <= len(batch) <= objects
        assert sum(item.wanted.length for item in batch[:-1]) < size
        seen += [item.wanted for item in batch]
        hand.settle(batch)
    assert sorted(item.sha1 for item in seen) == [item.sha1 for item in hand.wanted]
    assert hand.most_objects <= 2 * objects
    assert hand.most_size <= 2 * size + max(lengths, default=0)


def test_threads_fetch_on_while_a_batch_is_written():
    """The second batch is fetched before the first is dealt with: nobody waits for the disk."""
    second = threading.Event()

    def fetch(wanted: Wanted) -> Fetched:
        if int(wanted.sha1, 16) >= 10:
            second.set()
        return had(wanted)

    batches = download(
        fetch, map(one, range(20)), in_flight=lambda: 2, most=2, batch_objects=10, batch_bytes=1 << 20
    )
    assert len(next(batches)) == 10
    assert second.wait(30)
    assert len(next(batches)) == 10
    assert list(batches) == []


def test_no_more_are_at_work_than_the_pace_allows():
    lock, at_work, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def fetch(wanted: Wanted) -> Fetched:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        together.wait(30)  # three are at work at once, else this breaks
        with lock:
            at_work -= 1
        return had(wanted)

    batches = download(
        fetch, map(one, range(30)), in_flight=lambda: 3, most=16, batch_objects=5, batch_bytes=99
    )
    assert sum(map(len, batches)) == 30
    assert most == 3


@pytest.mark.parametrize("where", ["fetch", "look", "wanted"])
def test_an_error_comes_after_what_was_had_before(where):
    def check(number: int, place: str) -> None:
        if where == place and number == 50:
            raise SourceError("enough")

    def fetch(wanted: Wanted) -> Fetched:
        check(int(wanted.sha1, 16), "fetch")
        return had(wanted)

    def wanted():
        for number in range(200):
            check(number, "wanted")
            yield one(number)

    seen: list[Fetched] = []
    with pytest.raises(SourceError, match="enough"):
        for batch in download(
            fetch,
            wanted(),
            in_flight=lambda: 1,
            most=4,
            batch_objects=7,
            batch_bytes=1 << 20,
            look=lambda outcome: check(int(outcome.wanted.sha1, 16), "look"),
        ):
            seen += batch
    assert len(seen) == (51 if where == "look" else 50)


def test_nothing_wanted_is_nothing_fetched():
    assert list(download(had, [], in_flight=lambda: 4, most=4, batch_objects=1, batch_bytes=1)) == []


# -------------------------------------------------------------------------------------------------------------- guard


def look(guard: Guard, statuses: str) -> None:
    for number, letter in enumerate(statuses):
        status = {"o": OK, "m": MISSING, "f": FAILED}[letter]
        guard.look(Fetched(one(number), status, None, "why"))


def test_failures_are_counted_against_the_budget():
    guard = Guard("s3://b", budget=3, incomplete=False)
    look(guard, "foffoo")
    assert len(guard.failed) == 3
    with pytest.raises(
        SourceError, match=r"more than 3 objects .*engine.fetch_failures.*why.*engine.fetch_rate"
    ):
        look(guard, "f")


def test_failures_in_a_row_mean_that_the_store_is_down():
    guard = Guard("s3://b", budget=10_000, incomplete=False)
    look(guard, "f" * (IN_A_ROW - 1) + "o" + "f" * (IN_A_ROW - 1) + "m" + "f" * (IN_A_ROW - 1))
    with pytest.raises(SourceError, match="20 objects in a row could not be had, the last: why"):
        look(guard, "f")


@pytest.mark.parametrize(("present", "stops"), [(0, True), (9, True), (10, False), (500, False)])
def test_an_archive_without_its_objects_is_suspected(present, stops):
    """Only on the first thousand answers, and never when the user says that it is so."""
    statuses = "o" * present + "m" * (FIRST - present)
    look(Guard("s3://b", budget=9, incomplete=True), statuses)
    guard = Guard("s3://b", budget=9, incomplete=False)
    look(guard, statuses[:-1])
    if stops:
        with pytest.raises(SourceError, match=r"check archive.content .*engine.fetch_incomplete"):
            look(guard, statuses[-1])
    else:
        look(guard, statuses[-1] + "m" * 5_000)
