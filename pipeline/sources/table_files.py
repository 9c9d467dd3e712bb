"""The files of one table of a graph export: found, their footers read and checked, before a row of them is.

A footer costs one request (two where it is long), some are read at once, and what is kept of a file is small: its parts
(row groups of Parquet, stripes of ORC) with their rows, and a digest of the footer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.store import Entry, Store
from pipeline.errors import IntegrityError, SourceError
from pipeline.sources.orc_tail import TAIL_BYTES, NotOrcError, Tail, parse_tail, tail_bytes
from pipeline.tables import DATE, GRAPH

REQUIRED: dict[str, tuple[str, ...]] = {
    "origin": ("url",),
    "origin_visit_status": ("origin", "visit", "date", "status", "snapshot"),
    "snapshot_branch": ("snapshot_id", "name", "target", "target_type"),
    "revision": ("id", "directory"),
    "directory_entry": ("directory_id", "name", "type", "target", "perms"),
    "content": ("sha1", "sha1_git", "sha256", "length"),
}
"""Tables that an archive must have, and the columns that they must have. All other tables may be absent."""

_VERSIONS = ("swh_model_version", "swh_export_version", "swh_dataset_version")  # the last: before 2024
_LABELS = ("swh_object_type", "swh_uuid", *_VERSIONS)
_FOOTERS_AT_ONCE = 32  # requests in flight on S3: at 50 ms each, 10,000 footers take less than a minute
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_ACCEPTED = {
    "string": ("string",),
    "binary": ("binary", "string"),
    "integer": ("integer",),
    "timestamp": ("timestamp",),
    "date": ("date", "timestamp"),
}
"""Kind of a column in GRAPH -> kinds that a file may have it in."""

_ORC_KINDS = {
    **dict.fromkeys(("string", "varchar", "char"), "string"),
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "integer"),
    "binary": "binary",
    "timestamp": "timestamp",
}


@dataclass(frozen=True)
class TableFile:
    """One file of a table. `rows` are those of its parts, as the footer tells them: for balance, nothing else."""

    key: str
    size: int
    rows: tuple[int, ...]
    digest: str  # of the footer
    version: str | None  # the entity tag on S3, the time of the last change on disk
    labels: Mapping[str, str]  # of the exporter: type of object, id of the file, versions


def table_files(store: Store, table: str) -> tuple[TableFile, ...]:
    """All files of `table` below `store` (`<export>/parquet` or `<export>/orc`), sorted by key.

    Raises SourceError for a required table that is missing, and for the first file that is no file of this table.
    """
    suffix = "." + format_of(store)
    # A name that starts with a dot or an underscore is a marker or a leftover of the tool that wrote the table.
    entries = [
        entry
        for entry in store.list(table)
        if entry.key.endswith(suffix) and entry.key.rsplit("/", 1)[-1][0] not in "._"
    ]
    if not entries and table in REQUIRED:
        raise SourceError(
            f"{store.uri}: the table {table!r} is missing from this graph export; copy {table}/*{suffix} to it too"
        )
    workers = min(_FOOTERS_AT_ONCE if store.root is None else 4, max(1, len(entries)))
    with ThreadPoolExecutor(workers) as pool:
        return tuple(pool.map(lambda entry: _open(store, table, entry), entries))


def format_of(store: Store) -> str:
    """parquet or orc: the last part of the address of an export's tables."""
    return "orc" if store.uri.rstrip("/").endswith("/orc") else "parquet"


def _open(store: Store, table: str, entry: Entry) -> TableFile:
    where = f"{store.uri}/{entry.key}"
    if entry.size == 0:
        raise SourceError(f"{where} is empty (0 bytes): it was cut off, fetch it again")
    if format_of(store) == "orc":
        tail, footer = read_orc_tail(store, entry.key, entry.size)
        kinds = [(name, _ORC_KINDS.get(shown, "other"), shown) for name, shown in tail.columns]
        rows, told = tuple(stripe.rows for stripe in tail.stripes), tail.labels
    else:
        metadata, footer = _parquet_footer(store, entry.key, entry.size)
        try:
            schema = metadata.schema.to_arrow_schema()
        except (pa.ArrowException, ValueError) as error:
            raise SourceError(f"{where} is not a readable Parquet file: {error}") from error
        kinds = [(field.name, kind_of(field.type), str(field.type)) for field in schema]
        rows = tuple(max(0, metadata.row_group(g).num_rows) for g in range(metadata.num_row_groups))
        told = {
            k.decode("utf-8", "replace"): v
            for k, v in (metadata.metadata or {}).items()
            if k.startswith(b"swh_")
        }
    _check_columns(table, where, kinds)
    labels = {name: told[name].decode("utf-8", "replace") for name in _LABELS if name in told}
    _check_labels(table, where, labels)
    local = store.root is not None
    version = str(store.path(entry.key).stat().st_mtime_ns) if local else entry.etag
    return TableFile(entry.key, entry.size, rows, hashlib.sha256(footer).hexdigest(), version, labels)


# ------------------------------------------------------------------------------------------------------- footers


def read_orc_tail(store: Store, key: str, size: int) -> tuple[Tail, bytes]:
    """What the ORC file of `size` bytes says of itself, and the bytes that say it. Raises SourceError."""
    end = _end(store, key, size, TAIL_BYTES)
    try:
        if (wanted := tail_bytes(end, size)) > len(end):
            end = _end(store, key, size, wanted)
        return parse_tail(end, size), end[-wanted:]
    except NotOrcError as error:
        raise SourceError(
            f"{store.uri}/{key} is not a readable ORC file: {error}; it is something else, or cut off: fetch it again"
        ) from error


def _parquet_footer(store: Store, key: str, size: int) -> tuple[pq.FileMetaData, bytes]:
    end = _end(store, key, size, TAIL_BYTES)
    wanted = int.from_bytes(end[-8:-4], "little") + 8
    if size < 12 or end[-4:] != b"PAR1" or wanted > size:
        raise SourceError(
            f"{store.uri}/{key} is not a readable Parquet file: it does not end as one does;"
            " it is something else, or cut off: fetch it again"
        )
    if wanted > len(end):
        end = _end(store, key, size, wanted)
    footer = end[-wanted:]
    try:
        return pq.read_metadata(pa.BufferReader(b"PAR1" + footer)), footer
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{store.uri}/{key} is not a readable Parquet file: {error}") from error


def _end(store: Store, key: str, size: int, length: int) -> bytes:
    start = max(0, size - length)
    try:
        return store.read_ranges(key, [(start, size - start)])[0]
    except IntegrityError as error:
        raise SourceError(f"{store.uri}/{key} changed while it was read; run again") from error


# -------------------------------------------------------------------------------------------------------- checks


def kind_of(kind: pa.DataType) -> str:
    """What sort of values a column of this type has, of those that GRAPH knows; null: only nulls."""
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    for name, test in (
        ("string", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)),
        ("binary", lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t)),
        ("integer", pa.types.is_integer),
        ("timestamp", pa.types.is_timestamp),
        ("null", pa.types.is_null),
    ):
        if test(kind):
            return name
    if pa.types.is_struct(kind):
        fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        if all(pa.types.is_integer(fields.get(field.name, pa.null())) for field in DATE):
            return "date"
    return "other"


def _check_columns(table: str, where: str, kinds: Sequence[tuple[str, str, str]]) -> None:
    where = f"{where}: the table {table!r}"
    names = [name for name, _, _ in kinds]
    missing = [column for column in REQUIRED.get(table, ()) if column not in names]
    if missing:
        raise SourceError(f"{where} lacks the column {missing[0]!r}; it has: {', '.join(map(repr, names))}")
    for name, kind, shown in kinds:
        if name not in GRAPH[table].names:
            continue
        if names.count(name) > 1:
            raise SourceError(f"{where} has the column {name!r} more than once")
        wanted = kind_of(GRAPH[table].field(name).type)
        if kind not in (*_ACCEPTED[wanted], "null"):
            raise SourceError(f"{where} has the column {name!r} as {shown}, not as {wanted}")


def _check_labels(table: str, where: str, labels: Mapping[str, str]) -> None:
    said = labels.get("swh_object_type", table)
    if said != table:
        raise SourceError(
            f"{where} says that it is of the table {said!r}; move it to the folder of that table"
        )
    named, own = _UUID.search(where.rsplit("/", 1)[-1]), labels.get("swh_uuid")
    if named and own and _UUID.fullmatch(own) and named[0] != own:
        raise SourceError(f"{where} says that its id is {own}: it is another file's content, fetch it again")


def check_one_export(store: Store, files: Iterable[TableFile]) -> None:
    """SourceError when files were written by two versions of the exporter: tables of two exports were mixed.

    That is all that files tell of their export: each has an id of its own, and none names the export.
    """
    first: TableFile | None = None
    for file in files:
        if any(name in file.labels for name in _VERSIONS):
            first = first or file
            if _versions(file) != _versions(first):
                raise SourceError(
                    f"{store.uri}: {first.key} was written by {_versions(first)}, but {file.key} by {_versions(file)}:"
                    " tables of two exports are mixed here; fetch all of them from one"
                )


def _versions(file: TableFile) -> str:
    return ", ".join(
        f"{name.removesuffix('_version')} {file.labels[name]}" for name in _VERSIONS if name in file.labels
    )
