"""What stands where a value was: placeholders in three forms, and stand-ins of the value's own form.

A replacement is chosen by the kind, the **ordinal** of the distinct value among those of its kind in the text, and a form;
never by a path, a clock or chance.

**Placeholders**, the default.  `<KIND_n>` inside quotes and comments: the convention of the published code datasets, with a
number.  `KIND_n` where an angle bracket may be syntax: outside of quotes and comments (a shell reads a redirection), and
anywhere in a text with markup.  `n` alone for a number literal.  None holds a quote, a backslash, a space or a line break.

**Stand-ins** (`fake`) look like what was there and are nobody's: an address of example.com (RFC 2606), 192.0.2.0/24,
198.51.100.0/24 and 203.0.113.0/24 (RFC 5737), 2001:db8::/32 (RFC 3849), telephone numbers of 555-0100 to 555-0199 (North
American Numbering Plan: for fictional use), card numbers that payment processors publish for testing, the examples of the
IBAN registry (ISO 13616), `Person n`, and for keys and passwords a text of the value's length (if that is 8 to `LONGEST`)
that says EXAMPLE, or is zeros where the value is hexadecimal.  Only the length, the separators and the class of the alphabet
of a value decide about its stand-in.

Everything here is recognised by `is_stand_in`, so that a released text holds no finding.
"""

from __future__ import annotations

import re
from enum import IntEnum
from itertools import cycle, islice
from typing import Literal

from pii.rules.model import KINDS

Replacement = Literal["placeholder", "fake"]

#: A stand-in is not longer than this; keys are shorter, and what is longer is data.
LONGEST = 512


class Form(IntEnum):
    """The forms of a placeholder.  A value has one in a text: the last in this order that one of its places asks for."""

    BRACKETED = 0
    BARE = 1
    NUMBER = 2


def placeholder(kind: str, ordinal: int, form: Form = Form.BRACKETED) -> bytes:
    """The placeholder of the `ordinal`-th distinct value (from 1) of a kind."""
    number = str(ordinal).encode("ascii")
    if form is Form.NUMBER:
        return number
    word = kind.upper().encode("ascii") + b"_" + number
    return b"<" + word + b">" if form is Form.BRACKETED else word


_HEX = re.compile(rb"[0-9a-fA-F]+\Z")
_DOCUMENTATION_4 = (b"192.0.2", b"198.51.100", b"203.0.113")  # RFC 5737
_CARDS = (
    b"4111111111111111", b"4242424242424242", b"5555555555554444", b"5105105105105100", b"4012888888881881",
)  # fmt: skip
_IBANS = (b"GB29NWBK60161331926819", b"DE89370400440532013000", b"BE68539007547034", b"NL91ABNA0417164300")
_DIGIT, _OTHER = re.compile(rb"[0-9]"), re.compile(rb"[^0-9 ./-]")
_LONGEST_SHAPE = 64


def stand_in(kind: str, ordinal: int, value: bytes) -> bytes:
    """Something of the form of `value` that is nobody's; its length, alphabet and separators are all that is taken from it."""
    number = str(ordinal).encode("ascii")
    if kind == "email":
        return b"user%s@example.com" % number
    if kind == "name":
        return b"Person " + number
    if kind == "ip_address":
        if b":" in value:
            return b"2001:db8::%x" % ordinal
        return b"%s.%d" % (_DOCUMENTATION_4[(ordinal - 1) // 254 % 3], (ordinal - 1) % 254 + 1)
    if kind == "phone":
        return (b"2025550%d" if value.isdigit() else b"+1-202-555-0%d") % (100 + (ordinal - 1) % 100)
    if kind == "credit_card":
        return _grouped(_CARDS[(ordinal - 1) % len(_CARDS)], value)
    if kind == "bank_account" and value[:2].isalpha():
        return _grouped(_IBANS[(ordinal - 1) % len(_IBANS)], value)
    if kind in ("bank_account", "national_id", "credit_card") and not value.isdigit():
        return _shaped(value, number)
    return _filled(value, number)


def _grouped(digits: bytes, value: bytes) -> bytes:
    """In groups of four if the value has a separator, with that."""
    separator = next((s for s in (b" ", b"-") if s in value), b"")
    return separator.join(digits[i : i + 4] for i in range(0, len(digits), 4)) if separator else digits


def _shaped(value: bytes, number: bytes) -> bytes:
    """Spaces, dots, dashes and slashes stay, digits become 0, all else X; the ordinal takes the last places of these."""
    out = bytearray(_DIGIT.sub(b"0", _OTHER.sub(b"X", value[:_LONGEST_SHAPE])))
    places = [i for i, c in enumerate(out) if c in b"0X"]
    for place, digit in zip(reversed(places), reversed(number), strict=False):
        out[place] = digit
    return bytes(out)


def _filled(value: bytes, number: bytes) -> bytes:
    """`EXAMPLE` again and again, or zeros, then the ordinal: as long as the value, if that has room for seven of them."""
    length = min(len(value), LONGEST) - len(number)
    if value.isdigit():
        return b"1" + b"0" * max(6, length - 1) + number  # a literal that begins with 0 is an error or octal
    if _HEX.match(value):
        return b"0" * max(7, length) + number
    unit = b"EXAMPLE" if any(65 <= c <= 90 for c in value) else b"example"
    return bytes(islice(cycle(unit), max(7, length))) + number


_KIND = "|".join(kind.upper() for kind in KINDS)
_UNITS = "|".join(f"(?:{u})+(?:{'|'.join(u[:i] for i in range(6, 0, -1))})?" for u in ("EXAMPLE", "example"))
_STAND_IN = re.compile(
    rf"(?:(?:<(?:{_KIND})_[1-9][0-9]{{0,8}}>?|(?:{_KIND})_[1-9][0-9]{{0,8}}>?)"  # placeholders, also without a bracket
    rf"|(?:{_UNITS})[1-9][0-9]{{0,8}}|1?0{{6,}}[1-9][0-9]{{0,8}}"
    r"|user[1-9][0-9]{0,8}@example\.com|Person(?: [1-9][0-9]{0,8})?"
    r"|(?:192\.0\.2|198\.51\.100|203\.0\.113)\.[0-9]{1,3}|2001:db8::[0-9a-f]{1,8}"
    r"|2025550[0-9]{3}|\+1-202-555-0[0-9]{3})\Z".encode("ascii")
)
_KNOWN = frozenset(_CARDS + _IBANS)
_SHAPE = re.compile(rb"[0X]{3,}[0-9X]{1,9}\Z")


def is_stand_in(value: bytes) -> bool:
    """Whether `value` is a replacement of this module.

    Ordinals alone, of number literals, are not recognised: no rule finds so few digits.
    """
    if len(value) > LONGEST + 16:
        return False
    if _STAND_IN.match(value):
        return True
    if len(value) > _LONGEST_SHAPE:
        return False
    joined = re.sub(rb"[ ./-]", b"", value)
    return joined in _KNOWN or (joined != value and bool(_SHAPE.match(joined)))
