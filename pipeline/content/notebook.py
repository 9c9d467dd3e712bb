"""Jupyter notebooks without what running them left behind: outputs, counters, attached images, the state of widgets.

A notebook is told by its content, whatever its name: one JSON object with an integer `nbformat` and an array `cells`, or,
as format 3 and older have it, `worksheets` with arrays `cells`. In every cell the value of `outputs` becomes `[]`, that of
`execution_count` (`prompt_number`) `null`, that of `attachments` `{}`; `metadata.widgets` of the notebook becomes `{}`.
Not one other byte changes: code, prose, metadata, formatting and line ends stay as the author's tools wrote them, and the
result is a notebook that Jupyter opens. Nothing is parsed into numbers or strings and written again, so that no spelling is
lost; the text is checked against the grammar of JSON (RFC 8259, and the `NaN` and `Infinity` that Jupyter writes into
outputs) and cut. What is no notebook, and a notebook that is not valid JSON, stays as it is.

Linear in the size of the text, one pass; nesting is bounded by `MAX_DEPTH`, deeper is malformed.
Format: https://nbformat.readthedocs.io/en/latest/format_description.html
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.buffers import buffers

STRIPPED, MALFORMED = "strip_outputs", "malformed"
MAX_DEPTH = 1_000
"""Levels of arrays and objects; notebooks have some ten. Python's own reader stops near here, too."""

_NOT_ONE, _NOTEBOOK, _BROKEN = range(3)
_REPLACEMENTS = (b"[]", b"null", b"{}")


def _table(*words: bytes) -> np.ndarray:
    """Words as rows of bytes, filled up with 0: kernels compare with them without making objects."""
    return np.array([[*word.ljust(max(map(len, words)), b"\0")] for word in words], np.uint8)


_NAMES = _table(
    b"nbformat", b"cells", b"worksheets", b"metadata", b"widgets", b"outputs", b"execution_count", b"prompt_number",
    b"attachments", b"cell_type",
)  # fmt: skip
_FORMAT, _IS_CELLS, _WORKSHEETS, _META, _WIDGETS, _OUTPUTS, _COUNT, _NUMBER, _ATTACHED, _TYPE = range(10)
_WORDS = _table(b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity")

# What a container is. The elements of CELLS are CELL, those of SHEETS are SHEET.
_OTHER, _ROOT, _METADATA, _SHEETS, _SHEET, _CELLS, _CELL = range(7)
# What is expected next.
_VALUE, _ELEMENT, _KEY, _MEMBER, _COLON, _AFTER = range(6)  # ELEMENT, MEMBER: or the end of the container


def strip_outputs(texts: pa.LargeBinaryArray) -> tuple[pa.LargeBinaryArray, pa.StringArray]:
    """The texts, notebooks among them without their outputs; and per text `strip_outputs`, `malformed`, or null: no notebook.

    Nulls stay null. Stripping twice is stripping once.
    """
    _, offsets, data = buffers(texts)
    starts = np.zeros(len(texts), bool)
    _open_braces(data, offsets, starts)
    starts &= texts.is_valid().to_numpy(zero_copy_only=False)
    told = np.full(len(texts), None, object)
    replaced: dict[int, bytes] = {}
    for row in np.flatnonzero(starts).tolist():
        kind, spans = _cuts(data, offsets[row], offsets[row + 1])
        if kind == _BROKEN:
            told[row] = MALFORMED
        elif kind == _NOTEBOOK:
            told[row] = STRIPPED
            replaced[row] = _cut(data, offsets[row], offsets[row + 1], spans)
    if replaced:
        mask = np.zeros(len(texts), bool)
        mask[list(replaced)] = True
        texts = pc.replace_with_mask(
            texts, pa.array(mask), pa.array(list(replaced.values()), pa.large_binary())
        )
    return texts, pa.array(told, pa.string())


def _cut(data: np.ndarray, start: int, end: int, spans: np.ndarray) -> bytes:
    body, at = data[start:end].tobytes(), 0
    pieces = []
    for first, last, by in (spans - (start, start, 0)).tolist():
        pieces += [body[at:first], _REPLACEMENTS[by]]
        at = last
    return b"".join([*pieces, body[at:]])


@numba.njit(nogil=True, cache=True)
def _open_braces(data, offsets, found):
    """Which texts begin with `{`, white space aside."""
    for row in range(found.shape[0]):
        at, end = offsets[row], offsets[row + 1]
        while at < end and (data[at] == 32 or 9 <= data[at] <= 10 or data[at] == 13):
            at += 1
        found[row] = at < end and data[at] == 123


@numba.njit(nogil=True, cache=True)
def _cuts(data, start, end):
    """What a text is, and the spans to replace: (start, end, index into _REPLACEMENTS)."""
    spans, count = np.empty((16, 3), np.int64), 0
    roles, objects = np.zeros(MAX_DEPTH + 1, np.uint8), np.zeros(MAX_DEPTH + 1, np.bool_)
    depth, expected = 0, _VALUE
    role, by = _ROOT, -1  # of the value that comes next; `by`: what replaces it, -1: it stays
    cut_depth, cut_start, cut_by = -1, 0, -1
    is_number, has_format, has_cells, has_cell_type = False, False, False, False
    at = start
    while at < end:
        byte = data[at]
        if byte in (32, 10, 13, 9):
            at += 1
            continue
        ended = False  # a value ends before `at`
        if expected == _COLON:
            if byte != 58:
                break
            at, expected = at + 1, _VALUE
            continue
        if byte in (93, 125):  # ] }
            if depth == 0 or objects[depth] != (byte == 125):
                break
            if expected not in (_AFTER, _MEMBER if byte == 125 else _ELEMENT):
                break
            depth -= 1
            at += 1
            ended = True
        elif expected == _AFTER:
            if byte != 44 or depth == 0:
                break
            at += 1
            expected = _KEY if objects[depth] else _VALUE
            if expected == _VALUE:
                role, by = _element_role(roles[depth]), -1
            continue
        elif expected in (_KEY, _MEMBER):
            if byte != 34:
                break
            stop = _string(data, at, end)
            if stop < 0:
                break
            role, by = _OTHER, -1
            here = roles[depth]
            if here == _ROOT:
                if _is(data, at, stop, _FORMAT):
                    is_number = True
                elif _is(data, at, stop, _IS_CELLS):
                    role = _CELLS
                elif _is(data, at, stop, _WORKSHEETS):
                    role = _SHEETS
                elif _is(data, at, stop, _META):
                    role = _METADATA
            elif here == _SHEET:
                role = _CELLS if _is(data, at, stop, _IS_CELLS) else _OTHER
            elif here == _METADATA:
                by = 2 if _is(data, at, stop, _WIDGETS) else -1
            elif here == _CELL:
                if _is(data, at, stop, _OUTPUTS):
                    by = 0
                elif _is(data, at, stop, _COUNT) or _is(data, at, stop, _NUMBER):
                    by = 1
                elif _is(data, at, stop, _ATTACHED):
                    by = 2
                elif _is(data, at, stop, _TYPE):
                    has_cell_type = True
            at, expected = stop, _COLON
            continue
        else:  # a value
            if by >= 0 and cut_depth < 0:
                cut_depth, cut_start, cut_by = depth, at, by
            if byte in (91, 123):
                if depth == MAX_DEPTH:
                    break
                depth += 1
                is_object = byte == 123
                # A role names either an array or an object: what has the other form is nothing of the kind.
                fits = is_object == (role in (_ROOT, _METADATA, _SHEET, _CELL))
                roles[depth], objects[depth] = role if fits else _OTHER, is_object
                has_cells |= role == _CELLS and fits
                role, by = _element_role(roles[depth]), -1
                expected = _MEMBER if is_object else _ELEMENT
                is_number = False
                at += 1
                continue
            stop = _scalar(data, at, end)
            if stop < 0:
                break
            has_format |= is_number and 48 <= byte <= 57
            is_number = False
            at, ended = stop, True
        if ended:
            if depth == cut_depth:
                if count == spans.shape[0]:
                    larger = np.empty((2 * count, 3), np.int64)
                    larger[:count] = spans
                    spans = larger
                spans[count, 0], spans[count, 1], spans[count, 2] = cut_start, at, cut_by
                count += 1
                cut_depth = -1
            expected = _AFTER
    whole = at >= end and depth == 0 and expected == _AFTER
    if whole and has_format and has_cells:
        return _NOTEBOOK, spans[:count]
    if not whole and has_cells and (has_format or has_cell_type):
        return _BROKEN, spans[:0]
    return _NOT_ONE, spans[:0]


@numba.njit(nogil=True, cache=True)
def _element_role(role):
    if role == _CELLS:
        return _CELL
    if role == _SHEETS:
        return _SHEET
    return _OTHER


@numba.njit(nogil=True, cache=True)
def _is(data, at, stop, name):
    """Whether the string `data[at:stop]`, quotes included, is the name with this number."""
    return _word(data, at + 1, stop - 1, _NAMES[name]) == stop - 1


@numba.njit(nogil=True, cache=True)
def _word(data, at, end, word):
    """Behind this word where it lies at `at`; -1 if it does not."""
    for i in range(word.shape[0]):
        if word[i] == 0:
            return at + i
        if at + i >= end or data[at + i] != word[i]:
            return -1
    return at + word.shape[0]


@numba.njit(nogil=True, cache=True)
def _string(data, at, end):
    """Behind the string that begins at `at`; -1 if it is not one."""
    at += 1
    while at < end:
        byte = data[at]
        if byte == 34:
            return at + 1
        if byte < 32:
            return -1
        if byte == 92:
            if at + 1 >= end:
                return -1
            escape = data[at + 1]
            if escape == 117:
                if at + 6 > end:
                    return -1
                for i in range(at + 2, at + 6):
                    if not (48 <= data[i] <= 57 or 65 <= data[i] <= 70 or 97 <= data[i] <= 102):
                        return -1
                at += 4
            elif escape not in (34, 92, 47, 98, 102, 110, 114, 116):
                return -1
            at += 1
        at += 1
    return -1


@numba.njit(nogil=True, cache=True)
def _scalar(data, at, end):
    """Behind the string, number or word that begins at `at`; -1 if it is none."""
    byte = data[at]
    if byte == 34:
        return _string(data, at, end)
    for number in range(_WORDS.shape[0]):
        behind = _word(data, at, end, _WORDS[number])
        if behind > 0:
            return behind
    if byte == 45:
        at += 1
    digits = _digits(data, at, end)
    if digits == at or (data[at] == 48 and digits > at + 1):
        return -1
    at = digits
    if at < end and data[at] == 46:
        digits = _digits(data, at + 1, end)
        if digits == at + 1:
            return -1
        at = digits
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        if at < end and (data[at] == 43 or data[at] == 45):
            at += 1
        digits = _digits(data, at, end)
        if digits == at:
            return -1
        at = digits
    return at


@numba.njit(nogil=True, cache=True)
def _digits(data, at, end):
    while at < end and 48 <= data[at] <= 57:
        at += 1
    return at
