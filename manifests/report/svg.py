"""Shapes: inline SVG without text, stretched to the place that the page has for it.

Every figure that a shape shows is written beside it, so shapes are hidden from screen readers. Coordinates are integers
of a view box 1,000 wide: the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDE = 1_000
_OPEN = '<svg aria-hidden="true" focusable="false" preserveAspectRatio="none" viewBox="0 0 '


def of(part: int, whole: int) -> int:
    """`part` of `whole` in units of the view box; at least one unit for what is not nothing."""
    if part <= 0 or whole <= 0:
        return 0
    return max(1, min(WIDE, (part * WIDE * 2 + whole) // (2 * whole)))


def bar(parts: Sequence[tuple[int, str]], whole: int) -> str:
    """A bar of adjoining parts (amount, class), `whole` being its full width."""
    at, rectangles = 0, []
    for amount, kind in parts:
        if width := min(of(amount, whole), WIDE - at):
            rectangles.append(f'<rect class="{kind}" x="{at}" y="0" width="{width}" height="10"/>')
            at += width
    return f'{_OPEN}{WIDE} 10">{"".join(rectangles)}</svg>'


def funnel(entered: int, left: int, whole: int) -> str:
    """One step of a funnel: what goes on in the middle, what is dropped at its sides."""
    top, bottom = of(entered, whole), of(left, whole)
    middle = WIDE // 2

    a, b = top // 2, bottom // 2
    edges = f"{middle - a},0 {middle - b},100 {middle + b},100 {middle + a},0"
    kept = f'<polygon class="k" points="{edges}"/>' if bottom else ""
    sides = ""
    if left < entered:
        sides = (
            f'<polygon class="d" points="{middle - a},0 {middle - a},100 {middle - b},100"/>'
            f'<polygon class="d" points="{middle + a},0 {middle + a},100 {middle + b},100"/>'
        )
    return f'{_OPEN}{WIDE} 100">{kept}{sides}</svg>'


def swatch(kind: str) -> str:
    """The colour of a key."""
    return f'{_OPEN}10 10"><rect class="{kind}" x="0" y="0" width="10" height="10"/></svg>'


def lane(start: int, length: int, whole: int, kind: str = "k") -> str:
    """A piece of a time line: `length` from `start` on, of `whole`."""
    at = 0 if whole <= 0 else min(WIDE - 1, start * WIDE // whole)
    width = min(of(length, whole), WIDE - at)
    return (
        f'{_OPEN}{WIDE} 10"><rect class="g" x="0" y="4" width="{WIDE}" height="2"/>'
        f'<rect class="{kind}" x="{at}" y="0" width="{width}" height="10"/></svg>'
    )
