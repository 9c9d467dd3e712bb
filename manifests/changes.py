"""`changes.parquet`: the rows that are not the same in a release and in its parent, each with what became of it.

added       the parent does not have it, and no tombstone of it
restored    the parent does not have it, but a tombstone of it: it was withdrawn once
removed     the release does not have it; `reason` says why
re_redacted the released text is another one
re_elected  the same text, but another origin, path or license speaks for it ("moved")
changed     any other column differs

The first that applies, in this order, is told; `columns` names all that differ. A row that only lies in another shard, or
at another place of it, is the same row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.errors import ReleaseError
from manifests.removals import WITHDRAWN
from manifests.schema import CHANGES, DATA
from manifests.shards import SHARD_WRITER_OPTIONS
from manifests.sorted_rows import GROUP_ROWS, write_sorted

KINDS: Final = ("added", "removed", "restored", "re_redacted", "re_elected", "changed")

GONE: Final = "gone"
"""Reason of a removed row that no origin of the input holds any more. The others: `withdrawn`, or the reason under which
the totals count it, where that may be told."""

ELECTED_COLUMNS: Final = (
    "path",
    "path_raw",
    "origin",
    "repo_name",
    "license_type",
    "license_expression",
    "detected_licenses",
    "license_evidence",
)
"""Columns that say which occurrence was elected, and under which license."""

COMPARED: Final = tuple(name for name in DATA.names if name != "content")
"""Columns that are compared; `content_sha256` stands for `content`."""

Counts = Counter[tuple[str, str, str]]
"""(change, reason or '', language) -> rows; the language is the new one, or of a removed row the old one."""

CHANGES_WRITER_OPTIONS: Final[dict[str, Any]] = {
    **SHARD_WRITER_OPTIONS,
    "use_dictionary": [
        "change",
        "reason",
        "withdrawn_in",
        "columns.list.element",
        "old_language",
        "old_shard",
        "new_language",
        "new_shard",
    ],
    "write_statistics": ["row_id", "change", "reason"],
}
"""Options of `pyarrow.parquet.ParquetWriter` for `changes.parquet`."""


def write_changes(tables: Iterable[pa.Table], file: Path) -> int:
    """Write rows of schema `CHANGES`, already sorted by row_id over all `tables`; returns their number.

    The bytes depend on the rows alone, not on how they were cut. Memory: one row group and one table. Raises
    `ReleaseError` when a row_id does not ascend.
    """
    return write_sorted(tables, file, CHANGES, CHANGES_WRITER_OPTIONS)


def tally(rows: pa.Table | pa.RecordBatch) -> Counts:
    """Count rows of schema `CHANGES`."""
    language = pc.coalesce(rows.column("new_language"), rows.column("old_language"))
    table = pa.table({"change": rows.column("change"), "reason": rows.column("reason"), "language": language})
    counted = table.group_by(["change", "reason", "language"]).aggregate([([], "count_all")])
    return Counter(
        {
            (row["change"], row["reason"] or "", row["language"]): row["count_all"]
            for row in counted.to_pylist()
        }
    )


def count_changes(file: Path) -> Counts:
    """Count a `changes.parquet`, one row group at a time, page checksums verified.

    Raises `ReleaseError` when it is not one.
    """
    counts: Counts = Counter()
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            if not parquet.schema_arrow.equals(CHANGES):
                raise ReleaseError(f"{file}: not the columns of changes.parquet")
            for batch in parquet.iter_batches(
                GROUP_ROWS, columns=["change", "reason", "old_language", "new_language"]
            ):
                counts.update(tally(batch))
    except (pa.ArrowException, OSError) as error:
        raise ReleaseError(f"{file} cannot be read: {error}") from error
    if unknown := {change for change, _, _ in counts} - set(KINDS):
        raise ReleaseError(f"{file}: unknown change {ascii(min(unknown))[:80]}")
    return counts


def only_withdrawals(counts: Counts) -> bool:
    """Whether nothing but withdrawn rows is told: the smallest kind of change."""
    return all(change == "removed" and reason == WITHDRAWN for (change, reason, _), n in counts.items() if n)
