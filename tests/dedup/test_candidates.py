"""Pairs are those of the definition, whatever the order and the partitioning of the keys."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import BucketStats, DedupError, bucket_pairs, candidates, merge_pairs


def brute_force(rows: list[tuple[int, int]], cap: int, best: int):
    buckets = defaultdict(set)
    for key, ordinal in rows:
        buckets[key].add(ordinal)
    pairs: set[tuple[int, int]] = set()
    stats = BucketStats()
    for bucket in map(sorted, buckets.values()):
        every = set(itertools.combinations(bucket, 2))
        taken = every
        if len(bucket) > cap:
            taken = {(a, b) for a, b in every if a in bucket[:best]}
            stats += BucketStats(hot_buckets=1, hot_members=len(bucket), skipped_pairs=len(every - taken))
        if len(bucket) > 1:
            stats += BucketStats(buckets=1, members=len(bucket))
        pairs |= taken
    return sorted(pairs), stats


def as_arrays(rows, dtype=np.int64):
    keys = np.array([key for key, _ in rows], np.uint64)
    return keys, np.array([ordinal for _, ordinal in rows], dtype)


def listed(pairs) -> list[tuple[int, int]]:
    return list(zip(pairs.low.tolist(), pairs.high.tolist(), strict=True))


# keys that differ in the lowest, the highest or a middle bit only
KEYS = st.sampled_from([0, 1, 2, 1 << 63, (1 << 63) + 1, 1 << 32, 5 << 40, (1 << 64) - 1])
ROWS = st.lists(st.tuples(KEYS, st.integers(0, 60)), max_size=200)


@given(ROWS, st.integers(1, 8), st.integers(0, 8), st.randoms(use_true_random=False), st.integers(0, 3))
@settings(deadline=None)
def test_pairs_and_counts_are_those_of_the_definition(rows, best, above, rng, bits):
    cap = best + above
    expected = brute_force(rows, cap, best)
    pairs = bucket_pairs(*as_arrays(rows), cap=cap, best=best)
    assert (listed(pairs), pairs.stats) == expected

    shuffled = rows + rng.sample(rows, len(rows) // 3)  # repeated rows count once
    rng.shuffle(shuffled)
    again = bucket_pairs(*as_arrays(shuffled), cap=cap, best=best)
    assert (listed(again), again.stats) == expected

    partitions = defaultdict(list)
    for key, ordinal in rows:
        partitions[key >> (64 - bits)].append((key, ordinal))
    parts = [bucket_pairs(*as_arrays(part), cap=cap, best=best) for part in partitions.values()]
    merged = merge_pairs(parts)
    assert (listed(merged), merged.stats) == expected


def test_a_hot_bucket_costs_linear_work():
    count = 100_000
    ordinals = np.arange(count, dtype=np.int64)[::-1] * 10
    pairs = bucket_pairs(np.full(count, 7, np.uint64), ordinals)
    assert len(pairs) == 16 * 15 // 2 + (count - 16) * 16
    assert set(pairs.low.tolist()) == set(range(0, 160, 10))
    assert pairs.stats == BucketStats(1, count, 1, count, count * (count - 1) // 2 - len(pairs))


def test_the_cap_is_the_largest_bucket_taken_whole():
    for size, expected in ((64, 64 * 63 // 2), (65, 16 * 15 // 2 + 49 * 16)):
        assert len(bucket_pairs(np.zeros(size, np.uint64), np.arange(size))) == expected


def test_portions_do_not_change_the_pairs(monkeypatch):
    rng = np.random.default_rng(3)
    keys, ordinals = rng.integers(0, 400, 6000).astype(np.uint64), rng.integers(0, 500, 6000)
    whole = bucket_pairs(keys, ordinals, cap=10, best=3)
    for portion in (1, 10, 500):
        monkeypatch.setattr(candidates, "PAIRS_AT_ONCE", portion)
        assert listed(bucket_pairs(keys, ordinals, cap=10, best=3)) == listed(whole)


@given(ROWS, st.integers(1, 6), st.integers(0, 6), st.integers(1, 40))
@settings(deadline=None)
def test_portions_are_bounded_and_complete(rows, best, above, at_once):
    """Breach: a bucket's pairs come at once, however many; a portion repeats or loses pairs."""
    cap = best + above
    buckets = candidates.make_buckets(*as_arrays(rows), cap=cap, best=best)
    found: set[tuple[int, int]] = set()
    for words in buckets.portions(at_once):
        assert 0 < len(words) <= max(at_once, cap - 1, best)
        low, high = buckets.ends(words)
        portion = list(zip(low.tolist(), high.tolist(), strict=True))
        assert portion == sorted(set(portion))
        found |= set(portion)
    assert (sorted(found), buckets.stats) == brute_force(rows, cap, best)


def test_a_hot_bucket_is_never_held_whole():
    """Breach: the pairs of one crowded bucket (13 MB here) are in memory together."""
    count = 100_000
    buckets = candidates.make_buckets(np.full(count, 7, np.uint64), np.arange(count))
    tracemalloc.start()
    try:
        pairs = sum(len(words) for words in buckets.portions(1 << 14))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pairs == 16 * 15 // 2 + (count - 16) * 16
    assert peak < 2 << 20


@given(ROWS, st.lists(st.integers(0, 2), min_size=61, max_size=61))
@settings(deadline=None)
def test_pairs_across_owners_are_those_of_all_without_the_others(rows, owners):
    """Breach: leaving out pairs of one owner changes who is paired in a crowded bucket."""
    of = np.array(owners)
    pairs = bucket_pairs(*as_arrays(rows), cap=4, best=2)
    across = candidates.across_owners(pairs, of)
    assert listed(across) == [(a, b) for a, b in brute_force(rows, 4, 2)[0] if owners[a] != owners[b]]
    assert across.stats == pairs.stats


def test_ordinals_of_any_size_keep_their_type():
    ordinals = np.array([(1 << 64) - 1, 1 << 63, 5], np.uint64)
    pairs = bucket_pairs(np.zeros(3, np.uint64), ordinals)
    assert pairs.low.dtype == np.uint64
    assert listed(pairs) == [(5, 1 << 63), (5, (1 << 64) - 1), (1 << 63, (1 << 64) - 1)]
    signed = bucket_pairs(np.zeros(2, np.uint64), np.array([3, -4]))
    assert (signed.low.dtype, listed(signed)) == (np.int64, [(-4, 3)])


def test_random_keys_pair_nothing():
    keys = np.random.default_rng(1).permutation(np.arange(50_000, dtype=np.uint64) << np.uint64(16))
    assert len(bucket_pairs(keys, np.arange(50_000))) == 0  # equal low bits are not equal keys


def test_nothing_in_nothing_out():
    pairs = bucket_pairs(np.empty(0, np.uint64), np.empty(0, np.int64))
    assert (len(pairs), pairs.stats) == (0, BucketStats())
    assert len(merge_pairs([])) == 0
    assert len(merge_pairs([pairs, pairs])) == 0


def test_wrong_arguments_are_refused():
    keys, ordinals = np.zeros(3, np.uint64), np.arange(3)
    for wrong in ((keys[:2], ordinals), (keys.astype(np.int64), ordinals), (keys, ordinals.astype(np.int32))):
        with pytest.raises(DedupError):
            bucket_pairs(*wrong)
    for cap, best in ((4, 5), (4, 0)):
        with pytest.raises(DedupError, match="best"):
            bucket_pairs(keys, ordinals, cap=cap, best=best)
