"""A small statistical classifier: which of some languages a text is most likely in.

Naive Bayes over hashed tokens. A token is a word (`[A-Za-z0-9_]` and bytes above 0x7F, with one of `. @ # $` before it if
there is one; numbers count as nothing), a run of one punctuation byte (of up to three), or the start of a comment. What stands
in strings and comments does not count: it says what a program is about, not what it is written in. Words count by their first
16 bytes. Case matters, white space does not.

The tables (data/language-classifier.npz) are made by scripts/train_language_classifier.py. They hold, per language and
bucket, 16 times the natural logarithm of how much more likely a token is in that language than in any, as int8. All sums are
integers: the answer is the same on every machine.

Two tables, two questions. `among` asks which of a few candidates a text is in, where its name says that it is one of them.
`most_likely` asks which of all languages: a text that is in none of them, prose or data, gets an answer too, so it is good
only as a second opinion.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from pipeline.content.buffers import buffers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

BUCKETS = 4096
"""Two tokens in one bucket are one to the classifier."""

WORD_BYTES = 16

MIN_TOKENS = 8
"""With fewer, no answer among candidates."""

MIN_TOKENS_OF_ALL = 32
"""With fewer, no answer among all languages: short data files look like anything."""

MARGIN = 2
"""By how much the best must lead, in 1/16 nats per token: an eighth of a nat. On the texts that the weights were chosen on,
anything between 1 and 8 gave the same accuracy to a percent (docs/languages.md)."""

MAX_COUNT = 16
"""A token counts at most so often: one long table says no more than a short one."""

_FILE = Path(__file__).parent / "data" / "language-classifier.npz"


class Tables(NamedTuple):
    """The trained numbers: language names, and int8 arrays `(BUCKETS, languages)`."""

    rows: Mapping[str, int]
    """Language -> its column in both tables."""
    close: np.ndarray
    """For telling a few languages apart: hardly smoothed."""
    wide: np.ndarray
    """For all languages at once: smoothed, so that a language with few examples does not win on what it lacks."""


@cache
def tables() -> Tables:
    """The trained numbers, loaded once per process."""
    with np.load(_FILE, allow_pickle=False) as data:
        names = [str(name) for name in data["languages"]]
        close, wide = data["close"], data["wide"]
    return Tables(MappingProxyType({name: row for row, name in enumerate(names)}), close, wide)


def among(texts: pa.LargeBinaryArray, candidates: Sequence[str]) -> np.ndarray:
    """The candidate that each text is most likely in (object array); None where it is too short or the lead too small.

    Candidates without examples are never chosen; with fewer than two that have some, all answers are None.
    """
    rows = tables().rows
    known = [name for name in candidates if name in rows]
    if len(known) < 2:
        return np.full(len(texts), None, object)
    columns = np.array([rows[name] for name in known])
    return _named(texts, tables().close, columns, known, MARGIN, MIN_TOKENS)


def most_likely(texts: pa.LargeBinaryArray) -> np.ndarray:
    """The language that each text is most likely in (object array) of all that have examples; None where it is too short."""
    names = list(tables().rows)
    return _named(texts, tables().wide, np.arange(len(names)), names, 0, MIN_TOKENS_OF_ALL)


def _named(  # noqa: PLR0917 - called by position
    texts: pa.LargeBinaryArray,
    table: np.ndarray,
    columns: np.ndarray,
    names: Sequence[str],
    margin: int,
    min_tokens: int,
) -> np.ndarray:
    _, offsets, data = buffers(texts)
    best = np.empty(len(texts), np.int64)
    _classify(data, offsets, _KINDS, table, columns, margin, min_tokens, best)
    return np.array([*names, None], object)[best]


_SEED = np.uint64(0xCBF29CE484222325)  # FNV-1a
_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads the low bits over the high ones
_SHIFT = np.uint64(64 - 12)  # the 12 highest bits: BUCKETS

_OTHER, _SPACE, _WORD, _DIGIT, _PREFIX = range(5)


def _classes() -> np.ndarray:
    kinds = np.zeros(256, np.uint8)
    kinds[[9, 10, 11, 12, 13, 32]] = _SPACE
    for byte in range(256):
        if (chr(byte).isascii() and (chr(byte).isalpha() or byte == 95)) or byte >= 0x80:
            kinds[byte] = _WORD
    kinds[48:58] = _DIGIT
    kinds[[ord(one) for one in ".@#$"]] = _PREFIX
    return kinds


_KINDS = _classes()


def token_counts(data: np.ndarray, start: int, end: int, counts: np.ndarray) -> int:
    """Add the tokens of `data[start:end]` (uint8) to `counts` (int32, one per bucket); returns how many there were."""
    return int(_count(data, start, end, _KINDS, counts))


@numba.njit(nogil=True, cache=True)
def _classify(data, offsets, kinds, table, columns, margin, min_tokens, best):  # noqa: PLR0917 - called by position
    """The index into `columns` of every text's language; -1 where there is no answer."""
    counts = np.zeros(BUCKETS, np.int32)
    seen = np.empty(BUCKETS, np.int64)
    scores = np.empty(columns.shape[0], np.int64)
    for row in range(offsets.shape[0] - 1):
        best[row] = -1
        if _count(data, offsets[row], offsets[row + 1], kinds, counts) < min_tokens:
            counts[:] = 0
            continue
        distinct, tokens = 0, 0
        for bucket in range(BUCKETS):
            if counts[bucket]:
                seen[distinct] = bucket
                distinct += 1
        scores[:] = 0
        for i in range(distinct):
            bucket = seen[i]
            count = min(counts[bucket], MAX_COUNT)
            tokens += count
            for column in range(columns.shape[0]):
                scores[column] += count * np.int64(table[bucket, columns[column]])
            counts[bucket] = 0
        first = np.argmax(scores)
        second = np.int64(-(2**62))
        for column in range(columns.shape[0]):
            if column != first:
                second = max(second, scores[column])
        if scores[first] - second >= margin * tokens:
            best[row] = first


@numba.njit(nogil=True, cache=True)
def _bucket(data, start, end, seed):
    value = seed
    for at in range(start, end):
        value = (value ^ np.uint64(data[at])) * _PRIME
    return np.int64((value * _MIX) >> _SHIFT)


@numba.njit(nogil=True, cache=True)
def _count(data, start, end, kinds, counts):
    at = start
    tokens = 0
    fresh = True  # only white space since the line began
    unclosed = np.zeros(
        256, np.bool_
    )  # first bytes of comments that nothing closes any more: not searched for again
    while at < end:
        byte = data[at]
        kind = kinds[byte]
        if kind == 1:
            fresh = fresh or byte in (10, 13)
            at += 1
            continue
        skipped = _comment(data, at, end, fresh, unclosed)
        if skipped > at:
            # The starter alone is the token: `#`, `//`, `--`, `%`, `;`, `/*`, `<!--`, `(*`, `{-`, `'''`.
            starter = 1 if byte in (35, 37, 59) else 2
            counts[_bucket(data, at, min(end, at + starter), _SEED ^ np.uint64(1))] += 1
            tokens += 1
            at, fresh = skipped, False
            continue
        fresh = False
        if byte in (34, 39):
            at = _string(data, at, end)
            continue
        first = at + 1 if kind == 4 else at
        stop = first
        while stop < end and (kinds[data[stop]] == 2 or kinds[data[stop]] == 3):
            stop += 1
        if stop > first and kinds[data[first]] == 2:
            counts[_bucket(data, at, min(stop, at + WORD_BYTES), _SEED)] += 1
            tokens += 1
            at = stop
        elif stop > first and kind == 3:
            at = stop  # a number
        else:
            stop = at + 1
            while stop < end and stop < at + 3 and data[stop] == byte:
                stop += 1
            counts[_bucket(data, at, stop, _SEED)] += 1
            tokens += 1
            at = stop
    return tokens


@numba.njit(nogil=True, cache=True)
def _comment(data, at, end, fresh, unclosed):
    """Where the comment that starts here ends; `at` if none does. One of several lines that is not closed is none."""
    byte = data[at]
    second = data[at + 1] if at + 1 < end else 10
    if fresh:
        blank = second in (10, 13, 32)
        if (byte == 47 and second == 47) or (byte == 45 and second == 45):
            return _line_end(data, at, end)
        if blank and byte in (35, 37, 59):
            return _line_end(data, at, end)
        if byte == second and byte in (35, 37, 59):  # `##`, `%%`, `;;`
            return _line_end(data, at, end)
    stop = -1
    if unclosed[byte]:
        return at
    if byte == 47 and second == 42:
        stop = _behind(data, at + 2, end, 42, 47, 0)
    elif byte == 60 and second == 33 and at + 3 < end and data[at + 2] == 45 and data[at + 3] == 45:
        stop = _behind(data, at + 4, end, 45, 45, 62)
    elif byte == 40 and second == 42:
        stop = _behind(data, at + 2, end, 42, 41, 0)
    elif byte == 123 and second == 45:
        stop = _behind(data, at + 2, end, 45, 125, 0)
    elif byte in (34, 39) and second == byte and at + 2 < end and data[at + 2] == byte:
        stop = _behind(data, at + 3, end, byte, byte, byte)
    else:
        return at
    if stop < 0:
        unclosed[byte] = True
        return at
    return stop


@numba.njit(nogil=True, cache=True)
def _line_end(data, at, end):
    while at < end and data[at] != 10 and data[at] != 13:
        at += 1
    return at


@numba.njit(nogil=True, cache=True)
def _behind(data, at, end, first, second, third):  # noqa: PLR0917 - called by position
    """Behind the next `first second [third]`; -1 if there is none."""
    while at < end:
        if data[at] == first and at + 1 < end and data[at + 1] == second:
            if third == 0:
                return at + 2
            if at + 2 < end and data[at + 2] == third:
                return at + 3
        at += 1
    return -1


@numba.njit(nogil=True, cache=True)
def _string(data, at, end):
    """Behind the string that starts here: at its quote, or at the end of its line."""
    quote = data[at]
    at += 1
    while at < end and data[at] != 10 and data[at] != 13:
        if data[at] == 92:
            at += 1
        elif data[at] == quote:
            return at + 1
        at += 1
    return min(at, end)
