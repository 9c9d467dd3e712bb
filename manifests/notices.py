"""`notices.parquet`: whose notices most licenses ask to keep, for each repository and license file that rows rest on.

    SELECT DISTINCT unnest(copyrights) FROM 'notices.parquet' WHERE origin = '...'

One row per repository, license expression and file of evidence, and per NOTICE file above rows; `data` leads to it by
`directory_id` and `license_expression`. The lines name people, as they do in the files that they are from: the licenses ask
for that. An origin that opts out is in the next release's file no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.shards import SHARD_WRITER_OPTIONS
from manifests.sorted_rows import write_sorted

NOTICES = pa.schema(
    [
        # SHA-256 of directory_id, license_expression, license_path and swhid, 32 hex digits
        pa.field("notice_id", pa.string(), nullable=False),
        pa.field("license_expression", pa.string(), nullable=False),  # of the rows
        pa.field("origin", pa.string(), nullable=False),
        pa.field("revision_id", pa.string()),
        pa.field("directory_id", pa.string(), nullable=False),  # root directory of the revision
        pa.field("license_path", pa.string()),  # null, as swhid: the rows have no license
        pa.field("swhid", pa.string()),  # of the bytes of that file
        pa.field("copyrights", pa.list_(pa.string()), nullable=False),  # lines, in their order
        pa.field("rows", pa.int64(), nullable=False),  # of the release that rest on it
    ]
)
"""`notices.parquet`, sorted by notice_id."""

WRITER_OPTIONS: Final[dict[str, Any]] = {
    **SHARD_WRITER_OPTIONS,
    "use_dictionary": ["license_expression"],
    "write_statistics": ["notice_id", "origin", "directory_id"],
}
"""Options of `pyarrow.parquet.ParquetWriter` for `notices.parquet`."""

SHOWN = 20
"""Repositories and copyright lines that `NOTICE.md` names of one license; the file has all."""


@dataclass
class Noticed:
    """Of one license expression: how many repositories, and the first of them and of their copyright lines."""

    origins: int = 0
    first: list[str] = field(default_factory=list)
    """The first SHOWN repositories, sorted."""
    lines: list[str] = field(default_factory=list)
    """The first SHOWN copyright lines, sorted."""

    def add(self, other: Mapping[str, Any]) -> None:
        """Take in what another part of the rows has; the result does not depend on the parts or on their order."""
        self.origins += int(other["origins"])
        self.first = sorted({*self.first, *other["first"]})[:SHOWN]
        self.lines = sorted({*self.lines, *other["lines"]})[:SHOWN]


def figures_of(rows: pa.Table) -> dict[str, dict[str, Any]]:
    """Figures by license expression of rows of `NOTICES` that have all of their repositories: what `Noticed.add` takes in."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for expression, origin, copyrights in zip(
        *(rows.column(name).to_pylist() for name in ("license_expression", "origin", "copyrights")),
        strict=True,
    ):
        origins, lines = found.setdefault(expression, (set(), set()))
        origins.add(origin)
        lines.update(copyrights)
    return {
        expression: {
            "origins": len(origins),
            "first": sorted(origins)[:SHOWN],
            "lines": sorted(lines)[:SHOWN],
        }
        for expression, (origins, lines) in sorted(found.items())
    }


def noticed_in(parts: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, Noticed]:
    """The figures of all parts together, by license expression. No repository may be in two parts."""
    found: dict[str, Noticed] = {}
    for part in parts:
        for expression, figures in part.items():
            found.setdefault(expression, Noticed()).add(figures)
    return dict(sorted(found.items()))


def read_noticed(file: Path) -> dict[str, Noticed]:
    """The figures of a finished `notices.parquet`."""
    return noticed_in(
        [figures_of(pq.read_table(file, columns=["license_expression", "origin", "copyrights"]))]
    )


def write_notices(tables: Iterable[pa.Table], file: Path) -> int:
    """Write rows of schema `NOTICES`, already sorted by notice_id over all `tables`; see `write_sorted`."""
    return write_sorted(tables, file, NOTICES, WRITER_OPTIONS, key="notice_id")
