"""The decision in rounds is the decision of one task, and of the definition, whatever the graph and the buckets."""

from __future__ import annotations

import random
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_graphs import Graph, decide, reference

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
@settings(deadline=None, max_examples=12)
def test_the_definition(graph, buckets, twice):
    """Breach: a content is replaced by one that goes itself, by a worse one than the best, or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        found = decide(graph, folder, buckets=buckets, twice=twice)
        assert found.replaced == reference(graph)
        assert found.compared <= len(graph)


@pytest.mark.parametrize("buckets", [1, 2, 8])
@pytest.mark.parametrize("name", ["random", "chain", "star", "late star", "complete"])
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
