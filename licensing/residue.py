"""What stands in a license file beside the licenses that were recognised: nothing is passed over in silence.

A license detector compares with what it knows and says nothing of a sentence that it does not know, so
"MIT, but only on Sundays" is MIT to it. Here every word that no detector explained counts, but for copyright
lines and bare titles (`known.plain`):

- a sentence that restricts gives `expressions.UNEXPLAINED`: the file states something that nobody
  recognised, and no policy permits that. A sentence restricts if it says that one must or may not do
  something, for whom or for what the use is, or that it costs something; inside a license that is known but
  for a few words, one word such as "not" or "commercial" among these is enough;
- more than three quarters of the words (`LEAST_EXPLAINED`) give it, too: a text in another language, in which a few
  words look like a license, has no word of these patterns;
- any other words give one `expressions.REMARK` with the share of the words that is explained as its score:
  names of projects, descriptions, which license is for which file. The score sends the file to a reviewer.

So no sentence can be added to a license without changing the result. Which sentences restrict is a list of
patterns: `docs/adr/0018-known-license-texts.md` says how it was chosen and what it cannot see. The offsets of
a detection are those of the sentence.
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

DETECTOR = "residue 2"

LEAST_EXPLAINED = 25.0
"""Per cent of the words of a license file that must be explained; a file with less states something that nobody knows."""

MAX_QUOTED = 20
"""Sentences that are quoted one by one; the rest is counted in the remark's score."""

_INSERTED_TEXT = """
    not no never only except unless prohibited prohibits forbidden forbids banned disallowed denied refrain solely
    exclusively unauthorized unauthorised commercial commercially noncommercial non personal academic educational
    evaluation military ethical evil fee fees pay paid payment royalty royalties purchase must cannot
"""
_INSERTED = frozenset(_INSERTED_TEXT.split())
"""Among a few words between words of a license, each of these can turn its meaning."""

_MAX_INSERTED = 8

_GAP = r"(?:\W{1,20}\w{1,30}){0,3}?\W{1,20}"
"""Up to three words, and what is between words."""

_DOING = (
    r"(?:us(?:e|es|ed|ing|age)|run|running|cop(?:y|ied|ying)|modif\w{1,10}|distribut\w{1,8}|redistribut\w{1,8}"
    r"|sell|sold|selling|resell|resold|sublicens\w{1,6}|publish\w{0,5}|share[ds]?|sharing|host(?:ed|ing)?|deploy\w{0,6}"
    r"|train(?:ed|ing)?|incorporat\w{1,6}|embed\w{0,6}|grant(?:ed|s)?|permitted|allowed|licensed"
    r"|commercial\w{0,4}|production)"
)

_RESTRICTING = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # what one must do, or must not
        rf"\b(?:not|never|no|nor|cannot|can't|don't|won't|only|without|neither){_GAP}{_DOING}\b",
        rf"\b{_DOING}{_GAP}(?:not|never|only|cannot|solely|exclusively)\b",
        r"\b(?:must|shall)\b",
        r"\b(?:you|users?|licensees?|compan(?:y|ies)|organi[sz]ations?|anyone|everyone|nobody|whoever|those\s+who)"
        r"(?:\W{1,20}\w{1,30}){0,6}?\W{1,20}"
        r"(?:should|need|needs|agree|agrees|required|ha(?:ve|s)\s+to|only|not|cannot|unless|without|if|except)\b",
        r"\b(?:if|unless|until|except|provided)(?:\W{1,20}\w{1,30}){0,6}?\W{1,20}"
        r"(?:you|your|users?|licensees?|compan(?:y|ies)|organi[sz]ations?|commercial\w{0,4}|anyone|permission)\b",
        r"\b(?:requir\w{1,8}|obtain\w{0,3}|needs?|contact|request|buy|purchase)(?:\W{1,20}\w{1,30}){0,6}?\W{1,20}"
        r"(?:licen[cs]e|permission|approval|consent|agreement|fees?|payment|attribution|subscription)\b",
        r"\b(?:prohibit|forbid|forbad|disallow|bann(?:ed|ing)|refrain|unauthori[sz]ed|unlawful|illegal|den(?:y|ied)\b)",
        r"\b(?:revoke|revoked|terminat\w{1,5})\b",
        # for whom or for what
        r"\bnon-?\s?(?:commercial|profit\s+use|production)",
        r"\bcommercial(?:ly)?\s+(?:use|usage|purpose|licen[cs]e|exploit|gain|product|advantage|entit|user)",
        r"\b(?:personal|private|internal|academic|educational|research|evaluation|testing|trial|military|production)"
        r"\s+(?:use|usage|purposes?|only)\b",
        r"\b(?:free|licensed|limited|restricted|reserved|available|intended|allowed|permitted)\s+(?:only\s+)?(?:for|to)\s+"
        r"(?:use\s+)?(?:by\s+|in\s+|the\s+)?(?:non|students?|academi|education|research|personal|private|individuals?"
        r"|employees|members|customers|evaluation|registered|charit|humans?|good\b)",
        r"\b(?:evil|unethical|ethical|harm|military|weapons?|warfare|surveillance|genocide|human\s+rights)\b",
        r"\bmachine\s+learning\b|\bartificial\s+intelligence\b|\bneural\s+net|\blanguage\s+models?\b",
        # what it costs, and whose it is
        r"\b(?:fees?|royalt(?:y|ies)|payments?|subscription|paid\s+licen[cs]e|pay)\b",
        r"\b(?:confidential|proprietary|trade\s+secrets?|all\s+other\s+rights|rights\s+are\s+not)\b",
    )
)
"""Each is tried on one sentence of at most 1,200 characters, and has bounded repetitions only."""

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
    if not len(left):
        return []
    score = 100.0 * (1 - len(left) / len(words))
    inserted = _inserted(text, words, left)
    found: list[Detection] = []
    sentences = _sentences(text, words, [int(index) for index in left])
    for start, end, indices in sentences:
        why = next((words.words[i] for i in indices if i in inserted), None) or _restriction(
            text, start, end, [(int(words.starts[i]), int(words.ends[i])) for i in indices]
        )
        if why is not None:
            found.append(Detection(UNEXPLAINED, DETECTOR, f"unexplained: {why}", score, start, end))
            if len(found) == MAX_QUOTED:
                break
    if found:
        return found
    most = score < LEAST_EXPLAINED
    return [
        Detection(
            UNEXPLAINED if most else REMARK,
            DETECTOR,
            f"unexplained: {len(left)} of {len(words)} words" if most else f"{len(left)} words",
            score,
            sentences[0][0],
            sentences[-1][1],
        )
    ]


def _restriction(text: str, start: int, end: int, spans: list[tuple[int, int]]) -> str | None:
    """What restricts in the sentence text[start:end]; some word at `spans` must be part of it."""
    for pattern in _RESTRICTING:
        for match in pattern.finditer(text, start, end):
            if any(first < match.end() and match.start() < last for first, last in spans):
                return " ".join(match.group().lower().split())[:60]
    return None


def _inserted(text: str, words: Words, left: Sequence[int] | NDArray[np.int64]) -> set[int]:
    """The words of _INSERTED that stand, with few others, between explained words of one sentence."""
    flags = np.zeros(len(words), dtype=bool)
    flags[np.asarray(left)] = True
    result: set[int] = set()
    for first, last in runs(flags):
        if first == 0 or last == len(words) or last - first > _MAX_INSERTED:
            continue
        if _SENTENCE_END.search(text, int(words.ends[first - 1]), int(words.starts[last])):
            continue
        result.update(i for i in range(first, last) if words.words[i] in _INSERTED)
    return result


def _sentences(text: str, words: Words, left: list[int]) -> list[tuple[int, int, list[int]]]:
    """The sentences that hold words of `left`: their spans, and those words."""
    result: list[tuple[int, int, list[int]]] = []
    for index in left:
        start, end = int(words.starts[index]), int(words.ends[index])
        if result and end <= result[-1][1]:
            result[-1][2].append(index)
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
        result.append((begin, stop, [index]))
    return result


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in spans:
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        elif end > start:
            result.append((start, end))
    return result
