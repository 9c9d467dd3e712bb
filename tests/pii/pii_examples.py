"""True and false examples of every rule, assembled from parts: no credential-like text is in the tree."""

from __future__ import annotations

import base64
import json
import random
import string
import zlib

from pii.rules import rule_table
from pii.rules.examples import expand

ALNUM = string.ascii_letters + string.digits
URL64 = ALNUM + "-_"
HEX = "0123456789abcdef"
BASE32 = string.ascii_uppercase + "234567"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def rand(alphabet: str, n: int, seed: int = 1) -> str:
    """A random-looking string, the same for the same seed, with a digit if the alphabet has some."""
    g = random.Random(f"{alphabet}{n}{seed}")
    while True:
        s = "".join(g.choices(alphabet, k=n))
        if (n < 8 or not set(alphabet) & set(string.digits) or any(c.isdigit() for c in s)) and (
            s[-1].isalnum() and s[0].isalnum()
        ):
            return s


UUID = "-".join(rand(HEX, n) for n in (8, 4, 4, 4, 12))


def crc_token(prefix: str, seed: int = 1) -> str:
    body = rand(ALNUM, 30, seed)
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, d = divmod(value, 62)
        digits = BASE62[d] + digits
    return prefix + "_" + body + digits


def jwt(header: dict[str, str], seed: int = 1) -> str:
    def part(x: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(x).encode()).decode().rstrip("=")

    return ".".join([part(header), part({"sub": rand(HEX, 12, seed)}), rand(URL64, 43, seed)])


def pem(
    label: str = "RSA PRIVATE KEY", lines: int = 5, sep: str = "\n", seed: int = 1, foot: bool = True
) -> str:
    body = [rand(ALNUM + "+/", 64, seed + i) for i in range(lines)] + [rand(ALNUM, 20, seed) + "=="]
    dash = "-" * 5
    return sep.join([f"{dash}BEGIN {label}{dash}", *body] + ([f"{dash}END {label}{dash}"] if foot else []))


def ppk() -> str:
    return "\n".join(
        [
            "PuTTY-User-" + "Key-File-3: ssh-ed25519",
            "Encryption: none",
            "Private-Lines: 1",
            rand(ALNUM, 48),
            "Private-" + "MAC: " + rand(HEX, 64),
        ]
    )


def marked(text: str) -> tuple[bytes, tuple[int, int]]:
    """The text without its [[ ]] marks, and the byte span that they held."""
    before, rest = text.split("[[", 1)
    value, after = rest.split("]]", 1)
    start = len(before.encode())
    return (before + value + after).encode(), (start, start + len(value.encode()))


def _with_marks(body: bytes, span: tuple[int, int] | None) -> str:
    assert span is not None
    start, end = span
    return (body[:start] + b"[[" + body[start:end] + b"]]" + body[end:]).decode()


#: rule id -> (texts in which this rule finds what [[ ]] encloses, texts in which it finds nothing): the tables' templates.
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    rule.id: (
        [_with_marks(*expand(t, rule.id)) for t in rule.found],
        [expand(t, rule.id)[0].decode() for t in rule.not_found],
    )
    for rule in rule_table()
}


def every_example() -> tuple[list[str], list[str]]:
    """The texts of all examples, true and false, without marks."""
    true = [marked(t)[0].decode() for texts, _ in EXAMPLES.values() for t in texts]
    return true, [t for _, texts in EXAMPLES.values() for t in texts]
