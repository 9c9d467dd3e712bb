"""Examples of rules: templates without anything that looks like a credential, made into texts where they are needed.

    'token = "[[ghp_{base62:30}{crc32}]]"'

`{alphabet:n}` stands for n random characters, `{name}` or `{name:argument}` for a generator of `PARTS`; `{{` and `}}` are
braces.  `[[` and `]]` mark the span that the rule must report, and are no part of the text.  The same template, seed and
place give the same text everywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import string
import zlib
from collections.abc import Callable

from pii.rules.personal_parts import PERSONAL_PARTS

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ALPHABETS = {
    "digits": string.digits,
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "base32": string.ascii_uppercase + "234567",
    "base58": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
    "base32lower": string.ascii_lowercase + "234567",
    "base62": _BASE62,
    "base64": _BASE62 + "+/",
    "base64url": _BASE62 + "-_",
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "letters": string.ascii_letters,
    "lower36": string.ascii_lowercase + string.digits,
    "upper36": string.ascii_uppercase + string.digits,
    "bech32": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
}

#: A generator gets the source of randomness, the argument and the text so far.
Part = Callable[[random.Random, str, str], str]


def _random(alphabet: str) -> Part:
    def make(g: random.Random, argument: str, _: str) -> str:
        n = int(argument)
        while True:  # a digit where there may be one, letters or digits at the ends: as values mostly look
            text = "".join(g.choices(alphabet, k=n))
            if text[0].isalnum() and text[-1].isalnum() and (n < 8 or _has_digit(text, alphabet)):
                return text

    return make


def _has_digit(text: str, alphabet: str) -> bool:
    return not set(alphabet) & set(string.digits) or any(c.isdigit() for c in text)


def _crc32(_g: random.Random, argument: str, so_far: str) -> str:
    """CRC-32 of the last `argument` (30) characters, or of all from the text `argument` on, in six base-62 digits."""
    if argument and not argument.isdigit():
        covered = so_far[so_far.rindex(argument) :].removesuffix("_")
    else:
        covered = so_far[-int(argument or 30) :]
    value, digits = zlib.crc32(covered.encode("ascii")), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = _BASE62[digit] + digits
    return digits


def _jwt(g: random.Random, argument: str, _: str) -> str:
    def part(held: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(held).encode()).decode().rstrip("=")

    hexadecimal, url = _random(ALPHABETS["hex"]), _random(ALPHABETS["base64url"])
    return ".".join(
        [
            part({"alg": argument or "HS256", "typ": "JWT"}),
            part({"sub": hexadecimal(g, "12", "")}),
            url(g, "43", ""),
        ]
    )


def _pem(g: random.Random, argument: str, _: str) -> str:
    r"""`label|lines|separator|foot`: defaults `RSA PRIVATE KEY`, 5, a line feed, and with a foot (`open`: without)."""
    label, lines, separator, foot = (argument.split("|") + [""] * 4)[:4]
    body = [_random(ALPHABETS["base64"])(g, "64", "") for _ in range(int(lines or 5))]
    dash = "-" * 5
    label = label or "RSA PRIVATE KEY"
    rows = [f"{dash}BEGIN {label}{dash}", *body, _random(_BASE62)(g, "20", "") + "=="]
    if foot != "open":
        rows.append(f"{dash}END {label}{dash}")
    return (separator or "\n").join(rows)


def _uuid(g: random.Random, _argument: str, _: str) -> str:
    digits = _random(ALPHABETS["hex"])
    return "-".join(digits(g, n, "") for n in ("8", "4", "4", "4", "12"))


def _aws(g: random.Random, argument: str, _: str) -> str:
    """What follows the prefix of an AWS key id: `old` without an account, `account` with one, `no_account` with a number
    that no account has."""
    low, high = {
        "old": (0, 1 << 40),
        "account": (1 << 40, 10**12 + (1 << 40)),
        "no_account": (10**12 + (1 << 40), 1 << 41),
    }[argument]
    while True:
        bits = g.randrange(low, high) << 39 | g.getrandbits(39)
        text = base64.b32encode(bits.to_bytes(10, "big")).decode()
        if any(c.isdigit() for c in text):
            return text


def _of(_g: random.Random, argument: str, _: str) -> str:
    """`{of:x*40}`: one text many times."""
    unit, times = argument.rsplit("*", 1)
    return unit * int(times)


_NESTED = re.compile(r"<([A-Za-z0-9_]+)(?::([^<>]*))?>")


def _encoded(encode: Callable[[bytes], bytes]) -> Part:
    """`{b64:user:<base62:12>}`: a text in base64, in which `<...>` are generators, `<(` and `)>` braces."""

    def make(g: random.Random, argument: str, so_far: str) -> str:
        text = _NESTED.sub(lambda m: PARTS[m[1]](g, m[2] or "", so_far), argument)
        return encode(text.replace("<(", "{").replace(")>", "}").encode()).decode()

    return make


def _snowflake(g: random.Random, argument: str, _: str) -> str:
    """A decimal number of so many digits in base64 without padding."""
    digits = g.choice("123456789") + "".join(g.choices(string.digits, k=int(argument) - 1))
    return base64.b64encode(digits.encode()).decode().rstrip("=")


def _key32(g: random.Random, _argument: str, _: str) -> str:
    """Thirty-two random bytes in base64."""
    return base64.b64encode(g.randbytes(32)).decode()


def _base58check(g: random.Random, argument: str, _: str) -> str:
    """`version in hexadecimal|n`: version and n random bytes in Base58Check (BIP 32, WIF)."""
    version, n = argument.split("|")
    held = bytes.fromhex(version) + g.randbytes(int(n))
    held += hashlib.sha256(hashlib.sha256(held).digest()).digest()[:4]
    value, out = int.from_bytes(held, "big"), ""
    while value:
        value, digit = divmod(value, 58)
        out = ALPHABETS["base58"][digit] + out
    return out


PARTS: dict[str, Part] = {
    **{name: _random(alphabet) for name, alphabet in ALPHABETS.items()},
    "crc32": _crc32,
    "jwt": _jwt,
    "pem": _pem,
    "uuid": _uuid,
    "b64": _encoded(base64.b64encode),
    "b64u": _encoded(lambda text: base64.urlsafe_b64encode(text).rstrip(b"=")),
    "snowflake": _snowflake,
    "key32": _key32,
    "base58check": _base58check,
    "of": _of,
    "aws": _aws,
    **PERSONAL_PARTS,
}

_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{([A-Za-z0-9_]+)(?::([^{}]*))?\}")


def expand(template: str, seed: str = "") -> tuple[bytes, tuple[int, int] | None]:
    """The text of a template in UTF-8, and the byte span that `[[ ]]` encloses; None without one.

    Raises:
        ValueError: an unknown generator, or marks that do not pair.
    """
    g = random.Random(f"{seed}\0{template}")
    out, at = "", 0
    marks: list[int] = []
    for token in _TOKEN.finditer(template):
        out += template[at : token.start()]
        at = token.end()
        if token.group() in ("{{", "}}"):
            out += token.group()[0]
        elif token.group() in ("[[", "]]"):
            if (token.group() == "[[") != (len(marks) == 0):
                raise ValueError("marks do not pair: one [[ and one ]] at most")
            marks.append(len(out.encode()))
        else:
            if token[1] not in PARTS:
                raise ValueError(f"unknown generator {token[1]!r}")
            out += PARTS[token[1]](g, token[2] or "", out)
    out += template[at:]
    if len(marks) == 1:
        raise ValueError("marks do not pair: [[ without ]]")
    return out.encode(), (marks[0], marks[1]) if marks else None
