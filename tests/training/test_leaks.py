"""Held-out rows that are like training rows are found, all of them, and nothing else is."""

import random
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.sketch import sketch
from training.corpus import leaks
from training.errors import OutputError


def brute(held: np.ndarray, train: np.ndarray, near: float) -> np.ndarray:
    """Every pair compared."""
    if not len(train):
        return np.zeros(len(held), dtype=bool)
    return np.array([((row == train).sum(axis=1) >= near * 256).any() for row in held], dtype=bool)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.integers(0, 30),
    st.integers(1, 4),
    st.sampled_from([1 / 256, 0.1, 0.5, 0.501, 0.9, 1.0]),
)
def test_as_many_as_by_comparing_all_pairs(seed, held, train, values, near):
    """Few distinct values make many slots agree; a held-out row copied in part stands just at or below the limit."""
    rng = np.random.default_rng(seed)
    high = 2**32 if values == 4 else values + 1
    a = rng.integers(0, high, (held, 256), dtype=np.uint32)
    b = rng.integers(0, high, (train, 256), dtype=np.uint32)
    for row in b:  # agrees with some held-out row in about `near` of the slots, one more or one less
        slots = rng.permutation(256)[: int(np.clip(round(near * 256) + rng.integers(-1, 2), 0, 256))]
        row[slots] = a[rng.integers(held), slots]
    index = leaks.HeldOutIndex(a, near)
    for part in np.array_split(b, 3):
        index.compare(part)
    assert index.near.tolist() == brute(a, b, near).tolist()


def texts(count: int, seed: int) -> list[str]:
    """Half of them are other ones with some words changed."""
    rng = random.Random(seed)
    made: list[list[str]] = []
    for number in range(count):
        if number % 2 and made:
            rate = rng.choice((0.0, 0.03, 0.1, 0.3))
            words = [word if rng.random() >= rate else "changed" for word in rng.choice(made)]
        else:
            words = [f"word{rng.randrange(3000)}" for _ in range(rng.randrange(0, 200))]
        made.append(words)
    return [" ".join(words) for words in made]


def corpus_of(some: list[str], train: np.ndarray, held_out: np.ndarray, batch: int = 7) -> SimpleNamespace:
    """What `near_training` needs of a corpus."""

    def read(chosen, columns):
        assert columns == ["content"]
        rows = np.flatnonzero(chosen)
        for at in range(0, len(rows), batch):
            part = rows[at : at + batch]
            yield part, pa.record_batch({"content": [some[row] for row in part]})

    return SimpleNamespace(
        train=train, held_out=held_out, texts=read, rows_digest=lambda chosen: chosen.tobytes().hex()
    )


@pytest.mark.parametrize("portion", [leaks.PORTION, 5])
def test_real_texts_against_all_pairs(portion, monkeypatch):
    monkeypatch.setattr(leaks, "PORTION", portion)
    some = texts(240, seed=3)
    side = np.arange(len(some)) % 3
    corpus = corpus_of(some, side == 0, side == 1)
    made = sketch(pa.array(some, pa.large_string()))
    shingled = made.counts > 0
    train = made.signatures[(side == 0) & shingled]
    for near in (0.5, 0.8):
        wanted = np.zeros(len(some), dtype=bool)
        held = np.flatnonzero((side == 1) & shingled)
        wanted[held] = brute(made.signatures[held], train, near)
        assert 5 < wanted.sum() < 60
        assert leaks.near_training(corpus, near).tolist() == wanted.tolist()


def test_rows_without_words_are_near_nothing():
    corpus = corpus_of(["x", "x", "", "a b c d", "a b c d"], np.arange(5) % 2 == 0, np.arange(5) % 2 == 1)
    assert not leaks.near_training(corpus, 0.5).any()


def test_the_answer_is_kept_and_named_by_what_it_depends_on(tmp_path):
    some = texts(40, seed=1)
    side = np.arange(len(some)) % 2
    corpus = corpus_of(some, side == 0, side == 1)
    lines: list[str] = []
    first = leaks.near_training(corpus, 0.5, tmp_path, lines.append)
    assert leaks.near_training(corpus, 0.5, tmp_path, lines.append).tolist() == first.tolist()
    assert len(lines) == 1 and f"{first.sum()} of 20 rows are near training rows" in lines[0]
    leaks.near_training(corpus, 0.6, tmp_path, lines.append)
    leaks.near_training(
        corpus_of(some, (side == 0) & (np.arange(40) > 3), side == 1), 0.5, tmp_path, lines.append
    )
    leaks.near_training(
        corpus_of(some, side == 0, (side == 1) & (np.arange(40) > 3)), 0.5, tmp_path, lines.append
    )
    assert len(lines) == len(list(tmp_path.iterdir())) == 4
    for file in tmp_path.iterdir():
        file.write_bytes(b"torn")
    assert leaks.near_training(corpus, 0.5, tmp_path, lines.append).tolist() == first.tolist()
    assert len(lines) == 5


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    some = texts(10, seed=1)
    side = np.arange(len(some)) % 2
    with pytest.raises(OutputError, match="cannot be written"):
        leaks.near_training(corpus_of(some, side == 0, side == 1), 0.5, tmp_path / "none")
