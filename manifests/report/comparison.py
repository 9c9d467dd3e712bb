"""The section that compares a release with its parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.report.markup import Column, code, name, number, paragraph, signed, size, table, text
from manifests.report.sections import SHOWN

_SUMS = {
    "rows": "Rows",
    "text_bytes": "Text",
    "download_bytes": "Download",
    "occurrences": "Occurrences found",
    "origins": "Origins found",
    "languages": "Languages",
}


def comparison(found: Mapping[str, Any]) -> str:
    """Old, new and difference, of sums, reasons, languages, licenses and redactions."""
    parent = found["parent"]
    sums = found["sums"]
    columns = [Column(title, "number") for title in ("Parent", "This", "Difference")]
    lines = []
    for key, title in _SUMS.items():
        old, new = sums[key]["old"], sums[key]["new"]
        if key.endswith("_bytes"):
            gap = "0" if new == old else f"{'+' if new > old else '−'}{size(abs(new - old))}"
            lines.append([text(title), size(old), size(new), gap])
        else:
            lines.append([text(title), number(old), number(new), signed(new - old)])
    parts = [
        paragraph(
            f"Against {name(parent['name'])} {text(parent['version'])}, manifest {code(parent['digest'])}. Which rows came and"
            " went is in <code>changes.parquet</code>, where the release has it."
        ),
        table("Sums", [Column(""), *columns], lines),
    ]
    for key, verb in (("languages_gained", "Gained"), ("languages_lost", "Lost")):
        if listed := found[key]:
            shown = ", ".join(name(one) for one in listed[:SHOWN])
            more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
            parts.append(
                paragraph(
                    f"{verb} {len(listed):,} {'language' if len(listed) == 1 else 'languages'}: {shown}{more}."
                )
            )
    for title, what, key in (
        ("Occurrences dropped, by reason", "Reason", "dropped"),
        ("Rows by language", "Language", "languages"),
        ("Rows by license", "License", "licenses"),
        ("Redacted spans by kind", "Kind", "redactions"),
    ):
        parts.append(_changed(title, [Column(what), *columns], found[key]))
    return "".join(parts)


def _changed(caption: str, columns: list[Column], pairs: Mapping[str, Mapping[str, int]]) -> str:
    """The names whose figures differ, largest difference first."""
    changed = [(key, one["old"], one["new"]) for key, one in pairs.items() if one["old"] != one["new"]]
    if not changed:
        return paragraph(f"{text(caption)}: no difference.", kind="soft")
    changed.sort(key=lambda one: (-abs(one[2] - one[1]), one[0]))
    lines = [[name(key), number(old), number(new), signed(new - old)] for key, old, new in changed[:SHOWN]]
    more = len(changed) - SHOWN
    return table(caption, columns, lines) + (
        paragraph(f"{more:,} more differ; they are in <code>stats.json</code>.", kind="soft")
        if more > 0
        else ""
    )
