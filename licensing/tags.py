"""`SPDX-License-Identifier:` tags: the one license statement that is meant for machines.

A tag counts where it stands as a statement of its own: alone in its line but for comment marks. A tag that
closes inside the same quotes that open before it (`"SPDX-License-Identifier: GPL-2.0",`) is data of a
program, and one in the middle of a sentence is talk about tags; neither counts. A string that spans lines is
not told from code.
"""

from __future__ import annotations

import re

from licensing.detection import Detection
from licensing.expressions import MAX_EXPRESSION, read

DETECTOR = "spdx-tag 1"

MARK = "SPDX-License-Identifier"

MAX_TAGS = 64
"""Tags that are read in one text, the first ones; concatenated sources hold some tens."""

_TAG = re.compile(rf"{MARK}\s{{0,8}}:[ \t]{{0,8}}([^\r\n]*)", re.IGNORECASE)
_MAX_PREFIX = 80
"""Characters before the tag in its line: a comment mark and some indentation."""

_COMMENT_WORDS = re.compile(r"\A\W*(?:rem|dnl|comment|c)?\W*\Z", re.IGNORECASE | re.ASCII)
_TRAILING = " \t\"'`*#;/,|=-<>%{}?!"
"""What may follow an expression up to the end of its line: ends of comments and strings, frames."""

_TEXT_AFTER = re.compile(r"\s{0,8}(?:\*/|-->|\*\)|#\}|-\}|;|\"\"\"|'''|\s#\s|\s//\s|\s--\s|<).*", re.DOTALL)


def find(text: str) -> list[Detection]:
    """The tags in `text` that are statements, by position; offsets in characters of `text`.

    An expression that cannot be read gives `expressions.UNPARSABLE`: something is stated, nobody knows what.
    """
    found = []
    for tag in _TAG.finditer(text):
        line_start = max(text.rfind("\n", 0, tag.start()), text.rfind("\r", 0, tag.start())) + 1
        prefix = text[line_start : tag.start()]
        value = tag.group(1)[: MAX_EXPRESSION + 1]
        if len(prefix) > _MAX_PREFIX or not _COMMENT_WORDS.match(prefix) or _quoted(prefix, value):
            continue
        statement = _TEXT_AFTER.sub("", value).strip().rstrip(_TRAILING)
        if not statement:
            continue
        end = tag.start(1) + value.find(statement) + len(statement)
        found.append(Detection(read(statement), DETECTOR, MARK, 100.0, tag.start(), end))
        if len(found) == MAX_TAGS:
            break
    return found


def _quoted(prefix: str, value: str) -> bool:
    """Whether the tag stands in a string literal: the quote before it closes behind it. Doc strings do not
    count."""
    if prefix.strip() in ('"""', "'''", 'r"""', "`" * 3):
        return False
    if prefix.lstrip().startswith(('.\\"', "'\\\"")):  # comment of a manual page
        return False
    return any(prefix.count(quote) % 2 == 1 and quote in value for quote in "\"'`")
