"""Similarities are exact, and the threshold is compared in integers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError, Threshold, ThresholdError, intersections, shingle_sets, verify
from dedup.verify import LARGEST_DENOMINATOR

TEXTS = st.lists(
    st.lists(st.sampled_from([b"a", b"b", b"c", "é".encode()]), max_size=120).map(b" ".join),
    min_size=1,
    max_size=6,
)


def assert_exact(texts, shingles_of):
    sets = shingle_sets(pa.array(texts, pa.large_binary()))
    truth = [set(shingles_of(text)) for text in texts]
    assert sets.sizes.tolist() == [len(t) for t in truth]
    for i in range(len(texts)):
        values = sets.values[sets.offsets[i] : sets.offsets[i + 1]]
        assert (values[1:] > values[:-1]).all()
    ia, ib = (g.reshape(-1) for g in np.meshgrid(np.arange(len(texts)), np.arange(len(texts))))
    inter, union = intersections(sets, sets, ia, ib)
    for i, j, common, either in zip(ia.tolist(), ib.tolist(), inter.tolist(), union.tolist(), strict=True):
        assert (common, either) == (len(truth[i] & truth[j]), len(truth[i] | truth[j]))


@given(TEXTS)
@settings(deadline=None)
def test_sizes_are_those_of_python_sets(shingles_of, texts):
    assert_exact(texts, shingles_of)


def test_sizes_of_ordinary_texts(edited_copies, shingles_of):
    assert_exact(edited_copies(60, seed=8), shingles_of)


def test_sizes_of_repetitive_texts(shingles_of):
    """Two shingles many times each, in turns: what a sort by bins would be quadratic for."""
    texts = [b"a b c d " * 20_000, b"a " * 50_000, b" ".join(b"%d" % (i % 97) for i in range(60_000))]
    assert_exact([*texts, b"a b c d e", b""], shingles_of)


def test_two_collections_and_bad_indices():
    a = shingle_sets(pa.array([b"1 2 3 4 5 6", b""], pa.large_binary()))
    b = shingle_sets(pa.array([b"0 1 2 3 4 5"], pa.large_binary()))
    inter, union = intersections(a, b, np.array([0, 1]), np.array([0, 0]))
    assert (inter.tolist(), union.tolist()) == ([1, 0], [3, 2])
    assert [len(x) for x in intersections(a, b, np.empty(0, np.int64), np.empty(0, np.int64))] == [0, 0]
    for ia, ib in (([2], [0]), ([-1], [0]), ([0], [1]), ([0, 0], [0])):
        with pytest.raises(DedupError):
            intersections(a, b, np.array(ia), np.array(ib))


@pytest.mark.parametrize("limit", ["0.3", "0.7", "0.85", "1"])
def test_giving_up_early_changes_no_verdict(limit, edited_copies):
    sets = shingle_sets(pa.array(edited_copies(150, seed=6, tokens=200), pa.large_binary()))
    ia, ib = (g.reshape(-1) for g in np.meshgrid(np.arange(150), np.arange(150)))
    inter, union = intersections(sets, sets, ia, ib)
    threshold = Threshold.of(limit)
    early = intersections(sets, sets, ia, ib, threshold=threshold)
    reached = threshold.reached(inter, union)
    assert 0 < reached.sum() < len(ia)
    assert (threshold.reached(*early) == reached).all()
    assert (early[0][reached] == inter[reached]).all()
    assert (early[1][reached] == union[reached]).all()
    assert (early[0] <= inter).all()
    assert (early[0] < inter).any()  # it does give up


@given(st.integers(0, 300), st.integers(1, 20), st.integers(1, 20))
def test_least_intersection_is_the_border(total, numerator, denominator):
    limit = Threshold.of(Fraction(min(numerator, denominator), denominator))
    least = int(limit.least_intersection(np.array([total]))[0])
    for inter in range(total // 2 + 1):
        reached = bool(limit.reached(np.array([inter]), np.array([total - inter]))[0])
        assert reached == (inter >= least and total > 0)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 10**9), st.integers(1, 10**9))
def test_the_threshold_is_an_exact_fraction(numerator, denominator, inter, extra):
    numerator = min(numerator, denominator)
    limit = Threshold.of(Fraction(numerator, denominator))
    union = inter + extra
    expected = Fraction(inter, union) >= Fraction(numerator, denominator)
    assert limit.reached(np.array([inter]), np.array([union])).tolist() == [expected]


def test_the_border_belongs_to_the_duplicates():
    inter, union = np.array([7, 699_999_999, 700_000_000, 0]), np.array([10, 1_000_000_000, 1_000_000_000, 0])
    for value in ("0.7", "7/10", 0.7, Fraction(7, 10), Decimal("0.70"), Threshold(7, 10)):
        assert Threshold.of(value) == Threshold(7, 10)
        assert Threshold.of(value).reached(inter, union).tolist() == [True, False, True, False]
    assert Threshold.of("1").reached(np.array([5, 5]), np.array([5, 6])).tolist() == [True, False]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 10))
def test_sizes_rule_out_only_what_cannot_reach(common, only_a, only_b, tenths):
    limit = Threshold.of(Fraction(tenths, 10))
    if limit.reached(np.array([common]), np.array([common + only_a + only_b]))[0]:
        assert limit.possible(np.array([common + only_a]), np.array([common + only_b]))[0]


@pytest.mark.parametrize(
    "value",
    ["0", "1.1", "-0.7", "", "x", "0.7.1", "1/0", "nan", "1e-3", "0." + "7" * 100, 0.0, 1.5, float("nan"),
     float("inf"), Fraction(1, LARGEST_DENOMINATOR + 1), "0.1234567", None, True],
)  # fmt: skip
def test_thresholds_out_of_range_are_refused(value):
    with pytest.raises(ThresholdError, match="threshold"):
        Threshold.of(value)


TOP = 0xFFFFFFFFFFFFFFFF
HASHES = st.one_of(
    st.integers(0, TOP),
    st.integers(TOP - 40, TOP),  # at the end of the table, and the mark of free slots
    st.integers(0, 40),  # crowded, as chosen hashes can be
    st.builds(lambda high, low: high << 56 | low, st.integers(0, 255), st.integers(0, 3)),
)


@given(st.lists(st.lists(HASHES, max_size=90), max_size=6), st.sampled_from([2, 64, 512]))
def test_sets_of_any_hashes_are_sorted_and_distinct(documents, slots):
    values = np.array([value for one in documents for value in one], np.uint64)
    borders = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    table = np.full(slots + verify.SPARE, verify.FREE)  # too small for some: these are sorted otherwise
    found, distinct = verify.sorted_distinct(values, borders, table)
    assert (table == verify.FREE).all()
    assert distinct.tolist() == [len(set(one)) for one in documents]
    assert found.tolist() == [value for one in documents for value in sorted(set(one))]


@pytest.mark.parametrize("chosen", ["descending", "equal", "crowded"])
def test_hashes_that_were_chosen_cost_linear_work(chosen):
    """Breach: a table in which every hash lands in one slot takes n^2 steps; here it would be minutes."""
    count = 400_000
    values = np.arange(count, dtype=np.uint64)
    values = {"descending": values[::-1].copy(), "equal": values * 0, "crowded": values << np.uint64(20)}[
        chosen
    ]
    table = np.full((1 << 20) + verify.SPARE, verify.FREE)
    found, distinct = verify.sorted_distinct(values, np.array([0, count]), table)
    assert found.tolist() == sorted(set(values.tolist())) and distinct.tolist() == [len(found)]
