"""The section of `report.html` on secrets and personal data: what was taken out, by kind, rule, language, and what was left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from manifests.report.markup import Column, code, details, name, number, paragraph, share, table
from manifests.report.sections import redactions

Stats = Mapping[str, Any]

SHOWN = 20
"""Languages of a table."""

EXPLAINED: Mapping[str, str] = {
    "code": "an expression or a reference of code",
    "counting": "counts up: an alphabet, a row of digits",
    "digest": "a digest of a file or commit",
    "embedded-data": "embedded data, such as an image or a public key",
    "encoded-block": "one of several lines of encoded data",
    "encoded-text": "base64 of readable text",
    "format": "a date, a version, a pattern",
    "identifier": "a name for identifiers stands in front",
    "location": "a path, or an address without credentials",
    "long-data": "longer than any key",
    "no-key-material": "the header of a key block without a key",
    "phrase": "a label or a sentence",
    "placeholder": "a placeholder",
    "public-value": "a value that is public by its name",
    "stock-password": "a password of documentation, or a default",
    "template": "a variable that is filled in later",
    "test-vector": "a published test vector",
    "uuid": "a UUID",
    "words": "words: an identifier, a path",
}
"""Why a finding is no secret, in words."""


def secrets(stats: Stats) -> str:
    """Redactions, what was found and left, and how redacted lines look."""
    told = stats["secrets"]
    if told is None:
        return redactions(stats)
    dropped = stats["totals"]["dropped"].get("secrets_budget", 0)
    return "".join(
        (
            redactions(stats),
            paragraph(f"Occurrences that were dropped whole for too many findings: {number(dropped)}."),
            _rechecked(told["rechecked"]),
            _by_rule(told["rules"]),
            _by_language(told["languages"]),
            _left(told),
            _samples(told["samples"]),
        )
    )


def _rechecked(rows: int | None) -> str:
    if rows is None:
        return paragraph("The written rows were not scanned a second time.")
    return paragraph(
        f"All {number(rows)} rows were scanned again as they were written: nothing was found that is neither redacted nor"
        " recorded as left. <code>pipeline verify --secrets</code> asks again."
    )


def _by_rule(rules: Mapping[str, Mapping[str, Any]]) -> str:
    ordered = sorted(rules.items(), key=lambda item: (-item[1]["spans"], item[0]))
    if not ordered:
        return ""
    columns = [Column("Rule"), Column("Kind"), Column("Spans", "number"), Column("Rows with any", "number")]
    lines = [
        [name(rule), name(one["kind"]), number(one["spans"]), number(one["rows"])] for rule, one in ordered
    ]
    return details(f"By rule ({len(ordered):,})", table("Redacted spans by rule", columns, lines))


def _by_language(languages: Mapping[str, Mapping[str, int]]) -> str:
    sums = {language: sum(kinds.values()) for language, kinds in languages.items()}
    if not sums:
        return ""
    kinds = Counter[str]()
    for one in languages.values():
        kinds.update(one)
    shown = [kind for kind, _ in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))]
    ordered = sorted(sums, key=lambda language: (-sums[language], language))
    columns = [Column("Language"), Column("Spans", "number"), *(Column(kind, "number") for kind in shown)]
    lines = [
        [
            name(language),
            number(sums[language]),
            *(number(languages[language].get(kind, 0)) for kind in shown),
        ]
        for language in ordered[:SHOWN]
    ]
    more = f", the first {SHOWN} of {len(ordered):,}" if len(ordered) > SHOWN else f" ({len(ordered):,})"
    return details(f"By language{more}", table("Redacted spans by language and kind", columns, lines))


def _left(told: Mapping[str, Any]) -> str:
    explained, spared = told["explained"], told["spared"]
    whole = sum(explained.values()) + sum(spared.values())
    if not whole:
        return ""
    ordered = [
        *((why, n, "the publisher’s settings") for why, n in _most(spared)),
        *((EXPLAINED.get(why, why), n, "no secret") for why, n in _most(explained)),
    ]
    columns = [Column("Why"), Column("Decided by"), Column("Findings", "number"), Column("Share", "number")]
    lines = [[name(why), name(by), number(n), share(n, whole)] for why, n, by in ordered]
    pragmas = (
        f" Comments in the files ask to leave {number(told['pragmas'])} findings; whether that is heeded is the publisher’s"
        " choice."
        if told["pragmas"]
        else ""
    )
    return paragraph(
        f"What rules found and was yet left as it is, {number(whole)} findings in kept rows, each with a reason.{pragmas}"
    ) + details("Findings that were left, by reason", table("Findings that were left", columns, lines))


def _most(found: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _samples(samples: list[dict[str, str]]) -> str:
    if not samples:
        return ""
    columns = [Column("Rule"), Column("Language"), Column("The line, masked")]
    lines = [
        [name(rule) if first == 0 else "", name(one["language"]), code(one["line"])]
        for rule, group in groupby(samples, key=lambda one: one["rule"])
        for first, one in enumerate(group)
    ]
    return details(
        f"How redacted lines look ({len(lines):,})",
        paragraph(
            "From the released text, up to three rows of each rule: every letter is shown as x, every digit as 9, and what"
            " was taken out as the placeholder that stands there."
        )
        + table("Redacted lines, masked", columns, lines),
    )
