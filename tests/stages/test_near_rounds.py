"""The decision in rounds is the decision of one task, and of the definition, whatever the graph and the buckets."""

from __future__ import annotations

import random
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_graphs import Graph, decide, reference

from pipeline.errors import ConfigError
from pipeline.stages import near_rounds

GRAPHS = st.dictionaries(
    st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda pair: pair[0] < pair[1]),
    st.sampled_from([(7, 10), (9, 10), (69, 100), (1, 50), (1, 1)]),
    max_size=40,
)


def chain(length: int) -> Graph:
    return {(i, i + 1): (8, 10) for i in range(length)}


def star(leaves: int, centre: int = 0) -> Graph:
    return {tuple(sorted((centre, leaf))): (9, 10) for leaf in range(leaves + 1) if leaf != centre}  # type: ignore[misc]


def complete(count: int) -> Graph:
    return {(i, j): (9, 10) for j in range(count) for i in range(j)}


def random_graph(seed: int, count: int, pairs: int) -> Graph:
    rng = random.Random(seed)
    graph: Graph = {}
    while len(graph) < pairs:
        low, high = sorted(rng.sample(range(count), 2))
        graph[low, high] = (rng.choice((5, 8)), 10)
    return graph


@given(GRAPHS, st.sampled_from([1, 2, 8]), st.booleans())
@settings(deadline=None, max_examples=8)
def test_the_definition(graph, buckets, twice):
    """Breach: a content is replaced by one that goes itself, by a worse one than the best, or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        found = decide(graph, folder, buckets=buckets, twice=twice)
        assert found.replaced == reference(graph)
        assert found.compared <= len(graph)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("buckets", [pytest.param(1, marks=SLOW), 2, pytest.param(8, marks=SLOW)])
@pytest.mark.parametrize(
    "name",
    ["random", pytest.param("chain", marks=SLOW), pytest.param("star", marks=SLOW), "late star", "complete"],
)
def test_one_task_and_rounds_decide_alike(tmp_path, name, buckets):
    graph = {
        "random": random_graph(1, 300, 900),
        "chain": chain(100),
        "star": star(500),
        "late star": star(500, centre=500),
        "complete": complete(25),
    }[name]
    rows = list(graph.items())
    random.Random(2).shuffle(rows)
    in_one = decide(graph, str(tmp_path / "one"), buckets=buckets, rounds=False)
    in_rounds = decide(dict(rows), str(tmp_path / "rounds"), buckets=buckets)
    assert in_one.replaced == in_rounds.replaced == reference(graph)
    assert in_rounds.compared <= in_one.compared == len(graph)
    if name != "chain":
        assert "near.rest" not in in_rounds.stages


@pytest.fixture
def few_rounds(monkeypatch):
    """Rounds that end early: look ahead once, compare all, hear of it, go to one task."""
    monkeypatch.setattr(near_rounds, "LAZY_ROUNDS", 1)
    monkeypatch.setattr(near_rounds, "MAX_ROUNDS", 3)


@pytest.mark.parametrize("seed", [pytest.param(n, marks=SLOW) if n > 1 else n for n in range(6)])
def test_one_task_takes_what_the_rounds_leave(tmp_path, few_rounds, seed):
    """Breach: what the last round told, or compared, is lost on the way to the one task."""
    graph = random_graph(seed, 60, 300) | {(100 + i, 101 + i): (8, 10) for i in range(seed, 9)}
    found = decide(graph, str(tmp_path), buckets=2)
    assert "near.rest" in found.stages
    assert found.replaced == reference(graph)


def test_a_chain_of_thousands_ends_in_one_task(tmp_path):
    graph = chain(3_000)
    found = decide(graph, str(tmp_path), buckets=1)
    assert found.stages[-2:] == ["near.rest", "near.settle"]
    assert sum(name.startswith("near.round.") for name in found.stages) == near_rounds.MAX_ROUNDS
    assert found.replaced == {i: (i - 1, "8/10") for i in range(1, 3_001, 2)}


def test_what_one_task_cannot_hold_is_refused_with_what_to_do(tmp_path, few_rounds, monkeypatch):
    monkeypatch.setattr(near_rounds, "REST_ROW_BYTES", 1_000_000)
    with pytest.raises(
        ConfigError, match=r"2,99\d pairs .* 3 rounds, .* hold 1,000: raise engine.task_memory to 3GB"
    ):
        decide(chain(3_000), str(tmp_path), buckets=1)


def test_nothing_to_decide(tmp_path):
    found = decide({}, str(tmp_path))
    assert (found.replaced, found.compared) == ({}, 0)
    assert found.stages == ["given.pairs", "near.sides", "near.round.000", "near.settle"]


def test_what_is_compared_does_not_depend_on_buckets(tmp_path):
    """Breach: a release knows other similarities, and explain other candidates, with more buckets."""
    graph = random_graph(7, 120, 700)
    one, four = (decide(graph, str(tmp_path / str(n)), buckets=n) for n in (1, 4))
    assert one.stages == four.stages
    assert one.compared == four.compared < len(graph)


@SLOW
@pytest.mark.parametrize("centre", [0, 100_000])
def test_a_star_of_a_hundred_thousand(tmp_path, centre):
    graph = star(100_000, centre=centre)
    found = decide(graph, str(tmp_path), buckets=4)
    assert "near.rest" not in found.stages
    assert found.replaced == (
        dict.fromkeys(range(1, 100001), (0, "9/10")) if centre == 0 else {centre: (0, "9/10")}
    )


@SLOW
@given(GRAPHS, st.sampled_from([1, 2, 8]), st.booleans())
@settings(deadline=None, max_examples=150)
def test_the_definition_on_many_graphs(graph, buckets, twice):
    with tempfile.TemporaryDirectory() as folder:
        assert decide(graph, folder, buckets=buckets, twice=twice).replaced == reference(graph)
