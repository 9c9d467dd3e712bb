"""Rows of the graph tables in bulk: which ids are ids, and sorting with the duplicates out. numpy over Arrow's buffers.

Ids are 40 characters in almost every row: they are checked and moved as fixed-width values, several times faster than as
text. Sorting compares the first eight characters of the two leading columns as numbers; rows that these do not tell
apart, and only these, are compared by all columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.buckets import sort_table

ID_DIGITS = 40
_WORD_BYTES, _WORDS = 16, 256  # a column of so few short words is moved as their numbers

_PAIRS = np.zeros(1 << 16, bool)
"""Whether two bytes, read as one number, are two lower-case hex digits."""
for _first in b"0123456789abcdef":
    for _second in b"0123456789abcdef":
        _PAIRS[int.from_bytes(bytes((_first, _second)), "little")] = True


def is_hex(column: pa.ChunkedArray, digits: int = ID_DIGITS) -> npt.NDArray[np.bool_]:
    """For each value of a text column whether it is so many lower-case hex digits; null is not."""
    parts = [_is_hex(chunk, digits) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def _is_hex(column: pa.Array, digits: int) -> npt.NDArray[np.bool_]:
    if (fixed := _fixed(column, digits)) is not None:
        return _pairs(fixed, digits)
    good = np.asarray(pc.fill_null(pc.equal(pc.binary_length(column), digits), False))
    good[good] = _pairs(_fixed(column.filter(pa.array(good)), digits), digits)
    return good


def _pairs(values: npt.NDArray[np.void] | None, digits: int) -> npt.NDArray[np.bool_]:
    assert values is not None
    return _PAIRS[values.view(np.uint16).reshape(-1, digits // 2)].all(axis=1)


def hex_or_null(column: pa.ChunkedArray, digits: int = ID_DIGITS) -> pa.ChunkedArray:
    """The column with what is no id as null: it points nowhere."""
    good = is_hex(column, digits)
    return column if good.all() else pc.if_else(pa.array(good), column, pa.scalar(None, column.type))


def _fixed(column: pa.Array, width: int) -> npt.NDArray[np.void] | None:
    """The values of a text column that all have `width` bytes, as one array of them; None when they do not, or are null."""
    if not isinstance(column, pa.Array) or column.null_count or not pa.types.is_string(column.type):
        return None
    if len(column) == 0:
        return np.zeros(0, f"V{width}")
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    if not (np.diff(starts) == width).all():
        return None
    return np.frombuffer(data, f"V{width}", len(column), int(starts[0]))


def take(table: pa.Table, rows: npt.NDArray[np.intp]) -> pa.Table:
    """The rows with these numbers, in their order."""
    return pa.table([_take(table[name], rows) for name in table.column_names], schema=table.schema)


def _take(column: pa.Array | pa.ChunkedArray, rows: npt.NDArray[np.intp]) -> pa.Array | pa.ChunkedArray:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.ChunkedArray):  # more than 2 GiB of text
        return whole.take(pa.array(rows))
    if pa.types.is_string(whole.type) and len(whole):
        width = len(whole[0].as_buffer() or b"")
        if width < _WORD_BYTES:  # a word of a few, such as file and dir
            words = whole.dictionary_encode()
            if len(words.dictionary) <= _WORDS:
                return words.take(pa.array(rows)).cast(whole.type)
        elif len(rows) * width < 1 << 31 and (fixed := _fixed(whole, width)) is not None:
            offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(width)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.take(fixed, rows))]
            return pa.Array.from_buffers(whole.type, len(rows), buffers)
    return whole.take(pa.array(rows))


def sort_unique(table: pa.Table, order: Sequence[str]) -> pa.Table:
    """The rows sorted by `order`, nulls last, each once. `order` names all columns, so that equal rows are neighbours."""
    if table.num_rows < 2:
        return table
    keys = _keys(table, order)
    if not keys:
        return _without_repeats(sort_table(table, order))
    rows = np.argsort(keys[-1]) if len(keys) == 1 else np.lexsort(keys[::-1])
    same = np.logical_and.reduce([key[rows[1:]] == key[rows[:-1]] for key in keys])
    leading = keys[0] >> np.uint64(32) if len(keys) == 1 and len(order) > 1 else keys[0]
    ids = _take(table[order[0]], rows)
    tied = _colliding(ids, leading[rows[1:]] == leading[rows[:-1]])
    moved = tied.any()  # else each place keeps its value of the first column, whatever becomes of the others
    tied[1:] |= same  # rows that the keys do not tell from a neighbour
    tied[:-1] |= same
    if not tied.any():
        return _with_ids(table, order[0], ids, rows)
    # Keys order rows as whole values do, so the tied ones keep their places as a set: sorted, they fill them.
    places = np.flatnonzero(tied)
    some = take(table, rows[places]).append_column("", pa.array(rows[places]))
    some = some.take(pc.sort_indices(some, sort_keys=[(name, "ascending") for name in order]))
    rows[places] = some[""].to_numpy()
    first = np.ones(len(rows), bool)
    first[places] = ~_repeats(some.select(list(order)))
    if moved:
        return take(table, rows[first])
    return _with_ids(table, order[0], ids if first.all() else _take(ids, np.flatnonzero(first)), rows[first])


def _with_ids(
    table: pa.Table, name: str, ids: pa.Array | pa.ChunkedArray, rows: npt.NDArray[np.intp]
) -> pa.Table:
    """As `take`, with the column `name` taken already."""
    columns = {one: ids if one == name else _take(table[one], rows) for one in table.column_names}
    return pa.table(columns, schema=table.schema)


def _colliding(ids: pa.Array | pa.ChunkedArray, same: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Rows in a run of one leading prefix (`same` as the row before) that stands for several values: the next column must
    not yet decide between them."""
    values = ids if isinstance(ids, pa.Array) else pa.chunked_array(ids.chunks).combine_chunks()
    fixed = _fixed(values, ID_DIGITS)
    if fixed is not None:
        numbers = fixed.view(np.uint64).reshape(-1, ID_DIGITS // 8)
        differ = same & (numbers[1:] != numbers[:-1]).any(axis=1)
    else:
        differ = same & ~_equal_before(values)
    if not differ.any():
        return np.zeros(len(same) + 1, bool)
    runs = np.concatenate([[0], np.cumsum(~same)])
    several = np.zeros(int(runs[-1]) + 1, bool)
    several[runs[1:][differ]] = True
    return several[runs]


def _keys(table: pa.Table, order: Sequence[str]) -> list[npt.NDArray[np.uint64]]:
    """Numbers in the order of the first eight bytes of the first two columns; one number of both where they are digits."""
    found = []
    for name in order[:2]:
        column = table[name]
        if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
            break
        found.append(np.concatenate([_prefix(chunk) for chunk in column.chunks]))
    digits = [_digits(prefix) for prefix in found]
    if len(digits) == 2 and digits[0] is not None and digits[1] is not None:
        return [(digits[0] << np.uint64(32)) | digits[1]]
    return found if len(found) == 2 else []


def _prefix(column: pa.Array) -> npt.NDArray[np.uint64]:
    """The first eight bytes of each value as a number; the largest for a null, zeros behind a shorter value."""
    if len(column) == 0:
        return np.zeros(0, np.uint64)
    fixed = _fixed(column, ID_DIGITS)
    if fixed is not None:
        return fixed.view(">u8")[:: ID_DIGITS // 8].astype(np.uint64)
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    starts, lengths = bounds[:-1].astype(np.int64), np.diff(bounds)
    out = np.zeros(len(column), np.uint64)
    for byte in range(8):
        here = np.where(lengths > byte, text[np.minimum(starts + byte, len(text) - 1)], 0)
        out = (out << np.uint64(8)) | here.astype(np.uint64)
    if column.null_count:
        out[np.asarray(column.is_null())] = np.iinfo(np.uint64).max  # not before the prefix of any value
    return out


def _digits(prefix: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64] | None:
    """The number that eight hex digits are; None where there is anything else."""
    if not _PAIRS[prefix.view(np.uint16)].all():
        return None
    # A letter's code has bit 6 and counts from 1, a digit's counts from 0; then nibbles, bytes and pairs close up.
    value = (prefix & _u(0x0F)) + 9 * ((prefix >> np.uint64(6)) & _u(0x01))
    value = (value | value >> np.uint64(4)) & np.uint64(0x00FF00FF00FF00FF)
    value = (value | value >> np.uint64(8)) & np.uint64(0x0000FFFF0000FFFF)
    return (value | value >> np.uint64(16)) & np.uint64(0xFFFFFFFF)


def _u(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


def _without_repeats(table: pa.Table) -> pa.Table:
    repeats = _repeats(table)
    return table.filter(pa.array(~repeats)) if repeats.any() else table


def _repeats(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Whether each row equals the one before it; nulls equal each other."""
    same = np.ones(max(0, table.num_rows - 1), bool)
    for name in table.column_names:
        same &= _equal_before(table[name].combine_chunks())
    return np.concatenate([np.zeros(min(1, table.num_rows), bool), same])


def _equal_before(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each value but the first equals the one before it."""
    before, after = column[:-1], column[1:]
    equal = np.asarray(pc.fill_null(pc.equal(before, after), False))
    return equal | np.asarray(pc.and_(before.is_null(), after.is_null())) if column.null_count else equal
