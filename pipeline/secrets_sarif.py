"""Findings as SARIF 2.1.0, the form in which code hosts take them (OASIS, Static Analysis Results Interchange Format).

No value and no line of code is in it: a result has a place, a rule and a kind. What is spared by an allow-list or a pragma
is a suppressed result, what is explained (a digest, a placeholder) is none; what a baseline has is `unchanged`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any
from urllib.parse import quote

from pii.rules import Rule, rule_table
from pipeline.scan_secrets import FileFindings, Found

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
VERSION = "2.1.0"

_SECRETS = ("private_key", "key", "password")  # the rest is personal data: a warning


def sarif(
    files: Iterable[tuple[FileFindings, list[bool] | None]], own_rules: tuple[Rule, ...] = ()
) -> Mapping[str, Any]:
    """The log of one run. Files come with what a baseline knows of each finding (None: there is no baseline)."""
    results = [
        _result(file, number, one, None if known is None else known[number])
        for file, known in files
        for number, one in enumerate(file.found)
        if one.spared is None or one.spared == "pragma" or one.spared.startswith("allowed: ")
    ]
    used = sorted({result["ruleId"] for result in results})
    about = {rule.id: rule for rule in (*rule_table(), *own_rules)}
    for result in results:
        result["ruleIndex"] = used.index(result["ruleId"])
    return {
        "$schema": SCHEMA,
        "version": VERSION,
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "stackmill",
                        "semanticVersion": metadata.version("stackmill"),
                        "rules": [_rule(name, about.get(name)) for name in used],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def _rule(name: str, rule: Rule | None) -> dict[str, Any]:
    if rule is None:  # of detect-secrets or of a model: their names say it
        return {"id": name, "shortDescription": {"text": name}}
    return {
        "id": name,
        "shortDescription": {"text": name.replace("-", " ")},
        "fullDescription": {"text": rule.source},
        "properties": {"kind": rule.kind, "tier": rule.tier},
    }


def _result(file: FileFindings, number: int, one: Found, known: bool | None) -> dict[str, Any]:
    line, column = file.line_and_column(one.start)
    end_line, end_column = file.line_and_column(one.end)
    region = {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}
    if file.encoding in ("utf-8", "ascii"):  # offsets of the text are offsets of the file
        region |= {"byteOffset": one.start, "byteLength": one.end - one.start}
    result: dict[str, Any] = {
        "ruleId": one.rule,
        "level": "error" if one.kind in _SECRETS else "warning",
        "message": {"text": f"{one.kind.replace('_', ' ')} ({one.rule})"},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": quote(file.path)}, "region": region}}
        ],
        "properties": {"kind": one.kind},
    }
    if one.spared is not None:
        by_pragma = one.spared == "pragma"
        result["suppressions"] = [
            {"kind": "inSource" if by_pragma else "external", "justification": one.spared}
        ]
    if known is not None:
        result["baselineState"] = "unchanged" if known else "new"
    return result
