"""Which documents a tokenizer is learnt from: the same number of bytes of each language, as far as there is so much.

The budget is shared out equally; a language that has less gives all that it has, and its rest goes to the others in
equal parts (the largest equal share that the budget allows). Without this, the merges would be those of the one or
two languages that most of the code is in. Within a language, documents that are not larger than its share come by a
hash of seed and content id until the next one would exceed it; if all are larger, the smallest is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from training.corpus.select import Corpus


def shares(available: np.ndarray, budget: int) -> np.ndarray:
    """Bytes to take of each language (int64): min(available, level) with the highest level that fits the budget."""
    result, left = np.zeros(len(available), np.int64), int(budget)
    for done, index in enumerate(np.argsort(available, kind="stable")):
        result[index] = min(int(available[index]), left // (len(available) - done))
        left -= int(result[index])
    return result


def balanced(corpus: Corpus, chosen: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """The sample, of about `budget` bytes of the rows marked in `chosen`: bool per row."""
    parts = [source.index(["content_sha256", "length_bytes"]) for source in corpus.sources]
    sizes = row_sizes(corpus)
    names = np.concatenate([part["content_sha256"].to_numpy(zero_copy_only=False) for part in parts])
    rows = np.flatnonzero(chosen)
    rank = [hashlib.sha256(f"tokenizer|{seed}|{name}".encode()).digest() for name in names[rows]]
    rows = rows[sorted(range(len(rows)), key=rank.__getitem__)]
    language = corpus.language[rows]
    count = max(1, len(corpus.languages))
    wanted = shares(np.bincount(language, weights=sizes[rows], minlength=count).astype(np.int64), budget)
    result = np.zeros(len(chosen), dtype=bool)
    for number in np.unique(language):
        own = rows[language == number]
        fitting = own[sizes[own] <= wanted[number]]
        taken = fitting[np.cumsum(sizes[fitting]) <= wanted[number]]
        if not sizes[taken].any():
            some = own[sizes[own] > 0]
            taken = some[sizes[some].argsort(kind="stable")[:1]]
        result[taken] = True
    return result


def row_sizes(corpus: Corpus) -> np.ndarray:
    """Bytes of each row's original (int64): close to those of its text."""
    parts = [source.index(["length_bytes"])["length_bytes"] for source in corpus.sources]
    return np.concatenate([part.fill_null(0).to_numpy().astype(np.int64) for part in parts])


def texts(corpus: Corpus, sample: np.ndarray) -> Iterator[str]:
    """The texts of a sample, in the order of the corpus."""
    for _, batch in corpus.texts(sample):
        yield from filter(None, batch["content"].to_pylist())
