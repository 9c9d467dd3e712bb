"""What a path tells about a file: base name, name class, extension; and how a path is shown.

Paths are bytes of any kind. They are never decoded to be understood, only to be shown.

**Name class.** Annotators that look at a file's name see its class only, so that one annotation serves
every name of the class. The class of a base name is the first of

1. the base name itself, if a table knows it (Linguist's file names, `Makefile`; generated files,
   `yarn.lock`);
2. for texts by which the published Text rule decides (quality.py): `requirements.txt`, `readme.txt`,
   `todo`, ...: lower-cased, anything that holds "requirement" folded into one;
3. the longest end of the lower-cased base name that a table knows (Linguist's extensions, `.html.erb`;
   generated files, `_pb2.py`; archives, `.tar.gz`);
4. the lower-cased last extension, if it is 1 to 16 bytes of `a-z 0-9 _ + -` (`.xyz`);
5. the empty string.

It is idempotent (the class of a class is the class) and holds no `/`. A leading dot starts an extension
(`.bashrc`, `a.bashrc` have one class); a trailing dot ends the search with the empty class.
"""

from __future__ import annotations

import re

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.buffers import buffers, copy_ranges
from pipeline.content.generated_names import GENERATED_NAMES, GENERATED_SUFFIXES
from pipeline.content.shown import escape
from pipeline.content.taxonomy import BY_EXTENSION, BY_FILENAME

TEXT_STEMS = (b"readme", b"notes", b"todo", b"description", b"cmakelists")
"""Stems of texts that the published Text rule keeps (The Stack v2; see quality.py)."""

TEXT_NAMES = frozenset(
    (b"AUTHORS", b"CHANGELOG", b"CHANGES", b"CONTRIBUTORS", b"COPYRIGHT", b"HISTORY", b"LICENCE")
)
"""Prose without an extension that Linguist's table does not name, unlike COPYING, INSTALL, LICENSE, NEWS."""

_ARCHIVES = (b".tar.bz2", b".tar.gz", b".tar.lz", b".tar.xz", b".tar.zst")

_NAMES = frozenset(BY_FILENAME) | GENERATED_NAMES | TEXT_NAMES
_ENDS = frozenset(BY_EXTENSION) | frozenset(GENERATED_SUFFIXES) | frozenset(_ARCHIVES)
_LONGEST_END = max(map(len, _ENDS))
_END_STARTS = re.compile(rb"[._-]")  # the first bytes of all known ends
_LAST_EXTENSION = re.compile(rb"\.[a-z0-9_+-]{1,16}\Z")
TEXT_CLASSES = frozenset(stem + end for stem in TEXT_STEMS for end in (b"", b".txt"))


def base_name_class(name: bytes) -> bytes:
    """The class of one base name (rules in the module's docstring)."""
    if name in _NAMES:
        return name
    lower = name.lower()
    if lower in TEXT_CLASSES:
        return lower
    if b"requirement" in lower and lower.endswith(b".txt"):
        return b"requirements.txt"
    start = max(0, len(lower) - _LONGEST_END)
    for match in _END_STARTS.finditer(lower, start):
        end = lower[match.start() :]
        if end in _ENDS:
            return end
    last = _LAST_EXTENSION.search(lower, max(0, len(lower) - 17))
    return last.group() if last else b""


def name_class(paths: pa.BinaryArray | pa.LargeBinaryArray) -> pa.BinaryArray:
    """The name class of every path; null for null. A function of the base name alone."""
    names = base_names(paths).dictionary_encode()
    classes = pa.array([base_name_class(name) for name in names.dictionary.to_pylist()], pa.binary())
    return classes.take(names.indices)


def extension(paths: pa.BinaryArray | pa.LargeBinaryArray) -> pa.StringArray:
    """The lower-cased text after the last dot of the base name, without the dot; empty if there is none.

    Bytes that are not ASCII are shown as in `escape`. Unlike the name class it is never cut or replaced.
    """
    names = base_names(paths).dictionary_encode()
    values = [
        escape(name.rpartition(b".")[2].lower()) if b"." in name else ""
        for name in names.dictionary.to_pylist()
    ]
    return pa.array(values, pa.string()).take(names.indices)


@numba.njit(nogil=True, cache=True)
def _find_base_names(data, offsets, starts):
    for row in range(offsets.shape[0] - 1):
        at = offsets[row + 1]
        while at > offsets[row] and data[at - 1] != 47:
            at -= 1
        starts[row] = at


def base_names(paths: pa.BinaryArray | pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    """What follows the last `/` of every path (all of it if there is none); null for null."""
    paths = paths.cast(pa.large_binary())
    validity, offsets, data = buffers(paths)
    starts = np.empty(len(paths), np.int64)
    _find_base_names(data, offsets, starts)
    out_offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(offsets[1:] - starts)))
    out = np.empty(int(out_offsets[-1]), np.uint8)
    copy_ranges(data, starts, out_offsets, out)
    result = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(paths), [None, pa.py_buffer(out_offsets), pa.py_buffer(out)]
    )
    return result if validity is None else pc.if_else(paths.is_valid(), result, None)


# --------------------------------------------------------------------------------------------------------
# Showing a path.


def escape_paths(paths: pa.BinaryArray | pa.LargeBinaryArray) -> pa.StringArray:
    """`escape` of every path; null for null. Only rows with a byte outside printable ASCII cost Python."""
    paths = paths.cast(pa.large_binary())
    _, offsets, data = buffers(paths)
    odd = (data < 0x20) | (data > 0x7E) | (data == 0x5C)
    positions = np.flatnonzero(odd[offsets[0] : offsets[-1]]) + offsets[0]
    rows = np.unique(np.searchsorted(offsets, positions, side="right") - 1)
    if rows.size == 0:
        return paths.cast(pa.large_string()).cast(pa.string())
    mask = np.zeros(len(paths), bool)
    mask[rows] = True
    taken = paths.take(pa.array(rows)).to_pylist()
    shown = pa.array([None if path is None else escape(path) for path in taken], pa.large_binary())
    return pc.replace_with_mask(paths, pa.array(mask), shown).cast(pa.large_string()).cast(pa.string())
