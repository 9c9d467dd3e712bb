"""The user's files that choose origins: where they are, what they must hold, and how a part of one is read.

    origins.list        text (one URL a line, `#` comments), or Parquet or CSV with a column `url` or `origin`
    origins.revisions   Parquet or CSV: `origin` (or `url`), `revision` (or `revision_id`): 40 hex digits or swh:1:rev:...
    origins.metadata    Parquet or CSV: `origin` (or `url`), and any of `stars`, `forks`, `default_branch`, `fork_of` (URL)
    origins.dataset     Parquet or CSV: `content_id` (or `swhid`, or a list `files` of such rows) and/or `origin` (or `url`, or
                        `repo_name` on GitHub), and `revision_id` (or `revision`); other columns of The Stack v2 and of our
                        releases are ignored

Each is a file, or a folder whose .parquet and .csv files are read, local or on S3. Local files are first copied into the
work directory under the digest of their bytes, so that the workers of a cluster read them where they read everything
else, and so that no path is part of a key. Parquet is read in ranges of row groups; a text or CSV file by one task.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from pipeline.content.names import escape
from pipeline.engine import inputs
from pipeline.engine.keys import digest
from pipeline.engine.store import Entry, Store, TooLargeError, disk_errors
from pipeline.errors import ConfigError, SourceError

MAX_TEXT_BYTES = 256 << 20
"""A text or CSV file (of about five million URLs) is read by one task as a whole; more has to come as Parquet."""

MAX_URL_BYTES = 2_048
"""A longer line is no URL: the length that servers and browsers agree on."""

ROWS_PER_UNIT = 1_000_000  # rows of Parquet that one task reads
_LONGEST_HEAD = 1 << 20  # bytes of the line with the names of the columns

COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "list": {"origin": ("url", "origin")},
    "revisions": {"origin": ("origin", "url"), "revision": ("revision", "revision_id")},
    "metadata": {
        "origin": ("origin", "url"),
        **{name: (name,) for name in ("stars", "forks", "default_branch", "fork_of")},
    },
    "dataset": {
        "origin": ("origin", "url", "repo_name"),
        "revision": ("revision_id", "revision"),
        "content": ("content_id", "swhid", "files"),
    },
}
"""Key of the configuration -> what is read -> the columns that it may have, the first that is there counts."""

_NEEDED = {"list": ("origin",), "revisions": ("origin", "revision"), "metadata": ("origin",), "dataset": ()}
_GITHUB = b"https://github.com/"


@dataclass(frozen=True)
class UserFile:
    """One file as tasks read it: `kind` is parquet, csv or text; `digest` names its bytes (on S3 its size, tag and footer)."""

    store: Store
    key: str
    kind: str
    digest: str
    shown: str  # as the user named it, for messages

    def columns(self, name: str) -> dict[str, str]:
        """What is read of it -> the column that holds it. Raises ConfigError when what must be there is not."""
        if self.kind == "text":
            return {}
        names = self._names()
        found = {
            meaning: next(column for column in choices if column in names)
            for meaning, choices in COLUMNS[name].items()
            if any(column in names for column in choices)
        }
        missing = [meaning for meaning in _NEEDED[name] if meaning not in found]
        if missing or not found.keys() & {"origin", "content"}:
            wanted = [COLUMNS[name][meaning] for meaning in missing] or list(COLUMNS[name].values())
            raise ConfigError(
                f"origins.{name}: {self.shown} has no column {' or '.join(' / '.join(w) for w in wanted)};"
                f" it has: {', '.join(names[:20])}"
            )
        twice = [column for column in found.values() if names.count(column) > 1]
        if twice:
            raise ConfigError(f"origins.{name}: {self.shown} has the column {twice[0]!r} more than once")
        return found

    def _names(self) -> list[str]:
        if self.kind == "parquet":
            with self.store.parquet(self.key) as file:
                return list(file.schema_arrow.names)
        if self.store.root is not None:
            with disk_errors(self.shown), self.store.path(self.key).open("rb") as stream:
                head = stream.readline(_LONGEST_HEAD)
        else:
            head = self._bytes()[:_LONGEST_HEAD].split(b"\n", 1)[0]
        return next(csv.reader([head.decode("utf-8-sig", "replace").rstrip("\r\n")]), [])

    def _bytes(self) -> bytes:
        try:
            return self.store.read(self.key, at_most=MAX_TEXT_BYTES)
        except TooLargeError as error:
            raise ConfigError(f"{self.shown}: {error}; give a larger one as Parquet") from error


@dataclass(frozen=True)
class Selection:
    """What one key of the configuration names."""

    name: str  # list | revisions | metadata | dataset
    address: str
    files: tuple[UserFile, ...]

    @cached_property
    def digest(self) -> str:
        """Names the bytes of all files; does not depend on where they lie."""
        return digest([[file.kind, file.digest] for file in self.files])

    @cached_property
    def holds(self) -> frozenset[str]:
        """What is read of its files, the same of each. Raises ConfigError naming a file that differs."""
        found = [frozenset(file.columns(self.name)) for file in self.files]
        for file, columns in zip(self.files, found, strict=True):
            if columns != found[0]:
                raise ConfigError(
                    f"origins.{self.name}: {file.shown} has other columns than {self.files[0].shown};"
                    " give files of one kind"
                )
        return found[0] or frozenset({"origin"})

    @cached_property
    def units(self) -> tuple[dict[str, int], ...]:
        """Work items that cover all files: the file's number, for Parquet with a range of row groups."""
        items: list[dict[str, int]] = []
        for number, file in enumerate(self.files):
            if file.kind != "parquet":
                items.append({"file": number})
                continue
            with file.store.parquet(file.key) as parquet:
                first, rows = 0, 0
                for group in range(parquet.num_row_groups):
                    rows += parquet.metadata.row_group(group).num_rows
                    if rows >= ROWS_PER_UNIT or group + 1 == parquet.num_row_groups:
                        items.append({"file": number, "first": first, "last": group + 1})
                        first, rows = group + 1, 0
        return tuple(items)

    @property
    def extra(self) -> dict[str, Any]:
        """What a task needs to read an item: addresses, which are in no key."""
        return {
            "files": [
                (file.store.address, file.store.anonymous, file.key, file.kind, file.shown)
                for file in self.files
            ]
        }


def open_selection(
    name: str, address: str | None, workdir: Store, *, anonymous: bool = False, copy: bool = True
) -> Selection | None:
    """Find the files of `origins.<name>`; local ones are copied into the work directory where `copy` is set.

    Raises ConfigError when there is no such file, or a folder without any that could be read.
    """
    if address is None:
        return None
    store, keys = _find(name, address, anonymous)
    files = tuple(_open(name, store, entry, workdir, copy) for entry in keys)
    selection = Selection(name, address, files)
    assert selection.holds
    return selection


def _find(name: str, address: str, anonymous: bool) -> tuple[Store, list[Entry]]:
    whole = Store(address.rstrip("/") or "/", anonymous)
    where = f"origins.{name}: {address}"
    if whole.root is not None:
        if whole.root.is_dir():
            entries = whole.list()
        else:
            whole, key = Store(str(whole.root.parent)), whole.root.name
            entry = whole.stat(key)
            if entry is None:
                raise ConfigError(f"{where}: no such file or folder")
            return whole, [entry]
    else:
        parent, _, key = whole.uri.rpartition("/")
        entry = Store(parent, anonymous).stat(key) if not address.endswith("/") and parent != "s3:/" else None
        if entry is not None:
            return Store(parent, anonymous), [entry]
        entries = whole.list()
    entries = [entry for entry in entries if PurePosixPath(entry.key).suffix in (".parquet", ".csv")]
    if not entries:
        raise ConfigError(f"{where}: there is no file of that name, and no .parquet or .csv file below it")
    return whole, entries


def _open(name: str, store: Store, entry: Entry, workdir: Store, copy: bool) -> UserFile:
    suffix = PurePosixPath(entry.key).suffix
    kind = {".parquet": "parquet", ".csv": "csv"}.get(suffix, "text")
    shown = f"{store.uri.rstrip('/')}/{entry.key}"
    if kind == "text" and name != "list":
        raise ConfigError(f"origins.{name}: {shown} must be a .parquet or .csv file")
    if kind != "parquet" and entry.size > MAX_TEXT_BYTES:
        raise ConfigError(
            f"origins.{name}: {shown} has {entry.size:,} bytes; a text or CSV file may have {MAX_TEXT_BYTES:,}:"
            " give it as Parquet"
        )
    if store.root is None:
        return UserFile(store, entry.key, kind, _remote_digest(store, entry, kind), shown)
    UserFile(store, entry.key, kind, "", shown).columns(
        name
    )  # a wrong file is told by its own name, not its copy's
    path = store.path(entry.key)
    with disk_errors(str(path)), path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return (
        UserFile(workdir, inputs.keep(workdir, path), kind, sha256, shown)
        if copy
        else UserFile(store, entry.key, kind, sha256, shown)
    )


def _remote_digest(store: Store, entry: Entry, kind: str) -> str:
    if kind != "parquet":
        return hashlib.sha256(store.read(entry.key)).hexdigest()
    with store.parquet(entry.key) as file:  # its footer holds the statistics of every page of columns
        footer = io.BytesIO()
        file.metadata.write_metadata_file(footer)
    return digest([entry.size, entry.etag, hashlib.sha256(footer.getvalue()).hexdigest()])


# ------------------------------------------------------------------------------------------------ reading an item


def read_item(name: str, extra: Mapping[str, Any], item: Mapping[str, int]) -> pa.Table:
    """The rows of one work item: a column for each thing that is read (see COLUMNS), as it is stored, text as bytes.

    Text files have `origin` alone, blank lines and comments left out, with `line`, from 1. Raises SourceError when the file
    cannot be read.
    """
    uri, anonymous, key, kind, shown = extra["files"][item["file"]]
    file = UserFile(Store(uri, anonymous), key, kind, "", shown)
    if kind == "text":
        return _lines(file)
    columns = file.columns(name)
    try:
        if kind == "csv":
            data = _csv(file, list(columns.values()))
        else:
            with file.store.parquet(key) as parquet:
                groups = list(range(item["first"], item["last"]))
                data = parquet.read_row_groups(groups, columns=list(columns.values()), use_threads=False)
                data.validate(full=True)
        if columns.get("content") == "files":  # one row per repository, as some published datasets have it
            data = _exploded(data)
        table = pa.table({meaning: _plain(data[column]) for meaning, column in columns.items()})
    except pa.ArrowException as error:
        raise SourceError(f"origins.{name}: {shown} cannot be read: {error}") from error
    if columns.get("origin") == "repo_name":
        names = table["origin"]
        url = pc.binary_join_element_wise(
            pa.scalar(_GITHUB, pa.large_binary()), names, pa.scalar(b"", pa.large_binary())
        )
        table = table.set_column(table.column_names.index("origin"), "origin", url)
    return table


def _lines(file: UserFile) -> pa.Table:
    data = file._bytes().removeprefix(b"\xef\xbb\xbf")
    lines = pc.split_pattern(pa.array([data], pa.large_binary()), pattern=b"\n").flatten()
    lines = pc.replace_substring_regex(lines, pattern=r"^[ \t\r\f\v]+|[ \t\r\f\v]+$", replacement="")
    table = pa.table({"origin": lines, "line": pa.array(range(1, len(lines) + 1), pa.int64())})
    used = pc.and_(pc.greater(pc.binary_length(lines), 0), pc.invert(pc.starts_with(lines, pattern=b"#")))
    return table.filter(used)


def _csv(file: UserFile, columns: list[str]) -> pa.Table:
    return arrow_csv.read_csv(
        pa.BufferReader(file._bytes()),
        read_options=arrow_csv.ReadOptions(use_threads=False),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(columns, pa.binary()),
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _exploded(data: pa.Table) -> pa.Table:
    """A row for each element of the list `files`, which becomes its `content_id`; for an empty list one with null."""
    data = data.combine_chunks()
    files = data["files"].combine_chunks()
    inner = (
        files.type.value_type if pa.types.is_list(files.type) or pa.types.is_large_list(files.type) else None
    )
    if inner is None or not pa.types.is_struct(inner) or inner.get_field_index("content_id") < 0:
        raise pa.ArrowInvalid(f"the column 'files' is no list of rows with a content_id, but {files.type}")
    ids = pc.struct_field(pc.list_flatten(files), "content_id")
    empty = pc.indices_nonzero(pc.equal(pc.fill_null(pc.list_value_length(files), 0), 0)).cast(pa.int64())
    places = pa.concat_arrays([pc.list_parent_indices(files).cast(pa.int64()), empty])
    ids = pa.concat_arrays([ids, pa.nulls(len(empty), ids.type)])
    return data.drop_columns(["files"]).take(places).append_column("files", ids)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as they are, everything else as bytes. Raises ArrowInvalid for lists and structures."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return column
    if pa.types.is_nested(column.type):
        raise pa.ArrowInvalid(f"a column holds values of type {column.type}, not text")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        column = column.cast(pa.large_string())
    return column.cast(pa.large_binary())


def texts(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Bytes as text, and which are none: those are shown escaped. Costs Python only where some are no UTF-8."""
    values = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    try:
        return values.cast(pa.large_string()), pa.array([False] * len(values), pa.bool_())
    except pa.ArrowInvalid:
        shown, bad = [], []
        for value in values.to_pylist():
            wrong = value is not None and _no_text(value)
            bad.append(wrong)
            shown.append(None if value is None else escape(value) if wrong else value.decode())
        return pa.array(shown, pa.large_string()), pa.array(bad, pa.bool_())


def _no_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False
