r"""Second looks: a copy of a text in which what splits or disguises a value is undone, with the way back to its bytes.

A scanner that reads bytes as they are does not see a token with a zero-width space in it, one that continues on the next
line, or one in JSON inside YAML.  So a text that holds such a place near characters of values is looked at again:

* `plain`: without invisible characters (U+00AD, U+200B..U+200D, U+2060, U+FEFF), line continuations (a backslash at the end of a
  line; the next line's indentation goes too, as in YAML), with `\"`, `\/`, `\u002d` and `%2D` as the characters that they
  stand for;
* `joined`: besides, string literals that continue on the next line (`"..." +`, `"..." \`, adjacent literals) are one.

What is found there is reported as the whole range of the text's own bytes that it came from.  Both copies are made in
one pass; a text without such a place (nearly every one) costs one fast Hyperscan pass, that of `TRIGGERS`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from pii.linear import compiled

# U+00AD soft hyphen; U+200B..U+200D zero-width space, non-joiner, joiner; U+2060 word joiner; U+FEFF byte order mark
_INVISIBLE = rb"(?:\xc2\xad|\xe2\x80[\x8b-\x8d]|\xe2\x81\xa0|\xef\xbb\xbf)"
_CONTINUED = rb"\\\r?\n[ \t]*"
_VALUE = rb"[A-Za-z0-9_+/=.:@-]"  # what may stand on either side of a place that splits a value
_JOINED = rb"[ \t]*[+.]?[ \t]*\\?\r?\n[ \t]*[+.]?[ \t]*"
# The characters that tokens and addresses are made of beside letters and digits: + - . / : = @ _
_PUNCTUATION = rb"(?:2[BbDdEeFf]|3[AaDd]|40|5[Ff])"

#: For each kind of copy: the expression (RE2 and Hyperscan alike) that every text contains for which it is made.
TRIGGERS = {
    "plain": rb"[!-~]" + _INVISIBLE + rb"+[!-~]"
    rb"|" + _VALUE + _CONTINUED + _VALUE + rb"|[A-Za-z0-9]%" + _PUNCTUATION + rb"[A-Za-z0-9]"
    rb"|\\u00[2-7][0-9A-Fa-f]"
    rb"|:\\/\\/"
    rb'|\\"[ \t]{0,4}[:=]',
    "joined": _VALUE + rb'"' + _JOINED + rb'"' + _VALUE + rb"|" + _VALUE + rb"'" + _JOINED + rb"'" + _VALUE,
}

_PLAIN = _INVISIBLE + rb'|\\\r?\n[ \t]*|\\{1,7}["/]|\\u00[2-7][0-9A-Fa-f]|%[2-7][0-9A-Fa-f]'
# A group is the place itself, without the byte in front of it.
_PLACES = {
    "plain": compiled(_PLAIN),
    "joined": compiled(
        _PLAIN + rb"|" + _VALUE + rb'("' + _JOINED + rb'")|' + _VALUE + rb"('" + _JOINED + rb"')"
    ),
}


@dataclass(frozen=True, slots=True)
class View:
    """A copy of a text, made of pieces: where each begins in the copy (`at`) and in the text (`origin`).

    A piece is a run of bytes of the text, or one character that stands for `width` bytes (0: a run).
    """

    text: bytes
    at: list[int]
    origin: list[int]
    width: list[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The range of the text that a range of the copy came from, which is not empty."""
        first, last = bisect_right(self.at, start) - 1, bisect_right(self.at, end - 1) - 1
        stop = self.width[last] or end - self.at[last]
        return self.origin[first] + (start - self.at[first]), self.origin[last] + stop


def view_of(body: bytes, kind: str) -> View:
    """The copy of a kind (one of `TRIGGERS`) of a text; work and memory are linear in it."""
    pieces: list[bytes] = []
    at: list[int] = []
    origin: list[int] = []
    width: list[int] = []
    size = position = 0

    def piece(text: bytes, begin: int, stands_for: int) -> None:
        nonlocal size
        if text:
            pieces.append(text)
            at.append(size)
            origin.append(begin)
            width.append(stands_for)
            size += len(text)

    for place in _PLACES[kind].finditer(body):
        start, end = place.span(place.lastindex or 0)
        piece(body[position:start], position, 0)
        piece(_stands_for(body[start:end]), start, end - start)
        position = end
    piece(body[position:], position, 0)
    return View(b"".join(pieces), at, origin, width)


def _stands_for(place: bytes) -> bytes:
    """The character that an escape stands for; nothing for what only splits."""
    if place[:1] == b"%" or place[:2] == b"\\u":
        return bytes([int(place[-2:], 16)])
    return place[-1:] if place[-1:] in (b'"', b"/") and place[:1] == b"\\" else b""
