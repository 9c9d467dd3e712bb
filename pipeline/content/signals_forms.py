"""Forms of text that are told by how they begin: Git LFS pointers, XML."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

POINTER_BYTES = 1_024
"""A pointer is smaller (the specification of Git LFS, version 1)."""

XML_HEAD = 100
"""Bytes in which StarCoder looks for `<?xml version=` (arXiv 2305.06161); it counted characters."""

_POINTER = re.compile(
    rb"version https?://[!-~]+\n"
    rb"(?P<rest>(?:[a-z0-9.-]+ [^\n\r]+\n)+)"
)
_OID = re.compile(rb"sha256:[0-9a-f]{64}")
_SIZE = re.compile(rb"[0-9]{1,19}")


def is_lfs_pointer(texts: pa.LargeBinaryArray) -> np.ndarray:
    """Whether a text is a pointer of Git LFS, as its specification (version 1) has them.

    Fewer than 1,024 bytes; lines `key value` that all end with a line feed; the first key is `version`, the others are in order,
    with `oid` (sha256) and `size` among them. Null is no pointer.
    """
    short = pc.less(pc.binary_length(texts), POINTER_BYTES)
    likely = pc.fill_null(pc.and_(short, pc.starts_with(texts, "version http")), False)
    answer = likely.to_numpy(zero_copy_only=False).copy()
    for row in np.flatnonzero(answer):
        answer[row] = _is_pointer(texts[row].as_py())
    return answer


def _is_pointer(text: bytes) -> bool:
    match = _POINTER.fullmatch(text)
    if match is None:
        return False
    keys, values = zip(*(line.split(b" ", 1) for line in match["rest"].splitlines()), strict=True)
    held = dict(zip(keys, values, strict=True))
    return (
        list(keys) == sorted(set(keys))
        and _OID.fullmatch(held.get(b"oid", b"")) is not None
        and _SIZE.fullmatch(held.get(b"size", b"")) is not None
    )


def has_xml_head(texts: pa.LargeBinaryArray) -> np.ndarray:
    """Whether `<?xml version=` lies in the first `XML_HEAD` bytes. Null has none."""
    heads = pc.binary_slice(texts, 0, XML_HEAD)
    return pc.fill_null(pc.match_substring(heads, "<?xml version="), False).to_numpy(zero_copy_only=False)
