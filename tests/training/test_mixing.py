"""An epoch holds what the weights ask for, in tokens; over the epochs no document is forgotten."""

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.corpus.mixing import Weights, hashed_order, limited, lines, mix, summary, wanted_shares
from training.errors import TrainingDataError

NAMES = [(source, language) for source in ("a", "b") for language in ("C", "Go", "Lua")]
NONE = Weights({}, {}, 4.0)


@st.composite
def documents(draw):
    """(lengths, group) of some documents in the six groups, the first group never empty."""
    group = draw(st.lists(st.integers(0, len(NAMES) - 1), max_size=40))
    lengths = draw(st.lists(st.integers(1, 500), min_size=len(group) + 1, max_size=len(group) + 1))
    return np.array(lengths, dtype=np.int64), np.array([0, *group], dtype=np.int64)


@st.composite
def weights(draw, group):
    """Weights for what there is: of sources, of languages, of both, or of none."""
    there = [NAMES[g] for g in sorted(set(group.tolist()))]
    weight = st.floats(0.01, 100.0)
    sources = {s: draw(weight) for s, _ in there} if draw(st.booleans()) else {}
    languages = {x: draw(weight) for _, x in there} if draw(st.booleans()) else {}
    return Weights(sources, languages, draw(st.sampled_from([1.0, 1.5, 4.0, 1000.0])))


def test_without_weights_every_document_comes_once():
    lengths, group = np.array([5, 6, 7]), np.array([2, 0, 2])
    for epoch in (0, 3):
        order, shares = mix(lengths, NAMES, group, NONE, seed=1, epoch=epoch)
        assert order.tolist() == [0, 1, 2]
        assert [(s.language, s.shown, s.repeats) for s in shares] == [("C", 6, 1.0), ("Lua", 12, 1.0)]
        assert [s.wanted for s in shares] == [6 / 18, 12 / 18]
        assert [(s.first, s.stop) for s in shares] == [(epoch, epoch + 1), (2 * epoch, 2 * epoch + 2)]


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(0, 3), st.integers(1, 6))
def test_shares_are_within_one_document_and_no_document_is_forgotten(data, seed, epochs):
    lengths, group = data.draw(documents())
    wanted = data.draw(weights(group))
    total = int(lengths.sum())
    seen, shown = Counter(), Counter()
    for epoch in range(epochs):
        order, shares = mix(lengths, NAMES, group, wanted, seed=seed, epoch=epoch)
        assert sum(s.shown for s in shares) == lengths[order].sum()
        assert sum(s.wanted for s in shares) == pytest.approx(1)
        seen.update(order.tolist())
        for share in shares:
            number = NAMES.index((share.source, share.language))
            mine = np.flatnonzero(group == number)
            here = order[group[order] == number]
            assert share.shown == lengths[here].sum()
            assert share.stop - share.first == len(here)
            if wanted.sources or wanted.languages:
                quota = min(share.wanted * total, wanted.max_repeats * share.tokens)
                assert abs(share.shown - quota) <= lengths[mine].max() + 1
                assert max(Counter(here.tolist()).values(), default=0) <= np.ceil(wanted.max_repeats)
                shown[number] += share.shown
                assert abs(shown[number] - (epoch + 1) * quota) <= lengths[mine].max() + epoch + 1
    for number in set(group.tolist()):
        times = [seen[document] for document in np.flatnonzero(group == number).tolist()]
        assert max(times) - min(times) <= 1


def test_the_arithmetic_in_plain_python():
    """What the module's text says, written down without numpy."""
    lengths, group = [30, 10, 20, 40, 50, 5], [0, 0, 0, 1, 1, 1]
    wanted = Weights({}, {"C": 3.0, "Go": 1.0}, 4.0)
    for epoch in range(5):
        result = []
        for number, language in enumerate(("C", "Go")):
            documents = [d for d, g in enumerate(group) if g == number]
            order = hashed_order(len(documents), f"mix|7|a|{language}").tolist()
            cycle = [documents[i] for i in order]
            tokens = sum(lengths[d] for d in documents)
            share = Fraction(wanted.languages[language]) / 4
            quota = min(int(share * sum(lengths)), int(Fraction(4.0) * tokens))
            begin, j = 0, 0
            while begin < (epoch + 1) * quota:
                if begin >= epoch * quota:
                    result.append(cycle[j % len(cycle)])
                begin += lengths[cycle[j % len(cycle)]]
                j += 1
        found, _ = mix(np.array(lengths), NAMES, np.array(group), wanted, seed=7, epoch=epoch)
        assert found.tolist() == result


def test_the_order_is_fixed_for_ever():
    """Breach: another version shows the documents in another order, and no old run can be traced."""
    assert hashed_order(8, "mix|0|release|Python").tolist() == [0, 4, 5, 2, 1, 7, 3, 6]
    assert sorted(hashed_order(1000, "x").tolist()) == list(range(1000))
    assert hashed_order(0, "x").tolist() == []


def test_another_seed_shows_another_part():
    lengths, group = np.full(100, 10), np.repeat([0, 1], 50)
    wanted = Weights({}, {"C": 1.0, "Go": 9.0}, 9.0)
    parts = [
        frozenset(mix(lengths, NAMES, group, wanted, seed=seed, epoch=0)[0][:10].tolist())
        for seed in range(3)
    ]
    assert len(set(parts)) == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Weights({}, {"C": 1.0, "Go": 1.0}, 1e9), {"a C": 0.25, "a Go": 1 / 6, "b C": 0.25, "b Go": 1 / 3}),
        (
            Weights({"a": 3.0, "b": 1.0}, {}, 1e9),
            {"a C": 0.5, "a Go": 0.25, "b C": 0.25 / 2, "b Go": 0.25 / 2},
        ),
        (
            Weights({"a": 3.0, "b": 1.0}, {"C": 4.0, "Go": 1.0}, 1e9),
            {"a C": 0.6, "a Go": 0.15, "b C": 0.2, "b Go": 0.05},
        ),
    ],
    ids=["languages", "sources", "both"],
)
def test_shares_of_groups(given, expected):
    lengths, group = np.array([20, 10, 20, 20]), np.array([0, 1, 3, 4])  # a: C 20, Go 10; b: C 20, Go 20
    _, shares = mix(lengths, NAMES, group, given, seed=0, epoch=0)
    assert {f"{s.source} {s.language}": s.wanted for s in shares} == pytest.approx(expected)


def test_max_repeats_holds_a_small_group_back_and_it_is_said():
    lengths, group = np.full(101, 10), np.array([0] * 100 + [1])
    order, shares = mix(lengths, NAMES, group, Weights({}, {"C": 1.0, "Go": 1.0}, 3.0), seed=0, epoch=2)
    assert Counter(order.tolist())[100] == 3
    table = summary(shares)["languages"]
    assert table["Go"] == {
        "wanted": 0.5,
        "achieved": 30 / sum(s.shown for s in shares),
        "tokens": 30,
        "repeats": 3.0,
    }
    said = list(lines(shares, 2))
    assert len(said) == 2  # one source: nothing to say of sources
    assert "max_repeats gives a Go less than wanted" in said[1]
    assert "Go 5." in said[0] and "(50.0%) x3.00" in said[0]


def test_lengths_of_the_epoch_itself_are_reported():
    lengths, own = np.array([10, 10]), np.array([13, 10])
    _, shares = mix(lengths, NAMES, np.array([0, 1]), NONE, seed=0, epoch=1, own_lengths=own)
    assert [s.shown for s in shares] == [13, 10]


def test_a_weight_without_documents_is_an_error():
    lengths, group = np.array([10]), np.array([0])
    with pytest.raises(TrainingDataError, match="language 'Lua' has a weight and no document"):
        mix(lengths, NAMES, group, Weights({}, {"C": 1.0, "Lua": 1.0}, 4.0), seed=0, epoch=0)
    with pytest.raises(TrainingDataError, match="source 'b' has a weight and no document"):
        mix(lengths, NAMES, group, Weights({"a": 1.0, "b": 1.0}, {}, 4.0), seed=0, epoch=0)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(0, 20_000))
def test_a_limit_is_shared_out_as_the_weights_ask(data, limit):
    lengths, group = data.draw(documents())
    sizes = np.bincount(group, weights=lengths).astype(int).tolist()
    available = {NAMES[number]: size for number, size in enumerate(sizes) if size}
    wanted = data.draw(weights(group))
    taken = limited(available, wanted, limit)
    shares = wanted_shares(available, wanted)
    assert taken.keys() == available.keys()
    assert all(taken[name] <= available[name] for name in available)
    assert min(limit, sum(sizes)) - len(available) < sum(taken.values()) <= limit or sum(sizes) <= limit
    if sum(sizes) <= limit:
        assert taken == available
    full = {name for name in available if taken[name] == available[name]}
    for one, other in itertools.permutations(available.keys() - full, 2):  # in proportion, rounded down
        assert (taken[one] + 1) * shares[other] > taken[other] * shares[one]
    for one in full:  # nothing is full that others had to give way for
        for other in available.keys() - full:
            assert taken[one] * shares[other] <= (taken[other] + 1) * shares[one]


def test_many_small_groups_are_shares_of_the_same_documents():
    """Breach: the documents of a group are not those that have its number, or not in their order."""
    names = [("a", f"l{number}") for number in range(50)]
    group = np.random.default_rng(0).integers(0, 50, 400)
    lengths = np.arange(1, 401)
    order, shares = mix(lengths, names, group, Weights({}, {x: 1.0 for _, x in names}, 1.0), seed=0, epoch=0)
    at = 0
    for share in shares:
        mine = np.flatnonzero(group == int(share.language[1:]))
        cycle = mine[hashed_order(len(mine), f"mix|0|a|{share.language}")]
        assert order[at : at + share.stop].tolist() == cycle[: share.stop].tolist()
        at += share.stop
    assert at == len(order)
