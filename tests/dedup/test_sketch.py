"""The sketch is a function of the shingle set, as the paper defines it, and estimates Jaccard similarity."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError, agreement, machine, signatures_from_arrow, signatures_to_arrow, sketch
from dedup.shingles import shingle_blocks
from dedup.sketch import EMPTY, SLOTS

WORD = (1 << 64) - 1
K0, K1 = int(machine.K0), int(machine.K1)


def fold(a: int, b: int) -> int:
    product = a * b
    return (product & WORD) ^ (product >> 64)


def reference(values: set[int]) -> list[int]:
    """Fast Similarity Sketching round by round, in plain Python."""
    row: dict[int, int] = {}
    if not values:
        return [int(EMPTY)] * SLOTS
    for turn in range(SLOTS):
        offers: dict[int, int] = {}
        for value in values:
            h = value if turn == 0 else fold(value ^ (turn * K0 & WORD), K1)
            slot = h >> 56
            offers[slot] = min(offers.get(slot, WORD), h & 0xFFFFFFFE)
        row = offers | row  # what an earlier round put there stays
    for slot in set(range(SLOTS)) - set(row):
        row[slot] = min(fold(v ^ ((SLOTS + slot) * K0 & WORD), K1) & 0xFFFFFFFE for v in values)
    return [row[slot] for slot in range(SLOTS)]


def hashes(text: bytes) -> list[int]:
    block = next(shingle_blocks(pa.array([text], pa.large_binary())))
    return block.values[: block.borders[-1]].tolist()


@given(st.lists(st.lists(st.integers(0, 30), max_size=80), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_signatures_follow_the_paper(lists):
    texts = [b" ".join(b"t%d" % n for n in numbers) for numbers in lists]
    found = sketch(pa.array(texts, pa.large_binary()))
    for text, row, count in zip(texts, found.signatures.tolist(), found.counts.tolist(), strict=True):
        assert count == len(hashes(text))
        assert row == reference(set(hashes(text)))


@pytest.mark.parametrize("tokens", [300, 4000, 4100, 4105, 20_000])
@pytest.mark.parametrize("period", [1, 2, 7, 60])
def test_repetition_does_not_matter(tokens, period):
    """Also beyond the length from which a repetitive text takes another way through the code."""
    text = b" ".join(b"t%d" % (i % period) for i in range(tokens))
    assert sketch(pa.array([text], pa.large_binary())).signatures[0].tolist() == reference(set(hashes(text)))


def test_order_does_not_matter():
    left, right = (b" ".join(b"%s%d" % (name, i) for i in range(40)) for name in (b"l", b"r"))
    # the same shingles at the seams: each half stands between the same four tokens
    seam = b" s s s s "
    texts = [seam + left + seam + right + seam, seam + right + seam + left + seam]
    signatures = sketch(pa.array(texts, pa.large_binary())).signatures
    assert (signatures[0] == signatures[1]).all()


def test_neighbours_in_the_array_do_not_matter(edited_copies, binary):
    texts = edited_copies(300, seed=3)
    whole = sketch(binary(texts))
    for i in range(0, 300, 37):
        assert (sketch(binary(texts[i : i + 1])).signatures[0] == whole.signatures[i]).all()
    backwards = sketch(binary(texts[::-1]))
    assert (backwards.signatures[::-1] == whole.signatures).all()
    assert (backwards.counts[::-1] == whole.counts).all()


def test_short_texts_have_no_shingles():
    texts = [b"", b"a b c d", b"....;;;", "四 个 词 语".encode(), b"a b c d e"]
    found = sketch(pa.array(texts, pa.large_binary()))
    assert found.counts.tolist() == [0, 0, 0, 0, 1]
    assert (found.signatures[:4] == EMPTY).all()
    assert (found.signatures[4] != EMPTY).all()


def test_nothing_in_nothing_out():
    found = sketch(pa.array([], pa.large_binary()))
    assert found.signatures.shape == (0, SLOTS)
    assert found.counts.shape == (0,)


def test_one_token_ten_million_times():
    text = pa.array([b"x " * 10_000_000, b"x x x x x"], pa.large_binary())
    found = sketch(text)
    assert found.counts.tolist() == [10_000_000 - 4, 1]
    assert (found.signatures[0] == found.signatures[1]).all()


def planted(count: int, seed: int) -> tuple[list[bytes], np.ndarray]:
    """Pairs of texts (2i, 2i + 1), one an edited copy of the other, and the exact similarity of each pair."""
    rng = np.random.default_rng(seed)
    texts, truth = [], []
    for _ in range(count):
        size = int(rng.integers(30, 1500))
        words = [f"w{n:x}" for n in rng.integers(1 << 40, size=size)]
        edited = rng.random(size) < rng.choice([0.002, 0.01, 0.04])
        other = [f"v{n:x}" for n in rng.integers(1 << 40, size=size)]
        other = [new if change else old for new, old, change in zip(other, words, edited, strict=True)]
        sets = [{tuple(w[i : i + 5]) for i in range(size - 4)} for w in (words, other)]
        truth.append(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
        texts += [" ".join(words).encode(), " ".join(other).encode()]
    return texts, np.array(truth)


def test_estimates_jaccard_similarity_without_bias():
    texts, truth = planted(500, seed=11)
    signatures = sketch(pa.array(texts, pa.large_binary())).signatures
    even = np.arange(0, len(texts), 2)
    error = agreement(signatures, even, even + 1) / SLOTS - truth
    theory = np.sqrt((truth * (1 - truth)).mean() / SLOTS)  # of 256 independent permutations
    assert np.sqrt((error**2).mean()) < 1.05 * theory
    assert abs(error.mean()) < 4 * theory / np.sqrt(len(truth)) + 0.002


def test_estimates_as_well_as_datasketch():
    datasketch = pytest.importorskip("datasketch")
    texts, truth = planted(60, seed=12)
    peers = []
    for text in texts:
        tokens = text.split()
        peer = datasketch.MinHash(num_perm=SLOTS)
        peer.update_batch([b" ".join(tokens[i : i + 5]) for i in range(len(tokens) - 4)])
        peers.append(peer)
    theirs = np.array([a.jaccard(b) for a, b in zip(peers[::2], peers[1::2], strict=True)]) - truth
    signatures = sketch(pa.array(texts, pa.large_binary())).signatures
    even = np.arange(0, len(texts), 2)
    ours = agreement(signatures, even, even + 1) / SLOTS - truth
    assert np.sqrt((ours**2).mean()) < 1.2 * np.sqrt((theirs**2).mean())


def test_signatures_go_through_arrow_unchanged(edited_copies, binary):
    signatures = sketch(binary(edited_copies(20, seed=1))).signatures
    column = signatures_to_arrow(signatures)
    assert column.type == pa.binary(1024)
    assert column[3].as_py() == signatures[3].astype("<u4").tobytes()
    assert (signatures_from_arrow(column) == signatures).all()
    assert (signatures_from_arrow(column.slice(5, 7)) == signatures[5:12]).all()
    chunks = pa.chunked_array([column.slice(0, 4), column.slice(4)])
    assert (signatures_from_arrow(chunks) == signatures).all()
    assert signatures_from_arrow(column.slice(0, 0)).shape == (0, SLOTS)
    for wrong in (pa.array([b"x" * 8], pa.binary(8)), pa.array([None], pa.binary(1024))):
        with pytest.raises(DedupError, match="1024"):
            signatures_from_arrow(wrong)
    with pytest.raises(DedupError, match="256"):
        signatures_to_arrow(signatures[:, :10])
