"""Translate Python expressions (over characters) into wider ones for Hyperscan (over a shadow of the text).

The **shadow** of a text has one byte per character: ASCII as it is, CR as LF (both end a line), anything else
0xFF.  So counts like `.{0,20}` count the same things on both sides.  The translation may only widen: whatever
the Python expression finds in a line, the translated one reports with an end inside that line.
"""

from __future__ import annotations

import re

import numpy as np

# Python's `re` folds these to ASCII letters under IGNORECASE (documented there); so does the shadow.
_FOLDED = {"İ": "i", "ı": "i", "ſ": "s", "\u212a": "k"}

# Inside a positive class, and alone: what Python's Unicode classes contain beyond Hyperscan's.
_WIDER = {"w": r"\w\xff", "d": r"\d\xff", "s": r"\s\x0b\x1c-\x1f\xff"}


def shadow(text: str) -> bytes:
    """One byte per character of `text`, as described above."""
    if text.isascii():
        return text.encode("ascii").replace(b"\r", b"\n")
    for letter, plain in _FOLDED.items():
        if letter in text:
            text = text.replace(letter, plain)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
    return np.where(points > 127, 255, points).astype(np.uint8).tobytes().replace(b"\r", b"\n")


def widen(pattern: str, *, verbose: bool) -> bytes:
    r"""`pattern` with Python's meaning of `\v`, `\w`, `\d`, `\s`, `$` and `\b` made explicit or wider.

    * `\v` is one character in Python, a class in PCRE;
    * `\w`, `\d`, `\s` reach beyond ASCII in Python; a negated class is wider without that, and is left alone;
    * `$` comes behind `rstrip()` in detect-secrets: white space may follow here;
    * `\b` depends on what is a letter: dropped.
    """
    out: list[str] = ["(?x)"] if verbose else []
    in_class = negated = False
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\" and i + 1 < len(pattern):
            out.append(_escape(pattern[i + 1], in_class=in_class, negated=negated))
            i += 2
            continue
        if ord(c) > 127:
            out.append(r"\xff")
        elif in_class:
            in_class = c != "]" or pattern[i - 1] == "[" or (negated and pattern[i - 2 : i] == "[^")
            out.append(c)
        elif c == "[":
            in_class, negated = True, pattern[i + 1 : i + 2] == "^"
            out.append(c)
        else:
            out.append(r"(?:$|[\s\x1c-\x1f\xff])" if c == "$" else c)
        i += 1
    return "".join(out).encode("ascii")


def _escape(letter: str, *, in_class: bool, negated: bool) -> str:
    if letter == "v":
        return r"\x0b"
    if letter in _WIDER and not negated:
        return _WIDER[letter] if in_class else f"[{_WIDER[letter]}]"
    if letter in "bB" and not in_class:
        return ""
    return "\\" + letter


def ignores_case(expression: re.Pattern[str]) -> bool:
    """Whether the expression was compiled with IGNORECASE."""
    return bool(expression.flags & re.IGNORECASE)
