"""Rounds, in which a document knows what it was told, come to the decision of one walk in rank order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError
from dedup.rounds import DROPPED, EDGE, KEPT, NO_EDGE, UNHEARD, UNKNOWN, one_round

Graph = dict[tuple[int, int], bool]
"""(better-ranked, worse-ranked) of the candidates -> whether it is an edge."""

GRAPHS = st.dictionaries(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).filter(lambda pair: pair[0] < pair[1]),
    st.booleans(),
    max_size=80,
)


def reference(graph: Graph) -> dict[int, int]:
    """Dropped -> kept, by walking all documents in rank order."""
    dropped: dict[int, int] = {}
    for document in sorted({end for pair in graph for end in pair}):
        for low in range(document):
            if graph.get((low, document)) and low not in dropped:
                dropped[document] = low
                break
    return dropped


def in_rounds(graph: Graph, ahead: list[int | None], parts: int) -> tuple[dict[int, int], list[int]]:
    """The same in rounds over `parts` sets of documents; and how many pairs each round asked for."""
    documents = {end for pair in graph for end in pair}
    fates = dict.fromkeys(documents - {high for _, high in graph}, KEPT)  # told in the first round
    pairs = dict.fromkeys(sorted(graph, key=lambda pair: (pair[1], pair[0])), UNKNOWN)
    heard: dict[int, int] = {}
    dropped: dict[int, int] = {}
    asked: list[int] = []
    while pairs:
        assert len(asked) <= len(documents) + len(ahead), "no progress"
        limit = ahead[min(len(asked), len(ahead) - 1)]
        wanted: list[tuple[int, int]] = []
        left: dict[tuple[int, int], int] = {}
        for part in range(parts):
            mine = [pair for pair in pairs if pair[1] % parts == part]
            done = one_round(
                np.array([high for _, high in mine], np.int64),
                np.array([heard.get(low, UNHEARD) for low, _ in mine], np.int8),
                np.array([pairs[pair] for pair in mine], np.int8),
                ahead=limit,
            )
            for row, fate in zip(done.rows.tolist(), done.fates.tolist(), strict=True):
                if fate != UNHEARD:
                    assert fates.setdefault(mine[row][1], fate) == fate, "a fate never changes"
            for pair, still, ask, final in zip(mine, done.open, done.asked, done.final, strict=True):
                assert not (ask and not still)
                assert not (ask and (pairs[pair] != UNKNOWN or heard.get(pair[0]) == DROPPED))
                if final:
                    assert dropped.setdefault(pair[1], pair[0]) == pair[0]
                if still:
                    left[pair] = pairs[pair]
                wanted += [pair] if ask else []
        heard = dict(fates)
        pairs = left | {pair: EDGE if graph[pair] else NO_EDGE for pair in wanted}
        pairs = {pair: pairs[pair] for pair in sorted(pairs, key=lambda pair: (pair[1], pair[0]))}
        asked.append(len(wanted))
    assert {document for document, fate in fates.items() if fate == DROPPED} == set(dropped)
    return dropped, asked


@given(
    GRAPHS,
    st.lists(st.one_of(st.integers(0, 5), st.none()), max_size=4).map(lambda first: [*first, 1]),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=300)
def test_rounds_come_to_the_decision_of_one_walk(graph, ahead, parts):
    """Breach: what is compared in advance, or who lies with whom, changes the decision."""
    dropped, asked = in_rounds(graph, ahead, parts)
    assert dropped == reference(graph)
    assert sum(asked) <= len(graph)
    assert in_rounds(graph, ahead, 1) == (dropped, asked)


def test_what_a_kept_one_settles_is_not_compared():
    """A complete graph: all but the best one fall to it, and nothing between them is compared."""
    graph = {(i, j): True for j in range(30) for i in range(j)}
    dropped, asked = in_rounds(graph, [0], 2)
    assert (set(dropped.values()), sum(asked)) == ({0}, 29)


def test_looking_ahead_stops_at_an_edge():
    """7 resembles 2, which is still undecided: whether it resembles 3 matters only if 2 is dropped."""
    graph = {(0, 2): False, (2, 7): True, (3, 7): True, (1, 3): False}
    assert in_rounds(graph, [1], 1) == ({7: 2}, [3, 0, 0])


def test_a_chain_is_told_step_by_step():
    dropped, asked = in_rounds({(i, i + 1): True for i in range(50)}, [None], 3)
    assert dropped == {i: i - 1 for i in range(1, 51, 2)}
    assert (asked[0], sum(asked)) == (50, 50)


def test_nothing_in_nothing_out():
    none = np.empty(0, np.int8)
    done = one_round(np.empty(0, np.uint64), none, none)
    assert (len(done.open), len(done.rows), len(done.fates)) == (0, 0, 0)


def test_pairs_must_be_complete_and_in_order():
    codes = np.zeros(2, np.int8)
    with pytest.raises(DedupError, match="ascend"):
        one_round(np.array([2, 1]), codes, codes)
    with pytest.raises(DedupError, match="length"):
        one_round(np.array([1]), codes, codes)
