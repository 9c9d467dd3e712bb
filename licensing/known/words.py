"""From a license text to the words that are compared, in one way for the table and for the files.

Words are runs of letters and digits, in lower case, without what only formats (list marks, frames, mark-up
names), with one spelling for words that have two, and with the names of holders in the known places of a
license ("Neither the name of ... nor") replaced by one placeholder. Copyright lines, and titles that say no
more than "License", are left out altogether: `plain.py`.

Everything is one pass over the text with expressions that cannot backtrack far, so the time is linear.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from licensing.known import plain

_WORD = re.compile(r"[^\W_]+\+?")

_FORMATTING_TEXT = (
    "a abbr alt amp apos blockquote body br bull class code dd div dl dnl dt em font gt h1 h2 h3 h4 h5 h6 head hr "
    "href html i8n img ldquo li lt mdash meta nbsp ndash ol p para pre quot rdquo rel rem rsquo span src "
    "strong sup table tbody td th tr tt ul www"
)
_FORMATTING = frozenset(_FORMATTING_TEXT.split())
"""Names of mark-up and of comment marks, and the article that ScanCode leaves out, too."""

_SPELLINGS = {
    "licence": "license",
    "licences": "licenses",
    "licenced": "licensed",
    "licencing": "licensing",
    "sublicence": "sublicense",
    "https": "http",
    "acknowledgement": "acknowledgment",
    "acknowledgements": "acknowledgments",
    "noncommercial": "non-commercial",
}
"""Two spellings of one word (SPDX's matching guidelines, "equivalent words", in part)."""

HOLDER = "<holder>"
"""Stands for the names in a place of a license where the holder is named."""

_NEITHER = frozenset({"may", "shall", "can"})
_LIABLE = frozenset({"be"})
_AS_IS = frozenset({"as"})

_SLOTS: dict[str, tuple[tuple[tuple[str, ...], frozenset[str]], ...]] = {
    # last word before the name: (words before, words of which one follows)
    "neither": ((("neither",), _NEITHER),),
    "by": (
        (("software", "is", "provided", "by"), _AS_IS),
        (("software", "are", "provided", "by"), _AS_IS),
        (("documentation", "is", "provided", "by"), _AS_IS),
        (("program", "is", "provided", "by"), _AS_IS),
        (("library", "is", "provided", "by"), _AS_IS),
    ),
    "and": ((("as", "is", "and"), frozenset({"disclaims", "disclaim"})),),
    "shall": ((("in", "no", "event", "shall"), _LIABLE),),
    "will": ((("in", "no", "event", "will"), _LIABLE),),
}
_MAX_NAME = 24
"""Words of a name in such a place."""


@dataclass(frozen=True)
class Words:
    """The words of a text that are compared."""

    words: list[str]
    starts: NDArray[np.int64]
    """Character of the text at which each word begins."""
    ends: NDArray[np.int64]
    """Character after each word."""

    def __len__(self) -> int:
        return len(self.words)

    def digest(self, first: int, last: int) -> bytes:
        """What stands for words[first:last] in the table: 12 bytes of BLAKE2b."""
        return digest(self.words[first:last])


def digest(words: list[str]) -> bytes:
    """12 bytes of BLAKE2b over the words: no two texts that anybody can find have the same."""
    return hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def read_words(text: str) -> Words:
    """The words of a file's text."""
    hidden = plain.spans(text)
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for begin, end in [*hidden, (len(text), len(text))]:
        for match in _WORD.finditer(text, position, begin):
            word = match.group().lower()
            if word in _FORMATTING:
                continue
            words.append(_SPELLINGS.get(word, word))
            starts.append(match.start())
            ends.append(match.end())
        position = max(position, end)
    return _with_placeholders(words, starts, ends, text)


def _with_placeholders(words: list[str], starts: list[int], ends: list[int], text: str) -> Words:
    kept = np.ones(len(words), dtype=bool)
    index = 0
    while index < len(words):
        slot = _slot(words, index) if words[index] in _SLOTS else None
        index += 1
        if slot is None or not _is_name(text, starts[index:slot], ends[index:slot]):
            continue
        words[index] = HOLDER
        ends[index] = ends[slot - 1]
        kept[index + 1 : slot] = False
        index = slot
    chosen = np.flatnonzero(kept)
    return Words(
        [words[i] for i in chosen.tolist()],
        np.array(starts, dtype=np.int64)[chosen],
        np.array(ends, dtype=np.int64)[chosen],
    )


def _slot(words: list[str], last: int) -> int | None:
    """Index of the word after the name that follows words[last]; None where no such place is."""
    for before, following in _SLOTS[words[last]]:
        if tuple(words[max(0, last + 1 - len(before)) : last + 1]) != before:
            continue
        for end in range(last + 2, min(last + 2 + _MAX_NAME, len(words))):
            if words[end] in following:
                return end
    return None


def _is_name(text: str, starts: list[int], ends: list[int]) -> bool:
    if plain.SENTENCE_END.search(text, starts[0], ends[-1]):
        return False
    return plain.names_holder([text[start:end] for start, end in zip(starts, ends, strict=True)])
