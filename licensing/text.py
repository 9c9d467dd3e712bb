"""From the bytes of a license file to the text that detectors read, and back from characters to bytes.

Bounded: at most `MAX_BYTES` of the file are decoded. Characters that nobody sees (zero-width spaces and
joiners, direction marks, soft hyphens) are left out, because one of them inside a word hides it from every
detector.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 65_536
"""Bytes of a license file that are read: the first 64 KiB."""

_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True)
class LicenseText:
    """The visible text of a file's first `MAX_BYTES`."""

    text: str
    complete: bool
    """Whether nothing but white space follows the bytes that were read."""
    _offsets: NDArray[np.int64] | None

    def byte(self, character: int) -> int:
        """Byte offset in the file of the character with this index (one past the end is allowed)."""
        return character if self._offsets is None else int(self._offsets[character])


def read_text(body: bytes) -> LicenseText | None:
    """The text of `body`, or None if it is binary (NUL bytes that are not UTF-16).

    UTF-8, UTF-16 (with a byte order mark, or every other byte of the start zero); what is neither is read as
    Latin-1, which never fails: license texts in old encodings are ASCII but for names.
    """
    head = body[:MAX_BYTES]
    encoding, start = _encoding(head)
    if encoding is None:
        return None
    if encoding == "utf-8":
        text = _decode_utf8(head[start:], truncated=len(body) > len(head))
        if text is None:
            encoding, text = "latin-1", head[start:].decode("latin-1")
    else:
        even = len(head) - (len(head) - start) % 2
        text = head[start:even].decode(encoding, "replace")
    complete = len(body) == len(head) or not body[len(head) :].strip(b" \t\r\n\x00")
    if encoding == "utf-8" and start == 0 and text.isascii():
        return LicenseText(text, complete, None)
    offsets = start + _byte_offsets(text, encoding)
    hidden = [match.start() for match in _INVISIBLE.finditer(text)]
    if hidden:
        offsets = np.delete(offsets, hidden)
        text = _INVISIBLE.sub("", text)
    return LicenseText(text, complete, offsets)


def _encoding(head: bytes) -> tuple[str | None, int]:
    """Encoding and length of the byte order mark; None for binary."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding, len(mark)
    if b"\x00" not in head:
        return "utf-8", 0
    probe = head[:512]
    pairs = max(len(probe) // 2, 1)
    for encoding, zeros, others in (
        ("utf-16-le", probe[1::2], probe[::2]),
        ("utf-16-be", probe[::2], probe[1::2]),
    ):
        if zeros.count(0) >= 0.7 * pairs and others.count(0) == 0:
            return encoding, 0
    return None, 0


def _decode_utf8(data: bytes, truncated: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=not truncated)
    except UnicodeDecodeError:
        return None


def _byte_offsets(text: str, encoding: str) -> NDArray[np.int64]:
    """Offset of each character in the encoded text, and of its end."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    if encoding == "latin-1":
        widths = np.ones(len(points), dtype=np.int64)
    elif encoding == "utf-8":
        widths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    else:
        widths = 2 + 2 * (points >= 0x10000).astype(np.int64)
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(widths)))
