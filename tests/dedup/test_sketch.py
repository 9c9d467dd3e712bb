"""The sketch is a function of the shingle set, as the paper defines it, and estimates Jaccard similarity."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError, machine, signatures_from_arrow, signatures_to_arrow, sketch
from dedup.shingles import shingle_blocks
from dedup.sketch import EMPTY, REPETITIVE, SLOTS, TABLE, _distinct, _sketch_block

WORD = (1 << 64) - 1
K0, K1 = int(machine.K0), int(machine.K1)


def fold(a: int, b: int) -> int:
    product = a * b
    return (product & WORD) ^ (product >> 64)


def reference(values: set[int]) -> list[int]:
    """Fast Similarity Sketching round by round, in plain Python."""
    row: dict[int, int] = {}
    if not values:
        return [int(EMPTY)] * SLOTS
    for turn in range(SLOTS):
        offers: dict[int, int] = {}
        for value in values:
            h = value if turn == 0 else fold(value ^ (turn * K0 & WORD), K1)
            slot = h >> 56
            offers[slot] = min(offers.get(slot, WORD), h & 0xFFFFFFFE)
        row = offers | row  # what an earlier round put there stays
        if len(row) == SLOTS:
            break
    for slot in set(range(SLOTS)) - set(row):
        row[slot] = min(fold(v ^ ((SLOTS + slot) * K0 & WORD), K1) & 0xFFFFFFFE for v in values)
    return [row[slot] for slot in range(SLOTS)]


def hashes(text: bytes) -> list[int]:
    block = next(shingle_blocks(pa.array([text], pa.large_binary())))
    return block.values[: block.borders[-1]].tolist()


@given(st.lists(st.lists(st.integers(0, 30), max_size=80), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_signatures_follow_the_paper(lists):
    texts = [b" ".join(b"t%d" % n for n in numbers) for numbers in lists]
    found = sketch(pa.array(texts, pa.large_binary()))
    for text, row, count in zip(texts, found.signatures.tolist(), found.counts.tolist(), strict=True):
        assert count == len(hashes(text))
        assert row == reference(set(hashes(text)))


@pytest.mark.parametrize("tokens", [300, 4000, 4100, 4105, 20_000])
@pytest.mark.parametrize("period", [1, 2, 7, 60])
def test_repetition_does_not_matter(tokens, period):
    """Also beyond the length from which a repetitive text takes another way through the code."""
    text = b" ".join(b"t%d" % (i % period) for i in range(tokens))
    assert sketch(pa.array([text], pa.large_binary())).signatures[0].tolist() == reference(set(hashes(text)))


def sketched(values: np.ndarray) -> tuple[list[int], int]:
    """The signature of one document with these shingle hashes, and how many draws it took."""
    rows = np.empty((1, SLOTS), np.uint32)
    scratch = np.empty(SLOTS, np.uint64), np.empty(TABLE, np.uint64)
    draws = _sketch_block(values, np.array([0, len(values)]), rows, *scratch)
    return rows[0].tolist(), draws


WORDS = st.one_of(st.sampled_from([0, 1, 2, WORD, WORD - 1, 1 << 56]), st.integers(0, WORD))


@given(st.lists(WORDS, min_size=1, max_size=40), st.sampled_from([1, 2, 500]))
@settings(deadline=None, max_examples=60)
def test_any_hashes_in_bounded_work(values, times):
    """No text is needed that has them: zero, all ones, equal in some bits, few of them many times."""
    row, draws = sketched(np.array(values * times, np.uint64))
    assert row == reference(set(values))
    assert draws <= 2 * len(values) * times + 2 * SLOTS * max(len(values), REPETITIVE // SLOTS)


def test_hashes_made_to_collide_cost_no_more():
    """5,000 hashes three times each, which all have the same slot in round 0 and the same place in the table."""
    distinct = np.arange(5000, dtype=np.uint64) << np.uint64(14)
    values = np.tile(distinct, 3)
    assert len(_distinct(values, np.empty(TABLE, np.uint64))) == len(values)  # given up, not searched
    row, draws = sketched(values)
    assert row == reference(set(distinct.tolist()))
    assert draws <= 5 * 3 * 5000


@pytest.mark.parametrize("period", [1, 2, 3, 10, 60, 300, 2_000, 5_000, 10**9])
@pytest.mark.parametrize("tokens", [5, 30, 300, 4_000, 4_100, 200_000])
def test_work_is_a_few_draws_per_token_however_a_text_repeats_itself(period, tokens):
    """Counted, not timed. What 256 slots need by chance is 1,567 draws, whatever the text."""
    text = b" ".join(b"t%d" % (i % period) for i in range(tokens))
    _, draws = sketched(np.array(hashes(text), np.uint64))
    assert draws <= 2 * tokens + 2 * REPETITIVE


def test_order_does_not_matter():
    left, right = (b" ".join(b"%s%d" % (name, i) for i in range(40)) for name in (b"l", b"r"))
    # the same shingles at the seams: each half stands between the same four tokens
    seam = b" s s s s "
    texts = [seam + left + seam + right + seam, seam + right + seam + left + seam]
    signatures = sketch(pa.array(texts, pa.large_binary())).signatures
    assert (signatures[0] == signatures[1]).all()


def test_neighbours_in_the_array_do_not_matter(edited_copies, binary):
    texts = edited_copies(300, seed=3)
    whole = sketch(binary(texts))
    for i in range(0, 300, 37):
        assert (sketch(binary(texts[i : i + 1])).signatures[0] == whole.signatures[i]).all()
    backwards = sketch(binary(texts[::-1]))
    assert (backwards.signatures[::-1] == whole.signatures).all()
    assert (backwards.counts[::-1] == whole.counts).all()


def test_short_texts_have_no_shingles():
    texts = [b"", b"a b c d", b"....;;;", "四 个 词 语".encode(), b"a b c d e"]
    found = sketch(pa.array(texts, pa.large_binary()))
    assert found.counts.tolist() == [0, 0, 0, 0, 1]
    assert (found.signatures[:4] == EMPTY).all()
    assert (found.signatures[4] != EMPTY).all()


def test_nothing_in_nothing_out():
    found = sketch(pa.array([], pa.large_binary()))
    assert found.signatures.shape == (0, SLOTS)
    assert found.counts.shape == (0,)


def test_one_token_ten_million_times():
    text = pa.array([b"x " * 10_000_000, b"x x x x x"], pa.large_binary())
    found = sketch(text)
    assert found.counts.tolist() == [10_000_000 - 4, 1]
    assert (found.signatures[0] == found.signatures[1]).all()


def test_signatures_go_through_arrow_unchanged(edited_copies, binary):
    signatures = sketch(binary(edited_copies(20, seed=1))).signatures
    column = signatures_to_arrow(signatures)
    assert column.type == pa.binary(1024)
    assert column[3].as_py() == signatures[3].astype("<u4").tobytes()
    assert (signatures_from_arrow(column) == signatures).all()
    assert (signatures_from_arrow(column.slice(5, 7)) == signatures[5:12]).all()
    chunks = pa.chunked_array([column.slice(0, 4), column.slice(4)])
    assert (signatures_from_arrow(chunks) == signatures).all()
    assert signatures_from_arrow(column.slice(0, 0)).shape == (0, SLOTS)
    for wrong in (pa.array([b"x" * 8], pa.binary(8)), pa.array([None], pa.binary(1024))):
        with pytest.raises(DedupError, match="1024"):
            signatures_from_arrow(wrong)
    with pytest.raises(DedupError, match="256"):
        signatures_to_arrow(signatures[:, :10])
