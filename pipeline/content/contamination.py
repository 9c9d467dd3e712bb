"""Benchmark texts in files: which share of a benchmark's text stands in a file, and where.

A benchmark is a list of items (tasks), an item has parts (prompt, solution, tests). A part is the set of its n-grams, runs of n
words (see contamination_words: white space, case, punctuation and comment marks say nothing). An n-gram does not count where it
tells nothing (numbers, single letters, one word again and again), or where it is boilerplate of the benchmark: in more than
`COMMON_ITEMS` of its items and in more than a fiftieth of them. A part with fewer than `LEAST_GRAMS` n-grams left cannot be
searched for, and `Index.unsearchable` says so.

The share of a part in a file is the largest share of its n-grams that stand within `REACH` times the part's words of the file.
The share is one of the part, never of the file: a solution in the midst of a big file is found as it would be alone. So a whole
part, however it is laid out, has the share 1, and the threshold says how much of it may be missing.

Sources: white-space-insensitive matches of whole docstrings and solutions, The Stack v2 and StarCoder2 (arXiv 2402.19173, 3.3);
matches of 13-grams of words without punctuation and case, GPT-3 (arXiv 2005.14165, appendix C); the share of an item's 8-grams,
PaLM (arXiv 2204.02311, section 8).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.content.buffers import buffers
from pipeline.content.contamination_words import CLASSES, LONGEST, grams, make_table, scan

LEAST_GRAMS = 6
"""N-grams that a part must have: fewer could be a common phrase."""

LEAST_MATCHED = 10
"""N-grams that must match, or all that the part has: `for i in range(len(l)): for j in range(i + 1, len(l))` are 9 6-grams, half
of HumanEval/40, and in many files."""

COMMON_ITEMS = 10
REACH = 4
"""A match may have this many times the words of the part: text put between its lines, such as comments."""

LEAST_SHARE = (1, 4)
"""Smaller shares are not told; no threshold may be below."""

MATCHES = 16
"""Of a file at most, the largest shares."""

MAX_WORDS = 1 << 17  # of a part: as much as a long book chapter
MAX_SLOTS = 1 << 23  # n-grams of parts in an index; a search holds about 60 bytes for each
_SHORTEST = 3  # words of an n-gram


@dataclass(frozen=True, order=True)
class Part:
    """A text of a benchmark, by names: `field` is prompt, solution, or what else the benchmark's file calls it."""

    benchmark: str
    item: str
    field: str


@dataclass(frozen=True)
class Unsearchable:
    """A part that is not looked for, and why.

    `short`: too few words; `plain`: too few of its n-grams tell anything; `common`: too few of these are no boilerplate; `long`:
    more than `MAX_WORDS` words.
    """

    part: Part
    reason: str
    words: int


MATCH = pa.struct(
    [
        ("benchmark", pa.string()),
        ("item", pa.string()),
        ("field", pa.string()),
        ("matched", pa.int32()),  # different n-grams of the part that stand in the text
        ("ngrams", pa.int32()),  # that the part has
        ("start", pa.int64()),  # first byte of the first of them in the text
        ("end", pa.int64()),  # the byte behind the last
    ]
)


@dataclass(frozen=True)
class Index:
    """The n-grams of benchmarks. Equal parts make equal indexes, whatever their order was."""

    ngram: int
    parts: tuple[Part, ...]
    words: np.ndarray
    """Of each part."""
    unsearchable: tuple[Unsearchable, ...]
    hashes: np.ndarray
    """The different n-grams, sorted."""
    slots: np.ndarray
    """N-gram -> its first slot; one more than n-grams."""
    part_of: np.ndarray
    """Slot -> part."""

    @cached_property
    def totals(self) -> np.ndarray:
        """N-grams of each part."""
        return np.bincount(self.part_of, minlength=len(self.parts)).astype(np.int64)

    @cached_property
    def digest(self) -> str:
        """Names the index; the same on every machine."""
        state = hashlib.sha256(json.dumps(self._names(), sort_keys=True).encode())
        for array in (self.words, self.hashes, self.slots, self.part_of):
            state.update(f"{array.dtype.name} {len(array)}\0".encode())
            state.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()

    def _names(self) -> dict[str, Any]:
        return {
            "ngram": self.ngram,
            "parts": [[one.benchmark, one.item, one.field] for one in self.parts],
            "unsearchable": [
                [one.part.benchmark, one.part.item, one.part.field, one.reason, one.words]
                for one in self.unsearchable
            ],
        }

    def to_bytes(self) -> bytes:
        """The index as a file."""
        out = io.BytesIO()
        names = np.frombuffer(json.dumps(self._names()).encode(), np.uint8)
        np.savez(
            out, names=names, words=self.words, hashes=self.hashes, slots=self.slots, part_of=self.part_of
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Index:
        """What `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("words", "hashes", "slots", "part_of")}
            names = json.loads(file["names"].tobytes())
        return cls(
            ngram=names["ngram"],
            parts=tuple(Part(*one) for one in names["parts"]),
            unsearchable=tuple(Unsearchable(Part(*one[:3]), *one[3:]) for one in names["unsearchable"]),
            **arrays,
        )

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        amount = max(1, len(self.hashes))
        bits, filter_bits = max(4, (2 * amount - 1).bit_length()), max(6, (16 * amount - 1).bit_length())
        return (*make_table(self.hashes, bits, filter_bits), filter_bits)

    @cached_property
    def _least(self) -> np.ndarray:
        over, under = LEAST_SHARE
        by_share = -(-self.totals * over // under)  # rounded up: matched / total >= over / under
        return np.maximum(by_share, np.minimum(self.totals, LEAST_MATCHED))

    def search(self, texts: pa.LargeBinaryArray) -> pa.Array:
        """Per text its matches, a list of MATCH: the largest shares first, at most `MATCHES`; none is an empty list."""
        _, offsets, data = buffers(texts)
        found = np.zeros((0, 5), np.int64)
        if self.parts:
            keys, values, bitmap, filter_bits = self._table
            found = scan(
                data, offsets, self.ngram, CLASSES, keys, values, bitmap, filter_bits,
                self.slots, self.part_of, REACH * self.words, self._least,
            )  # fmt: skip
        return self._told(found, len(texts))

    def _told(self, found: np.ndarray, texts: int) -> pa.Array:
        rows: list[list[dict[str, Any]]] = [[] for _ in range(texts)]
        totals = self.totals
        shares = found[:, 2] / np.maximum(totals[found[:, 1]], 1)
        # Parts are sorted: of equal shares (longer parts first) the first name.
        for number in np.lexsort((found[:, 1], -found[:, 2], -shares, found[:, 0])):
            row, part, matched, start, end = found[number].tolist()
            if len(rows[row]) < MATCHES:
                rows[row].append(
                    {
                        **vars(self.parts[part]),
                        "matched": matched,
                        "ngrams": int(totals[part]),
                        "start": start,
                        "end": end,
                    }
                )
        return pa.array(rows, pa.list_(MATCH))


def build(texts: Iterable[tuple[Part, str]], ngram: int) -> Index:
    """The index of some parts, each once.

    Raises ValueError for an n-gram length that cannot be, a part that comes twice, and more n-grams than `MAX_SLOTS`.
    """
    if not _SHORTEST <= ngram <= LONGEST:
        raise ValueError(f"an n-gram has {_SHORTEST} to {LONGEST} words, not {ngram}")
    given = sorted(texts)
    parts = [part for part, _ in given]
    for one, other in pairwise(parts):
        if one == other:
            raise ValueError(f"the part {one.field!r} of {one.benchmark}/{one.item} is given twice")
    encoded = pa.array([text.encode("utf-8", "replace") for _, text in given], pa.large_binary())
    _, offsets, data = buffers(encoded)
    row, hashes, tells, words = grams(data, offsets, ngram, CLASSES)
    long = words > MAX_WORDS
    keep = tells & ~long[row]
    pairs = np.unique(np.stack((row[keep].astype(np.uint64), hashes[keep])), axis=1)
    row, hashes = pairs[0].astype(np.int64), pairs[1]
    told = np.bincount(row, minlength=len(parts))
    keep = ~_boilerplate(parts, row, hashes)
    row, hashes = row[keep], hashes[keep]
    left = np.bincount(row, minlength=len(parts))
    wanted = left >= LEAST_GRAMS
    short = words < ngram - 1 + LEAST_GRAMS
    reasons = np.select([long, short, told < LEAST_GRAMS], ["long", "short", "plain"], "common")
    unsearchable = tuple(
        Unsearchable(parts[i], str(reasons[i]), int(words[i])) for i in np.flatnonzero(~wanted)
    )
    keep = wanted[row]
    number = np.cumsum(wanted) - 1
    row, hashes = number[row[keep]], hashes[keep]
    if len(hashes) > MAX_SLOTS:
        raise ValueError(
            f"the benchmarks have {len(hashes):,} n-grams, more than {MAX_SLOTS:,}; give fewer files or fields"
        )
    order = np.lexsort((row, hashes))
    row, hashes = row[order], hashes[order]
    different, first = np.unique(hashes, return_index=True)
    return Index(
        ngram=ngram,
        parts=tuple(parts[i] for i in np.flatnonzero(wanted)),
        words=words[wanted],
        unsearchable=unsearchable,
        hashes=different,
        slots=np.append(first, len(hashes)).astype(np.int64),
        part_of=row.astype(np.int32),
    )


def _boilerplate(parts: list[Part], row: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Which (part, n-gram) pairs hold an n-gram that many items of the same benchmark have."""
    numbers: dict[tuple[str, str], int] = {}
    items = np.array([numbers.setdefault((one.benchmark, one.item), len(numbers)) for one in parts], np.int64)
    benchmarks: dict[str, int] = {}
    of_item = np.array([benchmarks.setdefault(name, len(benchmarks)) for name, _ in numbers], np.int64)
    common = np.zeros(len(row), bool)
    if len(row) == 0:
        return common
    limit = np.maximum(COMMON_ITEMS, np.bincount(of_item) // 50)
    keys = np.stack((of_item[items[row]].astype(np.uint64), hashes))
    _, inverse = np.unique(keys, axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    once = np.unique(np.stack((inverse, items[row])), axis=1)[0]
    return np.bincount(once)[inverse] > limit[of_item[items[row]]]
