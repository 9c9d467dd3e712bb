"""How much of an HTML file is text that a reader sees.

The rule of The Stack v2 (arXiv:2402.19173, section 3.3: at least 100 characters, and at least 20 % of the file) needs two
numbers: the visible characters, and their share of all characters. Visible is what stands outside of tags, comments,
declarations, processing instructions and CDATA marks, and outside of `script`, `style` and `template`; a run of white space
is one character, none at either end; a character reference is one character. What CSS hides is not known here.

Tokens as HTML's own tokenizer cuts them (https://html.spec.whatwg.org/multipage/parsing.html#tokenization), without building a
tree: one pass, linear, whatever is left open goes on to the end of the file.
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from pipeline.content.buffers import buffers
from pipeline.content.code_schema import HTML
from pipeline.content.taxonomy import LANGUAGES

HTML_LANGUAGES = frozenset(name for name, language in LANGUAGES.items() if "HTML" in (name, language.group))
"""HTML and the template languages that Linguist counts with it."""

_LONGEST_REFERENCE = 33  # bytes of the longest named character reference, with & and ;
_HIDDEN = np.zeros((3, 8), np.uint8)
"""Elements whose text nobody sees."""
for _row, _name in enumerate((b"script", b"style", b"template")):
    _HIDDEN[_row, : len(_name)] = list(_name)
_HIDDEN.flags.writeable = False


def visible_text(texts: pa.LargeBinaryArray) -> pa.Table:
    """Visible characters and their share (`code_schema.HTML`) of every text. No nulls among them."""
    _, offsets, data = buffers(texts)
    counted = np.empty((len(texts), 2), np.int64)
    _measure(data, offsets, counted)
    with np.errstate(invalid="ignore"):
        share = (counted[:, 0] / counted[:, 1]).astype(np.float32)
    return pa.table([pa.array(counted[:, 0]), pa.array(share, pa.float32(), from_pandas=True)], schema=HTML)


@numba.njit(nogil=True, cache=True)
def _measure(data, offsets, counted):
    """Per text: visible characters, all characters."""
    for row in range(counted.shape[0]):
        start, end = offsets[row], offsets[row + 1]
        counted[row, 0] = _visible(data, start, end)
        characters = 0
        for at in range(start, end):
            characters += data[at] & 0xC0 != 0x80
        counted[row, 1] = characters


@numba.njit(nogil=True, cache=True)
def _visible(data, start, end):
    count, gap, at = 0, False, start
    while at < end:
        byte = data[at]
        if byte == 60:
            stop = _markup_end(data, at, end)
            if stop > at:
                # Words on both sides of a tag are one word, as a reader of `<b>a</b>b` sees.
                at = stop
                continue
        elif byte == 38:
            stop = _reference_end(data, at, end)
            count += 1 + (gap and count > 0)
            gap, at = False, stop
            continue
        if byte <= 32:
            gap = True
        elif byte & 0xC0 != 0x80:
            count += 1 + (gap and count > 0)
            gap = False
        at += 1
    return count


@numba.njit(nogil=True, cache=True)
def _markup_end(data, at, end):
    """Behind the tag, comment, declaration or hidden element that begins here; `at` for none."""
    if at + 1 >= end:
        return at
    byte = data[at + 1]
    if byte == 33:
        if at + 3 < end and data[at + 2] == 45 and data[at + 3] == 45:
            return _comment_end(data, at + 4, end)
        if _matches(data, at + 2, end, b"[CDATA["):
            return at + 9  # its text is text; its end is read as text, too
        return _behind(data, at + 2, end, 62)
    if byte == 63:
        return _instruction_end(data, at + 2, end)
    if not (_is_letter(byte) or (byte == 47 and at + 2 < end and _is_letter(data[at + 2]))):
        return at
    stop = _tag_end(data, at + 1, end)
    if byte != 47 and data[stop - 1] == 62 and data[stop - 2] != 47:
        for row in range(_HIDDEN.shape[0]):
            size = _named(data, at + 1, end, _HIDDEN[row])
            if size > 0:
                return _element_end(data, stop, end, _HIDDEN[row], size)
    return stop


@numba.njit(nogil=True, cache=True)
def _is_letter(byte):
    return 97 <= byte <= 122 or 65 <= byte <= 90


@numba.njit(nogil=True, cache=True)
def _matches(data, at, end, word):
    same = at + len(word) <= end
    for i in range(len(word) if same else 0):
        same &= data[at + i] == word[i]
    return same


@numba.njit(nogil=True, cache=True)
def _named(data, at, end, name):
    """Bytes of this name where a tag's name begins at `at`, in any case; 0 if it has another."""
    size = 0
    while size < name.shape[0] and name[size] != 0:
        if at + size >= end or data[at + size] | 32 != name[size]:
            return 0
        size += 1
    if at + size < end and not (data[at + size] <= 32 or data[at + size] in (47, 62)):
        return 0
    return size


@numba.njit(nogil=True, cache=True)
def _behind(data, at, end, byte):
    while at < end:
        if data[at] == byte:
            return at + 1
        at += 1
    return end


@numba.njit(nogil=True, cache=True)
def _comment_end(data, at, end):
    if at < end and data[at] == 62:  # <!-->
        return at + 1
    if at + 1 < end and data[at] == 45 and data[at + 1] == 62:  # <!--->
        return at + 2
    while at + 2 < end:
        if data[at] == 45 and data[at + 1] == 45 and data[at + 2] == 62:
            return at + 3
        at += 1
    return end


@numba.njit(nogil=True, cache=True)
def _instruction_end(data, at, end):
    """Behind `<?php ... ?>` or `<?= ... ?>`; all else that begins so ends with the first `>`, as HTML has it."""
    if not (_matches(data, at, end, b"php") or _matches(data, at, end, b"=")):
        return _behind(data, at, end, 62)
    while at + 1 < end:
        if data[at] == 63 and data[at + 1] == 62:
            return at + 2
        at += 1
    return end


@numba.njit(nogil=True, cache=True)
def _tag_end(data, at, end):
    """Behind the `>` of a tag; one inside a quoted value of an attribute does not end it."""
    quote, value = 0, False  # value: an equals sign came last, so that a quote opens a value
    while at < end:
        byte = data[at]
        if quote != 0:
            if byte == quote:
                quote = 0
        elif byte == 62:
            return at + 1
        elif byte in (34, 39) and value:
            quote, value = byte, False
        elif byte > 32:
            value = byte == 61
        at += 1
    return end


@numba.njit(nogil=True, cache=True)
def _element_end(data, at, end, name, size):
    """Behind the closing tag of the element with this name."""
    while at + 1 < end:
        if data[at] == 60 and data[at + 1] == 47 and _named(data, at + 2, end, name) == size:
            return _tag_end(data, at + 2, end)
        at += 1
    return end


@numba.njit(nogil=True, cache=True)
def _reference_end(data, at, end):
    """Behind the character reference that begins here; behind the `&` alone, if it is none."""
    here = at + 1
    if here < end and data[here] == 35:
        here += 1
    while here < min(end, at + _LONGEST_REFERENCE):
        byte = data[here]
        if byte == 59:
            return here + 1 if here > at + 1 else at + 1
        if not (_is_letter(byte) or 48 <= byte <= 57):
            break
        here += 1
    return at + 1
