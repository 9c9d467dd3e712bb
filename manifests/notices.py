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


def write_notices(tables: Iterable[pa.Table], file: Path) -> int:
    """Write rows of schema `NOTICES`, already sorted by notice_id over all `tables`; see `write_sorted`."""
    return write_sorted(tables, file, NOTICES, WRITER_OPTIONS, key="notice_id")
