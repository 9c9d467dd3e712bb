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


BASE64, ESCAPED, HEX, SPACE, WORD = 1, 2, 4, 8, 16
r"""Flags of a byte: in a base64 run; in a run of escapes; `[0-9a-fA-F]`; ASCII `\s`; ASCII `\w`."""


def _classes() -> np.ndarray:
    digits, upper, lower = b"0123456789", bytes(range(65, 91)), bytes(range(97, 123))
    hexadecimal = digits + b"abcdefABCDEF"
    space = b" \t\n\r\f\v"
    flags = np.zeros(256, np.uint8)
    for flag, members in (
        (BASE64, digits + upper + lower + b"+/\n="),
        (ESCAPED, hexadecimal + space + b"xu,\\"),
        (HEX, hexadecimal),
        (SPACE, space),
        (WORD, digits + upper + lower + b"_"),
    ):
        flags[np.frombuffer(members, np.uint8)] |= flag
    return flags


CLASSES = _classes()
"""(256,) uint8: the flags of every byte."""
