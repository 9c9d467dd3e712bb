"""`report.html`: the figures of a release as one page that needs nothing else, a function of its `stats.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.report import sections
from manifests.report.comparison import comparison
from manifests.report.duplicates import duplicates
from manifests.report.licensed import licenses
from manifests.report.markup import Column, code, number, page, paragraph, table, text
from manifests.report.secrets import secrets

Stats = Mapping[str, Any]


def render_report(stats: Stats) -> bytes:
    """Return the bytes of `report.html` for the object of `stats.json` (`manifests.statistics.build_stats`).

    UTF-8; the same bytes for equal figures. No script, no link out of the page, nothing that is loaded.
    """
    title = f"{stats['name']} {stats['version']}"
    parts = [
        ("account", "From found to kept", sections.account(stats)),
        ("languages", "Languages", sections.languages(stats)),
        ("licenses", "Licenses", licenses(stats)),
        ("duplicates", "Duplicates", duplicates(stats)),
        ("redactions", "Secrets and personal data", secrets(stats)),
        ("sizes", "Sizes and encodings", sections.sizes(stats)),
        ("origins", "Origins", sections.origins(stats)),
        ("years", "Dates", sections.years(stats)),
    ]
    if stats["comparison"] is not None:
        parts.append(("parent", "Against the parent release", comparison(stats["comparison"])))
    parts.append(("checks", "What was checked", checks(stats)))
    foot = paragraph(
        "Every figure of this page is in <code>stats.json</code> beside it, and"
        " <code>pipeline stats</code> shows them in the terminal. A release says nothing of single files that it does not"
        " hold: they are counted here by reason only."
    )
    return page(title, sections.headline(stats), parts, foot, f"Figures of the data release {title}")


def _rechecked(stats: Stats) -> list[list[str]]:
    if stats["secrets"] is None or stats["secrets"]["rechecked"] is None:
        return []
    words = "scanned again, a written row holds no finding that is not recorded"
    return [["Secrets", words, number(stats["secrets"]["rechecked"])]]


def checks(stats: Stats) -> str:
    """What a release has passed before it was put in its place, and what remains to be checked by who downloads it."""
    totals, origins = stats["totals"], stats["origins"]
    dropped = sum(totals["dropped"].values())
    gates = [
        [
            "Found",
            "an independent walk of the archive finds as many occurrences as the ledger decides on",
            number(totals["found"]),
        ],
        ["Decided", "kept + dropped = found", f"{number(totals['kept'])} + {number(dropped)}"],
        ["Kept", "rows of all shards = kept", number(stats["rows"])],
        [
            "Origins",
            "resolved + unresolved = found",
            f"{number(origins['resolved'])} + {number(sum(origins['unresolved'].values()))}",
        ],
        ["Identity", "each row id and each released text is there once", number(stats["rows"])],
        *_rechecked(stats),
    ]
    rules = [
        [
            "Licenses",
            "a row has a license expression that the policy permitted",
            number(sum(stats["licenses"].values())),
        ],
        [
            "Opt-outs",
            "occurrences of origins and contents in the registry were dropped",
            number(totals["dropped"].get("opted_out", 0)),
        ],
    ]
    columns = [Column("Figure of"), Column("What holds"), Column("Figure", "number")]
    policies = "".join(
        f"<dt>{text(name.replace('_', ' ')[:80])} policy</dt><dd>{code(value)}</dd>"
        for name, value in sorted(stats["policies"].items())
    )
    return (
        paragraph(
            "A release is put in its place only when the gates hold. Whether the files that you have are those of the"
            " release is for you to check: <code>pipeline verify</code> reads every byte, every row, and the signature."
        )
        + table("Gates before the release is put in its place", columns, gates)
        + table("Rules that were applied on the way to every row", columns, rules)
        + (f'<dl class="facts">{policies}</dl>' if policies else "")
    )
