"""The section on licenses: what the rows are under, by expression, id and language, and what nobody recognised."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from manifests.report.markup import Column, code, details, name, number, paragraph, quoted, share, table
from manifests.report.sections import SHOWN, counted

Stats = Mapping[str, Any]

REASONS: Mapping[str, str] = {
    "no_detection": "nothing recognised in it",
    "unexplained": "a sentence beside a known license",
    "unknown_id": "a license or reference that no list names",
    "unread": "longer than what is read of a license file",
}

_EXPRESSIONS = 5
"""Expressions of a language that are named."""
_TOKEN = re.compile(r"[^()\s]+")


def licenses(stats: Stats) -> str:
    """Rows by license, and the license texts of the input that are unknown."""
    expressions = sorted(stats["licenses"].items(), key=lambda item: (-item[1], item[0]))
    return (
        paragraph(
            "SPDX expressions of the nearest evidence, as the rows have them in <code>license_expression</code>. Each file"
            " keeps its own license, with the duties that follow from it."
        )
        + counted("Rows by license expression", "License", expressions, stats["rows"])
        + _ids(stats)
        + _languages(stats)
        + unknown(stats["unknown_licenses"])
    )


def ids(expression: str) -> set[str]:
    """The license ids of a canonical SPDX expression; `L WITH E` is one id."""
    words = _TOKEN.findall(expression)
    found: list[str] = []
    for place, word in enumerate(words):
        if word == "WITH" and found and place + 1 < len(words):
            found[-1] += f" WITH {words[place + 1]}"
        elif word not in ("AND", "OR", "WITH") and (place == 0 or words[place - 1] != "WITH"):
            found.append(word)
    return set(found)


def _ids(stats: Stats) -> str:
    """Rows by id; nothing where every expression is one id."""
    rows: Counter[str] = Counter()
    for expression, amount in stats["licenses"].items():
        for one in ids(expression):
            rows[one] += amount
    if set(rows) == set(stats["licenses"]):
        return ""
    pairs = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    return counted(
        "Rows by license id; a row counts for each id of its expression", "Id", pairs, stats["rows"]
    )


def _languages(stats: Stats) -> str:
    known = stats["language_licenses"]
    if not known:
        return ""
    ordered = sorted(known, key=lambda one: (-sum(known[one].values()), one))
    lines = []
    for language in ordered[:SHOWN]:
        rows = sum(known[language].values())
        found = sorted(known[language].items(), key=lambda item: (-item[1], item[0]))
        said = ", ".join(f"{name(one)} {share(amount, rows)}" for one, amount in found[:_EXPRESSIONS])
        more = len(found) - _EXPRESSIONS
        lines.append([name(language), f"{said} and {more:,} more" if more > 0 else said, number(rows)])
    more = len(ordered) - SHOWN
    return table(
        "Licenses by language", [Column("Language"), Column("Licenses"), Column("Rows", "number")], lines
    ) + (
        paragraph(f"{more:,} more languages are in <code>stats.json</code>.", kind="soft") if more > 0 else ""
    )


def unknown(found: Mapping[str, Any] | None) -> str:
    """The commonest license texts that nobody recognised."""
    if found is None:
        return ""
    head = "<h3>Unknown license texts</h3>"
    if not found["texts"]:
        return head + paragraph("Every license text of the input was recognised.")
    columns = [Column("Text"), *(Column(one, "number") for one in ("Origins", "Files", "Variants"))]
    told = [one for one in found["most"] if one["excerpt"] is not None]
    rare = [one for one in found["most"] if one["excerpt"] is None]
    parts = [table("Commonest unknown license texts", columns, map(_line, told))] if told else []
    if rare:
        more = f"{len(rare)} texts that fewer than {found['shown_from']} origins have, by digest"
        parts.append(details(more, table(more, columns, map(_line, rare))))
    return (
        head
        + paragraph(
            f"{number(found['texts'])} texts in license files of the input, {number(found['files'])} files in all, were not"
            " recognised, wholly or in part; nothing is released on their strength. Texts that differ only in copyright lines"
            " and white space are one. Of those that fewer than"
            f" {number(found['shown_from'])} origins have only the digest is told. Whose they are is in the review queue of who"
            " made the release, and nowhere in it."
        )
        + "".join(parts)
    )


def _line(one: Mapping[str, Any]) -> list[str]:
    return [_text(one), number(one["origins"]), number(one["files"]), number(one["contents"])]


def _text(one: Mapping[str, Any]) -> str:
    said = quoted(one["excerpt"]) if one["excerpt"] is not None else code(one["text_digest"])
    words = REASONS.get(one["reason"], "")
    return f'{said} <span class="remark">{code(one["reason"])} {words}</span>'
