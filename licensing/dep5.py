"""`debian/copyright` in its machine-readable form (DEP-5), which REUSE also uses as `.reuse/dep5`.

Stanzas of fields, separated by blank lines. One with `Files:` (patterns, separated by white space) says by `License:` under
what those files are: short names joined by `or`, `and`, and `, and` which binds last. The text of a license follows its
name, there or in a stanza of its own. Patterns: `*` is any text, also over slashes; `?` one character.

Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from licensing.detection import Detection
from licensing.expressions import MAX_EXPRESSION, UNPARSABLE, canonical, conjunction, disjunction
from licensing.license_names import from_text
from licensing.path_statements import EVERYTHING, MAX_PATTERN, MAX_PATTERNS, rule_of

DETECTOR = "dep5 1"

_FORMAT = re.compile(r"\A\s{0,99}(?:Format|Format-Specification|Upstream-Name|Files)\s{0,9}:", re.IGNORECASE)
_HAS_FORMAT = re.compile(
    r"^Format(?:-Specification)?\s{0,9}:[^\n]{0,200}(?:copyright-format|dep5?\b|CopyrightFormat)", re.I | re.M
)
_STANZA = re.compile(r"\n[ \t\r]*\n(?:[ \t\r]*\n)*")
_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]{0,60})[ \t]*:", re.MULTILINE)


@dataclass(frozen=True)
class _Field:
    value: str
    start: int
    """Of the value, in characters of the file."""
    end: int


def is_dep5(text: str) -> bool:
    """Whether a text says that it is in this format."""
    head = text[:2_000]
    return bool(_FORMAT.match(head)) and bool(_HAS_FORMAT.search(head))


def find(text: str, recognised: Sequence[Detection] = ()) -> list[Detection]:
    """A detection for each `Files` stanza, by position; offsets in characters of `text`.

    `recognised`: what a detector found in the whole text; it tells what a license is whose short name is not known. A
    license that neither tells, and a stanza that cannot be read, is `expressions.UNPARSABLE`.
    """
    stanzas = list(_stanzas(text))
    texts = {
        _key(stanza["license"].value.partition("\n")[0]): stanza["license"]
        for stanza in stanzas
        if "license" in stanza and "\n" in stanza["license"].value.strip()
    }
    found, patterns_left = [], MAX_PATTERNS
    for stanza in stanzas:
        if "files" not in stanza:
            continue
        files, stated = stanza["files"], stanza.get("license")
        patterns = [_pattern(p) for p in files.value.replace(",", " ").split()]
        patterns_left -= len(patterns)
        if patterns_left < 0 or any(len(p) > MAX_PATTERN for p in patterns) or not patterns:
            found.append(
                Detection(UNPARSABLE, DETECTOR, rule_of([EVERYTHING]), 100.0, files.start, files.end)
            )
            break
        expression, last = UNPARSABLE, files
        if stated is not None:
            expression = _expression(stated.value.strip().partition("\n")[0], texts, recognised)
            last = stated
        end = last.start + len(last.value.partition("\n")[0]) if "\n" in last.value else last.end
        found.append(
            Detection(expression, DETECTOR, rule_of(patterns), 100.0, files.start, max(end, files.end))
        )
    return found


def _stanzas(text: str) -> Iterator[dict[str, _Field]]:
    """The fields of each stanza by lower-case name; the first of a name counts."""
    start = 0
    for gap in [*_STANZA.finditer(text), None]:
        end = gap.start() if gap else len(text)
        marks = list(_FIELD.finditer(text, start, end))
        fields: dict[str, _Field] = {}
        for mark, stop in zip(marks, [*(m.start() for m in marks[1:]), end], strict=False):
            value = text[mark.end() : stop].rstrip()
            lead = len(value) - len(value.lstrip())
            fields.setdefault(
                mark.group(1).lower(), _Field(value.lstrip(), mark.end() + lead, mark.end() + len(value))
            )
        if fields:
            yield fields
        start = gap.end() if gap else end


def _pattern(written: str) -> str:
    """A pattern of DEP-5 as `path_statements` writes it."""
    parts = re.findall(r"\\.|\*+|[^\\*]+|\\", written.removeprefix("./"))
    return "".join("**" if part[0] == "*" else part for part in parts)


def _expression(stated: str, texts: dict[str, _Field], recognised: Sequence[Detection]) -> str:
    stated = " ".join(stated.split())
    if not stated or len(stated) > MAX_EXPRESSION:
        return UNPARSABLE
    if known := from_text(stated):
        return known
    joined = conjunction(
        disjunction(
            conjunction(
                _one(name, texts, recognised) for name in re.split(r",?\s+and\s+|\s*&\s*", choice, flags=re.I)
            )
            or UNPARSABLE
            for choice in re.split(r",?\s+(?:and/)?or\s+(?!later|newer)|\s*\|\s*", part, flags=re.I)
        )
        or UNPARSABLE
        for part in re.split(r",\s+and\s+|,\s*(?!or\b|and\b)", stated, flags=re.I)
        if part.strip()
    )
    return canonical(joined) if joined else UNPARSABLE


def _one(name: str, texts: dict[str, _Field], recognised: Sequence[Detection]) -> str:
    """The license of one short name: by the name, else by its text."""
    if known := from_text(name):
        return known
    text = texts.get(_key(name))
    if text is not None:
        inside = [d.expression for d in recognised if text.start <= d.end and d.start < text.end]
        if found := conjunction(inside):
            return found
    base, exception, _ = name.partition(" with ")
    if exception and (known := from_text(base)):
        both = conjunction([known, UNPARSABLE])
        assert both is not None
        return both
    return UNPARSABLE


def _key(name: str) -> str:
    return " ".join(name.lower().split())
