"""Annotation stores: what was learnt about a content, kept for ever and keyed by the annotator, not by its inputs.

`annotations/<name>/<key>/<bucket>/<segment>.parquet`. A run asks which of the wanted ids are missing, computes those and
appends one segment. Duplicates are harmless because annotators are pure: readers keep one row per id. The segment's
name is a digest of its ids, so writing the same segment twice changes nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.buckets import write_part
from pipeline.engine.keys import make_key
from pipeline.engine.measure import drawn, phase, wrote
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError

if TYPE_CHECKING:
    from pipeline.engine.stage import Task

COMPACT_AT = 24  # small segments in a bucket at which they are folded into one
FOLDED_BYTES = (
    64 << 20
)  # a file of this size is left alone: each row is folded about twice, not with every later run
_FOLD_ROW_GROUP_BYTES = 32 << 20  # what folding holds in memory


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """A kind of annotation: what names it, what its rows look like, and what its key is made of.

    The driver takes the key once (`stores`) and hands it to the tasks in the stage's configuration, so that all tasks of
    a run, and the key of the stage itself, speak of the same store.
    """

    name: str
    ids: tuple[str, ...]
    schema: pa.Schema
    modules: tuple[str, ...]
    functions: tuple[str, ...] = ()  # "module:function": what calls those modules; its own source counts, too
    libraries: tuple[str, ...] = ()

    def key(self, **config: object) -> str:
        """The key under this configuration."""
        columns = [f"{field.name} {field.type}" for field in self.schema]
        config = {**config, "columns": columns, "functions": [_source(name) for name in self.functions]}
        return make_key(self.name, config=config, inputs={}, modules=self.modules, libraries=self.libraries)

    def open(self, task: Task, bucket: int | None = None) -> AnnotationStore:
        """The store of a task's bucket (or of another), under the key that the driver took."""
        key = task.config["stores"][self.name]
        return AnnotationStore(
            task.store, self.name, key, task.bucket if bucket is None else bucket, self.ids, self.schema
        )


def _source(name: str) -> str:
    module, function = name.split(":")
    return inspect.getsource(getattr(importlib.import_module(module), function))


def require_all(store: str, wanted: int, found: int) -> None:
    """Raise IntegrityError when annotations that were just made are not there."""
    if wanted != found:
        raise IntegrityError(
            f"{wanted - found:,} of {wanted:,} annotations of {store!r} are missing;"
            " delete the work directory's stages and run again"
        )


@dataclass(frozen=True)
class AnnotationStore:
    """One bucket of one annotator's results. `ids` names the id columns, all strings or binaries."""

    store: Store
    name: str
    key: str
    bucket: int
    ids: tuple[str, ...]
    schema: pa.Schema

    @property
    def _prefix(self) -> str:
        return f"annotations/{self.name}/{self.key}/{self.bucket:04x}"

    def _segments(self) -> list[str]:
        return [entry.key for entry in self.store.list(self._prefix) if entry.key.endswith(".parquet")]

    def read(self, columns: Sequence[str] | None = None, wanted: pa.Table | None = None) -> pa.Table:
        """Rows of this bucket, one per id, in no promised order; only those whose id is in `wanted`, if given."""
        names = list(dict.fromkeys([*self.ids, *(columns if columns is not None else self.schema.names)]))
        with phase("read"):
            return self._read(names, wanted)

    def _read(self, names: list[str], wanted: pa.Table | None) -> pa.Table:
        tables = []
        for key in self._segments():
            with self.store.parquet(key) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=list(self.ids), use_threads=False)
                    if wanted is not None:
                        keep = self._mask(table, wanted)
                        if not pc.any(keep).as_py():
                            continue
                    rows = file.read_row_group(group, columns=names, use_threads=False).select(names)
                    tables.append(rows.filter(keep) if wanted is not None else rows)
        if not tables:
            return pa.schema([self.schema.field(n) for n in names]).empty_table()
        return first_per_id(pa.concat_tables(tables), self.ids)

    def pieces(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The ids and some columns of this bucket, a row group at a time: an id may come in two of them, unlike `read`."""
        names = list(dict.fromkeys([*self.ids, *columns]))

        def tables() -> Iterator[pa.Table]:
            for key in self._segments():
                with self.store.parquet(key) as file:
                    for group in range(file.num_row_groups):
                        yield file.read_row_group(group, columns=names, use_threads=False).select(names)

        return drawn(tables(), "read")

    def missing(self, wanted: pa.Table) -> pa.Table:
        """The distinct rows of `wanted` (its id columns and whatever else it carries) that have no annotation."""
        wanted = first_per_id(wanted, self.ids)
        have = self.read(columns=())
        if have.num_rows == 0:
            return wanted
        return wanted.filter(pc.invert(self._mask(wanted, have)))

    def _mask(self, table: pa.Table, other: pa.Table) -> pa.Array:
        return pc.is_in(_joined(table, self.ids), value_set=_joined(other, self.ids))

    def append(self, table: pa.Table) -> None:
        """Commit one segment."""
        if table.num_rows == 0:
            return
        table = table.select(self.schema.names).cast(self.schema)
        ids = _joined(table, self.ids)
        name = hashlib.sha256(b"\0".join(sorted(ids.to_pylist()))).hexdigest()[:20]
        self._write(f"{self._prefix}/{name}.parquet", [table])

    def compact(self) -> int:
        """Fold the small segments into one when there are many. Returns how many were folded.

        Memory is bounded by a row group, whatever the segments hold; a bucket ends with fewer than `COMPACT_AT` small
        files and one large file per `FOLDED_BYTES`.
        """
        segments = [
            entry.key
            for entry in self.store.list(self._prefix)
            if entry.key.endswith(".parquet") and entry.size < FOLDED_BYTES
        ]
        if len(segments) < COMPACT_AT:
            return 0
        key = f"{self._prefix}/all-{uuid.uuid4().hex[:12]}.parquet"
        self._write(key, self._merged(segments))
        for segment in segments:
            self.store.delete(segment)
        return len(segments)

    def _merged(self, segments: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of some segments, one per id, in pieces of about the size of a row group."""
        seen, held, size = self.schema.empty_table().select(list(self.ids)), [], 0
        for segment in segments:
            with self.store.parquet(segment) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group, use_threads=False).select(self.schema.names)
                    rows = rows.filter(pc.invert(self._mask(rows, seen)))
                    seen = pa.concat_tables([seen, rows.select(list(self.ids))])
                    held.append(rows)
                    size += rows.nbytes
                    if size >= _FOLD_ROW_GROUP_BYTES:
                        yield pa.concat_tables(held)
                        held, size = [], 0
        if held:
            yield pa.concat_tables(held)

    def _write(self, key: str, tables: Iterable[pa.Table]) -> None:
        with phase("write"), self.store.writing(key) as path:
            write_part(path, tables, self.schema, order=self.ids)
            wrote(path.stat().st_size)


def _joined(table: pa.Table, ids: Sequence[str]) -> pa.Array:
    """One comparable value per row: the id, or the hex of several ids."""
    columns = [pc.cast(table[name].combine_chunks(), pa.large_binary()) for name in ids]
    if len(columns) == 1:
        return columns[0]
    return pc.binary_join_element_wise(*columns, pa.scalar(b"\0", pa.large_binary()))


def first_per_id(table: pa.Table, ids: Sequence[str]) -> pa.Table:
    """The first row of each id."""
    if table.num_rows < 2:
        return table
    codes = pc.dictionary_encode(_joined(table, ids)).indices.to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    return table if len(first) == table.num_rows else table.take(pa.array(np.sort(first)))
