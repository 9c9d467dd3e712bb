"""The text of a file between two byte offsets, as evidence is shown to a person: decoded, bounded, in lines."""

from __future__ import annotations

from licensing.text import LicenseText, read_text

MAX_LINES = 12
MAX_LINE = 160
"""Lines of a quotation, and characters of a line; what is left out is said."""


def quote(body: bytes, start: int, end: int, lines: int = MAX_LINES) -> list[str]:
    """The lines of `body[start:end]`, at most `lines` of them: the first ones, and the last where some are left out.

    Characters stand as they are; who prints them has to escape control characters.
    """
    text = _between(body, max(0, start), min(end, len(body)))
    found = [line.rstrip() for line in text.splitlines() if line.strip()]
    if len(found) > lines:
        left_out = len(found) - lines + 1
        found = [*found[: lines - 2], f"... {left_out:,} lines ...", found[-1]]
    return [line if len(line) <= MAX_LINE else line[:MAX_LINE] + " ..." for line in found]


def _between(body: bytes, start: int, end: int) -> str:
    if b"\x00" not in body[:512]:
        return body[start:end].decode("utf-8", "backslashreplace")
    read = read_text(body)  # UTF-16, or no text
    return "" if read is None else read.text[_character(read, start) : _character(read, end)]


def _character(read: LicenseText, offset: int) -> int:
    """The first character at or behind a byte offset."""
    low, high = 0, len(read.text)
    while low < high:
        middle = (low + high) // 2
        if read.byte(middle) < offset:
            low = middle + 1
        else:
            high = middle
    return low
