"""From the bytes of a license file to the text that detectors read, and back from characters to bytes.

Bounded: at most `MAX_BYTES` of the file are decoded. Characters that nobody sees (zero-width spaces and
joiners, direction marks, soft hyphens, variation selectors) are left out, and characters that only look like
another (full-width and mathematical letters, ligatures; Cyrillic and Greek letters in words or texts that are
Latin) are read as that other one, because one of them inside a word hides it from every detector.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 65_536
"""Bytes of a license file that are read: the first 64 KiB."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)

_LOOK_ALIKES = dict(
    zip(
        "АВЕКМНОРСТХУІЈЅԁԚԜЗавекмнорстхуіјѕԛԝһӏгпΑΒΕΖΗΙΚΜΝΟΡΤΥΧανοριυκϲϳ",
        "ABEKMHOPCTXYIJSdQW3abekmhopctxyijsqwhlrnABEZHIKMNOPTYXavopiukcj",
        strict=True,
    )
)
"""Cyrillic and Greek letters and the Latin ones that they look like (Unicode's confusables, the letters that
can stand in an English word)."""

_MAX_WIDTH = 4
"""Letters that one compatibility character may stand for (U+FB03, the ligature "ffi", stands for three)."""

_FOREIGN_SHARE = 0.2
"""With so many Cyrillic and Greek letters among all, a text is in such a language; only words of mixed letters
are then read as Latin."""

_FOREIGN = re.compile("[\u0370-\u03ff\u0400-\u052f]")
_LETTER_RUN = re.compile(r"[^\W\d_]+")

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
    text, offsets = _unmasked(text, offsets)
    return LicenseText(text, complete, offsets)


def _unmasked(text: str, offsets: NDArray[np.int64]) -> tuple[str, NDArray[np.int64]]:
    """The text with look-alikes replaced, and the offsets of its characters."""
    replaced = {c: _compatible(c) for c in set(text) if not c.isascii()}
    replaced = {c: plain for c, plain in replaced.items() if plain != c}
    if replaced:
        widths = [len(replaced.get(c, c)) for c in text]
        text = "".join(replaced.get(c, c) for c in text)
        offsets = np.append(np.repeat(offsets[:-1], widths), offsets[-1])
    foreign = len(_FOREIGN.findall(text))
    if foreign:
        all_letters = sum(c.isalpha() for c in text)
        text = _LETTER_RUN.sub(
            lambda word: _latin(word.group(), everywhere=foreign < _FOREIGN_SHARE * all_letters), text
        )
    return text, offsets


def _compatible(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) <= _MAX_WIDTH else character


def _latin(word: str, everywhere: bool) -> str:
    """A word with letters that look Latin, if nothing else is in it, as Latin."""
    latin = "".join(_LOOK_ALIKES.get(c, c) for c in word)
    mixed = any(c.isascii() for c in word)
    return latin if (everywhere or mixed) and latin.isascii() else word


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
