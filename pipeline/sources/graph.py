"""The graph export of an archive: where its tables are, what they must hold, and how a part of one is read.

Layout: `<archive>/graph/<export>/parquet/<table>/*.parquet`, as Software Heritage publishes it. Columns are selected by
name; extra ones are ignored, missing nullable ones read as null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.keys import digest
from pipeline.engine.store import Store
from pipeline.errors import SourceError
from pipeline.tables import GRAPH

REQUIRED: dict[str, tuple[str, ...]] = {
    "origin": ("url",),
    "origin_visit_status": ("origin", "visit", "date", "status", "snapshot"),
    "snapshot_branch": ("snapshot_id", "name", "target", "target_type"),
    "revision": ("id", "directory"),
    "directory_entry": ("directory_id", "name", "type", "target", "perms"),
    "content": ("sha1", "sha1_git", "sha256", "length"),
}
"""Tables that an archive must have, and the columns that they must have. All other tables may be absent."""

OPTIONAL = ("release", "directory", "skipped_content")
_ROWS_PER_UNIT = 1_000_000  # rows that one conversion task reads


@dataclass(frozen=True)
class GraphExport:
    """One export of an archive's graph."""

    store: Store  # at <archive>/graph/<export>/parquet
    name: str

    def units(self, table: str) -> tuple[dict[str, object], ...]:
        """Work items that cover the table: file key and a range of row groups each."""
        items: list[dict[str, object]] = []
        for key in self._files(table):
            with self.store.parquet(key) as file:
                self._check_columns(table, key, file.schema_arrow.names)
                first, rows = 0, 0
                for group in range(file.num_row_groups):
                    rows += file.metadata.row_group(group).num_rows
                    if rows >= _ROWS_PER_UNIT:
                        items.append({"key": key, "first": first, "last": group + 1})
                        first, rows = group + 1, 0
                if first < file.num_row_groups:
                    items.append({"key": key, "first": first, "last": file.num_row_groups})
        return tuple(items)

    def rows(self, table: str) -> int:
        """Rows of the table, from the footers."""
        found = 0
        for key in self._files(table):
            with self.store.parquet(key) as file:
                found += file.metadata.num_rows
        return found

    def fingerprint(self, table: str) -> str:
        """Digest of the table's files: names, sizes, footers (which hold every column's statistics), and what tells a
        changed file of the same size: the entity tag on S3, the time of its last change on disk.
        """
        found = []
        for entry in self.store.list(table):
            if entry.key.endswith(".parquet"):
                with self.store.parquet(entry.key) as file:
                    groups = [
                        [column.total_compressed_size, _statistics(column.statistics)]
                        for group in range(file.num_row_groups)
                        for column in [
                            file.metadata.row_group(group).column(c) for c in range(file.metadata.num_columns)
                        ]
                    ]
                local = self.store.root is not None
                version = self.store.path(entry.key).stat().st_mtime_ns if local else entry.etag
                found.append([entry.key, entry.size, version, digest(groups)])
        return digest(found)

    def read(self, table: str, item: dict[str, object]) -> pa.Table:
        """The rows of one work item, in the columns and types of pipeline.tables.GRAPH."""
        key, schema = str(item["key"]), GRAPH[table]
        with self.store.parquet(key) as file:
            names = [name for name in schema.names if name in file.schema_arrow.names]
            groups = range(int(str(item["first"])), int(str(item["last"])))
            try:
                data = conform(file.read_row_groups(list(groups), columns=names, use_threads=False), schema)
                data.validate(full=True)  # text that is no UTF-8, offsets that lead nowhere
                return data
            except (pa.ArrowException, OSError) as error:
                raise SourceError(
                    f"{self.store.uri}/{key}: table {table!r} cannot be read: {error}"
                ) from error

    def _files(self, table: str) -> list[str]:
        keys = [entry.key for entry in self.store.list(table) if entry.key.endswith(".parquet")]
        if not keys and table in REQUIRED:
            raise SourceError(f"{self.store.uri}: the table {table!r} is missing from this graph export")
        return keys

    def _check_columns(self, table: str, key: str, names: Sequence[str]) -> None:
        where = f"{self.store.uri}/{key}: the table {table!r}"
        missing = [column for column in REQUIRED.get(table, ()) if column not in names]
        if missing:
            raise SourceError(f"{where} lacks the column {missing[0]!r}")
        twice = [column for column in GRAPH[table].names if names.count(column) > 1]
        if twice:
            raise SourceError(f"{where} has the column {twice[0]!r} more than once")


def conform(data: pa.Table, schema: pa.Schema) -> pa.Table:
    """`data` in exactly the columns and types of `schema`; absent columns are null."""
    columns = [
        data[field.name].cast(field.type)
        if field.name in data.column_names
        else pa.nulls(data.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def open_export(archive: Store | None, graph: Store | None, export: str | None) -> GraphExport:
    """Find the export of an archive (or at an explicit graph address). Raises SourceError when there is none."""
    if graph is not None:
        base, name = graph, graph.uri.rstrip("/").rsplit("/", 1)[-1]
    else:
        assert archive is not None
        exports = sorted(
            {entry.key.split("/")[1] for entry in archive.list("graph") if entry.key.count("/") > 1}
        )
        if not exports:
            raise SourceError(f"{archive.uri} is not an archive: it has no graph/<export>/parquet tables")
        if export is None and len(exports) > 1:
            raise SourceError(
                f"{archive.uri} has several exports ({', '.join(exports)}); name one in archive.export"
            )
        name = export or exports[0]
        if name not in exports:
            raise SourceError(f"{archive.uri} has no export {name!r}; it has: {', '.join(exports)}")
        base = archive.sub(f"graph/{name}")
    found = {entry.key.split("/")[0] for entry in base.list()}
    if "parquet" not in found:
        kinds = "only ORC tables, which this version does not read" if "orc" in found else "no parquet tables"
        raise SourceError(f"{base.uri} holds {kinds}")
    return GraphExport(base.sub("parquet"), name)


def _statistics(statistics: pq.Statistics | None) -> str:
    """The values as they are stored: text may be no UTF-8 and a time no date, and either must not stop us here."""
    if statistics is None:
        return ""
    bounds = (statistics.min_raw, statistics.max_raw) if statistics.has_min_max else ()
    return repr((*bounds, statistics.null_count, statistics.num_values))
