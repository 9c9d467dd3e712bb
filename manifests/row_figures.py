"""Figures that the rows of a release tell: the part of `stats.json` that anybody can count again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.reader import Release
from manifests.statistics import (
    FIRST_YEAR,
    GROUP_LIMITS,
    LAST_YEAR,
    LINE_LIMITS,
    SIZE_LIMITS,
    TOP_ORIGINS,
    TOP_ROWS,
    histogram,
)

COLUMNS = (
    "row_id",
    "sha256",
    "language",
    "license_expression",
    "origin",
    "path",
    "src_encoding",
    "length_bytes",
    "num_lines",
    "num_occurrences",
    "cluster_size",
    "revision_date",
    "redactions",
    "is_generated",
    "is_vendor",
)
CLASSES: Mapping[str, tuple[str, tuple[int, ...], int]] = {
    "file_sizes": ("length_bytes", SIZE_LIMITS, 0),
    "lines": ("num_lines", LINE_LIMITS, 0),
    "copies": ("num_occurrences", GROUP_LIMITS, 1),
    "clusters": ("cluster_size", GROUP_LIMITS, 1),
}
"""Histograms: the column, the bounds of the classes, and the least value."""
_BATCH_ROWS = 65_536
_SHOWN = ("row_id", "language", "origin", "path", "length_bytes", "num_lines")


def figures_of_rows(release: Release) -> dict[str, Any]:
    """Count over all rows; the keys are described in docs/report.md. Equal rows give equal figures, in any order.

    Page checksums are verified, file checksums are not (that is `verify_release`). Raises `ReleaseError` for a shard that
    is missing or cannot be read. Memory: one batch, and one counter per distinct origin.
    """
    counters: dict[str, Counter[Any]] = {
        name: Counter()
        for name in ("encodings", "spans", "span_rows", "years", "origin_rows", "origin_bytes")
    }
    found = {name: np.zeros(len(limits) + 1, np.int64) for name, (_, limits, _) in CLASSES.items()}
    sums: Counter[str] = Counter()
    licenses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    largest: list[dict[str, Any]] = []
    copied: list[dict[str, Any]] = []
    for batch in release.batches(COLUMNS, batch_rows=_BATCH_ROWS, verify=False):
        _count(counters["encodings"], batch.column("src_encoding"))
        _add_licenses(licenses, batch)
        _add_origins(counters, batch)
        _add_spans(counters, sums, batch.column("redactions"))
        counters["years"].update(_years(batch.column("revision_date")))
        for name in ("is_generated", "is_vendor", "length_bytes"):
            sums[name] += pc.sum(batch.column(name)).as_py() or 0
        for name in ("cluster_size", "num_occurrences"):
            sums[name] += (pc.sum(batch.column(name)).as_py() or 0) - batch.num_rows
        for name, (column, limits, _) in CLASSES.items():
            found[name] += classes(batch.column(column), limits)
        largest = _top(largest, batch, "cluster_size")
        copied = _top(copied, batch, "num_occurrences")
    rows = counters["origin_rows"]
    return {
        "original_bytes": sums["length_bytes"],
        "language_licenses": {name: dict(found) for name, found in licenses.items()},
        "encodings": dict(counters["encodings"]),
        "redactions": {
            kind: {"spans": number, "rows": counters["span_rows"][kind]}
            for kind, number in counters["spans"].items()
        },
        "redacted_rows": sums["redacted"],
        "generated_rows": sums["is_generated"],
        "vendored_rows": sums["is_vendor"],
        "copies_represented": sums["num_occurrences"],
        "near_duplicates_represented": sums["cluster_size"],
        **{
            name: histogram(limits, found[name].tolist(), first=first)
            for name, (_, limits, first) in CLASSES.items()
        },
        "years": dict(counters["years"]),
        "largest_clusters": [_without(one, "sha256") for one in largest],
        "most_copied": [_without(one, "sha256") for one in copied],
        "origins_with_rows": len(rows),
        "top_origins": [
            {"origin": origin, "rows": number, "bytes": counters["origin_bytes"][origin]}
            for origin, number in nsmallest(TOP_ORIGINS, rows.items(), key=lambda item: (-item[1], item[0]))
        ],
    }


def classes(values: pa.Array, limits: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows in each class of size that `limits` bound."""
    places = np.searchsorted(np.asarray(limits), values.to_numpy(zero_copy_only=False), side="right")
    return np.bincount(places, minlength=len(limits) + 1).astype(np.int64)


def year_class(year: int | None) -> str:
    """The key of a revision's year in `years`."""
    if year is None:
        return "unknown"
    return str(year) if FIRST_YEAR <= year <= LAST_YEAR else "implausible"


def _count(counter: Counter[str], values: pa.Array) -> None:
    counts = pc.value_counts(values)
    for value, number in zip(
        counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True
    ):
        counter[value] += number


def _add_licenses(licenses: defaultdict[str, Counter[str]], batch: pa.RecordBatch) -> None:
    names = ["language", "license_expression"]
    grouped = pa.Table.from_batches([batch.select([*names, "row_id"])]).group_by(names)
    counted = grouped.aggregate([("row_id", "count")]).select([*names, "row_id_count"])
    for language, expression, number in zip(*(column.to_pylist() for column in counted.columns), strict=True):
        licenses[language][expression] += number


def _add_origins(counters: dict[str, Counter[Any]], batch: pa.RecordBatch) -> None:
    grouped = pa.Table.from_batches([batch.select(["origin", "length_bytes"])]).group_by("origin")
    summed = grouped.aggregate([("length_bytes", "sum"), ("length_bytes", "count")])
    for origin, size, number in zip(*(column.to_pylist() for column in summed.columns), strict=True):
        counters["origin_rows"][origin] += number
        counters["origin_bytes"][origin] += size


def _add_spans(counters: dict[str, Counter[Any]], sums: Counter[str], spans: pa.Array) -> None:
    sums["redacted"] += pc.sum(pc.greater(pc.list_value_length(spans), 0)).as_py() or 0
    pairs = pa.table(
        {"row": pc.list_parent_indices(spans), "kind": pc.struct_field(pc.list_flatten(spans), "kind")}
    )
    _count(counters["spans"], pairs["kind"].combine_chunks())
    distinct = pairs.group_by(["row", "kind"]).aggregate([])
    _count(counters["span_rows"], distinct["kind"].combine_chunks())


def _years(dates: pa.Array) -> Iterator[str]:
    # Arrow's own calendar: years of five digits are in range for a timestamp, not for Python's.
    return map(year_class, pc.year(dates).to_pylist())


def _top(found: list[dict[str, Any]], batch: pa.RecordBatch, name: str) -> list[dict[str, Any]]:
    """The rows with the largest `name`, ties by `sha256`; only values above 1, since every row has that."""
    worth = pc.greater(batch.column(name), max(1, found[-1][name] - 1 if len(found) == TOP_ROWS else 1))
    rows = batch.select([*_SHOWN, "sha256", name]).filter(worth)
    best = rows.take(pc.select_k_unstable(rows, k=min(TOP_ROWS, rows.num_rows), sort_keys=_order(name)))
    return nsmallest(TOP_ROWS, [*found, *best.to_pylist()], key=lambda one: (-one[name], one["sha256"]))


def _order(name: str) -> list[tuple[str, str]]:
    return [(name, "descending"), ("sha256", "ascending")]


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
