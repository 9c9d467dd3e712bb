"""Classes of bytes and of characters, as look-up tables for the kernels of the signals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

ALPHABETIC, ALPHANUMERIC, BIDI, INVISIBLE, CONTROL = 1, 2, 4, 8, 16
"""Flags of a code point."""

BIDI_RANGES = ((0x202A, 0x202E), (0x2066, 0x2069))
"""Embeddings, overrides, isolates and their ends: what shows code in another order than it is compiled in (CVE-2021-42574)."""

INVISIBLE_RANGES = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180E, 0x180E),  # Mongolian vowel separator
    (0x200B, 0x200F),  # zero-width space, non-joiner and joiner; left-to-right and right-to-left mark
    (0x2060, 0x2064),  # word joiner, invisible operators
    (0x206A, 0x206F),  # deprecated format characters
    (0x3164, 0x3164),  # Hangul filler
    (0xFEFF, 0xFEFF),  # zero-width no-break space: the byte order mark where it does not begin a file
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xE0000, 0xE007F),  # tags
)
"""Characters without a width of their own, but for `BIDI_RANGES` and variation selectors (emoji and CJK text need these)."""

CONTROL_RANGES = ((0x00, 0x08), (0x0B, 0x0B), (0x0E, 0x1F), (0x7F, 0x9F))
"""C0, DEL and C1 without tab, line feed, form feed and carriage return."""


def _points() -> np.ndarray:
    """Flags of every code point; letters and numbers from data/letters.json (scripts/build_letter_ranges.py)."""
    letters = json.loads((Path(__file__).parent / "data" / "letters.json").read_bytes())
    flags = np.zeros(0x110000, np.uint8)
    for ranges, flag in (
        (letters["alphabetic"], ALPHABETIC),
        (letters["alphanumeric"], ALPHANUMERIC),
        (BIDI_RANGES, BIDI),
        (INVISIBLE_RANGES, INVISIBLE),
        (CONTROL_RANGES, CONTROL),
    ):
        for first, last in ranges:
            flags[first : last + 1] |= flag
    return flags


POINTS = _points()
"""(0x110000,) uint8: ALPHABETIC for Unicode letters (categories L*), ALPHANUMERIC for these and numbers, and the others."""

NO_CHARACTER = 0xFFFF
"""What a byte that is no part of a UTF-8 character counts as: a code point that has no flag."""


BASE64, ESCAPED, HEX, SPACE, WORD, DIGIT, PUNCTUATION = 1, 2, 4, 8, 16, 32, 64
r"""Flags of a byte: in a base64 run; in a run of escapes; `[0-9a-fA-F]`; ASCII `\s`; ASCII `\w`; `[0-9]`; ASCII punctuation."""


def _classes() -> np.ndarray:
    digits, upper, lower = b"0123456789", bytes(range(65, 91)), bytes(range(97, 123))
    hexadecimal = digits + b"abcdefABCDEF"
    space = b" \t\n\r\f\v"
    visible = frozenset(range(33, 127))
    flags = np.zeros(256, np.uint8)
    for flag, members in (
        (BASE64, digits + upper + lower + b"+/\n="),
        (ESCAPED, hexadecimal + space + b"xu,\\"),
        (HEX, hexadecimal),
        (SPACE, space),
        (WORD, digits + upper + lower + b"_"),
        (DIGIT, digits),
        (PUNCTUATION, bytes(sorted(visible - frozenset(digits + upper + lower)))),
    ):
        flags[np.frombuffer(members, np.uint8)] |= flag
    return flags


CLASSES = _classes()
"""(256,) uint8: the flags of every byte."""
