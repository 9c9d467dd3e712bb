"""How a redacted line looks, without what it says: for readers who want to see what was taken out, and from where.

Made from the released text alone. Every letter is an `x`, every digit a 9, whatever else is not plain punctuation a `?`; only
placeholders stand as they are. So a sample cannot tell what redaction missed, either.
"""

from __future__ import annotations

import re

AROUND = 48
"""Characters of a line on either side of a placeholder."""
PER_RULE = 3
"""Samples of a rule."""

_PLACEHOLDER = re.compile(r"<?[A-Z][A-Z_]*_[0-9]+>?\Z")
_UPPER, _LOWER, _DIGIT, _OTHER = (re.compile(p) for p in (r"[A-Z]", r"[a-z]", r"[0-9]", r"[^ -~]"))


def masked_line(content: str, start: int, end: int, kind: str) -> str:
    """The line around the bytes `start` to `end` of a released text, masked; the place of the redaction shows its kind."""
    text = content.encode()
    low = max(text.rfind(b"\n", 0, start) + 1, start - AROUND)
    stop = text.find(b"\n", end)
    high = min(stop if stop >= 0 else len(text), end + AROUND)
    before, after = (text[a:b].decode("utf-8", "replace") for a, b in ((low, start), (end, high)))
    said = text[start:end].decode("utf-8", "replace")
    shown = said if len(said) <= AROUND and _PLACEHOLDER.match(said) else f"<{kind.upper()}>"
    return f"{_masked(before)}{shown}{_masked(after)}".strip()


def _masked(text: str) -> str:
    text = _OTHER.sub("?", text.replace("\t", " "))
    return _DIGIT.sub("9", _LOWER.sub("x", _UPPER.sub("X", text)))
