"""The rows of a `Deduplicator`: which text each has, its name, its rank, and where its text can be read."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Hashable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.errors import DedupError
from dedup.machine import Bools, I64s
from dedup.sources import Columns, Rows, Source

NO_TEXT, FORGOTTEN = -1, -2
"""In place of the number of a row's text."""


class RowList:
    """Rows by their number, in the order in which they came; forgotten ones keep theirs."""

    def __init__(self, columns: Columns, *, highest_first: bool) -> None:
        self._columns = columns
        self._direction = "descending" if highest_first else "ascending"
        self._content = array("q")
        self._ids: list[pa.Array] = []
        self._ranks: list[pa.Array] = []
        self._row_of: dict[Any, int] = {}  # id -> row
        self._sources: list[tuple[int, Source | None]] = []  # (its first row, source), ascending
        self.alive = 0

    def __len__(self) -> int:
        """Rows, forgotten ones included."""
        return len(self._content)

    @property
    def content(self) -> I64s:
        """The number of each row's text, `NO_TEXT` or `FORGOTTEN`."""
        return np.array(self._content, np.int64)

    def checked(self, rows: Rows) -> Rows:
        """The same rows; DedupError if their ids or ranks cannot be taken."""
        ids, ranks = rows.ids, rows.ranks
        if ids is not None:
            ids = _plain(ids, self._ids, f"ids ({self._columns.id!r})")
            self._check_ids(ids)
        if ranks is not None:
            ranks = _plain(ranks, self._ranks, f"ranks ({self._columns.rank!r})")
            try:
                pc.sort_indices(ranks.slice(0, 0))
            except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
                raise DedupError(
                    f"ranks ({self._columns.rank!r}) of type {ranks.type} have no order"
                ) from error
        return Rows(rows.texts, ids, ranks)

    def _check_ids(self, ids: pa.Array) -> None:
        if pa.types.is_nested(ids.type) or pa.types.is_floating(ids.type):
            raise DedupError(f"ids ({self._columns.id!r}) of type {ids.type} cannot name rows")
        if ids.null_count:
            raise DedupError(f"ids ({self._columns.id!r}) must not be null")
        seen: set[Any] = set()
        for one in ids.to_pylist():
            if one in self._row_of or one in seen:
                raise DedupError(f"id {one!r} is there already: ids must be distinct")
            seen.add(one)

    def add_source(self, source: Source | None) -> None:
        """The rows added from now on are read again from this source."""
        self._sources.append((len(self._content), source))

    def add(self, rows: Rows, content: I64s) -> None:
        """Take rows that were `checked`."""
        first = len(self._content)
        self._content.frombytes(content.tobytes())
        self.alive += len(content)
        if rows.ids is not None:
            self._ids.append(rows.ids)
            self._row_of.update(zip(rows.ids.to_pylist(), range(first, len(self._content)), strict=True))
        if rows.ranks is not None:
            self._ranks.append(rows.ranks)

    def find(self, id: Any) -> int:
        """The row of this id; DedupError if there is none."""
        if self._columns.id is not None:
            row = self._row_of.get(id) if isinstance(id, Hashable) else None
        else:
            known = isinstance(id, int | np.integer) and 0 <= id < len(self._content)
            row = int(id) if known else None
        if row is None or self._content[row] == FORGOTTEN:
            raise DedupError(f"there is no row {id!r}")
        return row

    def forget(self, rows: I64s, ids: list[Any]) -> list[int]:
        """Forget these rows, which have these ids; the numbers of their texts."""
        contents = []
        for row in rows.tolist():
            if self._content[row] != NO_TEXT:
                contents.append(self._content[row])
            self._content[row] = FORGOTTEN
        for id in ids:
            self._row_of.pop(id, None)
        self.alive -= len(rows)
        # A source goes with its last row.
        firsts = [first for first, _ in self._sources]
        for at in {bisect_right(firsts, row) - 1 for row in rows.tolist()}:
            last = firsts[at + 1] if at + 1 < len(firsts) else len(self._content)
            if all(self._content[row] == FORGOTTEN for row in range(firsts[at], last)):
                self._sources[at] = (firsts[at], None)
        return contents

    def with_text(self, content: I64s) -> I64s:
        """Rows that have a text, best-ranked first."""
        rows = np.flatnonzero(content >= 0)
        if self._columns.rank is None or not len(rows):
            return rows
        table = pa.table({"rank": pa.chunked_array(self._ranks).take(pa.array(rows)), "row": pa.array(rows)})
        order = pc.sort_indices(table, sort_keys=[("rank", self._direction), ("row", "ascending")])
        return rows[np.asarray(order.to_numpy(), np.int64)]

    def names(self, rows: I64s, mask: Bools | None = None) -> pa.Array:
        """The ids of rows; null where `mask` is."""
        numbers = pa.array(rows, mask=mask)
        if self._columns.id is None:
            return numbers
        if not self._ids:
            return pa.array([], pa.int64())
        return pa.chunked_array(self._ids).take(numbers).combine_chunks()

    def read(self, rows: I64s) -> pa.Array:
        """The texts of ascending rows, from their sources, as large_binary."""
        firsts = np.array([first for first, _ in self._sources], np.int64)
        number = np.searchsorted(firsts, rows, side="right") - 1
        parts: list[pa.Array] = []
        for at in np.unique(number).tolist():
            first, source = self._sources[at]
            assert source is not None
            parts.append(source.take(rows[number == at] - first).cast(pa.large_binary()))
        return pa.concat_arrays(parts)


def _plain(column: pa.Array, earlier: list[pa.Array], what: str) -> pa.Array:
    """A column without a dictionary, of the type that it had before."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if earlier and column.type != earlier[0].type:
        try:
            column = column.cast(earlier[0].type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DedupError(f"{what} were {earlier[0].type} before and are {column.type} now") from error
    return column
