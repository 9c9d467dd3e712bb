"""Copyright lines of license files and notices: what most licenses ask to be kept with the code.

A line counts if it names a year or a holder after the word or the sign: "Copyright (c) 2019 The Authors". Sentences of
license texts that speak of copyright ("the above copyright notice", "copyright holders and contributors") do not. The
work is linear: at most MAX_BYTES and MAX_LINES are looked at, each line by an expression without nested repetition.

These lines name people. They are here because their licenses ask for exactly that; e-mail addresses, which none asks for,
are replaced by `<email>`.
"""

from __future__ import annotations

import re

from licensing.text import MAX_BYTES, read_text

MAX_LINES = 4_000
"""Lines of a file that are looked at."""

MAX_COPYRIGHTS = 100
"""Copyright lines of one file that are kept, the first ones."""

MAX_LENGTH = 200
"""Characters of a line; the rest is cut off."""

__all__ = ["MAX_BYTES", "MAX_COPYRIGHTS", "MAX_LENGTH", "copyright_lines"]

_MARK = re.compile(
    r"(?:\bcopyright\b\s{0,4}(?:\(c\)|\u00a9|&copy;|:|by\b)?|^\W{0,8}(?:\(c\)|\u00a9|&copy;)|SPDX-(?:File|Snippet)CopyrightText\s?:)"
    r"\s{0,8}(.{2,400})",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19[5-9]|20[0-9])[0-9]")
_TERMS = re.compile(
    r"^\W{0,4}(?:notices?|holders?|owners?|licen[cs]es?|laws?|statements?|interests?|protect\w*|and|or|in|is|are|of|on|to|"
    r"the\s+(?:software|work|program)|which|that|that's|may|shall|disclaimers?|treaty|treaties|claims?|registrations?|"
    r"files?|headers?|information|assign\w*|infring\w*|as\s+\w+|for\s+\w+|with\s+\w+|including|have|has|you|your|such|any|"
    r"rights?|management|term|works?|permission\w*|material|status|years?|grant\w*)\b",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"[\[<{]\s{0,4}(?:yyyy|year|years?|name|fullname|copyright|owner|holder|date)\b|\bYYYY\b|\byyyy\b",
    re.IGNORECASE,
)
"""The blanks of a form, as the appendix of the Apache license has it."""

_EMAIL = re.compile(
    r"<?[A-Za-z0-9._%+-]{1,64}(?:@| at | \(at\) )[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}>?"
)
_DECORATION = "*#/;%!-=|'\"` \t"


def copyright_lines(body: bytes) -> list[str]:
    """The copyright lines in the bytes of a file, in their order, each once; without control characters."""
    read = read_text(body)
    if read is None:
        return []
    found: dict[str, None] = {}
    for line in read.text.splitlines()[:MAX_LINES]:
        told = _told(line[:1_000])
        if told is not None and told not in found:
            found[told] = None
            if len(found) == MAX_COPYRIGHTS:
                break
    return list(found)


def _told(line: str) -> str | None:
    lowered = line.lower()
    if (
        "copyright" not in lowered
        and "(c)" not in lowered
        and "\u00a9" not in line
        and "&copy;" not in lowered
    ):
        return None
    mark = _MARK.search(line)
    if mark is None or _TERMS.match(mark.group(1)) or _TEMPLATE.search(line):
        return None
    before = line[: mark.start()].strip(_DECORATION)
    named = (
        _YEAR.search(mark.group(1)) or mark.group(1)[:1].isupper() or re.search(r"\(c\)|\u00a9", line, re.I)
    )
    if len(before) > 40 or not named:
        return None
    text = line.strip(_DECORATION)
    shown = "".join(c if c.isprintable() else " " for c in _EMAIL.sub("<email>", text))
    return " ".join(shown.split())[:MAX_LENGTH].rstrip() or None
