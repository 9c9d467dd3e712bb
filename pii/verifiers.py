"""Verifiers: what a linear-time expression cannot say about a match.

A verifier gets the text and the matched span, reads a bounded number of bytes around it, and returns the span
of the finding (perhaps moved) or None.  It never keeps, logs or raises with the value.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable

from pii.addresses import email_span, ipv4_span, ipv6_span
from pii.boundaries import closes_here, line_before, opens_here
from pii.negatives import entropy, is_placeholder, is_stock_password, is_uuid, is_words
from pii.pem import block_end, putty_block_end

Span = tuple[int, int]
Verifier = Callable[[bytes, int, int], Span | None]

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


def json_web_token(body: bytes, start: int, end: int) -> Span | None:
    """A compact JWS whose first part decodes to a JSON object that names its algorithm."""
    if not opens_here(body, start):
        return None
    first = body[start : body.index(b".", start, end)][:2048]
    try:
        header = json.loads(base64.urlsafe_b64decode(first + b"=" * (-len(first) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return (start, end) if isinstance(header, dict) and "alg" in header else None


def url_password(body: bytes, start: int, end: int) -> Span | None:
    """The password of `scheme://user:password@host`, unless it is a variable or a stock word."""
    value = body[start:end]
    if is_stock_password(value) or is_placeholder(value) or value[:1] in b"$%{[<*" or b"{" in value:
        return None
    return start, end


_CARD_WORD = re.compile(rb"card|visa|amex|mastercard|credit|\bcc\b|\bcc_|\bpan\b", re.IGNORECASE)
# Numbers that payment processors publish for testing.
_TEST_CARDS = frozenset(
    b"4111111111111111 4242424242424242 4012888888881881 4000056655665556 5555555555554444 5105105105105100 "
    b"2223003122003222 5200828282828210 378282246310005 371449635398431 6011111111111117 6011000990139424 "
    b"30569309025904 38520000023237 3530111333300000 3566002020360505 4222222222222".split()
)
_CARD_LENGTHS = {b"3": (14, 15, 16), b"4": (13, 16, 19), b"5": (16,), b"6": (16, 19)}


def credit_card(body: bytes, start: int, end: int) -> Span | None:
    """A payment card number: issuer's length, Luhn sum, a word for cards in front, no published test number.

    A bare integer literal is left alone: a placeholder there would break the code, and few are cards.
    """
    while end > start and body[end - 1 : end] in b" -":
        end -= 1
    value = body[start:end]
    digits = value.replace(b" ", b"").replace(b"-", b"")
    if len(digits) not in _CARD_LENGTHS[value[:1]] or digits in _TEST_CARDS or len(set(digits)) <= 3:
        return None
    if not opens_here(body, start) or not closes_here(body, end) or body[end : end + 1] in (b".", b"-"):
        return None
    if len(digits) == len(value) and body[start - 1 : start] not in (b'"', b"'", b"`", b">"):
        return None
    if not luhn(digits) or not _CARD_WORD.search(line_before(body, start, 80)):
        return None
    return start, end


def luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1 annex B: every second digit from the right doubled; a multiple of ten."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        d = (c - 48) * (1 + i % 2)
        total += d - 9 if d > 9 else d
    return total % 10 == 0


def random_value(body: bytes, start: int, end: int) -> Span | None:
    """A value of fixed length from a random source: it ends here, and is neither placeholder nor words."""
    value = body[start:end]
    if not closes_here(body, end) or is_placeholder(value) or is_words(value) or entropy(value) < 4.0:
        return None
    return start, end


_REFERENCE = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*(?:[.:/-]+[A-Za-z_][A-Za-z0-9_]*)*\Z")


def assigned_value(body: bytes, start: int, end: int) -> Span | None:
    """A quoted value behind a secret-like name: letters and digits mixed, no name, path, URL or phrase."""
    value = body[start:end]
    if is_placeholder(value) or value[:1] in b"/.%#@" or b"://" in value or is_stock_password(value):
        return None
    if not any(48 <= c <= 57 for c in value) or not any(
        c in b"abcdefghijklmnopqrstuvwxyz" for c in value.lower()
    ):
        return None
    if (
        is_uuid(value)
        or is_words(value)
        or entropy(value) < 2.75
        or (_REFERENCE.match(value) and entropy(value) < 3.5)
    ):
        return None
    return start, end


def _pem_block(body: bytes, start: int, end: int) -> Span | None:
    stop = block_end(body, end)
    return None if stop is None else (start, stop)


def _putty_block(body: bytes, start: int, end: int) -> Span | None:
    stop = putty_block_end(body, end)
    return None if stop is None else (start, stop)


VERIFIERS: dict[str, Verifier] = {
    "token": token,
    "github_token": github_token,
    "json_web_token": json_web_token,
    "url_password": url_password,
    "credit_card": credit_card,
    "random_value": random_value,
    "assigned_value": assigned_value,
    "email": email_span,
    "ipv4": ipv4_span,
    "ipv6": ipv6_span,
    "pem_block": _pem_block,
    "putty_block": _putty_block,
}
