"""How much of a file is comment, and how much documentation string: by what its language opens comments and strings with.

Shares are of bytes that are not white space (0x20 and all below count as white space), markers included. The openers of a
language are in comment_syntax.py; what is told apart there is all that is known: a file is read once, from left to right,
without a grammar. Measured against syntax trees: docs/code-signals.md.

A documentation string is a string that is a statement of its own, in the languages of `DOCUMENTED`; it is no comment.
A comment or string that nothing closes goes on to the end of the file or, where it cannot span lines, of its line.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
import pyarrow as pa

from pipeline.content.buffers import buffers
from pipeline.content.code_schema import COMMENTS
from pipeline.content.comment_syntax import (
    ANYWHERE,
    APART,
    BLOCK,
    BRACKET,
    CHARACTER,
    DOCUMENTED,
    FIRST,
    INDENTED,
    LINE,
    LONG_BRACKET,
    OUTSIDE,
    RAW_CPP,
    RAW_HASHED,
    REGEX,
    STRING,
    SYNTAX,
    Opener,
)

_CODE, _COMMENT, _TEXT, _DOCUMENTATION = range(4)  # what a span is
_MARK = 8  # bytes of the longest marker
_NUMBERS = ("kind", "where", "nested", "lines", "word", "escape", "opens", "closes")
_KIND, _WHERE, _NESTED, _LINES, _WORD, _ESCAPE, _OPENS, _CLOSES = range(len(_NUMBERS))
_LONGEST_CHARACTER = 12  # bytes of an escaped character in quotes: '\U0001F600'


def comment_shares(languages: pa.Array, texts: pa.LargeBinaryArray) -> pa.Table:
    """Shares of comments and documentation strings of every text (`code_schema.COMMENTS`). No nulls among the texts."""
    _, offsets, data = buffers(texts)
    names = languages.to_pylist()
    shares = np.full((len(texts), 2), np.nan, np.float32)
    for name in sorted({name for name in names if name in SYNTAX}):
        rows = np.array([row for row, one in enumerate(names) if one == name], np.int64)
        measured = np.empty((len(rows), 3), np.int64)
        _measure(data, offsets, rows, *_compiled(SYNTAX[name]), measured)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares[rows] = measured[:, 1:] / measured[:, :1]
        if name not in DOCUMENTED:
            shares[rows, 1] = np.nan
    return pa.table(
        [pa.array(shares[:, i], pa.float32(), from_pandas=True) for i in range(2)], schema=COMMENTS
    )


def comment_spans(language: str, text: bytes) -> list[tuple[int, int]]:
    """The comments of one text, as byte ranges in order."""
    data = np.frombuffer(text, np.uint8)
    spans = np.empty((len(text) + 1, 3), np.int64)
    count, _, _ = _lex(data, 0, len(text), *_compiled(SYNTAX[language]), spans)
    return [(start, end) for start, end, kind in spans[:count].tolist() if kind == _COMMENT]


@cache
def _compiled(openers: tuple[Opener, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Openers as arrays: which bytes may start one, their numbers (`_NUMBERS`), their marks, the bytes not to follow them."""
    starts = np.zeros(256, np.bool_)
    numbers = np.zeros((len(openers), len(_NUMBERS)), np.int64)
    marks = np.zeros((len(openers), 2, _MARK), np.uint8)
    but = np.zeros((len(openers), 256), np.bool_)
    for row, one in enumerate(openers):
        assert 0 < len(one.open) <= _MARK and len(one.close) <= _MARK, one
        first = {one.open[:1], one.open[:1].lower()} if one.word else {one.open[:1]}
        for byte in first:
            starts[byte[0]] = True
        numbers[row] = (
            one.kind, one.where, one.nested, one.lines, one.word,
            one.escape[0] if one.escape else 0, len(one.open), len(one.close),
        )  # fmt: skip
        marks[row, 0, : len(one.open)] = list(one.open)
        marks[row, 1, : len(one.close)] = list(one.close)
        but[row, list(one.but)] = True
    return starts, numbers, marks, but


@numba.njit(nogil=True, cache=True)
def _measure(data, offsets, rows, starts, numbers, marks, but, out):  # noqa: PLR0917
    """Per row: bytes that are not white space, those in comments, those in documentation strings."""
    none = np.empty((0, 3), np.int64)
    for number in range(rows.shape[0]):
        start, end = offsets[rows[number]], offsets[rows[number] + 1]
        _, comments, documentation = _lex(data, start, end, starts, numbers, marks, but, none)
        out[number, 0], out[number, 1], out[number, 2] = _dense(data, start, end), comments, documentation


@numba.njit(nogil=True, cache=True)
def _dense(data, start, end):
    count = 0
    for at in range(start, end):
        count += data[at] > 32
    return count


@numba.njit(nogil=True, cache=True)
def _lex(data, start, end, starts, numbers, marks, but, spans):  # noqa: PLR0917
    """How many comments and documentation strings, and the bytes in each of the two that are not white space.

    They are written as (start, end, kind) into `spans`, as far as it reaches.

    Each byte is passed over once, and looked ahead at once more at most: a search that fails is not made again on its line.
    """
    count, depth, comments, documentation = 0, 0, 0, 0
    no_regex_before = start  # a regular expression that starts before this byte does not end on its line
    at = start
    for row in range(numbers.shape[0]):
        if numbers[row, _KIND] == OUTSIDE:
            at = _find(data, at, end, marks[row, 1], numbers[row, _CLOSES])
    while at < end:
        if not starts[data[at]]:
            at += 1
            continue
        stop, kind = at, _CODE
        for row in range(numbers.shape[0]):
            what = numbers[row, _KIND]
            if not _opens(data, at, start, end, numbers[row], marks[row, 0], but[row]):
                continue
            behind = at + numbers[row, _OPENS]
            if what == LINE:
                stop, kind = _line_end(data, behind, end), _COMMENT
                if numbers[0, _KIND] == OUTSIDE:  # the code around ends a comment, too
                    stop = min(stop, _find_before(data, behind, stop, marks[0, 0], numbers[0, _OPENS]))
            elif what == BLOCK:
                stop = _block_end(data, behind, end, numbers[row], marks[row])
                kind = _COMMENT
            elif what == STRING:
                stop, kind = _string_end(data, behind, end, numbers[row], marks[row, 1]), _TEXT
                if depth == 0 and _is_statement(data, at, stop, start, end):
                    kind = _DOCUMENTATION
            elif what == CHARACTER:
                stop = _character_end(data, at, start, end)
                if stop == at:
                    continue
            elif what == REGEX:
                if at < no_regex_before or not _value_expected(data, at, start):
                    continue
                stop = _regex_end(data, behind, end)
                if stop < 0:
                    no_regex_before, stop = -stop, at
                    continue
            elif what == LONG_BRACKET:
                stop, level = _long_bracket_end(data, behind, end)
                if level < 0:
                    continue
                kind = _COMMENT if numbers[row, _OPENS] > 1 else _TEXT
            elif what == RAW_CPP:
                stop = _raw_cpp_end(data, behind, end)
                if stop == behind:
                    continue
            elif what == RAW_HASHED:
                stop = _raw_hashed_end(data, at + 1, end)
                if stop == at + 1 or (at > start and _is_name(data[at - 1])):
                    stop = at
                    continue
            elif what == OUTSIDE:
                stop = _find(data, behind, end, marks[row, 1], numbers[row, _CLOSES])
            elif what == BRACKET:
                stop = behind
                closing = data[at] in (41, 93, 125)
                depth = max(0, depth - 1) if closing else depth + 1
            break
        if kind in (_COMMENT, _DOCUMENTATION):
            dense = _dense(data, at, min(stop, end))
            comments += dense if kind == _COMMENT else 0
            documentation += dense if kind == _DOCUMENTATION else 0
            if count < spans.shape[0]:
                spans[count, 0], spans[count, 1], spans[count, 2] = at, min(stop, end), kind
            count += 1
        at = max(stop, at + 1)
    return count, comments, documentation


@numba.njit(nogil=True, cache=True)
def _is_name(byte):
    return byte >= 128 or 97 <= byte <= 122 or 65 <= byte <= 90 or 48 <= byte <= 57 or byte == 95


@numba.njit(nogil=True, cache=True)
def _opens(data, at, start, end, numbers, mark, but):  # noqa: PLR0917
    """Whether this opener stands here, where it counts."""
    size = numbers[_OPENS]
    if at + size > end:
        return False
    for i in range(size):
        byte = data[at + i]
        if byte != mark[i] and not (numbers[_WORD] and 97 <= byte <= 122 and byte - 32 == mark[i]):
            return False
    if at + size < end and (but[data[at + size]] or (numbers[_WORD] and _is_name(data[at + size]))):
        return False
    where = numbers[_WHERE]
    if where == ANYWHERE or at == start:
        return True
    before = data[at - 1]
    if where == APART:
        return before <= 32 or before in (59, 38, 124, 40, 41)
    if where == FIRST:
        return before in (10, 13)
    assert where == INDENTED
    return _is_indented(data, at, start)


@numba.njit(nogil=True, cache=True)
def _is_indented(data, at, start):
    """Whether nothing but blanks stands before this byte on its line."""
    at -= 1
    while at >= start and data[at] in (32, 9):
        at -= 1
    return at < start or data[at] in (10, 13)


@numba.njit(nogil=True, cache=True)
def _line_end(data, at, end):
    while at < end and data[at] != 10 and data[at] != 13:
        at += 1
    return at


@numba.njit(nogil=True, cache=True)
def _at_mark(data, at, end, mark, size):
    same = at + size <= end
    for i in range(size if same else 0):
        same &= data[at + i] == mark[i]
    return same


@numba.njit(nogil=True, cache=True)
def _find(data, at, end, mark, size):
    """Behind the next such mark; the end without one."""
    while at < end:
        if data[at] == mark[0] and _at_mark(data, at, end, mark, size):
            return at + size
        at += 1
    return end


@numba.njit(nogil=True, cache=True)
def _find_before(data, at, end, mark, size):
    found = _find(data, at, end, mark, size)
    return found - size if found < end or _at_mark(data, found - size, end, mark, size) else end


@numba.njit(nogil=True, cache=True)
def _block_end(data, at, end, numbers, marks):
    opens, closes, depth = numbers[_OPENS], numbers[_CLOSES], 1
    while at < end:
        if data[at] == marks[1, 0] and _at_mark(data, at, end, marks[1], closes):
            at += closes
            depth -= 1
            if depth == 0:
                return at
        elif numbers[_NESTED] and _at_mark(data, at, end, marks[0], opens):
            at += opens
            depth += 1
        else:
            at += 1
    return end


@numba.njit(nogil=True, cache=True)
def _string_end(data, at, end, numbers, mark):
    escape, lines, size = numbers[_ESCAPE], numbers[_LINES], numbers[_CLOSES]
    while at < end:
        byte = data[at]
        if escape != 0 and byte == escape:
            at += 2
            continue
        if byte == mark[0] and _at_mark(data, at, end, mark, size):
            return at + size
        if not lines and byte in (10, 13):
            return at
        at += 1
    return end


@numba.njit(nogil=True, cache=True)
def _character_end(data, at, start, end):
    """Behind the character in quotes that begins here; here, if there is none: a mark of another meaning."""
    if at > start and _is_name(data[at - 1]) and data[at - 1] not in (76, 85, 117, 98):  # L'' U'' u'' b''
        return at
    if at + 2 >= end or data[at + 1] in (10, 13, 39):
        return at
    if data[at + 1] == 92:
        behind = at + 3
        while behind < min(end, at + _LONGEST_CHARACTER):
            if data[behind] == 39:
                return behind + 1
            behind += 1
        return at
    behind = at + 2
    while behind < end and 0x80 <= data[behind] < 0xC0:
        behind += 1
    return behind + 1 if behind < end and data[behind] == 39 else at


@numba.njit(nogil=True, cache=True)
def _value_expected(data, at, start):
    """Whether what stands before a slash on its line leaves a value to come, so that the slash is no division."""
    before = at - 1
    while before >= start and data[before] in (32, 9):
        before -= 1
    if before < start:
        return True
    byte = data[before]
    if not _is_name(byte):
        return byte not in (41, 93, 125, 34, 39, 96, 36)  # ) ] } " ' ` $
    first = before
    while first > start and before - first < 8 and _is_name(data[first - 1]):
        first -= 1
    size = before - first + 1
    # return, typeof, case, else, when, then, in, of, if, or: no value ends with them, by their first and last letters.
    if size == 6:
        a, z = data[first], data[before]
        return (a == 114 and z == 110) or (a == 116 and z == 102)
    if size == 4:
        a, z = data[first], data[before]
        return (a in (99, 101) and z == 101) or (a == 119 and z == 110) or (a == 116 and z == 110)
    if size == 2:
        a, z = data[first], data[before]
        return (a == 105 and z in (102, 110)) or (a == 111 and z in (102, 114))
    return False


@numba.njit(nogil=True, cache=True)
def _regex_end(data, at, end):
    """Behind the regular expression; minus the end of the line, if it does not end on it."""
    if at < end and data[at] in (42, 47):
        return -_line_end(data, at, end)
    inside = False  # of [...]
    while at < end and data[at] != 10 and data[at] != 13:
        byte = data[at]
        if byte == 92:
            at += 2
            continue
        if byte == 91:
            inside = True
        elif byte == 93:
            inside = False
        elif byte == 47 and not inside:
            return at + 1
        at += 1
    return -min(at, end)


@numba.njit(nogil=True, cache=True)
def _long_bracket_end(data, at, end):
    """Behind Lua's [==[ ... ]==] whose first bracket ends at `at`, and its level; -1 as level for none."""
    level = 0
    while at < end and data[at] == 61:
        at += 1
        level += 1
    if at >= end or data[at] != 91:
        return at, -1
    at += 1
    while at < end:
        if data[at] == 93:
            behind = at + 1
            while behind < end and behind - at - 1 < level and data[behind] == 61:
                behind += 1
            if behind - at - 1 == level and behind < end and data[behind] == 93:
                return behind + 1, level
            at = behind
        else:
            at += 1
    return end, level


@numba.njit(nogil=True, cache=True)
def _raw_cpp_end(data, at, end):
    """Behind R"name( ... )name" whose quote ends at `at`; `at` for no raw string."""
    bracket = at
    while bracket < end and bracket - at <= 16 and data[bracket] != 40:
        if data[bracket] <= 32 or data[bracket] in (41, 92, 34):
            return at
        bracket += 1
    size = bracket - at
    if bracket >= end or size > 16:
        return at
    here = bracket + 1
    while here < end:
        if data[here] == 41 and here + size + 1 < end and data[here + size + 1] == 34:
            same = True
            for i in range(size):
                same &= data[here + 1 + i] == data[at + i]
            if same:
                return here + size + 2
        here += 1
    return end


@numba.njit(nogil=True, cache=True)
def _raw_hashed_end(data, at, end):
    """Behind ##" ... "## that begins at `at`; `at` for no raw string."""
    quote = at
    while quote < end and data[quote] == 35:
        quote += 1
    level = quote - at
    if quote >= end or data[quote] != 34:
        return at
    here = quote + 1
    while here < end:
        if data[here] == 34:
            behind = here + 1
            while behind < end and behind - here - 1 < level and data[behind] == 35:
                behind += 1
            if behind - here - 1 == level:
                return behind
            here = behind
        else:
            here += 1
    return end


@numba.njit(nogil=True, cache=True)
def _is_statement(data, at, stop, start, end):
    """Whether a string, and what letters it is prefixed with, is all of its statement."""
    first, letters = at, 0
    while first > start and letters < 2 and data[first - 1] in (114, 82, 117, 85, 98, 66):
        first -= 1
        letters += 1
    if not _is_indented(data, first, start):
        return False
    while first > start and data[first - 1] in (32, 9):
        first -= 1
    if first - 2 >= start and data[first - 2] == 92:  # the line before goes on
        return False
    while stop < end and data[stop] in (32, 9, 59):
        stop += 1
    return stop >= end or data[stop] in (10, 13, 35)
