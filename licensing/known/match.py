"""What of a text is known word for word, and what remains.

Occurrences are chosen longest first, without overlap; each is checked by its digest before it counts. Which
ones speak:

    text, notice, tag, reference   with relevance 100: state their expression
    relevance below 100            ("BSD license"): only beside a statement that says so with relevance 100
    intro                          ("is licensed under the following license:"): nothing, but explained if a
                                   statement follows
    silent, ambiguous, unknown     never explained: the words remain
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from licensing.detection import Detection
from licensing.known import kernel, plain
from licensing.known.table import FORMAT, Kind, Table, shipped, unpack, word_hashes
from licensing.known.words import Words, read_words

_PER_START = 8
"""Candidates that begin at one word, the longest; sequences that nest deeper are not worth more."""

_MAX_FAILED = 100
"""Candidates that may fail the digest: chance makes none; texts made to collide give up here."""

MIN_BLOCK = 60
"""Words of the shortest text that is taken for a whole license; MIT's terms without the disclaimer have 90."""

_STATEMENTS = (Kind.TEXT, Kind.NOTICE, Kind.TAG, Kind.REFERENCE)
_UNKNOWN = ("unknown", "proprietary-license", "other-permissive", "other-copyleft", "see-license", "generic-")
"""In an expression: ScanCode knows that something is stated, not what."""


@dataclass(frozen=True)
class Known:
    """What was found in one text; offsets in characters of it."""

    detections: list[Detection]
    """Statements, by position; detector "known 1", rule = the id of ScanCode's rule or "spdx:ID"."""
    remainder: list[tuple[int, int]]
    """Spans that are neither part of a statement nor plain (copyright lines, bare titles), by position."""
    words: Words
    """The words of the text that are compared."""
    explained: NDArray[np.bool_]
    """Of each word, whether it is part of a statement."""
    blocks: list[Detection]
    """The detections that are whole license texts, of MIN_BLOCK words or more, in lines of their own."""

    @property
    def complete(self) -> bool:
        """Whether everything is explained and something is stated."""
        return not self.remainder and bool(self.detections)


class KnownTexts:
    """The table, ready to search. Make one with `load`; it has no state but a memory of word hashes."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._numbers: dict[str, int] = {}
        self.detector = f"known {FORMAT}"

    @classmethod
    def load(cls) -> KnownTexts:
        """The table that ships with the product; loaded once per process."""
        return _loaded()

    @property
    def version(self) -> str:
        """Format, ScanCode's version, the SPDX list's version, digest: for keys and evidence."""
        table = self._table
        return f"{self.detector} scancode {table.scancode} spdx {table.spdx} {table.digest[:16]}"

    @property
    def scancode(self) -> str:
        """Version of the ScanCode whose rules these are."""
        return self._table.scancode

    def find(self, text: str) -> Known:
        """What of `text` is known. Linear in its length."""
        words = read_words(text)
        chosen = self._choose(words)
        table = self._table
        explained = np.zeros(len(words), dtype=bool)
        detections = []
        stated: set[int] = set()
        unsure, intros, blocks = [], [], []
        for start, end, entry in chosen:
            kind, expression = Kind(table.kinds[entry]), int(table.expression_of[entry])
            name = table.expressions[expression]
            if kind is Kind.INTRO:
                intros.append((start, end))
            elif kind in _STATEMENTS and not any(part in name for part in _UNKNOWN):
                if table.relevances[entry] < 100:
                    unsure.append((start, end, entry))
                    continue
                stated.add(expression)
                explained[start:end] = True
                detections.append(self._detection(words, start, end, entry))
                if kind is Kind.TEXT and end - start >= MIN_BLOCK:
                    blocks.append((start, end, detections[-1]))
        for start, end, entry in unsure:
            if int(table.expression_of[entry]) in stated:
                explained[start:end] = True
                detections.append(self._detection(words, start, end, entry))
        for start, end in intros:
            if end < len(words) and explained[end]:
                explained[start:end] = True
        for first, last in runs(~explained):
            if plain.connects(words.words[first:last]):
                explained[first:last] = True
        detections.sort(key=lambda d: (d.start, d.end, d.expression, d.rule))
        remainder = [(int(words.starts[i]), int(words.ends[j - 1])) for i, j in runs(~explained)]
        whole = [d for start, end, d in blocks if _apart(text, words, explained, start, end)]
        return Known(detections, remainder, words, explained, whole)

    def _detection(self, words: Words, start: int, end: int, entry: int) -> Detection:
        table = self._table
        return Detection(
            expression=table.expressions[int(table.expression_of[entry])],
            detector=self.detector,
            rule=table.rules[entry],
            score=100.0,
            start=int(words.starts[start]),
            end=int(words.ends[end - 1]),
        )

    def _choose(self, words: Words) -> list[tuple[int, int, int]]:
        """(first word, word after the last, entry) of the occurrences that count, by position."""
        if len(self._numbers) > 200_000:
            self._numbers.clear()
        table = self._table
        prefix, powers = kernel.prefix_hashes(word_hashes(words.words, self._numbers))
        starts, lengths, entries = kernel.candidates(prefix, powers, table.arrays, _PER_START)
        taken = np.zeros(len(words) + 1, dtype=bool)
        chosen, failed = [], 0
        for index in np.lexsort((starts, -lengths)).tolist():
            start, length, entry = int(starts[index]), int(lengths[index]), int(entries[index])
            # What was taken before is at least as long, so an overlap covers one of the two ends.
            if taken[start] or taken[start + length - 1]:
                continue
            if words.digest(start, start + length) != table.digests[entry].tobytes():
                failed += 1
                if failed > _MAX_FAILED:
                    return []
                continue
            taken[start : start + length] = True
            chosen.append((start, start + length, entry))
        return sorted(chosen)


def _apart(text: str, words: Words, explained: NDArray[np.bool_], start: int, end: int) -> bool:
    """Whether words[start:end] share no line with a word that is not explained."""
    before = start == 0 or explained[start - 1] or "\n" in text[words.ends[start - 1] : words.starts[start]]
    after = end == len(words) or explained[end] or "\n" in text[words.ends[end - 1] : words.starts[end]]
    return bool(before and after)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The ranges [first, last) in which `flags` are set, by position."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@lru_cache(maxsize=1)
def _loaded() -> KnownTexts:
    return KnownTexts(unpack(shipped()))
