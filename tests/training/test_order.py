"""The order of rows: each exactly once per epoch, the same stream for any number of processes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import TrainingConfigError, TrainingDataError
from training.tokens.order import TrainingOrder, permutation
from training.tokens.packing import plan


def order_of(
    rows: list[int], rows_per_step: int, *, seed: int = 0, steps: int | None = None
) -> TrainingOrder:
    """An order over epochs of so many rows each."""
    return TrainingOrder([plan(np.full(n, 4), 4) for n in rows], seed, rows_per_step, steps)


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(1, 9), st.integers(0, 5))
def test_every_row_exactly_once_per_epoch(rows, rows_per_step, seed):
    order = order_of(rows, rows_per_step, seed=seed)
    seen: dict[int, list[int]] = {}
    for step in range(order.steps):
        epoch, numbers = order.rows(step)
        assert len(numbers) == rows_per_step
        seen.setdefault(epoch, []).extend(numbers[numbers >= 0].tolist())
    assert {epoch: sorted(numbers) for epoch, numbers in seen.items()} == {
        epoch: list(range(count)) for epoch, count in enumerate(rows)
    }


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 3), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]))
def test_any_number_of_processes_sees_the_same_rows_in_the_same_step(rows, seed, world, micro):
    order = order_of([rows], 32, seed=seed)
    assert order.accumulation(world, micro) * world * micro == 32
    for step in range(order.steps):
        parts = [
            order.micro_batch(step, part, rank, world, micro)[1]
            for part in range(order.accumulation(world, micro))
            for rank in range(world)
        ]
        assert np.concatenate(parts).tolist() == order.rows(step)[1].tolist()


def test_the_order_is_a_permutation_that_depends_on_seed_and_epoch():
    one = permutation(1000, 0, 0)
    assert sorted(one.tolist()) == list(range(1000))
    assert one.tolist() == permutation(1000, 0, 0).tolist()
    for other in (permutation(1000, 1, 0), permutation(1000, 0, 1)):
        assert (one == other).mean() < 0.02
    # far from the identity and from a shift: neighbours are not kept
    assert (np.diff(one) == 1).mean() < 0.02


def test_known_order_never_changes():
    """A checkpoint of an older version must find its rows again."""
    assert permutation(12, 0, 0).tolist() == KNOWN


KNOWN = [9, 7, 0, 8, 1, 11, 10, 6, 2, 4, 5, 3]


def test_seen_counts_what_the_steps_took():
    order = order_of([10, 7], 4)
    assert order.steps == 3 + 2
    assert [(epoch, count) for epoch, count, _ in order.seen(0)] == []
    assert [(epoch, count) for epoch, count, _ in order.seen(2)] == [(0, 8)]
    assert [(epoch, count) for epoch, count, _ in order.seen(4)] == [(0, 10), (1, 4)]
    assert [(epoch, count) for epoch, count, _ in order.seen(5)] == [(0, 10), (1, 7)]


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 9), st.integers(1, 9))
def test_what_the_refusal_names_would_do(rows_per_step, world, micro):
    order = order_of([rows_per_step], rows_per_step)
    if rows_per_step % (world * micro) == 0:
        assert order.accumulation(world, micro) == rows_per_step // (world * micro)
        return
    with pytest.raises(TrainingConfigError, match="What would do") as refused:
        order.accumulation(world, micro)
    choices = str(refused.value).partition("one of: ")[2].split("; ")
    assert choices
    for choice in choices:
        name, _, values = choice.partition(": ")
        for value in map(int, values.replace(" or ", ", ").split(", ")):
            if name == "micro_batch_size":
                assert order.accumulation(world, value) >= 1
            elif name == "processes":
                assert order.accumulation(value, micro) >= 1
            else:
                assert value % (4 * world * micro) == 0  # rows of four tokens
                assert value > 0


def test_the_remainder_of_each_epoch_is_known():
    assert order_of([10, 8, 7], 4).remainders() == [2, 0, 1]
    assert order_of([10, 8, 7], 4, steps=4).remainders() == [2]  # the second epoch is not ended
    order = order_of([10], 4)
    assert [(order.rows(step)[1] < 0).sum() for step in range(3)] == [0, 0, 2]


def test_digest():
    assert order_of([9], 4).digest() == order_of([9], 4).digest()
    digests = {order_of([9], 4).digest(), order_of([9], 4, seed=1).digest(), order_of([9], 2).digest()}
    assert len(digests | {order_of([9, 9], 4).digest()}) == 4


def test_refused():
    with pytest.raises(TrainingConfigError, match="cannot be divided among 3 processes"):
        order_of([9], 4).accumulation(3, 1)
    with pytest.raises(TrainingDataError, match="no document"):
        order_of([0], 4)
    with pytest.raises(TrainingDataError, match="no token of its batch has a label"):
        TrainingOrder([plan(np.ones(9, dtype=np.int64), 4)], 0, 1, None)
