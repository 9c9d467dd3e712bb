"""Packing: every token exactly once, hardly any padding, documents cut only where they must be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.tokens.packing import IGNORE, plan

LENGTHS = st.lists(st.integers(0, 90), max_size=60)


def rebuild(packed, flat, pad):
    """The documents as they stand in the rows, read back through positions and owners only."""
    rows = packed.fill(flat, np.arange(packed.rows), pad)
    assert rows.ids.shape == (packed.rows, packed.capacity)
    return rows


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 32))
def test_every_token_lies_in_exactly_one_place(lengths, capacity):
    lengths = np.array(lengths, dtype=np.int64)
    flat = np.arange(1, lengths.sum() + 1, dtype=np.uint32)  # every token is different; 0 is the padding
    packed = plan(lengths, capacity)
    rows = rebuild(packed, flat, 0)
    assert sorted(rows.ids[rows.ids > 0].tolist()) == flat.tolist()
    assert packed.tokens == lengths.sum()
    # the owner of each token is the document that it came from
    owner = np.repeat(np.arange(len(lengths)), lengths)
    assert (rows.document[rows.ids > 0] == owner[rows.ids[rows.ids > 0] - 1]).all()
    assert (rows.document[rows.ids == 0] == -1).all()


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 32))
def test_positions_and_labels(lengths, capacity):
    lengths = np.array(lengths, dtype=np.int64)
    flat = np.arange(1, lengths.sum() + 1, dtype=np.uint16)
    packed = plan(lengths, capacity)
    rows = rebuild(packed, flat, 0)
    assert (rows.positions[:, 0] == 0).all() if packed.rows else True
    for row in range(packed.rows):
        for column in range(1, capacity):
            same = rows.document[row, column] == rows.document[row, column - 1]
            follows = rows.positions[row, column] == rows.positions[row, column - 1] + 1
            assert follows or rows.positions[row, column] == 0
            # within a fragment the tokens are consecutive; between fragments positions restart
            if follows:
                assert same
                assert rows.ids[row, column] == 0 or rows.ids[row, column] == rows.ids[row, column - 1] + 1
    first = rows.positions == 0
    assert (rows.labels[first] == IGNORE).all()
    assert (rows.labels[rows.ids == 0] == IGNORE).all()
    rest = ~first & (rows.ids > 0)
    assert (rows.labels[rest] == rows.ids[rest]).all()
    assert packed.targets().sum() == rest.sum()


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 32))
def test_only_documents_longer_than_a_row_are_cut(lengths, capacity):
    packed = plan(np.array(lengths, dtype=np.int64), capacity)
    pieces = (
        np.bincount(packed.document, minlength=len(lengths))
        if len(packed.document)
        else np.zeros(len(lengths))
    )
    assert pieces.tolist() == [-(-length // capacity) for length in lengths]


def best_fit_by_hand(lengths, capacity):
    """Rows that plain best-fit decreasing needs, looking at every row for every fragment."""
    fragments = [min(capacity, n - at) for n in lengths for at in range(0, n, capacity)]
    free: list[int] = []
    for fragment in sorted(fragments, reverse=True):
        fits = [space for space in free if space >= fragment]
        if fits:
            free.remove(min(fits))
            free.append(min(fits) - fragment)
        else:
            free.append(capacity - fragment)
    return len(free)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 32))
def test_as_many_rows_as_best_fit_decreasing(lengths, capacity):
    assert plan(np.array(lengths, dtype=np.int64), capacity).rows == best_fit_by_hand(lengths, capacity)


@pytest.mark.parametrize("capacity", [512, 2048, 8192])
def test_less_than_half_a_percent_of_padding_on_lengths_like_those_of_code(capacity):
    draw = np.random.default_rng(0).lognormal(np.log(1005), 1.585, 20_000)
    packed = plan(np.clip(draw, 1, 200_000).astype(np.int64), capacity)
    assert packed.filled >= 0.995


def test_rows_of_padding_and_repeated_rows():
    packed = plan(np.array([3, 2]), 4)
    rows = packed.fill(np.array([5, 6, 7, 8, 9], dtype=np.uint16), np.array([-1, 0, 0]), 1)
    assert rows.ids[0].tolist() == [1, 1, 1, 1]
    assert (rows.labels[0] == IGNORE).all()
    assert (rows.ids[1] == rows.ids[2]).all()


def test_digest_is_of_the_plan():
    one, same, other = plan(np.array([3, 2]), 4), plan(np.array([3, 2]), 4), plan(np.array([2, 3]), 4)
    assert one.digest() == same.digest() != other.digest()
    assert plan(np.array([], dtype=np.int64), 4).rows == 0
    for lengths, capacity in (([-1], 4), ([1], 0)):
        with pytest.raises(ValueError, match="packing needs"):
            plan(np.array(lengths), capacity)
