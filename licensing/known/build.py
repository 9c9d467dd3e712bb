"""The entries of the table, from ScanCode's rules and SPDX's texts (used by `scripts/build_license_table.py`).

Of ScanCode everything comes in: rules and license texts, with its own classification. Where rules of
different licenses have the same words (they differ in the holder's name, say), the entry is ambiguous. SPDX
adds the texts that ScanCode's own do not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from licensing.expressions import InvalidExpressionError, canonical
from licensing.known.table import Entry, Kind
from licensing.known.words import read_words

_FLAGS = (
    ("is_false_positive", Kind.SILENT),
    ("is_license_clue", Kind.SILENT),
    ("is_license_intro", Kind.INTRO),
    ("is_license_text", Kind.TEXT),
    ("is_license_notice", Kind.NOTICE),
    ("is_license_tag", Kind.TAG),
    ("is_license_reference", Kind.REFERENCE),
)

_MAJORITY = 5
"""So many rules for one meaning against each rule for another: the others are holders' variants."""

_STRENGTH = (Kind.TEXT, Kind.NOTICE, Kind.TAG, Kind.REFERENCE, Kind.INTRO)


def scancode_entries() -> list[Entry]:
    """One entry per rule of the installed ScanCode (its index is loaded: 1.1 GB)."""
    from licensedcode import cache

    index, licensing = cache.get_index(), cache.get_cache().licensing
    found = []
    for rule in index.rules_by_rid:
        kind = next((kind for flag, kind in _FLAGS if getattr(rule, flag)), Kind.SILENT)
        expression = _spdx(cache, rule, licensing) if kind is not Kind.SILENT else ""
        if expression is None:
            kind, expression = Kind.SILENT, ""
        text = rule.text.replace("{{", " ").replace("}}", " ")
        found.append(_entry(text, expression, kind, int(rule.relevance), rule.identifier))
    return [entry for entry in found if entry is not None]


def _spdx(cache: Any, rule: Any, licensing: Any) -> str | None:
    try:
        return canonical(cache.build_spdx_license_expression(rule.license_expression, licensing=licensing))
    except InvalidExpressionError:
        return None


def spdx_entries(listed: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
    """Entries of SPDX's texts: `listed` maps an id to an object with `licenseText`."""
    found = []
    for name in sorted(listed):
        entry = _entry(listed[name]["licenseText"], canonical(name), Kind.TEXT, 100, f"spdx:{name}")
        if entry is not None:
            found.append(entry)
    return found


def _entry(text: str, expression: str, kind: Kind, relevance: int, rule: str) -> Entry | None:
    words = read_words(text)
    if not len(words):
        return None
    return Entry(words=words, expression=expression, kind=kind, relevance=relevance, rule=rule)


def unique(entries: Iterable[Entry]) -> list[Entry]:
    """One entry per sequence of words.

    Of several with one meaning the strongest kind counts. ScanCode's meaning goes before SPDX's. Different
    meanings make an ambiguous entry, unless one has a great majority of the rules.
    """
    groups: dict[bytes, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.words.digest(0, len(entry.words)), []).append(entry)
    return [_merged(group) for group in groups.values()]


def _merged(group: list[Entry]) -> Entry:
    own = [entry for entry in group if not entry.rule.startswith("spdx:")] or group
    meanings = Counter((entry.expression, entry.kind is Kind.SILENT) for entry in own)
    (usual, count), *_ = meanings.most_common(1)
    if count < len(own) and count < _MAJORITY * (len(own) - count):
        first = min(own, key=lambda entry: entry.rule)
        return Entry(words=first.words, expression="", kind=Kind.AMBIGUOUS, relevance=0, rule=first.rule)
    rank = {kind: i for i, kind in enumerate((*_STRENGTH, Kind.SILENT))}
    agreeing = [entry for entry in own if (entry.expression, entry.kind is Kind.SILENT) == usual]
    return min(agreeing, key=lambda entry: (rank[entry.kind], -entry.relevance, entry.rule))
