"""Verifiers of issuers' tokens: alone between other characters, no placeholder, checksums where the format has one."""

from __future__ import annotations

import zlib

from pii.boundaries import closes_here, opens_here
from pii.negatives import is_placeholder

Span = tuple[int, int]

# Longest token that any issuer documents is about 250 characters; a longer run is data.
_TOKEN_MAX = 512
_BASE62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def token(body: bytes, start: int, end: int) -> Span | None:
    """A token that stands alone and is no placeholder."""
    if end - start > _TOKEN_MAX or not opens_here(body, start) or not closes_here(body, end):
        return None
    return None if is_placeholder(body[start:end]) else (start, end)


def github_token(body: bytes, start: int, end: int) -> Span | None:
    """Prefix, 30 random characters, then their CRC32 in six base62 digits."""
    if token(body, start, end) is None:
        return None
    random, check = body[start + 4 : end - 6], body[end - 6 : end]
    value, digits = zlib.crc32(random), bytearray()
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits.append(_BASE62[digit])
    return (start, end) if bytes(reversed(digits)) == check else None
