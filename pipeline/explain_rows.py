"""A release's rows where they lie, a folder or a prefix on S3: the one that is asked for, and nothing else of the shards.

`ids.parquet` is sorted by row id, so its statistics lead to one row group, and that to the shard and to the row in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.facts import ShardFacts
from manifests.names import IDS_FILE
from manifests.reader import Release
from pipeline.engine.point import may_hold, scalar
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError

CHANGES_FILE = "changes.parquet"  # in releases with a parent
COLUMNS = (
    "row_id", "swhid", "content_id", "sha256", "content_sha256", "origin", "path", "directory_id", "revision_id", "language",
    "src_encoding", "license_expression", "license_evidence", "num_occurrences", "num_origins", "cluster_size", "redactions",
)  # fmt: skip
"""What is told of a kept row; its text is not."""


@dataclass(frozen=True)
class Rows:
    """The rows of an opened release."""

    release: Release
    place: Store

    def of_ids(self, row_ids: Iterable[str], columns: Sequence[str] = COLUMNS) -> dict[str, dict[str, Any]]:
        """Kept rows by their ids; ids that the release does not have are left out."""
        wanted = sorted(set(row_ids))
        by_shard: dict[str, dict[int, str]] = {}
        for found in self._ids(wanted):
            by_shard.setdefault(found["shard"], {})[found["row"]] = found["row_id"]
        return {
            row["row_id"]: row
            for shard, rows in sorted(by_shard.items())
            for row in self._rows(shard, sorted(rows), columns)
        }

    def places_of(self, row_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """`shard` and `row` (from 0) of rows by their ids, from `ids.parquet` alone."""
        return {found["row_id"]: found for found in self._ids(sorted(set(row_ids)))}

    def _ids(self, wanted: list[str]) -> list[dict[str, Any]]:
        if not wanted:
            return []
        return self._matching(IDS_FILE, "row_id", wanted, ["row_id", "shard", "row"]).to_pylist()

    def _rows(self, shard: str, numbers: list[int], columns: Sequence[str]) -> Iterable[dict[str, Any]]:
        with self.open(shard) as file:
            names = [name for name in columns if name in file.schema_arrow.names]
            first = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                here = [number for number in numbers if first <= number < first + rows]
                if here:
                    table = file.read_row_group(group, columns=names, use_threads=False)
                    for number in here:
                        yield _told(table.slice(number - first, 1).to_pylist()[0], shard, number)
                first += rows

    def scan(self, column: str, value: str) -> list[dict[str, Any]]:
        """Kept rows by a column, where no work directory leads to them: all shards that may hold them are opened."""
        found = []
        for shard in self.release.shards():
            if column == "origin" and not _may_lie_in(shard, value):
                continue
            with self.open(shard.path) as file:
                names = [name for name in COLUMNS if name in file.schema_arrow.names]
                first = 0
                for group in range(file.num_row_groups):
                    held = file.metadata.row_group(group)
                    if may_hold(held, column, value):
                        table = file.read_row_group(group, columns=[*names], use_threads=False)
                        mask = pc.equal(table[column], scalar(value))
                        numbers = pc.indices_nonzero(mask).to_pylist()
                        rows = table.filter(mask).to_pylist()
                        found += [
                            _told(row, shard.path, first + n) for row, n in zip(rows, numbers, strict=True)
                        ]
                    first += held.num_rows
        return found

    def changes(self, row_id: str) -> list[dict[str, Any]]:
        """What a release with a parent says has changed of a row; empty where nothing did, or there is no such file."""
        if CHANGES_FILE not in self.release.manifest.listed():
            return []
        return self._matching(CHANGES_FILE, "row_id", [row_id], None).to_pylist()

    def _matching(self, path: str, column: str, wanted: list[str], columns: list[str] | None) -> pa.Table:
        with self.open(path) as file:
            groups = [
                n
                for n in range(file.num_row_groups)
                if any(may_hold(file.metadata.row_group(n), column, value) for value in wanted)
            ]
            if not groups:
                return pa.Table.from_batches([], file.schema_arrow)
            table = file.read_row_groups(groups, columns=columns, use_threads=False)
        mask = pc.equal(table[column], scalar(wanted[0]))
        for value in wanted[1:]:
            mask = pc.or_(mask, pc.equal(table[column], scalar(value)))
        return table.filter(mask)

    def open(self, path: str) -> Any:
        """A Parquet file of the release (a context). Raises IntegrityError when it is missing."""
        if self.place.stat(path) is None:
            raise IntegrityError(f"{self.place.uri}: {path} is missing; fetch the release again")
        return self.place.parquet(path)


def _told(row: dict[str, Any], shard: str, number: int) -> dict[str, Any]:
    spans = [{k: r[k] for k in ("kind", "start", "end", "rule")} for r in row.get("redactions") or ()]
    return {**row, "redactions": spans, "shard": shard, "row": number}


def _may_lie_in(shard: ShardFacts, origin: str) -> bool:
    """Rows lie by the SHA-256 of their origin (64 bits of it), and a shard's name is the prefix that its rows share."""
    prefix = PurePosixPath(shard.path).stem.partition("-")[2]
    bits = f"{int(hashlib.sha256(origin.encode(errors='surrogateescape')).hexdigest()[:16], 16):064b}"
    if not prefix or set(prefix) - {"0", "1"}:
        return True
    return bits.startswith(prefix[:64])
