"""Close the findings of a text: as it would be released, nothing is left to find in it.

Taking a value out can make another one visible (the keyword detector looks at a line's first match, quotes
pair up anew).  So a text with findings is scanned again as it would be released, until nothing new is found.
Our own rules see the whole released text each time, so for them this is so by construction; detect-secrets, which
judges a line by itself and the one before and is slow, sees the changed lines.  Work is linear in the text:
the number of rounds is bounded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from pii.matcher import Finding
from pii.redact import Place, replace
from pii.replacements import Replacement
from pii.spans import merged

# Rounds.  Real code needs one more look, seldom two; from `_WIDEN` on a new finding takes its whole line, and
# after the last round the rest of the text goes as one.
_ROUNDS, _WIDEN = 24, 12

Look = Callable[[bytes], list[Finding]]


def closed(
    body: bytes,
    found: list[Finding],
    whole: Look,
    lines: Look | None,
    replacement: Replacement = "placeholder",
) -> list[Finding]:
    """`found` (merged) with everything that comes to light when it is taken out of `body`.

    Args:
        body: the text.
        found: its findings.
        whole: finds in a whole text.
        replacement: what the findings are replaced with.
        lines: finds in some lines of a text, and needs the line before them; None: nothing to ask.
    """
    for number in range(_ROUNDS if found else 0):
        released, places = replace(body, found, replacement)
        again = whole(released)
        for low, high, first in _changed(released, places) if lines is not None else ():
            assert lines is not None  # the loop above
            again += [
                (s + low, e + low, k, r) for s, e, k, r in lines(released[low:high]) if s + low >= first
            ]
        if not again:
            return found
        spans = _before_release(places, again)
        if number >= _WIDEN:
            spans = _whole_lines(body, sorted(spans))
        found = merged(found + spans)
    if found:  # never seen; a text that keeps showing new secrets when old ones go is not worth keeping
        found = [(found[0][0], found[-1][1], "key", "residue")]
    return found


def _changed(released: bytes, places: Sequence[Place]) -> Iterator[tuple[int, int, int]]:
    """(low, high, first): the windows of a released text that must be looked at again.

    The lines with placeholders, one before (a pragma there is about the next line) and one behind; only what
    begins at `first` or later is new.  Key blocks reach over many lines: with a header left, the whole text.
    """
    if b"PRIVATE KEY" in released or b"PuTTY-User" in released:
        yield 0, len(released), 0
        return
    pending: tuple[int, int, int] | None = None
    last_line_end = -1
    for p in places:
        if p.released_end <= last_line_end:
            continue  # on the line of the one before: looking for its borders again would cost the square
        first = released.rfind(b"\n", 0, p.released_start) + 1
        low = released.rfind(b"\n", 0, max(first - 1, 0)) + 1
        last_line_end = _line_end(released, p.released_end)
        high = _line_end(released, last_line_end + 1)
        if pending and low <= pending[1]:
            pending = (pending[0], max(high, pending[1]), pending[2])
        else:
            if pending:
                yield pending
            pending = (low, high, first)
    if pending:
        yield pending


def _line_end(body: bytes, position: int) -> int:
    end = body.find(b"\n", position)
    return len(body) if end < 0 else end


def _before_release(places: Sequence[Place], findings: Sequence[Finding]) -> list[Finding]:
    """Findings in the released text as ones of the text before; one that touches a placeholder takes in its finding."""
    begins = [p.released_start for p in places]
    out = []
    for low, high, kind, rule in findings:
        start, end = low, high
        i = bisect_right(begins, low) - 1
        if i >= 0:
            p = places[i]
            start = p.start if low < p.released_end else low - p.released_end + p.end
        j = bisect_right(begins, high - 1) - 1
        if j >= 0:
            p = places[j]
            end = p.end if high <= p.released_end else high - p.released_end + p.end
        out.append((start, end, kind, rule))
    return out


def _whole_lines(body: bytes, findings: Sequence[Finding]) -> list[Finding]:
    """Sorted findings, each over all of its lines; those within the lines of one before are part of it."""
    out: list[Finding] = []
    high = -1
    for start, end, kind, rule in findings:
        if end <= high:
            continue  # looking for the borders of one long line again would cost the square
        low = max(body.rfind(b"\n", 0, start), body.rfind(b"\r", 0, start)) + 1
        high = min(p for p in (body.find(b"\n", end), body.find(b"\r", end), len(body)) if p >= 0)
        out.append((low, high, kind, rule))
    return out
