"""The kept documents are the lexicographically first maximal independent set in rank order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError, Threshold, decide


def reference(edges: dict[tuple[int, int], tuple[int, int]]) -> dict[int, tuple[int, int, int]]:
    """dropped -> (kept, inter, union), by walking all documents in rank order."""
    kept: list[int] = []
    dropped = {}
    for document in sorted({node for edge in edges for node in edge}):
        stands = next((k for k in kept if (k, document) in edges), None)
        if stands is None:
            kept.append(document)
        else:
            dropped[document] = (stands, *edges[stands, document])
    return dropped


def decided(edges, order=None, dtype=np.int64) -> dict[int, tuple[int, int, int]]:
    rows = [(low, high, *counts) for (low, high), counts in edges.items()]
    if order:
        order.shuffle(rows)
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    found = decide(columns[0].astype(dtype), columns[1].astype(dtype), columns[2], columns[3], "0.7")
    assert found.dropped.tolist() == sorted(found.dropped.tolist())
    columns = (found.kept.tolist(), found.inter.tolist(), found.union.tolist())
    return dict(zip(found.dropped.tolist(), zip(*columns, strict=True), strict=True))


GRAPHS = st.dictionaries(
    st.tuples(st.integers(0, 25), st.integers(0, 25)).filter(lambda e: e[0] < e[1]),
    st.sampled_from([(7, 10), (69, 100), (9, 10), (1, 1), (0, 0), (1, 50)]),
    max_size=80,
)


@given(GRAPHS, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_first_maximal_independent_set(pairs, rng):
    edges = {edge: counts for edge, counts in pairs.items() if counts[1] and 10 * counts[0] >= 7 * counts[1]}
    dropped = decided(pairs, rng)
    assert dropped == reference(edges)
    # what a reader can check without knowing the order
    for document, (kept, inter, union) in dropped.items():
        assert kept < document
        assert kept not in dropped
        assert edges[kept, document] == (inter, union)
    for low, high in edges:
        assert low in dropped or high in dropped
    for document in dropped:
        assert not any(
            low < dropped[document][0] and low not in dropped for low, high in edges if high == document
        )


def test_a_chain_keeps_both_ends():
    assert decided({(1, 2): (8, 10), (2, 3): (8, 10)}) == {2: (1, 8, 10)}


def test_a_star_with_a_bad_centre_keeps_the_centre_out():
    assert decided({(1, 9): (8, 10), (2, 9): (9, 10), (3, 9): (8, 10)}) == {9: (1, 8, 10)}


def test_a_removed_document_brings_back_what_it_displaced():
    edges = {(1, 2): (8, 10), (2, 3): (9, 10)}
    assert decided(edges) == {2: (1, 8, 10)}
    assert decided({e: c for e, c in edges.items() if 1 not in e}) == {3: (2, 9, 10)}


def test_large_ordinals():
    big = (1 << 63) + 5
    found = decide(
        np.array([7], np.uint64), np.array([big], np.uint64), np.array([1]), np.array([1]), Threshold(7, 10)
    )
    assert (found.dropped.tolist(), found.kept.tolist()) == ([big], [7])


def test_repeated_pairs_count_once():
    twice = np.array([1, 1]), np.array([2, 2]), np.array([4, 4]), np.array([5, 5])
    assert len(decide(*twice, "0.7")) == 1


def test_nothing_in_nothing_out():
    none = np.empty(0, np.int64)
    assert len(decide(none, none, none, none, "0.7")) == 0


def test_pairs_must_be_ordered_and_complete():
    one = np.array([1])
    with pytest.raises(DedupError, match="lower"):
        decide(np.array([2]), one, one, one, "0.7")
    with pytest.raises(DedupError, match="lower"):
        decide(one, one, one, one, "0.7")
    with pytest.raises(DedupError, match="length"):
        decide(one, np.array([2]), one, np.array([1, 1]), "0.7")
