"""Inline pragmas: comments that ask secret scanners to leave a line.  They are recorded; see `Settings.obey_pragmas`."""

from __future__ import annotations

from pii.linear import compiled

_LINE = 2_048  # bytes of a line that are looked at on either side of a finding
_HERE = compiled(rb"(?i)(?:pragma: ?(?:allow|white)list[ -]secret|gitleaks:allow|nosecret)\b")
_NEXT = compiled(rb"(?i)pragma: ?(?:allow|white)list[ -]nextline[ -]secret\b")
_ANY = compiled(rb"(?i)pragma: ?(?:allow|white)list[ -]|gitleaks:allow|nosecret")


def holds_pragmas(body: bytes) -> bool:
    """Whether there may be a pragma anywhere in a text; most have none, whatever their number of findings."""
    return _ANY.search(body) is not None


def pragma_at(body: bytes, start: int, end: int) -> bool:
    """Whether a pragma on the line of a finding, or one for the next line on the line before, asks to leave it."""
    begin = body.rfind(b"\n", max(0, start - _LINE), start) + 1 or max(0, start - _LINE)
    stop = body.find(b"\n", end, end + _LINE)
    line = body[begin : stop if stop >= 0 else end + _LINE]
    if _HERE.search(line):
        return True
    before = body[max(0, begin - 1 - _LINE) : max(0, begin - 1)]
    return bool(_NEXT.search(before[before.rfind(b"\n") + 1 :]))
