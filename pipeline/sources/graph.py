"""The graph export of an archive: where its tables are, what they must hold, and how a part of one is read.

Layout: `<archive>/graph/<export>/orc/<table>/*.orc` and `.../parquet/<table>/*.parquet`, as Software Heritage publishes
it: two forms of the same tables, many files each. Columns are selected by name; extra ones are ignored, missing nullable
ones read as null.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.keys import digest
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError, SourceError
from pipeline.sources.orc import OPENINGS, read_stripe
from pipeline.sources.table_files import (
    REQUIRED,
    TableFile,
    check_one_export,
    format_of,
    kind_of,
    read_orc_tail,
    table_files,
)
from pipeline.tables import DATE, GRAPH

OPTIONAL = ("release", "directory", "skipped_content")
FORMATS = ("parquet", "orc")  # the one that is read first where both are there
_UNIT_ROWS = 1_000_000  # rows of a work item, at least, where there are as many
CHUNK_ROWS = 1 << 19  # rows that a reader gives at once
CHUNK_BYTES = 128 << 20  # of them, at most, but for a single row


@dataclass(frozen=True)
class GraphExport:
    """One export of an archive's graph, in one form."""

    store: Store  # at <archive>/graph/<export>/<parquet or orc>
    name: str
    _files: dict[str, tuple[TableFile, ...]] = field(default_factory=dict, compare=False, repr=False)

    def files(self, table: str) -> tuple[TableFile, ...]:
        """The files of a table; their footers are read when first asked for."""
        if table not in self._files:
            found = table_files(self.store, table)
            check_one_export(self.store, [*(f for files in self._files.values() for f in files[:1]), *found])
            self._files[table] = found
        return self._files[table]

    def rows(self, table: str) -> int:
        """Rows of a table, as its footers have them."""
        return sum(sum(file.rows) for file in self.files(table))

    def units(self, table: str, at_most: int | None = None) -> tuple[dict[str, object], ...]:
        """Work items that cover the table, about equal in rows, each of parts of files in their order.

        One has _UNIT_ROWS rows or more (but the last); with `at_most`, there are no more of them than that.
        """
        enough = max(_UNIT_ROWS, -(-self.rows(table) // at_most) if at_most else 0)
        items: list[dict[str, object]] = []
        parts: list[
            tuple[str, int, int, int]
        ] = []  # key, bytes of the file, first part and the one behind the last
        rows = 0
        for file in self.files(table):
            first = 0
            for number, more in enumerate(file.rows):
                rows += more
                if rows >= enough:
                    items.append({"parts": [*parts, (file.key, file.size, first, number + 1)]})
                    parts, first, rows = [], number + 1, 0
            if first < len(file.rows):
                parts.append((file.key, file.size, first, len(file.rows)))
        if parts:
            items.append({"parts": parts})
        return tuple(items)

    def fingerprint(self, table: str) -> str:
        """Digest of the table's files: names, sizes, footers (which hold every column's statistics), and what tells a
        changed file of the same size: the entity tag on S3, the time of its last change on disk.
        """
        return digest([[file.key, file.size, file.version, file.digest] for file in self.files(table)])

    def read(self, table: str, item: Mapping[str, Any], columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of one work item, in the columns (null: all) and types of pipeline.tables.GRAPH."""
        schema = _schema(table, columns)
        return pa.concat_tables([schema.empty_table(), *self.batches(table, item, schema.names)])

    def batches(self, table: str, item: Mapping[str, Any], columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of one work item, CHUNK_ROWS or CHUNK_BYTES at once. No other column of the files is read.

        Memory: such a chunk, and what it is cut from: a row group of Parquet still packed, a stripe of ORC unpacked.
        """
        yield from _regroup(
            chunk
            for key, size, first, last in item["parts"]
            for chunk in self._read_parts(table, key, size, range(first, last), columns)
        )

    def _read_parts(
        self, table: str, key: str, size: int, parts: range, columns: Sequence[str]
    ) -> Iterator[pa.Table]:
        schema = _schema(table, columns)
        orc = format_of(self.store) == "orc"
        given = self._orc(key, size, parts, schema) if orc else self._parquet(key, parts, schema)
        try:
            for chunk in given:
                data = conform(chunk, schema)
                data.validate(full=True)  # text that is no UTF-8, offsets that lead nowhere
                yield data
        except IntegrityError as error:  # the bytes are another's: exit code 5, not 4
            said = str(error).partition("; delete it")[0]
            raise SourceError(f"{said}; table {table!r} cannot be read, fetch the file again") from error
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, (FileNotFoundError, TimeoutError, ConnectionError)):
                raise
            raise SourceError(
                f"{self.store.uri}/{key}: table {table!r} cannot be read: {error}; fetch the file again"
            ) from error

    def _parquet(self, key: str, groups: range, schema: pa.Schema) -> Iterator[pa.Table]:
        with self.store.parquet(key) as file:
            names = [name for name in schema.names if name in file.schema_arrow.names]
            for group in groups:  # one by one: what is asked for at once is fetched at once
                if not names:
                    yield pa.table({"": pa.nulls(file.metadata.row_group(group).num_rows)})
                    continue
                for batch in file.iter_batches(CHUNK_ROWS, [group], columns=names, use_threads=False):
                    yield pa.Table.from_batches([batch])

    def _orc(self, key: str, size: int, stripes: range, schema: pa.Schema) -> Iterator[pa.Table]:
        opening = next(OPENINGS)
        tail, _ = read_orc_tail(self.store, key, size)
        kinds = {}
        for name, kind in tail.columns:
            if name in schema.names:
                date = "date" if schema.field(name).type == DATE else "time"
                kinds[name] = date if kind == "timestamp" else "plain"
        for number in stripes:
            if tail.stripes[number].rows and kinds:
                yield read_stripe(self.store, key, size=size, stripe=number, columns=kinds, opening=opening)
            else:
                yield pa.table({"": pa.nulls(tail.stripes[number].rows)})


def _schema(table: str, columns: Sequence[str] | None) -> pa.Schema:
    schema = GRAPH[table]
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _regroup(chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    rows = size = 0
    for chunk in chunks:
        step = max(1, min(CHUNK_ROWS, CHUNK_BYTES * chunk.num_rows // max(1, chunk.nbytes)))
        for start in range(0, chunk.num_rows, step):
            piece = chunk.slice(start, step)
            if held and (rows + piece.num_rows > CHUNK_ROWS or size + piece.nbytes > CHUNK_BYTES):
                yield pa.concat_tables(held)
                held, rows, size = [], 0, 0
            held.append(piece)
            rows, size = rows + piece.num_rows, size + piece.nbytes
    if held:
        yield pa.concat_tables(held)


def conform(data: pa.Table, schema: pa.Schema) -> pa.Table:
    """`data` in exactly the columns and types of `schema`; absent columns are null."""
    columns = [
        _cast(data[field.name], field.type)
        if field.name in data.column_names
        else pa.nulls(data.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    found = kind_of(column.type)
    if kind == DATE and found in ("date", "timestamp"):
        return pa.chunked_array([_dates(chunk) for chunk in column.chunks], type=DATE)
    # A time in nanoseconds is cut to microseconds, not refused.
    return column.cast(kind, safe=found != "timestamp")


def _dates(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        numbers = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
        seconds, rest = pa.array(numbers // per), pa.array(numbers % per * 1_000_000 // per)
        missing = column.is_null()
    else:
        seconds, rest = pc.struct_field(column, "seconds"), pc.struct_field(column, "microseconds")
        missing = pc.or_(column.is_null(), pc.or_(seconds.is_null(), rest.is_null()))
    return pa.StructArray.from_arrays(
        [pc.fill_null(seconds.cast(pa.int64()), 0), pc.fill_null(rest.cast(pa.uint32()), 0)],
        fields=list(DATE),
        mask=missing,
    )


def open_export(
    archive: Store | None,
    graph: Store | None,
    export: str | None,
    *,
    form: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> GraphExport:
    """Find the export of an archive (or at an explicit graph address), and its form: parquet or orc, or whichever is there.

    `note` is told where there was a choice. Raises SourceError when there is no such export.
    """
    if graph is not None:
        base, name = graph, graph.uri.rstrip("/").rsplit("/", 1)[-1]
    else:
        assert archive is not None
        name = _named(archive, export)
        base = archive.sub(f"graph/{name}")
    found = base.folders("")
    forms = [one for one in FORMATS if one in found]
    if not forms:
        hint = ""
        if name in FORMATS or set(found) >= set(REQUIRED):
            hint = "; it must be the address of the folder above, which holds orc/ or parquet/"
        raise SourceError(f"{base.uri} holds neither orc nor parquet tables{hint}")
    if form is not None:
        if form not in forms:
            raise SourceError(
                f"{base.uri} has no {form} tables, only {forms[0]}; set archive.format to {forms[0]} or null"
            )
        return GraphExport(base.sub(form), name)
    if len(forms) > 1:
        whole = [one for one in forms if set(REQUIRED) <= set(base.folders(one))]
        forms = whole or forms
        others = "both forms are whole" if len(whole) > 1 else "the other form lacks tables"
        note(f"{'archive':<26} {base.uri}: its {forms[0]} tables are read ({others}; archive.format decides)")
    return GraphExport(base.sub(forms[0]), name)


def _named(archive: Store, export: str | None) -> str:
    exports = archive.folders("graph")
    if not exports:
        raise SourceError(
            f"{archive.uri} is not an archive: it has no graph/<export>/ folder with orc or parquet tables"
        )
    if export is None:
        if len(exports) > 1:
            raise SourceError(
                f"{archive.uri} has several exports ({', '.join(exports)}); name one in archive.export"
            )
        return exports[0]
    if export not in exports:
        close = difflib.get_close_matches(export, exports, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise SourceError(f"{archive.uri} has no export {export!r}{hint} (it has: {', '.join(exports)})")
    return export
