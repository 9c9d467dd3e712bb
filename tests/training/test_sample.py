"""What a tokenizer is learnt from: the same of each language, as far as there is so much."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.tokens import learn, sample


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12), st.integers(0, 5000))
def test_shares_are_the_highest_level_that_the_budget_allows(available, budget):
    taken = sample.shares(np.array(available), budget)
    assert (taken <= available).all()
    assert (taken >= 0).all()
    assert taken.sum() <= budget
    assert taken.sum() == sum(available) or taken.sum() > budget - len(available)
    short = taken[taken < available]  # all that could give more give the same, but for rounding
    assert not len(short) or (short.max() - short.min() <= 1 and taken.max() <= short.min() + 1)


def test_languages_are_balanced_and_the_draw_is_fixed(release: Path):
    corpus = learn.open_corpus(str(release), None, 0.0)
    sizes = sample.row_sizes(corpus)
    total = np.bincount(corpus.language, weights=sizes)
    budget = int(3 * total.min())
    chosen = sample.balanced(corpus, corpus.train, budget, seed=0)
    taken = np.bincount(corpus.language[chosen], weights=sizes[chosen], minlength=len(total))
    assert chosen.any()
    assert not (chosen & ~corpus.train).any()
    assert (np.abs(taken - total.min()) <= sizes.max()).all()
    assert (sample.balanced(corpus, corpus.train, budget, seed=0) == chosen).all()
    assert (sample.balanced(corpus, corpus.train, budget, seed=1) != chosen).any()
    assert sample.balanced(corpus, corpus.train, 10**9, seed=0).sum() == corpus.train.sum()
    assert sample.balanced(corpus, corpus.train, 1, seed=0).sum() == len(total)  # one of each is always taken


def test_only_marked_rows_are_taken(release: Path):
    corpus = learn.open_corpus(str(release), ["Python"], 0.3)
    assert corpus.languages == ("Python",)
    assert corpus.held_out.any()
    chosen = sample.balanced(corpus, corpus.held_out, 10**9, seed=0)
    assert (chosen == corpus.held_out).all()


def test_a_file_that_is_larger_than_its_language_s_share_is_passed_over(make_release, tmp_path):
    """Breach: `--train-bytes 10_000_000` learns from one file of a gigabyte, and from no other of its language."""
    texts = ["x" * 100_000, "y" * 90_000, *(f"small = {n}\n" for n in range(20))]
    corpus = learn.open_corpus(str(make_release(tmp_path, texts={"Python": texts})), None, 0.0)
    sizes = sample.row_sizes(corpus)
    for seed in range(4):
        chosen = sample.balanced(corpus, corpus.train, 1000, seed)
        assert chosen.sum() == 20
        large = sample.balanced(corpus, corpus.train & (sizes > 1000), 1000, seed)
        assert sizes[large].tolist() == [sizes[sizes > 1000].min()]  # one is taken always, the smallest


def test_no_rows_give_no_sample(release: Path):
    corpus = learn.open_corpus(str(release), None, 0.0)
    assert not sample.balanced(corpus, np.zeros(len(corpus.train), bool), 100, seed=0).any()
