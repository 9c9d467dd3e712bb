"""Fingerprints, their index, and overlaps are what plain Python finds; what is promised to be found is found."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dedup.errors import DedupError
from dedup.lookup import LEAST_ALIKE, Postings, Sizes, bin_bits, bins_of, candidates, sort_postings, unite
from dedup.overlap import Shingled, _by_doubling, _by_extension, _spots, overlap, token_spans
from dedup.winnow import WINDOW, WINDOWS, fingerprints, winnow

CERTAIN = WINDOW + 4  # tokens

hashes = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=150)
windows = st.integers(1, 20)


def unhurried(**more: int) -> settings:
    return settings(deadline=None, **more)  # the first example compiles


def width(count: int, window: int) -> int:
    return min(window, max(1, count // WINDOWS))


def words(count: int, seed: int, vocabulary: int = 100_000) -> list[bytes]:
    rng = random.Random(seed)
    return [b"w%d" % rng.randrange(vocabulary) for _ in range(count)]


def index_of(texts: list[bytes], bits: int = 6) -> tuple[Postings, Sizes]:
    found = fingerprints(pa.array(texts, pa.large_binary()))
    marks = np.bincount(found.index, minlength=len(texts))
    return sort_postings(found.hashes, found.index, bits), Sizes(
        found.shingles.astype(np.uint32), marks.astype(np.uint32)
    )


# ------------------------------------------------------------------------------------------------------ fingerprints


@unhurried()
@given(values=hashes, window=windows)
@example(values=[7] * 100, window=16)
@example(values=list(range(100)), window=16)
@example(values=list(range(100, 0, -1)), window=16)
def test_every_window_has_a_fingerprint_and_each_is_the_least_of_one(values, window):
    """Breach: a shared run as long as a window is not found, or more is stored than the definition says."""
    chosen = set(winnow(np.array(values, np.uint64), window).tolist())
    w = width(len(values), window)
    each = [values[i : i + w] for i in range(len(values) - w + 1)] if values else []
    assert chosen == {min(part) for part in each}
    assert all(chosen & set(part) for part in each)


@unhurried()
@given(st.lists(st.lists(st.sampled_from([b"a", b"b", b"if", b"x1"]), max_size=120), max_size=8), windows)
def test_documents_are_apart(texts, window):
    """Breach: a window reaches from one document into the next."""
    joined = [b" ".join(text) for text in texts]
    found = fingerprints(pa.array(joined, pa.large_binary()), window)
    assert (np.diff(found.index) >= 0).all()
    for number, text in enumerate(joined):
        values = Shingled.of(text).values
        assert found.hashes[found.index == number].tolist() == winnow(values, window).tolist()
        assert found.shingles[number] == len(values)


def test_long_documents_have_few_fingerprints_and_short_ones_enough():
    for tokens, least, most in ((5, 1, 1), (9, 2, 5), (30, 4, 12), (60, 4, 16), (20_000, 2_200, 2_500)):
        counts = [
            len(set(winnow(Shingled.of(b" ".join(words(tokens, seed))).values).tolist())) for seed in range(5)
        ]
        assert least <= min(counts) and max(counts) <= most, (tokens, counts)
    with pytest.raises(DedupError, match="window"):
        fingerprints(pa.array([b"a b c d e"], pa.large_binary()), 0)


# ------------------------------------------------------------------------------------------------------------- index

postings = st.lists(
    st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 40).map(lambda n: n << 30), st.integers(0, 50))
)


def unpacked(index: Postings, first: int = 0) -> list[tuple[int, int]]:
    bins = np.repeat(np.arange(len(index.directory) - 1), np.diff(index.directory).astype(np.int64)) + first
    return [
        (int(bin_) << 32 | int(key), int(document))
        for bin_, key, document in zip(bins, index.keys, index.documents, strict=True)
    ]


@unhurried()
@given(given=postings, bits=st.integers(1, 12))
def test_an_index_is_the_sorted_set_of_postings(given, bits):
    given.sort(key=lambda posting: posting[1])
    keys = np.array([key for key, _ in given], np.uint64)
    index = sort_postings(keys, np.array([document for _, document in given], np.int64), bits)
    mask = (1 << (bits + 32)) - 1
    assert unpacked(index) == sorted({(key & mask, document) for key, document in given})
    assert (
        bins_of(keys, index.bits) == (keys & np.uint64(mask)) >> np.uint64(32)
    ).all() and index.bits == bits


@unhurried()
@given(given=postings, bits=st.integers(2, 8), data=st.data())
def test_parts_of_an_index_unite_to_the_whole(given, bits, data):
    """Breach: an index made out of core differs from one made in memory."""
    given.sort(key=lambda posting: posting[1])
    cuts = sorted(data.draw(st.lists(st.integers(0, 51), max_size=3)))
    keys = np.array([key for key, _ in given], np.uint64)
    documents = np.array([document for _, document in given], np.int64)
    parts = [
        sort_postings(keys[which], documents[which], bits)
        for low, high in zip([0, *cuts], [*cuts, 51], strict=True)
        for which in [(documents >= low) & (documents < high)]
    ]
    borders = sorted({0, 1 << bits, *data.draw(st.lists(st.integers(0, 1 << bits), max_size=3))})
    found = []
    for first, last in pairwise(borders):
        found += unpacked(unite(parts, first, last), first)
    assert found == unpacked(sort_postings(keys, documents, bits))


def test_bounds_of_an_index():
    one = np.zeros(1, np.uint64)
    with pytest.raises(DedupError, match="bits"):
        sort_postings(one, one.astype(np.int64), 0)
    with pytest.raises(DedupError, match="one each"):
        sort_postings(one, np.zeros(2, np.int64), 4)
    with pytest.raises(DedupError, match="numbered"):
        sort_postings(one, np.array([1 << 32]), 4)
    assert [bin_bits(n) for n in (0, 1_000, 128 << 10, 1 << 60)] == [4, 4, 11, 20]


# -------------------------------------------------------------------------------------------------------- candidates

texts = st.lists(
    st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=0, max_size=60), min_size=1, max_size=8
)


@unhurried(max_examples=200)
@given(texts=texts, asked=st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=60), data=st.data())
def test_what_shares_a_run_of_window_and_four_tokens_is_found(texts, asked, data):
    """The guarantee of winnowing, against brute force. Breach: a copied passage is not found."""
    if data.draw(st.booleans()):  # a copied passage
        source = data.draw(st.sampled_from(texts))
        start = data.draw(st.integers(0, len(source)))
        asked[0:0] = source[start : start + data.draw(st.integers(0, 2 * CERTAIN))]

    def runs(text: list[bytes], length: int) -> set[tuple[bytes, ...]]:
        return {tuple(text[i : i + length]) for i in range(len(text) - length + 1)}

    must = {n for n, text in enumerate(texts) if runs(text, CERTAIN) & runs(asked, CERTAIN)}
    may = {n for n, text in enumerate(texts) if runs(text, 5) & runs(asked, 5)}
    index, sizes = index_of([b" ".join(text) for text in texts])
    shingles = Shingled.of(b" ".join(asked)).distinct
    found = candidates(index, sizes, shingles, best=100)
    assert must <= set(found.documents.tolist()) <= may
    assert found.found == len(found.documents)


@unhurried()
@given(
    texts=texts,
    ranges=st.lists(st.integers(0, 9), unique=True, max_size=6),
    common=st.integers(1, 10),
    most=st.integers(0, 60),
    copies=st.integers(0, 9),
)
def test_scores_ranges_and_bounds_are_those_of_plain_python(texts, ranges, common, most, copies):
    """Breach: a bound is passed over, or what was left out is not counted."""
    texts = texts + texts[:2] * copies
    ranges = sorted(ranges)[: len(ranges) // 2 * 2]
    within = list(zip(ranges[::2], ranges[1::2], strict=True))
    index, sizes = index_of([b" ".join(text) for text in texts])
    shingles = Shingled.of(b" ".join(texts[0])).distinct
    holders: dict[int, list[int]] = {}
    for key, document in unpacked(index):
        holders.setdefault(key, []).append(document)
    mask = np.uint64((1 << (index.bits + 32)) - 1)
    keys = [key for key in (shingles & mask).tolist() if key in holders]
    keys.sort(key=lambda key: len(holders[key]))
    scores: Counter[int] = Counter()
    shared: Counter[int] = Counter()
    looked = used = 0
    for key in keys:
        used += min(common, len(holders[key]))
        if used > most:
            break
        looked += 1
        allowed = [d for d in holders[key] if not within or any(a <= d < b for a, b in within)]
        for document in allowed[:common]:
            scores[document] += math.log2(1 + len(texts) / len(holders[key]))
            shared[document] += 1
    similar = {}
    for document, count in shared.items():
        inter = min(1, count / int(sizes.fingerprints[document])) * int(sizes.shingles[document])
        similar[document] = inter / (
            len(shingles) + int(sizes.shingles[document]) - min(inter, len(shingles))
        )
    found = candidates(index, sizes, shingles, best=3, within=within or None, common=common, most=most)
    assert found.found == len(scores) and found.known == len(keys)
    assert found.common == sum(len(holders[key]) > common for key in keys)
    assert found.skipped == len(keys) - looked
    first = min(3, len(scores))
    assert np.allclose(found.scores[:first], sorted(scores.values(), reverse=True)[:3])
    assert [scores[d] for d in found.documents.tolist()] == pytest.approx(found.scores.tolist())
    assert [similar[d] for d in found.documents.tolist()] == pytest.approx(found.similarities.tolist())
    assert {d for d, value in similar.items() if value >= LEAST_ALIKE + 1e-9} <= set(found.documents.tolist())
    assert len(set(found.documents.tolist())) == len(found.documents)
    assert all(value >= LEAST_ALIKE - 1e-9 for value in found.similarities[first:])


def test_copies_with_edits_here_and_there_are_found(edited_copies):
    """Every pair with Jaccard of at least 0.7: found without a long run in common. Breach: the look-up is for passages only."""
    made = edited_copies(400, seed=5)
    index, sizes = index_of(made)
    shingled = [Shingled.of(text) for text in made]
    pairs = 0
    for number, text in enumerate(shingled):
        found = set(candidates(index, sizes, text.distinct, best=400).documents.tolist())
        for other, row in enumerate(shingled):
            shared = len(text.shared(row))
            if (
                other != number
                and shared
                and 10 * shared >= 7 * (len(text.distinct) + len(row.distinct) - shared)
            ):
                pairs += 1
                assert other in found
    assert pairs > 100


# ---------------------------------------------------------------------------------------------------------- overlaps


def longest(a: list[bytes], b: list[bytes]) -> int:
    best, before = 0, [0] * (len(b) + 1)
    for x in a:
        now = [0] * (len(b) + 1)
        for j, y in enumerate(b, 1):
            now[j] = before[j - 1] + 1 if x == y else 0
        best, before = max(best, *now), now
    return best


tokens = st.lists(st.sampled_from([b"a", b"b", b"c", b"dd"]), max_size=60) | st.lists(
    st.sampled_from([b"a", b"b"]), max_size=60
)


@unhurried(max_examples=200)
@given(a=tokens, b=tokens, copied=st.lists(st.integers(0, 9).map(lambda n: b"%d" % n), max_size=40))
@example(a=[b"a"] * 60, b=[b"a"] * 33, copied=[])
def test_an_overlap_is_what_plain_python_finds(a, b, copied):
    """Shared and united shingles, and the longest run of tokens with its first place in a."""
    a, b = a + copied + a, copied + b
    first, second = Shingled.of(b" ".join(a)), Shingled.of(b"(".join(b))
    shingles = [{tuple(t[i : i + 5]) for i in range(len(t) - 4)} for t in (a, b)]
    found = overlap(first, second)
    assert (found.shared, found.union) == (len(shingles[0] & shingles[1]), len(shingles[0] | shingles[1]))
    assert len(first.shared(second)) == found.shared
    assert set(first.distinct[first.shared(second)]) == set(first.distinct) & set(second.distinct)
    length = longest(a, b)
    assert found.tokens == (length if length >= 5 else 0)
    if found.tokens:
        run = a[found.a_token : found.a_token + length]
        assert run == b[found.b_token : found.b_token + length]
        starts = [
            i for i in range(len(a)) if longest(a[i : i + length], b) == length and len(a[i:]) >= length
        ]
        assert found.a_token == starts[0]


@unhurried()
@given(st.binary(max_size=200))
def test_tokens_are_where_a_regular_expression_finds_them(text):
    found = [match.span() for match in re.finditer(rb"[A-Za-z0-9_\x80-\xff]+", text)]
    starts, stops = token_spans(text)
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == found
    assert len(Shingled.of(text).values) == max(0, len(found) - 4)


@unhurried()
@given(a=tokens, b=tokens)
def test_both_ways_to_the_longest_run_find_the_same(a, b):
    """Breach: what is told of a text that repeats itself depends on how much it does."""
    (first, second), numbers = ([], []), {}
    for text, out in ((a, first), (b, second)):
        out += [numbers.setdefault(tuple(text[i : i + 2]), len(numbers)) for i in range(len(text) - 1)]
    shared = set(first) & set(second)
    spots = [_spots(np.array([n if n in shared else -1 for n in text], np.int64)) for text in (first, second)]
    if shared:
        given = [
            x
            for text, (at, room) in zip((first, second), spots, strict=True)
            for x in (np.array(text)[at], room)
        ]
        expected = _by_doubling(*given)
        assert _by_extension(*given, len(numbers), 1 << 20) == expected and expected[0] > 0
        assert _by_extension(*given, len(numbers), -1) == (0, 0, 0)


def test_a_text_of_one_token_costs_no_more_than_its_length():
    """The run is looked for in a bounded part; its numbers say so by being no longer. Breach: quadratic work."""
    repeated = Shingled.of(b"x " * 400_000)
    found = overlap(repeated, repeated)
    assert (found.shared, found.union) == (1, 1) and found.tokens == (1 << 18) + 4
