"""The section on duplicates: copies that rows stand for, clusters, and alarms where near-duplicates took too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.report.duplication import repositories, search, signals
from manifests.report.markup import Column, code, name, number, paragraph, share, size, table
from manifests.report.sections import SHOWN, classes

Stats = Mapping[str, Any]


def duplicates(stats: Stats) -> str:
    """Exact copies, near-duplicates, and the alarms."""
    rows, told = stats["rows"], stats["duplication"]
    return "".join(
        [
            alarms(stats),
            "<h3>Exact duplicates</h3>",
            paragraph(
                f"The {number(rows)} rows stand for {number(stats['copies_represented'])} further occurrences of the same"
                " bytes at other places."
            ),
            classes(
                "Occurrences of a row’s content",
                stats["copies"],
                rows,
                unit="Occurrences",
            ),
            _rows("Rows with most occurrences", stats["most_copied"], "num_occurrences", "Occurrences"),
            "<h3>Near-duplicates</h3>",
            paragraph(
                f"{number(stats['near_duplicates_represented'])} contents were dropped because their shingles overlap with those"
                " of a row that is kept; a row’s cluster is itself and these."
            ),
            search(told),
            classes("Size of a row’s cluster", stats["clusters"], rows, unit="Cluster size"),
            _rows("Largest clusters, by the row that was kept", stats["largest_clusters"], "cluster_size", "Cluster"),
            repositories(told),
            signals(told),
        ]
    )  # fmt: skip


def alarms(stats: Stats) -> str:
    """Languages and origins that lost an unusual share."""
    near = stats["near"]
    if near is None:
        return paragraph(
            "Near-duplicates were not sought in this release, or their shares were not counted.", kind="soft"
        )
    rule = f"more than {near['alarm_percent']} % of at least {near['alarm_least']} contents"
    languages, origins = near["language_alarms"], near["origin_alarms"]
    hidden = near["origin_alarms_without_rows"]
    if not languages and not origins and not hidden:
        return paragraph(f"No language and no origin lost {rule} as near-duplicates.")
    parts = [
        '<div class="alarm" role="note">',
        paragraph(
            f"<b>Wipe-out alarm.</b> Near-duplicates took {rule} of the following: machine-written or mirrored code most"
            " often, sometimes a language that is templates by nature. Look at their largest clusters before you rely on"
            " this part of the data."
        ),
    ]
    if languages:
        parts.append(_alarms("Languages", "Language", languages, "language"))
    if origins:
        parts.append(_alarms("Origins", "Origin", origins, "origin"))
    if hidden:
        parts.append(
            paragraph(
                f"{number(hidden)} further origins lost so much that no row of them is left; a release does not name them."
            )
        )
    return "".join([*parts, "</div>"])


def _alarms(caption: str, title: str, found: list[dict[str, Any]], key: str) -> str:
    columns = [Column(title), *(Column(one, "number") for one in ("Contents", "Dropped", "Share"))]
    lines = [
        [
            name(one[key]),
            number(one["entered"]),
            number(one["dropped"]),
            share(one["dropped"], one["entered"]),
        ]
        for one in found[:SHOWN]
    ]
    more = len(found) - SHOWN
    return table(caption, columns, lines) + (
        paragraph(f"{more:,} more are in <code>stats.json</code>.") if more > 0 else ""
    )


def _rows(caption: str, found: list[dict[str, Any]], key: str, title: str) -> str:
    if not found:
        return ""
    lines = [
        [
            f'{name(one["path"])} <span class="remark">{name(one["language"])}, {size(one["length_bytes"])},'
            f" {number(one['num_lines'])} {'line' if one['num_lines'] == 1 else 'lines'};"
            f" {name(one['origin'])}; {code(one['row_id'])}</span>",
            number(one[key]),
        ]
        for one in found[:10]
    ]
    return table(caption, [Column("Row"), Column(title, "number")], lines)
