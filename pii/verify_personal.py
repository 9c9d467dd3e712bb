"""Verifiers of personal numbers: payment cards."""

from __future__ import annotations

import re

from pii.boundaries import closes_here, line_before, opens_here

Span = tuple[int, int]

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
