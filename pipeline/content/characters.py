"""Classes of bytes and of characters, as look-up tables for the kernels of signals.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

ALPHABETIC, ALPHANUMERIC = 1, 2


def _letters() -> np.ndarray:
    """Flags of every code point, from data/letters.json (scripts/build_letter_ranges.py)."""
    ranges = json.loads((Path(__file__).parent / "data" / "letters.json").read_bytes())
    flags = np.zeros(0x110000, np.uint8)
    for key, flag in (("alphabetic", ALPHABETIC), ("alphanumeric", ALPHANUMERIC)):
        for first, last in ranges[key]:
            flags[first : last + 1] |= flag
    return flags


LETTERS = _letters()
"""(0x110000,) uint8: ALPHABETIC for Unicode letters (categories L*), ALPHANUMERIC for these and numbers."""


def _bytes(*members: bytes) -> np.ndarray:
    flags = np.zeros(256, bool)
    flags[np.frombuffer(b"".join(members), np.uint8)] = True
    return flags


_DIGITS, _UPPER, _LOWER = b"0123456789", bytes(range(65, 91)), bytes(range(97, 123))

WORD = _bytes(_DIGITS, _UPPER, _LOWER, b"_")
r"""ASCII `\w`."""

SPACE = _bytes(b" \t\n\r\f\v")
r"""ASCII `\s`."""

HEX = _bytes(_DIGITS, b"abcdefABCDEF")

BASE64 = _bytes(_DIGITS, _UPPER, _LOWER, b"+/\n=")

ESCAPED = HEX | SPACE | _bytes(b"xu,\\")
"""Every byte that occurs in a match of the hex and the unicode-escape pattern."""
