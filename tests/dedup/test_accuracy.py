"""How well both sketches estimate Jaccard similarity, by size of the sets: on made texts, on real files, and beside
datasketch on the same hashes. The measure is the error of 256 independent permutations, sqrt(J (1 - J) / 256)."""

from __future__ import annotations

import itertools
import random
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dedup import agreement, intersections, shingle_sets, sketch
from dedup.sketch import SLOTS

CLASSES = {
    "under 64": (8, 63),
    "64 to 255": (64, 255),
    "256 to 1023": (256, 1023),
    "1024 and more": (1024, 4000),
}
PAIRS = 400  # per class: the spread of an RMSE over them is 3.5 %
METHODS = pytest.mark.parametrize("method", ["fast", "minhash"])


class Pairs:
    """Texts 2i and 2i + 1 are pairs; `truth` their exact similarities, `sizes` the smaller set of each."""

    def __init__(self, texts: list[bytes]) -> None:
        self.texts = pa.array(texts, pa.large_binary())
        self.even = np.arange(0, len(texts), 2)
        self.sets = shingle_sets(self.texts)
        inter, union = intersections(self.sets, self.sets, self.even, self.even + 1)
        self.truth = inter / np.maximum(union, 1)
        self.sizes = np.minimum(self.sets.sizes[::2], self.sets.sizes[1::2])

    def errors(self, method) -> np.ndarray:
        made = sketch(self.texts, method=method)
        return agreement(made.signatures, self.even, self.even + 1) / SLOTS - self.truth

    def hashes(self, document: int) -> list[int]:
        first, last = self.sets.offsets[document : document + 2]
        return (self.sets.values[first:last] & np.uint64(0xFFFFFFFF)).tolist()


def rmse(errors) -> float:
    return float(np.sqrt((errors**2).mean()))


def in_theory(truth) -> float:
    return float(np.sqrt((truth * (1 - truth)).mean() / SLOTS))


@pytest.fixture(scope="module", params=CLASSES, ids=list(CLASSES))
def made(request) -> Pairs:
    """Random texts and edited copies, at similarities from 0.3 to 1, all pairs independent of one another."""
    low, high = CLASSES[request.param]
    rng = np.random.default_rng(low)
    texts = []
    for _ in range(PAIRS):
        size = int(rng.integers(low, high + 1)) + 4
        words = [b"w%x" % n for n in rng.integers(1 << 40, size=size)]
        share = rng.choice([0.005, 0.02, 0.05, 0.15]) if size > 100 else rng.choice([0.03, 0.1])
        edited = rng.random(size) < share
        new = [b"v%x" % n for n in rng.integers(1 << 40, size=size)]
        other = [b if change else a for a, b, change in zip(words, new, edited, strict=True)]
        texts += [b" ".join(words), b" ".join(other)]
    return Pairs(texts)


@METHODS
def test_the_error_is_that_of_the_theory(made, method):
    errors, theory = made.errors(method), in_theory(made.truth)
    assert 0.3 < np.median(made.truth) < 0.95
    assert rmse(errors) < 1.1 * theory
    assert rmse(errors) > (0.9 if method == "minhash" else 0.5) * theory  # permutations cannot do better
    assert abs(errors.mean()) < 3.5 * theory / np.sqrt(len(errors))


@pytest.fixture(scope="module")
def real() -> Pairs:
    """Files of Python's library, each beside a copy in which some lines are those of another file."""
    draw = random.Random(3)
    folder = Path(sysconfig.get_path("stdlib"))
    files = [p.read_bytes() for p in sorted(folder.glob("*.py")) + sorted(folder.glob("[a-z]*/*.py"))]
    files = [f for f in files if 500 < len(f) < 200_000]
    draw.shuffle(files)
    texts = []
    for one, other in itertools.pairwise(files[:500]):
        lines, foreign = one.split(b"\n"), other.split(b"\n")
        share = draw.choice([0.01, 0.03, 0.1])
        texts += [one, b"\n".join(draw.choice(foreign) if draw.random() < share else line for line in lines)]
    return Pairs(texts)


@METHODS
def test_the_error_on_real_files_is_that_of_the_theory(real, method):
    errors = real.errors(method)
    groups = [(real.sizes >= low) & (real.sizes <= max(high, 1023)) for low, high in CLASSES.values()]
    groups[-1] = real.sizes >= 1024
    for group in (g for g in groups if g.sum() >= 50):
        theory = in_theory(real.truth[group])
        assert rmse(errors[group]) < 1.35 * theory
        assert abs(errors[group].mean()) < 4.5 * theory / np.sqrt(group.sum())
    assert rmse(errors) < 1.15 * in_theory(real.truth)
    assert abs(errors.mean()) < 4 * in_theory(real.truth) / np.sqrt(len(errors))


def test_as_good_as_datasketch_on_the_same_hashes(made):
    from datasketch import MinHash

    few = 2 * 120
    peers = []
    for document in range(few):
        peer = MinHash(num_perm=SLOTS, hashfunc=int)
        peer.update_batch(made.hashes(document))
        peers.append(peer)
    theirs = [a.jaccard(b) for a, b in zip(peers[::2], peers[1::2], strict=True)] - made.truth[: few // 2]
    for method in ("fast", "minhash"):
        assert rmse(made.errors(method)[: few // 2]) < 1.15 * rmse(theirs)
