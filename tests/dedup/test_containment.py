"""Containment: samples of shingle sets, and the pairs that share them, held against plain sets."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.containment import Rare, rare_samples, samples, shared_samples, worth_verifying
from dedup.errors import DedupError
from dedup.verify import Threshold, intersections, shingle_sets


def test_a_sample_is_a_fixed_part_of_all_hashes(edited_copies, binary):
    texts = binary(edited_copies(80, seed=3))
    sets, found = shingle_sets(texts), samples(texts, scale=4)
    assert found.sizes.tolist() == sets.sizes.tolist()
    for i in range(len(texts)):
        whole = sets.values[sets.offsets[i] : sets.offsets[i + 1]]
        mine = found.values[found.offsets[i] : found.offsets[i + 1]]
        assert mine.tolist() == whole[whole < (1 << 62)].tolist()
    assert 0.2 < len(found.values) / len(sets.values) < 0.3
    assert samples(texts, scale=1).values.tolist() == sets.values.tolist()


def test_a_scale_below_one_is_refused(binary):
    with pytest.raises(DedupError, match="scale"):
        samples(binary([b"a"]), scale=0)


ROWS = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=60)
SIZES = st.lists(
    st.sampled_from([1, 7, 10, 14, 20, 40]), min_size=10, max_size=10
)  # 7 of 10 is similar enough


@settings(deadline=None, max_examples=200)
@given(rows=ROWS, sizes=SIZES, cap=st.integers(2, 6), portion=st.integers(1, 40), seed=st.integers(0, 9))
def test_pairs_are_those_of_a_naive_count(rows, sizes, cap, portion, seed):
    given_rows = sorted(rows)
    random.Random(seed).shuffle(given_rows)
    hashes, members = np.array(given_rows, np.int64).reshape(-1, 2).T
    similar = Threshold.of("0.7")
    holders = {h: sorted(m for one, m in rows if one == h) for h, _ in rows}
    expected: Counter[tuple[int, int]] = Counter()
    for who in holders.values():
        if len(who) <= cap:
            for a, b in combinations(who, 2):
                inner, outer = sorted((a, b), key=lambda m: sizes[m])
                if 10 * sizes[inner] < 7 * sizes[outer]:
                    expected[inner, outer] += 1
    rare = rare_samples(hashes.astype(np.uint64), members.copy(), cap=cap)
    hot = [who for who in holders.values() if len(who) > cap]
    assert (rare.hot_hashes, rare.hot_holders) == (len(hot), sum(map(len, hot)))
    found: Counter[tuple[int, int]] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dedup.containment.PAIRS_AT_ONCE", portion)
        for part in shared_samples(rare, np.array(sizes), similar=similar):
            for inner, outer, shared in zip(part.inner, part.outer, part.shared, strict=True):
                found[int(inner), int(outer)] += int(shared)
    assert found == expected


def test_a_cap_of_one_pairs_nobody():
    with pytest.raises(DedupError, match="cap"):
        rare_samples(np.zeros(0, np.uint64), np.zeros(0, np.int64), cap=1)


def test_nothing_shares_nothing():
    rare = Rare(np.zeros(0, np.uint64), np.zeros(0, np.int64), 0, 0)
    assert list(shared_samples(rare, np.zeros(0, np.int64), similar=Threshold.of("0.7"))) == []


def test_most_files_inside_bigger_ones_are_candidates(binary):
    """Of planted pairs at containment 0.8 or more, by number of shingles: what the sampling finds."""
    rng = random.Random(1)
    texts, planted = [], []
    for number in range(300):
        size = rng.choice([80, 160, 500])
        inner = [f"w{number}_{rng.getrandbits(30)}" for _ in range(size)]
        outer = [f"o{number}_{rng.getrandbits(30)}" for _ in range(2 * size)] + inner[
            : int(size * rng.uniform(0.8, 1))
        ]
        planted.append((len(texts), len(texts) + 1))
        texts += [" ".join(inner).encode(), " ".join(outer).encode()]
    found, least = samples(binary(texts)), Threshold.of("0.8")
    members = np.repeat(np.arange(len(texts)), np.diff(found.offsets))
    rare = rare_samples(found.values, members)
    own = np.bincount(rare.members, minlength=len(texts))
    pairs = {}
    for part in shared_samples(rare, found.sizes, similar=Threshold.of("0.7")):
        worth = worth_verifying(part.shared, own[part.inner], least)
        pairs |= dict.fromkeys(zip(part.inner[worth].tolist(), part.outer[worth].tolist(), strict=True))
    sets = shingle_sets(binary(texts))
    inner, outer = (np.array(side) for side in zip(*planted, strict=True))
    inter, _ = intersections(sets, sets, inner, outer)
    true = {
        pair for pair, common in zip(planted, inter, strict=True) if 10 * common >= 8 * sets.sizes[pair[0]]
    }
    assert len(true) > 250
    assert len(true & set(pairs)) >= 0.97 * len(true)
    assert not set(pairs) - set(planted)
