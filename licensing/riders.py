"""Restrictions that somebody added to a license: "MIT, but no machine learning".

License detectors compare with known texts and stay silent about what was added, so an MIT text with a rider
looks like MIT. Here, in license files only (READMEs speak of everything), every sentence is searched for a
restriction of who may use the code, for what, or of its sale. Phrases that no common permissive license
contains count everywhere; commercial use, fields of use and the like outside of what the detector recognised
exactly; a mere "not permitted" outside of what it recognised at all. The sentence stands in the evidence by
its offsets.

This is a list of phrases: it finds the riders that are common today, not every sentence that a lawyer can
write.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from licensing.detection import Detection

DETECTOR = "rider 1"
PREFIX = "LicenseRef-stackmill-rider-"

MAX_SENTENCE = 600
"""Characters of a sentence that are looked at on each side of a topic word."""

MAX_TOPICS = 1_000
"""Places that one rule looks at in one text: bounds the work on a text that is nothing but topic words."""

_RESTRICTING = (
    r"\b(?:not|nor|no|never|only|solely|exclusively|ban|banned|denied|refrain|unless|without|cannot)\b|n't\b"
    r"|prohibit|forb[ia]d|disallow|restrict|exclud|except|unauthori[sz]ed|must\s+obtain|separate\s+licen[cs]e"
)


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    topic: re.Pattern[str]
    outside: float
    """Not where a license text was recognised with at least this score (0..100); above 100: everywhere."""
    restricted: bool = True
    """The sentence must also hold a word of restriction; otherwise the topic is one by itself."""


_EVERYWHERE, _INEXACT, _UNRECOGNISED = 101.0, 100.0, 0.0


def _rule(name: str, topic: str, outside: float, restricted: bool = True) -> _Rule:
    return _Rule(name, re.compile(topic, re.IGNORECASE), outside, restricted)


_RULES = (
    _rule(
        "machine-learning",
        r"machine[\s-]+learning|artificial[\s-]+intelligence|neural[\s-]+net|deep[\s-]+learning"
        r"|(?:\blanguage|\bgenerative|\bfoundation|\bAI|\bML)[\s-]+models?\b|\bLLMs?\b|\bgenerative[\s-]+AI\b"
        r"|\bAI[\s-]+(?:system|train)|text[\s-]+(?:and|&)[\s-]+data[\s-]+mining|training[\s-]+(?:data|corp|set)"
        r"|\b(?:train|training|fine-?tun\w{0,4})\b[^.]{0,60}\bmodels?\b",
        _EVERYWHERE,
    ),
    _rule(
        "commons-clause",
        r"commons\s+clause|right\s+to\s+sell\s+the\s+software",
        _EVERYWHERE,
        restricted=False,
    ),
    _rule(
        "ethical-use",
        r"\b(?:human\s+rights|hate\s+speech|harm\s+to\s+others|unethical|fossil\s+fuel)",
        _EVERYWHERE,
    ),
    _rule("hosted-service", r"\b(?:hosted|managed)\s+(?:or\s+\w+\s+)?service|\bSaaS\b", _EVERYWHERE),
    _rule("non-commercial", r"\bnon-?\s?commercial", _INEXACT),
    _rule(
        "commercial-use",
        r"\bcommercial(?:ly)?\s+(?:use|usage|purpose|exploit|gain|product|advantage|entit)",
        _INEXACT,
    ),
    _rule("field-of-use", r"\b(?:military|weapon|warfare|surveillance|nuclear|law\s+enforcement)", _INEXACT),
    _rule(
        "evaluation",
        r"\b(?:evaluation|internal|personal|educational|academic|research)\s+(?:use|purpose)",
        _INEXACT,
    ),
    _rule(
        "distribution",
        r"\bnot\s+(?:be\s+)?(?:re-?)?(?:distribut|sell|sold|sublicens|publish|modif|cop)",
        _UNRECOGNISED,
    ),
    _rule(
        "use",
        r"\bnot\s+(?:be\s+)?(?:us(?:e|ed|ing)|permitted|allowed|granted|authori[sz]ed)\b|prohibit|forbid",
        _UNRECOGNISED,
    ),
)
"""Checked against the texts of ScanCode's permissive licenses: `tests/licensing/test_riders.py`."""

_RESTRICTION = re.compile(_RESTRICTING, re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.;!?](?=\s)|\n[ \t]*\n")


def find(text: str, recognised: Sequence[Detection] = ()) -> list[Detection]:
    """Riders in the text of a license file, by position; offsets (of the sentence) in characters of `text`.

    `recognised`: the license texts that a detector found in it, offsets in characters.
    """
    found = []
    for rule in _RULES:
        known = [(d.start, d.end) for d in recognised if d.score >= rule.outside]
        for topic in itertools.islice(rule.topic.finditer(text), MAX_TOPICS):
            if any(start <= topic.start() and topic.end() <= end for start, end in known):
                continue
            start, end = _sentence(text, topic.start(), topic.end())
            if rule.restricted and not _RESTRICTION.search(text, start, end):
                continue
            found.append(Detection(PREFIX + rule.name, DETECTOR, rule.name, 100.0, start, end))
            break  # one sentence is evidence enough for one rule
    return sorted(found, key=lambda d: (d.start, d.end, d.rule))


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence around text[start:end], at most MAX_SENTENCE characters to each side."""
    begin = max(0, start - MAX_SENTENCE)
    before = list(_SENTENCE_END.finditer(text, begin, start))
    after = _SENTENCE_END.search(text, end, min(len(text), end + MAX_SENTENCE))
    first = before[-1].end() if before else begin
    last = after.end() if after else min(len(text), end + MAX_SENTENCE)
    while first < start and text[first].isspace():
        first += 1
    return first, last
