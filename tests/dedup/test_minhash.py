"""Classic MinHash is what its definition says, and datasketch's, bit for bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError, sketch
from dedup.minhash import permutations
from dedup.shingles import shingle_blocks
from dedup.sketch import EMPTY, SLOTS

NUMBERS = st.lists(st.lists(st.integers(0, 30), max_size=80), min_size=1, max_size=4)


def texts_of(lists) -> pa.Array:
    return pa.array([b" ".join(b"t%d" % n for n in numbers) for numbers in lists], pa.large_binary())


def low_words(text: bytes) -> np.ndarray:
    """The low 32 bits of the shingle hashes of one text, with repetitions."""
    block = next(shingle_blocks(pa.array([text], pa.large_binary())))
    return block.values[: block.borders[-1]].astype(np.uint32)


def reference(words: np.ndarray) -> np.ndarray:
    """All values under all permutations, in numpy; the least of each."""
    x = words.copy()
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x ^= x >> np.uint32(16)
    a, b = permutations(SLOTS)
    return (a[:, None] * x[None, :] + b[:, None]).min(axis=1, initial=EMPTY)


@given(NUMBERS)
@settings(deadline=None, max_examples=50)
def test_signatures_are_the_least_values_under_each_permutation(lists):
    texts = texts_of(lists)
    made = sketch(texts, method="minhash")
    for text, row, count in zip(texts.to_pylist(), made.signatures, made.counts, strict=True):
        words = low_words(text) if count else np.empty(0, np.uint32)
        assert len(words) == count
        assert (row == reference(words)).all()


@pytest.mark.parametrize("tokens", [5, 6, 7, 8, 9, 300, 5000])
def test_datasketch_has_the_same_values(tokens):
    from datasketch import MinHash

    text = b" ".join(b"w%d" % (i * i % 4099) for i in range(tokens))
    peer = MinHash(num_perm=SLOTS, hashfunc=int, permutations=permutations(SLOTS), scheme="affine32")
    peer.update_batch(low_words(text).tolist())
    (row,) = sketch(pa.array([text], pa.large_binary()), method="minhash").signatures
    assert (row == peer.hashvalues).all()


def test_permutations_are_bijections_and_all_distinct():
    a, b = permutations(SLOTS)
    assert (a & np.uint32(1)).all()  # odd: invertible mod 2^32
    assert len(set(zip(a.tolist(), b.tolist(), strict=True))) == SLOTS
    assert (permutations(10)[0] == a[:10]).all()


def test_a_text_without_shingles_has_an_empty_signature():
    made = sketch(pa.array([b"", b"a b c d", None, b"a b c d e"], pa.large_binary()), method="minhash")
    assert made.counts.tolist() == [0, 0, 0, 1]
    assert (made.signatures[:3] == EMPTY).all()


def test_another_method_is_refused():
    for method in ("MinHash", "", None):
        with pytest.raises(DedupError, match="fast, minhash"):
            sketch(pa.array([b"x"], pa.large_binary()), method=method)
