"""The review queue of a release, for its reviewer: as a table, as a file, as a page, and as a form for decisions.

It lies in the work directory (pipeline/stages/license_review.py) and names files that the release does not hold. Texts are
shown with all that may be a secret or personal taken out.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from licensing.review import Doubt
from manifests.report.markup import Column, cards, code, name, number, page, paragraph, quoted, table, text
from pipeline.engine.stage import read_ref
from pipeline.errors import ConfigError
from pipeline.records import Record

SCHEMA = pa.schema(
    [
        ("sha256", pa.string()),
        ("swhid", pa.string()),
        ("name_class", pa.string()),  # LICENSE | README | the name of a manifest | source
        ("reasons", pa.list_(pa.string())),
        ("expression", pa.string()),
        ("directory_expression", pa.string()),
        ("score", pa.float32()),
        ("statements", pa.list_(pa.string())),
        ("files", pa.int64()),
        ("occurrences", pa.int64()),
        ("origins", pa.int64()),
        ("origin", pa.string()),
        ("path", pa.string()),  # escaped
        ("text_digest", pa.string()),
        ("excerpt", pa.string()),
    ]
)
"""One row per content and class of names that a person should look at; docs/licenses.md describes the columns."""

SOURCE_CLASS = "source"
WORDS: Mapping[str, str] = {
    Doubt.NOT_READ: "its bytes could not be had",
    Doubt.NO_DETECTION: "nothing was recognised in it",
    Doubt.UNEXPLAINED: "a sentence that nobody recognised beside a known license",
    Doubt.UNKNOWN_ID: "a license or reference that no list names",
    Doubt.UNPARSABLE: "a license statement that is no expression",
    Doubt.UNREAD: "longer than what is read of a license file",
    Doubt.RIDER: "a restriction beside a known license",
    Doubt.CONTRADICTION: "its own statements contradict each other or its text",
    Doubt.DECLARED_CONFLICT: "manifest and license text of a directory contradict each other",
    Doubt.HEADER_CONFLICT: "its header refuses what its directory permits",
    Doubt.LOW_SCORE: "a detection with a low score",
}


def rows(record: Record, reasons: Sequence[str] = ()) -> Iterator[pa.Table]:
    """The queue in SCHEMA, bucket by bucket (by SHA-256), excerpts as they are; with `reasons` only what has one of them."""
    if "license_review" not in record.facts["folders"]:
        raise ConfigError(
            f"release {record.version} was made by an earlier version of this program, without a review queue;"
            " make it again with this one"
        )
    for bucket in range(record.buckets):
        with record.part("license_review", "review", bucket) as file:
            found = None if file is None else file.read(use_threads=False)
        if found is not None:
            yield _shown(_having(found, reasons))


def _having(found: pa.Table, reasons: Sequence[str]) -> pa.Table:
    if not reasons:
        return found
    wanted = set(reasons)
    return found.filter(
        pa.array([not wanted.isdisjoint(of) for of in found["reasons"].to_pylist()], pa.bool_())
    )


def _shown(found: pa.Table) -> pa.Table:
    from pipeline.content.names import escape_paths

    names = [one.decode("ascii", "backslashreplace") or SOURCE_CLASS for one in found["name"].to_pylist()]
    columns = {
        **{field: found[field] for field in found.column_names},
        "swhid": [f"swh:1:cnt:{one}" for one in found["sha1_git"].to_pylist()],
        "name_class": names,
        "path": escape_paths(found["path"].combine_chunks().cast(pa.binary())),
    }
    return pa.table({field.name: columns[field.name] for field in SCHEMA}, schema=SCHEMA)


def _redacted(found: pa.Table) -> pa.Table:
    """The rows with excerpts that hold nothing that may be a secret or personal."""
    from pipeline.shown_text import safe_texts  # loads the scan

    kept = pa.array(safe_texts(found["excerpt"].to_pylist()), pa.string())
    return found.set_column(found.schema.get_field_index("excerpt"), SCHEMA.field("excerpt"), kept)


def weightiest(
    record: Record, limit: int, reasons: Sequence[str] = (), *, done: Callable[[], None] = lambda: None
) -> tuple[list[dict[str, Any]], Counter[str], int]:
    """The `limit` rows that most files depend on; how many rows have each reason; and how many there are."""
    best: list[dict[str, Any]] = []
    counted: Counter[str] = Counter()
    total = 0
    for part in rows(record, reasons):
        total += part.num_rows
        counted.update(one for of in part["reasons"].to_pylist() for one in of)
        best = heapq.nsmallest(limit, [*best, *part.to_pylist()], key=_weight)
        done()
    return _redacted(pa.Table.from_pylist(best, schema=SCHEMA)).to_pylist(), counted, total


def _weight(row: Mapping[str, Any]) -> tuple[int, int, str, str]:
    return -row["files"], -row["occurrences"], row["sha256"], row["name_class"]


def write_parquet(
    record: Record, target: Path, reasons: Sequence[str] = (), *, done: Callable[[], None] = lambda: None
) -> int:
    """Write the queue to a Parquet file, which appears whole, in the order of SHA-256; returns the rows."""
    amount = 0
    temporary = target.with_name(f"{target.name}.partial")
    try:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
            for part in rows(record, reasons):
                writer.write_table(_redacted(part))
                amount += part.num_rows
                done()
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return amount


def unknown(record: Record) -> list[dict[str, Any]]:
    """The 50 commonest unknown license texts, commonest first."""
    found = read_ref(record.store, record.ref("license_unknown", "unknown"), None).to_pylist()
    found.sort(key=lambda one: (-one["origins"], -one["files"], one["text_digest"]))
    return found[:_TEXTS]


_TEXTS = 50  # as stages/license_review.py keeps them


# -------------------------------------------------------------------------------------------------- decisions

_HEAD = """\
# Decisions of a reviewer on single contents, by the SHA-256 of their bytes: docs/licenses.md.
# Take the sign # away from an entry and fill it in; what stays a comment is not decided. Then name this file in the
# configuration (licenses.decisions).
#
#   expression   an SPDX expression; or none: it says nothing of licenses; or refused: nothing under it may be used
#   date         the day of the decision, YYYY-MM-DD
"""


def template(found: Iterable[Mapping[str, Any]]) -> str:
    """A decisions file without a decision: an entry to fill in for each row of the queue."""
    parts = [_HEAD]
    for one in found:
        told = [
            f"{', '.join(one['reasons'])}; {one['files']:,} files depend on it",
            f"detected: {one['expression'] or 'nothing'}",
            f"such as {one['path']} of {one['origin']}",
        ]
        parts.append("\n" + "".join(f"# {text_line(line)}\n" for line in told))
        parts.append(f"# - sha256: {one['sha256']}\n#   expression:\n#   reason:\n#   date:\n")
    return "".join(parts)


def text_line(value: str) -> str:
    """A stranger's words in one line of plain text: nothing in them can end a comment or reorder what is read."""
    from manifests.names import visible

    return visible(value)[:300]


# ----------------------------------------------------------------------------------------------------- page


def render_review(
    record: Record, found: Sequence[Mapping[str, Any]], counted: Mapping[str, int], total: int
) -> bytes:
    """The private page: the queue's weightiest rows and the commonest unknown texts, with places."""
    title = f"License review of {record.version}"
    lead = cards(
        [("To review", number(total), ""), ("Shown", number(len(found)), "weightiest first")]
    ) + paragraph(
        f"Release {code(record.digest)}. This page names files that the release does not hold: it is for its makers only."
        " Decisions go into the file <code>licenses.decisions</code>."
    )
    parts = [
        ("reasons", "Reasons", _reasons(counted, total)),
        ("queue", "Queue", _queue(found)),
        ("unknown", "Commonest unknown license texts", _unknown(record)),
    ]
    foot = paragraph("Texts are shown with all that may be a secret or personal taken out.")
    return page(title, lead, parts, foot, title)


def _reasons(counted: Mapping[str, int], total: int) -> str:
    if not total:
        return paragraph("Nothing is to be reviewed.")
    lines = [
        [code(one), text(WORDS[one]), number(counted[one])] for one in map(str, Doubt) if counted.get(one)
    ]
    return table("Contents by reason; one may have several", [Column("Reason"), Column("What it is"),
                 Column("Contents", "number")], lines)  # fmt: skip


def _queue(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return paragraph("Nothing is to be reviewed.")
    lines = []
    for one in found:
        stated = "<br>".join(quoted(line) for line in one["statements"]) or "nothing detected"
        if one["directory_expression"] is not None:
            stated += f"<br>its directory: {quoted(one['directory_expression'])}"
        said = quoted(one["excerpt"]) if one["excerpt"] else "<i>no text</i>"
        lines.append(
            [
                f'{name(one["path"])} <span class="remark">{name(one["origin"] or "")}</span> {said}'
                f' <span class="remark">{code(one["sha256"])}</span>',
                f"{code(', '.join(one['reasons']))}<br>{stated}",
                number(one["files"]),
                number(one["origins"]),
            ]
        )
    columns = [Column("Content, and a place of it"), Column("Why, and what was detected"), Column("Files", "number"),
               Column("Origins", "number")]  # fmt: skip
    return table("By the number of files that depend on it", columns, lines)


def _unknown(record: Record) -> str:
    texts = unknown(record)
    if not texts:
        return paragraph("Every license text of the input was recognised.")
    wanted = {one["text_digest"] for one in texts}
    places: dict[str, dict[str, Any]] = {}
    for part in rows(record):
        for one in part.to_pylist():
            key = one["text_digest"]
            if key in wanted and (key not in places or _weight(one) < _weight(places[key])):
                places[key] = one
    examples = _redacted(pa.Table.from_pylist(list(places.values()), schema=SCHEMA)).to_pylist()
    places = {one["text_digest"]: one for one in examples}
    lines = []
    for one in texts:
        example = places[one["text_digest"]]
        lines.append(
            [
                f'{quoted(example["excerpt"] or "")} <span class="remark">{name(example["path"])} of'
                f" {name(example['origin'] or '')}; {code(one['reason'])}</span>",
                number(one["origins"]),
                number(one["files"]),
                number(one["contents"]),
            ]
        )
    columns = [Column("Text"), *(Column(one, "number") for one in ("Origins", "Files", "Variants"))]
    return table("Texts that differ only in copyright lines and white space are one", columns, lines)
