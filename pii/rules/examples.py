"""Examples of rules: templates without anything that looks like a credential, made into texts where they are needed.

    'token = "[[ghp_{base62:30}{crc32}]]"'

`{alphabet:n}` stands for n random characters, `{name}` or `{name:argument}` for a generator of `PARTS`; `{{` and `}}` are
braces.  `[[` and `]]` mark the span that the rule must report, and are no part of the text.  The same template, seed and
place give the same text everywhere.
"""

from __future__ import annotations

import base64
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
    """CRC-32 of the last `argument` (30) characters, in six base-62 digits."""
    value, digits = zlib.crc32(so_far[-int(argument or 30) :].encode("ascii")), ""
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


def _of(_g: random.Random, argument: str, _: str) -> str:
    """`{of:x*40}`: one text many times."""
    unit, times = argument.rsplit("*", 1)
    return unit * int(times)


PARTS: dict[str, Part] = {
    **{name: _random(alphabet) for name, alphabet in ALPHABETS.items()},
    "crc32": _crc32,
    "jwt": _jwt,
    "pem": _pem,
    "of": _of,
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
