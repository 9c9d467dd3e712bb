"""What stands around a finding, told from bytes: a string, a comment, a number literal, markup.

The released text may not depend on a path, so no language is known here.  What is read are the bytes **outside** findings:
texts that differ in their secrets only have the same surroundings.  It is about the line of a finding: a string that began on an
earlier line is not seen as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# What begins a string or a comment outside of both.  Comment marks count only where no shell word or URL holds them: a number
# sign behind white space, slashes behind white space or punctuation, the others at the beginning of a line before white space.
_OUTSIDE = re.compile(
    rb"\\.|[\"'`]|(?<=\s)#|(?<=[\s;{}(),])/[/*]|(?<=[\r\n])[ \t]*(?:\*|--|;+|%+)(?=[ \t])", re.DOTALL
)
_INSIDE = {q: re.compile(rb"\\.|" + q, re.DOTALL) for q in (b'"', b"'", b"`")}

#: A line comment: it holds to the end of the line.
_TO_THE_END = b"#"


class Line:
    """The state of one line, fed with what stands before a finding and behind the one before it.

    `inside` is b"" outside of strings and comments, the quote of the string that is open, b"*" in a block comment or b"#" in a
    comment to the end of the line.
    """

    def __init__(self) -> None:
        self.inside = b""
        self._begun = False

    def feed(self, piece: bytes) -> None:
        """Go over the bytes that follow; a line break in them begins a new line."""
        at = max(piece.rfind(b"\n"), piece.rfind(b"\r"))
        if at >= 0 or not self._begun:
            self.inside, piece = b"", b"\n" + piece[at + 1 :]
        else:
            piece = b"x" + piece  # behind a finding: no white space, no beginning of a line
        self._begun = True
        at = 1
        while self.inside != _TO_THE_END:
            if not self.inside:
                begin = _OUTSIDE.search(piece, at)
                if begin is None:
                    return
                self.inside, at = _opened(begin.group()), begin.end()
            elif self.inside == b"*":
                at = piece.find(b"*/", at) + 2
                if at < 2:
                    return
                self.inside = b""
            else:
                end = _INSIDE[self.inside].search(piece, at)
                if end is None:
                    return
                at = end.end()
                if end.group() == self.inside:
                    self.inside = b""


def _opened(mark: bytes) -> bytes:
    """What a match of `_OUTSIDE` opens; an escaped character opens nothing."""
    if mark[:1] == b"\\":
        return b""
    if mark in _INSIDE:
        return mark
    return b"*" if mark == b"/*" else _TO_THE_END


def has_markup(pieces: Iterable[bytes]) -> bool:
    """Whether a text has elements that end: XML, HTML, JSX.  There an angle bracket is syntax, inside quotes too."""
    return any(b"</" in piece or b"/>" in piece for piece in pieces)


_BEFORE_NUMBER = (b":", b"=", b",", b"(", b"[", b"{")
_BEHIND_NUMBER = (b",", b";", b")", b"]", b"}", b"#", b"/", b"\n", b"\r")
_NEAR = 200  # bytes of white space that are skipped


def is_number(before: bytes, behind: bytes) -> bool:
    """Whether digits stand where a number may be the whole of a value: `= 12,`, `[12]`; so a word there may be an error.

    `before` and `behind` are what stands between them and the next findings.
    """
    left, right = before[-_NEAR:].rstrip(), behind[:_NEAR].lstrip(b" \t")
    return left.endswith(_BEFORE_NUMBER) and (not behind or right.startswith(_BEHIND_NUMBER))
