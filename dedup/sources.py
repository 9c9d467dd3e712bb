"""Where texts come from: tables in memory, datasets on disk, Hugging Face datasets, anything that speaks Arrow.

A source is read twice: once in order to sketch, and once more, only the texts that have a possible duplicate, to
compare. What can be read again at its place is not held: a `pyarrow.dataset` (row groups of Parquet) and a
Hugging Face dataset (memory-mapped). Batches of anything else are held as they came; Arrow holds by
reference, so a table that you have anyway costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from dedup.errors import DedupError
from dedup.machine import I64s

BATCH_ROWS = 8192
"""Rows of what is in memory taken at a time, so that what a step needs for each of them stays small."""

READ_ROWS = 1024
"""Rows read at a time from a disk."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Successive rows of a source: their texts, and where they were asked for their ids and ranks."""

    texts: pa.Array
    ids: pa.Array | None = None
    ranks: pa.Array | None = None


class Source(Protocol):
    """Something whose texts can be read a second time."""

    def take(self, positions: I64s) -> pa.Array:
        """The texts at these positions (ascending, counted from the source's first row)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns that are read."""

    text: str
    id: str | None = None
    rank: str | None = None

    @property
    def names(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(name for name in (self.text, self.id, self.rank) if name is not None))

    def rows(self, batch: pa.RecordBatch) -> Rows:
        """The rows of a batch; DedupError names a column that is not there, or not text."""
        for name in self.names:
            if batch.schema.names.count(name) != 1:
                raise DedupError(f"no column {name!r} (or more than one): columns are {batch.schema.names}")
        return Rows(
            as_texts(batch.column(self.text), self.text),
            *(None if name is None else batch.column(name) for name in (self.id, self.rank)),
        )

    def alone(self, texts: pa.Array) -> Rows:
        """Texts without a table around them."""
        if self.id is not None or self.rank is not None:
            raise DedupError(
                "an array holds texts only: add a table with the columns "
                + " and ".join(repr(name) for name in (self.id, self.rank) if name is not None)
            )
        return Rows(as_texts(texts, "texts"))


class Held:
    """Texts kept in memory, by reference to the batch that they came in."""

    def __init__(self, texts: pa.Array) -> None:
        self._texts = texts

    def take(self, positions: I64s) -> pa.Array:
        """See `Source`."""
        return self._texts.take(pa.array(positions))


class Fragments:
    """A `pyarrow.dataset.Dataset`, piece by piece: the row groups of Parquet, the files of other formats."""

    def __init__(self, dataset: Any, columns: Columns) -> None:
        self._columns = columns
        self._schema = dataset.schema
        try:
            fragments = list(dataset.get_fragments())
        except ValueError as error:
            raise DedupError(f"{error} Or read it: add(dataset.to_batches(columns=[...]))") from error
        self._pieces: list[Any] = []
        for fragment in fragments:
            split = getattr(fragment, "split_by_row_group", None)
            self._pieces += split() if split is not None else [fragment]
        self._counts: list[int] = []  # rows of the pieces read so far

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows in order, once."""
        for piece in self._pieces:
            self._counts.append(0)
            for batch in self._read(piece, self._columns.names):
                self._counts[-1] += batch.num_rows
                yield batch

    def take(self, positions: I64s) -> pa.Array:
        """See `Source`; of each piece that holds one of them the text column is read."""
        parts: list[pa.Array] = []
        ends = np.cumsum(np.array(self._counts, np.int64))
        for number in np.unique(np.searchsorted(ends, positions, side="right")).tolist():
            first = int(ends[number]) - self._counts[number]
            for batch in self._read(self._pieces[number], [self._columns.text]):
                last = first + batch.num_rows
                wanted = positions[(positions >= first) & (positions < last)]
                if len(wanted):
                    parts.append(as_texts(batch.column(0).take(pa.array(wanted - first)), self._columns.text))
                first = last
        return _joined(parts)

    def _read(self, piece: Any, names: list[str]) -> Iterator[pa.RecordBatch]:
        known = [name for name in names if name in self._schema.names]
        if len(known) < len(names):
            raise DedupError(f"no column {(set(names) - set(known))}: columns are {self._schema.names}")
        # Little is read ahead: memory, not the disk, is what is short.
        batches = piece.to_batches(
            self._schema, columns=names, batch_size=READ_ROWS, batch_readahead=2, fragment_readahead=1
        )
        yield from batches


class Indexed:
    """A Hugging Face `datasets.Dataset`: Arrow files in memory maps, perhaps seen through `select` or `shuffle`."""

    def __init__(self, dataset: Any, columns: Columns) -> None:
        missing = [name for name in columns.names if name not in dataset.column_names]
        if missing:
            raise DedupError(f"no column {missing[0]!r}: columns are {dataset.column_names}")
        self._columns = columns
        self._dataset = dataset.select_columns(columns.names).with_format("arrow")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows in order."""
        for table in self._dataset.iter(READ_ROWS):
            yield from table.to_batches()

    def take(self, positions: I64s) -> pa.Array:
        """See `Source`."""
        found = self._dataset[positions.tolist()].column(self._columns.text)
        return _joined([as_texts(chunk, self._columns.text) for chunk in found.chunks])


def open_source(source: Any, columns: Columns) -> tuple[Iterator[Rows], Source | None]:
    """The rows of anything that `Deduplicator.add` takes, and the source to read texts again if it can be."""
    if isinstance(source, pa.RecordBatch | pa.Table):
        return _sliced(columns.rows(batch) for batch in _batches(source)), None
    if isinstance(source, pa.Array | pa.ChunkedArray):
        chunks = source.chunks if isinstance(source, pa.ChunkedArray) else [source]
        return _sliced(columns.alone(chunk) for chunk in chunks), None
    if isinstance(source, list | tuple) and all(isinstance(one, str | bytes | None) for one in source):
        return _sliced([columns.alone(_from_python(source))]), None
    again: Fragments | Indexed
    if "pyarrow.dataset" in sys.modules and isinstance(source, sys.modules["pyarrow.dataset"].Dataset):
        again = Fragments(source, columns)
        return _sliced(columns.rows(batch) for batch in again.batches()), again
    if hasattr(source, "with_format") and hasattr(source, "select_columns") and hasattr(source, "num_rows"):
        if isinstance(source, dict):
            raise DedupError(f"add one split of the dataset: {', '.join(map(repr, source))}")
        again = Indexed(source, columns)
        return _sliced(columns.rows(batch) for batch in again.batches()), again
    if hasattr(source, "__arrow_c_stream__"):  # polars, DuckDB, pandas, a RecordBatchReader
        try:
            reader = pa.RecordBatchReader.from_stream(source)
        except (pa.ArrowInvalid, TypeError) as error:
            raise DedupError(f"no table can be read from {type(source).__name__}: {error}") from error
        return _sliced(columns.rows(batch) for batch in reader), None
    if hasattr(source, "__iter__") and not isinstance(source, str | bytes | dict):
        return _each(source, columns), None
    raise DedupError(
        f"add a pyarrow Table, RecordBatch or array, a pyarrow or Hugging Face dataset, or an iterator of "
        f"such, not {type(source).__name__}"
    )


_TEXT = (pa.string(), pa.binary(), pa.large_string(), pa.large_binary())


def as_texts(column: pa.Array, name: str) -> pa.Array:
    """A column as an array of string or binary, large or not; dictionaries and views are unfolded."""
    kind = column.type
    if kind in _TEXT:
        return column
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if value in (*_TEXT, pa.string_view(), pa.binary_view(), pa.null()):
        return column.cast(pa.large_binary())
    raise DedupError(f"column {name!r} must hold text (string or binary), not {kind}")


def _each(sources: Any, columns: Columns) -> Iterator[Rows]:
    """The rows of an iterator of tables, batches or arrays."""
    for one in sources:
        if not isinstance(one, pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray):
            raise DedupError(
                f"an iterator must give pyarrow tables, batches or arrays, not {type(one).__name__}"
            )
        yield from open_source(one, columns)[0]


def _sliced(parts: Any) -> Iterator[Rows]:
    """The same rows, few at a time."""
    for rows in parts:
        for first in range(0, len(rows.texts), BATCH_ROWS):
            yield Rows(
                *(
                    None if column is None else column.slice(first, BATCH_ROWS)
                    for column in (rows.texts, rows.ids, rows.ranks)
                )
            )


def _batches(table: pa.Table | pa.RecordBatch) -> list[pa.RecordBatch]:
    return table.to_batches() if isinstance(table, pa.Table) else [table]


def _from_python(texts: list[str | bytes | None] | tuple[str | bytes | None, ...]) -> pa.Array:
    try:
        return pa.array(
            [text.encode() if isinstance(text, str) else text for text in texts], pa.large_binary()
        )
    except UnicodeEncodeError as error:
        raise DedupError(f"a text is no Unicode: {error}; give its bytes") from error


def _joined(parts: list[pa.Array]) -> pa.Array:
    large = [part.cast(pa.large_binary()) for part in parts]
    return pa.concat_arrays(large) if large else pa.array([], pa.large_binary())
