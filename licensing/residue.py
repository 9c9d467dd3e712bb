"""What stands in a license file beside the licenses that were recognised: nothing is passed over in silence.

A license detector compares with what it knows and says nothing of a sentence that it does not know, so
"MIT, but only on Sundays" is MIT to it. Here every word that no detector explained counts, but for copyright
lines and bare titles (`known.plain`):

- a sentence that can restrict (it says not, only, must, unless, ...) gives `expressions.UNEXPLAINED`: the
  file states something that nobody recognised, and no policy permits that;
- any other words give one `expressions.REMARK` with the share of the words that is explained as its score:
  names of projects, descriptions, thanks. They state no terms; the score sends the file to a reviewer.

The offsets are those of the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from licensing.detection import Detection
from licensing.expressions import REMARK, UNEXPLAINED
from licensing.known import plain
from licensing.known.match import runs
from licensing.known.words import HOLDER, Words

DETECTOR = "residue 1"

MAX_QUOTED = 20
"""Sentences that are quoted one by one; the rest is counted in the remark's score."""

_RESTRICTING_TEXT = """
    not no never nor none only must shall should cannot may unless except without if until provided prohibited
    prohibit prohibits forbidden forbid forbids ban banned bans disallow disallowed deny denied refrain restrict
    restricted restricts restriction restrictions exclude excluded excludes excluding exclusive exclusively
    solely unauthorized unauthorised unlawful illegal require required requires requirement obtain fee fees pay
    paid payment payments royalty royalties purchase buy subscription commercial commercially noncommercial
    non evaluation trial confidential proprietary secret consent approval condition conditions conditional
    obligation obligations obliged agree agrees refuse refused terminate terminated revoke revoked allowed
    permitted permission permissions limited limit limits private personal internal academic educational
    military weapons ethical harm evil government machine ai training patent patents warranty
"""
_RESTRICTING = frozenset(_RESTRICTING_TEXT.split())

_SENTENCE_END = re.compile(r"[.;!?](?=\s)|\n[ \t]*\n")
_MAX_SENTENCE = 600


def unexplained(words: Words, explained: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Indices of the words that no span of `explained` (characters, any order) covers.

    The names of holders in their places inside a license are explained.
    """
    spans = sorted(explained)
    if not len(words):
        return np.zeros(0, dtype=np.int64)
    edges = np.array([edge for span in _merged(spans) for edge in span], dtype=np.int64)
    # Between an even and the next odd edge lies a span: a word is in it if its middle is.
    middle = (words.starts + words.ends - 1) // 2
    inside = np.searchsorted(edges, middle, side="right") % 2 == 1
    inside |= np.array([word == HOLDER for word in words.words])
    for first, last in runs(~inside):
        if plain.connects(words.words[first:last]):
            inside[first:last] = True
    return np.flatnonzero(~inside)


def find(text: str, words: Words, left: Sequence[int] | NDArray[np.int64]) -> list[Detection]:
    """Detections for the words with the indices `left`, by position; offsets in characters of `text`."""
    found: list[Detection] = []
    score = 100.0 * (1 - len(left) / max(len(words), 1))
    first = last = None
    for start, end, names in _sentences(text, words, list(left)):
        restricting = next((name for name in names if name in _RESTRICTING), None)
        if restricting is not None and len(found) < MAX_QUOTED:
            found.append(Detection(UNEXPLAINED, DETECTOR, f"unexplained: {restricting}", score, start, end))
        first, last = start if first is None else first, end
    if first is not None and last is not None and not found:
        found.append(Detection(REMARK, DETECTOR, f"{len(left)} words", score, first, last))
    return found


def _sentences(text: str, words: Words, left: list[int]) -> list[tuple[int, int, list[str]]]:
    """The sentences that hold words of `left`: their spans, and those words."""
    result: list[tuple[int, int, list[str]]] = []
    for index in left:
        start, end = int(words.starts[index]), int(words.ends[index])
        if result and end <= result[-1][1]:
            result[-1][2].append(words.words[index])
            continue
        floor = max(start - _MAX_SENTENCE, result[-1][1] if result else 0)
        before = [match.end() for match in _SENTENCE_END.finditer(text, floor, start)]
        after = _SENTENCE_END.search(text, end, min(len(text), end + _MAX_SENTENCE))
        begin = before[-1] if before else floor
        stop = after.end() if after else min(len(text), end + _MAX_SENTENCE)
        while begin < start and text[begin].isspace():
            begin += 1
        while stop > end and text[stop - 1].isspace():
            stop -= 1
        result.append((begin, stop, [words.words[index]]))
    return result


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in spans:
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        elif end > start:
            result.append((start, end))
    return result
