"""Where a token begins and ends in source text, seen from its neighbouring bytes."""

from __future__ import annotations

_HEX = b"0123456789abcdefABCDEF"


def opens_here(body: bytes, start: int) -> bool:
    """Whether a token may begin at `start`: no letter or digit before it but an escape's (`\\n`, `%3D`)."""
    if start == 0 or not body[start - 1 : start].isalnum():
        return True
    if start >= 2 and body[start - 2 : start - 1] == b"\\" and body[start - 1 : start] in b"nrtbfv":
        return True
    return (
        start >= 3 and body[start - 3 : start - 2] == b"%" and all(c in _HEX for c in body[start - 2 : start])
    )


def closes_here(body: bytes, end: int) -> bool:
    """Whether a token may end at `end`: no letter, digit or underscore follows."""
    following = body[end : end + 1]
    return not (following.isalnum() or following == b"_")


def line_before(body: bytes, start: int, most: int) -> bytes:
    """The part of the line in front of `start`, its last `most` bytes."""
    low = max(0, start - most)
    return body[max(low, body.rfind(b"\n", low, start) + 1, body.rfind(b"\r", low, start) + 1) : start]
