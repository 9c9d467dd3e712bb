"""References in plain Python, independent of the kernels."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pyarrow as pa
import pytest

Shingle = tuple[bytes, ...]


@pytest.fixture(scope="session")
def shingles_of() -> Callable[..., list[Shingle]]:
    """All 5-token shingles of a text, in order, by a regular expression."""
    word = rb"[A-Za-z0-9_\x80-\xff]+"
    punctuation = b"[" + re.escape(rb"""!"#$%&'()*+,-./:;<=>?@[\]^`{|}~""") + b"]"

    def shingles(text: bytes, operators: bool = False) -> list[Shingle]:
        tokens = re.findall(word + b"|" + punctuation if operators else word, text)
        return [tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4)]

    return shingles


@pytest.fixture(scope="session")
def edited_copies() -> Callable[..., list[bytes]]:
    """Random texts of which about half are edited copies of earlier ones, at many similarities."""

    def make(count: int, seed: int, tokens: int = 120, vocabulary: int = 3000) -> list[bytes]:
        rng = random.Random(seed)
        words = [f"w{rng.getrandbits(40):x}"[: rng.randint(2, 11)] + str(i) for i in range(vocabulary)]
        words += ["变量", "naïve", "данные", "_" * 40]
        lists: list[list[str]] = []
        for _ in range(count):
            if lists and rng.random() < 0.5:
                share = rng.choice([0.0, 0.005, 0.02, 0.03, 0.05, 0.1])
                base = rng.choice(lists)
                lists.append([rng.choice(words) if rng.random() < share else word for word in base])
            else:
                lists.append([rng.choice(words) for _ in range(rng.randint(0, 2 * tokens))])
        separators = [" ", "\n", ".", "(", ") = ", ", "]
        return ["".join(w + separators[len(w) % 6] for w in words).encode() for words in lists]

    return make


@pytest.fixture(scope="session")
def binary() -> Callable[[list[bytes]], pa.Array]:
    return lambda texts: pa.array(texts, pa.large_binary())
