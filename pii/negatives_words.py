"""Words: identifiers, paths, labels, sentences, translation keys."""

from __future__ import annotations

import re

from pii.word_model import score

#: Bits from which a value is taken for words: a random one is with a chance of at most 1 in 256, measured far below
#: 1 in 1,000 (docs/adr/0026).
WORDS = 8.0
#: Bits of a single word, for a test that only letters pass.
_WORD = 5.0
#: Bits below which a value is taken for random: of names of twelve letters and more, 1 in 100 is.
RANDOM = -8.0
#: Bits of a stretch inside a value of words that makes it hold something random.
_STRETCH = -24.0

_PHRASE = re.compile(
    rb"[A-Za-z\x80-\xff][A-Za-z\x80-\xff']*(?:[ ._:/,;-]{1,3}[A-Za-z\x80-\xff][A-Za-z\x80-\xff']*)+[.!?:*]{0,3}\Z|[A-Z]+\Z"
)
_SENTENCE = re.compile(rb"[A-Za-z\x80-\xff]{2,}[,.:;!?'\")]* [('\"]?[A-Za-z\x80-\xff]{2,}")
_OPAQUE = re.compile(rb"(?=[a-f0-9]*[0-9])(?=[a-f0-9]*[a-f])[a-f0-9]{16,}")


def is_words(value: bytes) -> bool:
    """Whether `value` reads as names or words throughout: identifiers, paths, translation keys, dictionary words."""
    value = value[:256]
    bits, stretch = score(value)
    return bits >= WORDS and stretch > _STRETCH and not _OPAQUE.search(value)


def is_random(value: bytes, bits: float = RANDOM) -> bool:
    """Whether `value` reads like characters drawn at random: by at least `-bits` bits."""
    return score(value[:256])[0] <= bits


def is_phrase(value: bytes) -> bool:
    """Whether `value` is a label, a constant's name or a sentence: words of letters with separators."""
    value = value[:256]
    if _SENTENCE.search(value) or (b" " in value and _PHRASE.match(value)):
        return True
    return bool(_PHRASE.match(value)) and score(value)[0] >= _WORD
