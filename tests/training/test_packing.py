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
    """[(row, column, document, offset, length)] of best-fit decreasing, as the module's docstring says it."""
    pieces = [
        (min(capacity, n - at), document, at)
        for document, n in enumerate(lengths)
        for at in range(0, n, capacity)
    ]
    placed, free, rows = [], {}, 0
    for length, document, at in sorted(pieces, key=lambda piece: -piece[0]):
        space = min((s for s in free if s >= length and free[s]), default=None)
        if space is None:
            row, space, rows = rows, capacity, rows + 1
        else:
            row = free[space].pop()
        free.setdefault(space - length, []).append(row)
        free.pop(0, None)
        placed.append((row, capacity - space, document, at, length))
    return sorted(placed), rows


def places(packed, lengths):
    """The same of a plan, for documents that were each given once or of known starts."""
    starts = np.cumsum(lengths) - lengths
    at = packed.source - starts[packed.document]
    columns = (packed.row, packed.column, packed.document, at, packed.length)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 32))
def test_best_fit_decreasing_as_it_is_written_down(lengths, capacity):
    packed = plan(np.array(lengths, dtype=np.int64), capacity)
    wanted, rows = best_fit_by_hand(lengths, capacity)
    assert places(packed, np.array(lengths, dtype=np.int64)) == wanted
    assert packed.rows == rows


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 32), st.integers(1, 70))
def test_a_window_is_packed_as_if_it_were_alone(lengths, capacity, window):
    lengths = np.array(lengths, dtype=np.int64)
    packed = plan(lengths, capacity, window=window)
    wanted, rows = [], 0
    for first in range(0, len(lengths), window):
        some = np.arange(first, min(first + window, len(lengths)))
        part = plan(lengths, capacity, some)
        wanted += [(row + rows, *rest) for row, *rest in places(part, lengths)]
        rows += part.rows
    assert (places(packed, lengths), packed.rows) == (wanted, rows)
    if window >= len(lengths):
        assert packed.digest() == plan(lengths, capacity).digest()


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 32))
def test_concatenation_is_one_after_the_other(lengths, capacity):
    lengths = np.array(lengths, dtype=np.int64)
    flat = np.arange(1, lengths.sum() + 1, dtype=np.uint32)
    packed = plan(lengths, capacity, method="concat")
    rows = rebuild(packed, flat, 0)
    assert rows.ids.ravel()[: len(flat)].tolist() == flat.tolist()
    assert packed.rows == -(-len(flat) // capacity)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    assert rows.document.ravel()[: len(flat)].tolist() == owner.tolist()
    # positions restart with every document and with every row
    begins = np.concatenate(([True], owner[1:] != owner[:-1]))[: len(flat)] | (
        np.arange(len(flat)) % capacity == 0
    )
    assert ((rows.positions.ravel()[: len(flat)] == 0) == begins).all()


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12).flatmap(
        lambda lengths: st.tuples(st.just(lengths), st.lists(st.integers(0, len(lengths) - 1), max_size=40))
    ),
    st.integers(1, 32),
    st.sampled_from([("bfd", None), ("bfd", 1), ("bfd", 7), ("concat", None)]),
)
def test_documents_that_come_several_times_or_not_at_all(given_, capacity, how):
    lengths, documents = np.array(given_[0], dtype=np.int64), np.array(given_[1], dtype=np.int64)
    method, window = how
    packed = plan(lengths, capacity, documents, method=method, window=window)
    flat = np.arange(lengths.sum(), dtype=np.uint32)
    rows = rebuild(packed, flat, 2**31)
    seen = np.bincount(rows.ids[rows.document >= 0], minlength=len(flat)) if len(flat) else np.zeros(0)
    times = np.bincount(documents, minlength=len(lengths))
    assert seen.tolist() == np.repeat(times, lengths).tolist()
    assert packed.tokens == lengths[documents].sum()
    for row in range(packed.rows):  # fragments lie side by side from the first place on
        some = slice(packed.row_start[row], packed.row_start[row + 1])
        ends = np.cumsum(packed.length[some])
        assert packed.column[some].tolist() == [0, *ends[:-1].tolist()]
        assert 1 <= ends[-1] <= capacity
    assert packed.targets().tolist() == (rows.labels != IGNORE).sum(axis=1).tolist()


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
    assert plan(np.array([3, 2]), 4, method="concat").digest() != one.digest()
    for lengths, capacity, window in (([-1], 4, None), ([1], 0, None), ([1], 4, 0)):
        with pytest.raises(ValueError, match="packing needs"):
            plan(np.array(lengths), capacity, window=window)
    with pytest.raises(ValueError, match="not one of the 2"):
        plan(np.array([3, 2]), 4, np.array([2]))


def test_a_plan_is_small():
    draw = np.random.default_rng(0).lognormal(np.log(1005), 1.585, 20_000)
    packed = plan(np.clip(draw, 1, 200_000).astype(np.int64), 2048)
    assert packed.nbytes <= 20 * len(packed.length) + 8 * (packed.rows + 1)
    assert packed.filled >= 0.9995
    assert plan(np.clip(draw, 1, 200_000).astype(np.int64), 2048, window=1000).filled >= 0.998
