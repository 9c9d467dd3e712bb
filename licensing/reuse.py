"""`REUSE.toml`: what a project states of files that have no header of their own.

An annotation names paths (from the folder of the file; `*` stops at a slash, `**` does not, a backslash takes the next
character as it is) and the license under which they are. Its `precedence` says whether a header in a file comes first;
here a header can only take away what is stated, never add to it, whatever the precedence is.

The texts in a `LICENSES` folder are no statement: which file is under which of them is said in headers and here.

Format: https://reuse.software/spec-3.3/
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from licensing.detection import Detection
from licensing.expressions import UNPARSABLE, canonical, conjunction, read
from licensing.path_statements import EVERYTHING, MAX_PATTERN, MAX_PATTERNS, rule_of

DETECTOR = "reuse 1"


def find(text: str) -> list[Detection]:
    """A detection for each annotation with a license, in the order of the file; offsets in characters of `text`.

    A file that cannot be read states something that nobody understands.
    """
    try:
        tables = tomllib.loads(text).get("annotations", [])
    except (ValueError, RecursionError):
        return [_unknown(text)]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return [_unknown(text)]
    marks = [
        mark.start()
        for mark in re.finditer(r"^\s{0,99}\[\[\s{0,9}annotations\s{0,9}\]\]", text, re.MULTILINE)
    ]
    found, left = [], MAX_PATTERNS
    for number, table in enumerate(tables):
        start = marks[number] if len(marks) == len(tables) else 0
        end = [*marks, len(text)][number + 1] if len(marks) == len(tables) else len(text)
        if (expression := _license(table)) is None:
            continue
        patterns = _patterns(table.get("path"))
        left -= len(patterns)
        if not patterns or left < 0:
            return [_unknown(text)]
        found.append(Detection(expression, DETECTOR, rule_of(patterns), 100.0, start, end))
    return found


def _unknown(text: str) -> Detection:
    return Detection(UNPARSABLE, DETECTOR, rule_of([EVERYTHING]), 100.0, 0, len(text))


def _license(table: dict[str, Any]) -> str | None:
    """All stated licenses together; None where none is."""
    stated = table.get("SPDX-License-Identifier")
    several = stated if isinstance(stated, list) else [stated]
    if stated is None or not several:
        return None
    joined = conjunction(read(one) if isinstance(one, str) else UNPARSABLE for one in several)
    return canonical(joined) if joined else None


def _patterns(path: Any) -> list[str]:
    """Patterns as `path_statements` writes them; none where one cannot be read."""
    several = path if isinstance(path, list) else [path]
    found = []
    for one in several:
        if not isinstance(one, str) or not 0 < len(one) <= MAX_PATTERN:
            return []
        parts = re.findall(r"\\.|\*{2,}|\*|[^\\*]+|\\", one.removeprefix("./"), re.DOTALL)
        found.append(
            "".join("**" if p[:2] == "**" else re.sub(r"\?", r"\\?", p) if p[0] != "\\" else p for p in parts)
        )
    return found
