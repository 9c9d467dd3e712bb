"""Comparing only what the walk in rank order needs decides what comparing everything decides."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import (
    DedupError,
    Threshold,
    ThresholdError,
    decide,
    intersections,
    near,
    near_duplicates,
    shingle_sets,
    sketch,
)
from dedup.documents import as_documents
from dedup.lazy import decide_lazily
from dedup.verify import Shortcut

SEVEN = Threshold.of("0.7")


@st.composite
def documents(draw) -> list[bytes]:
    """Texts of which many are edits of others: a word changed, or more of them at the end."""
    base = [[f"w{kind}_{i}" for i in range(draw(st.integers(5, 40)))] for kind in range(2)]
    texts = []
    for _ in range(draw(st.integers(2, 12))):
        words = list(base[draw(st.integers(0, 1))])
        for place in draw(st.lists(st.integers(0, 39), max_size=2)):
            if place < len(words):
                words[place] = "edited"
        texts.append(" ".join([*words, *["more"] * draw(st.integers(0, 3))]).encode())
    return texts


def pairs_of(count: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    return st.lists(ends.filter(lambda pair: pair[0] < pair[1]), max_size=60)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.array(pairs, np.int64).reshape(-1, 2).T
    return low, high


def walk(texts, pairs, shingles_of, agreement=None, accept=None, reject=None):
    """(dropped, kept, inter, union, estimated) and the number of comparisons, by the definition."""
    sets = [set(shingles_of(text)) for text in texts]
    rows, gone, compared = [], set(), 0
    for low, high in sorted(set(pairs), key=lambda pair: (pair[1], pair[0])):
        if low in gone or high in gone:
            continue
        inter, union, estimated = len(sets[low] & sets[high]), len(sets[low] | sets[high]), False
        if agreement is not None:
            equal = agreement(low, high)
            if Fraction(equal, 256) >= accept:
                inter, union, estimated = equal, 256, True
            elif Fraction(equal, 256) < reject:
                continue
        compared += not estimated
        if union and 10 * inter >= 7 * union:
            rows.append((high, low, inter, union, estimated))
            gone.add(high)
    return rows, compared


def found(decision) -> list[tuple]:
    names = ("dropped", "kept", "inter", "union", "estimated")
    return list(zip(*(getattr(decision, name).tolist() for name in names), strict=True))


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_the_definition_and_no_comparison_more(shingles_of, data):
    """Breach: a block's border, a repeated pair or the order of pairs changes the decision, or costs comparisons."""
    texts = data.draw(documents())
    pairs = data.draw(pairs_of(len(texts)))
    array = pa.array(texts, pa.large_binary())
    low, high = columns(pairs)
    block = data.draw(st.sampled_from([1, 300, 1 << 20]))
    lazy = decide_lazily(as_documents(array), low, high, SEVEN, block_bytes=block)
    sets = shingle_sets(array)
    eager = decide(low, high, *intersections(sets, sets, low, high), SEVEN)
    assert found(lazy) == found(eager)
    rows, compared = walk(texts, pairs, shingles_of)
    assert (found(lazy), lazy.compared) == (rows, compared)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_the_shortcut_is_what_it_says(shingles_of, data):
    texts = data.draw(documents())
    pairs = data.draw(pairs_of(len(texts)))
    array = pa.array(texts, pa.large_binary())
    accept, reject = data.draw(st.sampled_from([("0.85", "0.55"), ("0.7", "0.7"), ("1", "0.000001")]))
    signatures = sketch(array).signatures
    decision = decide_lazily(
        as_documents(array), *columns(pairs), SEVEN,
        shortcut=Shortcut.of(accept, reject, SEVEN), signatures=signatures, block_bytes=300,
    )  # fmt: skip

    def equal(low: int, high: int) -> int:
        return int((signatures[low] == signatures[high]).sum())

    rows, compared = walk(texts, pairs, shingles_of, equal, Fraction(accept), Fraction(reject))
    assert (found(decision), decision.compared) == (rows, compared)


def test_a_shortcut_shows_in_the_table(edited_copies, binary):
    texts = binary(edited_copies(400, seed=5))
    exact, quick = near_duplicates(texts), near_duplicates(texts, shortcut=("0.75", "0.65"))
    assert not any(exact["estimated"].to_pylist())
    guessed = quick.filter(quick["estimated"])
    assert guessed.num_rows > 20
    assert set(guessed["union"].to_pylist()) == {256}
    assert set(guessed["kind"].to_pylist()) == {"near"}


@pytest.mark.parametrize(("accept", "reject"), [("0.6", "0.5"), ("0.9", "0.8"), ("1.1", "0.5"), ("0.8", "0")])
def test_a_shortcut_must_lie_around_the_threshold(accept, reject, binary):
    with pytest.raises(ThresholdError):
        near_duplicates(binary([b"a b c d e f"]), shortcut=(accept, reject))


def test_near_identical_texts_are_compared_once_each(binary):
    """Every candidate is near the best one: no pair between two others is compared."""
    body = " ".join(f"field_{i}" for i in range(60))
    texts = binary([f"{body} id_{i}".encode() for i in range(2_000)])
    decision = near.similar_documents(texts)
    pairs = near.candidate_pairs(as_documents(texts))
    assert (len(decision), decision.compared) == (1_999, 1_999)
    assert len(pairs) > 10 * decision.compared


def test_wrong_pairs_are_refused(binary):
    documents = as_documents(binary([b"a b c d e", b"f g h i j"]))
    for low, high in (([1], [0]), ([0], [2]), ([-1], [1]), ([0], [0, 1])):
        with pytest.raises(DedupError):
            decide_lazily(documents, np.array(low), np.array(high), SEVEN)
    with pytest.raises(DedupError, match="signatures"):
        decide_lazily(documents, *columns([]), SEVEN, shortcut=Shortcut.of("0.8", "0.6", SEVEN))
