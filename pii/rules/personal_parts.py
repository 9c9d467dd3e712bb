"""Generators of personal data for examples: well-formed, and nobody's (random digits with the right checksum)."""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Callable

from pii.national_checks import CHECKS

Part = Callable[[random.Random, str, str], str]


def _public4(g: random.Random, argument: str, _so_far: str) -> str:
    """A public address; `reversed`: its octets from the last to the first."""
    while True:
        octets = [g.randint(33, 223), *(g.randint(0, 255) for _ in range(2)), g.randint(1, 254)]
        address = ipaddress.IPv4Address(".".join(map(str, octets)))
        if address.is_global and not address.is_multicast:
            return ".".join(map(str, reversed(octets) if argument == "reversed" else octets))


def _public6(g: random.Random, _argument: str, _so_far: str) -> str:
    return ":".join(
        f"{0x2A00 + g.randint(0, 15):x}" if i == 0 else f"{g.getrandbits(16):x}" for i in range(8)
    )


def _nibbles(g: random.Random, argument: str, so_far: str) -> str:
    address = ipaddress.IPv6Address(_public6(g, argument, so_far))
    return ".".join(reversed(address.exploded.replace(":", "")))


_CARDS = {
    "visa": ("4", 16),
    "mastercard": ("53", 16),
    "mastercard2": ("2345", 16),
    "amex": ("37", 15),
    "discover": ("6011", 16),
    "jcb": ("3541", 16),
    "unionpay": ("62", 19),
    "diners": ("36", 14),
    "visa13": ("4", 13),
    "broken": ("4", 16),
}


def _card(g: random.Random, argument: str, _so_far: str) -> str:
    """`issuer|separator`: a number of an issuer, in its groups; `broken`: with a wrong check digit."""
    issuer, _, separator = argument.partition("|")
    prefix, length = _CARDS[issuer]
    body = prefix + "".join(g.choices("123456789", k=length - len(prefix) - 1))
    total = 0
    for i, c in enumerate(reversed(body)):
        d = int(c) * (2 - i % 2)
        total += d - 9 if d > 9 else d
    digits = body + str((-total + (issuer == "broken")) % 10)
    sizes = {15: (4, 6, 5), 14: (4, 6, 4), 13: (4, 3, 3, 3), 19: (4, 4, 4, 4, 3)}.get(length, (4, 4, 4, 4))
    groups, at = [], 0
    for size in sizes:
        groups.append(digits[at : at + size])
        at += size
    return separator.join(groups)


# Basic account numbers: n digits, a capitals, c both (ISO 13616).
_ACCOUNTS = {
    "DE": "18n",
    "GB": "4a14n",
    "FR": "10n11c2n",
    "NO": "11n",
    "MT": "4a5n18c",
    "NL": "4a10n",
    "broken": "18n",
}
_SIGNS = {"n": "0123456789", "a": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "c": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _iban(g: random.Random, argument: str, _so_far: str) -> str:
    """`country|separator`; `broken`: with wrong check digits."""
    name, _, separator = argument.partition("|")
    country = "DE" if name == "broken" else name
    parts = re.findall("([0-9]+)([nac])", _ACCOUNTS[name])
    account = "".join("".join(g.choices(_SIGNS[kind], k=int(n))) for n, kind in parts)
    digits = "".join(str(int(c, 36)) for c in f"{account}{country}00")
    check = 98 - int(digits) % 97
    text = f"{country}{check if name != 'broken' else check % 97 + 1:02d}{account}"
    return separator.join(text[i : i + 4] for i in range(0, len(text), 4))


def _aba(g: random.Random, _argument: str, _so_far: str) -> str:
    """A routing transit number: the Federal Reserve's prefix 07, weights 3-7-1."""
    digits = "07" + "".join(g.choices("123456789", k=6))
    total = sum(int(c) * w for c, w in zip(digits, (3, 7, 1, 3, 7, 1, 3, 7), strict=True))
    return digits + str(-total % 10)


def _national_id(g: random.Random, argument: str, _so_far: str) -> str:
    """`check|form`: # stands for a digit, ? for a letter; the check (`pii.national_checks`) holds, with `!` it does not."""
    name, _, form = argument.partition("|")
    check = CHECKS[name.rstrip("!")]
    while True:
        text = "".join(g.choice(_SIGNS["n" if c == "#" else "a"]) if c in "#?" else c for c in form)
        value = text if name.startswith("fi_hetu") else re.sub("[ ./()-]", "", text)
        if check(value) != name.endswith("!") and len(set(value)) > 3:
            return text


def _mrz(g: random.Random, argument: str, _so_far: str) -> str:
    """`P` (passport, TD3), `I` (card, TD1), `broken`, `UTO` (the state of specimens); then `|` and the line break."""
    kind, _, line_break = argument.partition("|")

    def digits(n: int) -> str:
        return "".join(g.choices(_SIGNS["n"], k=n))

    def checked(field: str) -> str:
        values = (int(c.replace("<", "0"), 36) * (7, 3, 1)[i % 3] for i, c in enumerate(field))
        return field + str(sum(values) % 10)

    state = "UTO" if kind == "UTO" else "FRA"
    names = "".join(g.choices(_SIGNS["a"], k=7)) + "<<" + "".join(g.choices(_SIGNS["a"], k=5))
    number, birth, expiry = checked("X" + digits(8)), checked("87" + "0412"), checked("31" + "0903")
    if kind == "I":
        first = f"ID{state}{number}".ljust(30, "<")
        check = checked(first[5:] + birth + expiry + "<" * 11)[-1]
        lines = [first, f"{birth}F{expiry}{state}{'<' * 11}{check}", names.ljust(30, "<")]
    else:
        optional = checked("<" * 14)
        check = checked(number + birth + expiry + optional)[-1]
        if kind == "broken":
            check = str((int(check) + 1) % 10)
        lines = [f"P<{state}{names}".ljust(44, "<"), f"{number}{state}{birth}F{expiry}{optional}{check}"]
    return (line_break or "\n").join(lines)


PERSONAL_PARTS: dict[str, Part] = {
    "public4": _public4,
    "public6": _public6,
    "nibbles": _nibbles,
    "card": _card,
    "iban": _iban,
    "aba": _aba,
    "nid": _national_id,
    "mrz": _mrz,
}
