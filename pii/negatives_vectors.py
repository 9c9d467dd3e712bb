"""Test vectors of cryptography: keys and texts that standards publish, told by the words around them."""

from __future__ import annotations

import re
from itertools import pairwise

#: Lines on either side of a value whose beginnings are looked at.
LINES = 6
_BEGIN, _LINE = 48, 8_192  # bytes of a line that are looked at; of a line that are searched for its end

_WORDS = re.compile(
    rb"plain_?text|cipher_?text|test[ _-]?vectors?|known[ _-]?answer|keystream|\bnist\b|\bcavp\b|\bkat\b|"
    rb"\brfc[ -]?[0-9]{4}|fips[ -]?1|\bokm\b|\bikm\b|\bprk\b|\bcount ?= ?[0-9]|wycheproof|nonce\"?[ \t]?[=:]|"
    rb"\biv\"?[ \t]?[=:]|\bmsg\"?[ \t]?[=:]|\btag\"?[ \t]?[=:]|\btcId\b|expected_?(?:hash|mac|tag|digest|output)",
    re.IGNORECASE,
)
# Words that stand in a test vector too, and elsewhere: with one of the above they count.
_ALSO = re.compile(
    rb"\b(?:input|output|expected|want|message|result|aad|salt|info|seed|counter)\"?[ \t]?[=:]", re.IGNORECASE
)
_HEX = re.compile(rb"(?:0x)?[0-9a-fA-F]{16,}\Z")


def is_test_vector(body: bytes, start: int, end: int) -> bool:
    """Whether body[start:end] is hex beside the words of a test vector; reads `LINES` lines on either side."""
    value = body[start:end]
    if not _HEX.match(value[:256]):
        return False
    if counts_in_bytes(value):
        return True
    near = _beginnings(body, start, end)
    found = {m.lower() for m in _WORDS.findall(near)}
    return len(found) >= 2 or (bool(found) and bool(_ALSO.search(near)))


def _beginnings(body: bytes, start: int, end: int) -> bytes:
    """How the lines around a value begin (the values of a test vector are long), and its own line in front of it."""
    out = [body[max(body.rfind(b"\n", max(0, start - _LINE), start), start - _BEGIN) + 1 : start]]
    at = body.rfind(b"\n", max(0, start - _LINE), start)
    for _ in range(LINES):
        if at <= 0:
            break
        before = body.rfind(b"\n", max(0, at - _LINE), at)
        out.append(body[before + 1 : min(at, before + 1 + _BEGIN)])
        at = before
    at = body.find(b"\n", end, end + _LINE)
    for _ in range(LINES):
        if at < 0:
            break
        out.append(body[at + 1 : at + 1 + _BEGIN])
        at = body.find(b"\n", at + 1, at + 1 + _LINE)
    return b"\n".join(out)


def counts_in_bytes(value: bytes) -> bool:
    """Whether hex spells bytes of which eight in a row count up or down by one step (`00010203...`, `00112233...`)."""
    if len(value) % 2 or not _HEX.match(value):
        return False
    held = bytes.fromhex(value.decode("ascii").removeprefix("0x")[:256])
    steps = [(b - a) % 256 for a, b in pairwise(held)]
    run = 1
    for i in range(1, len(steps)):
        run = run + 1 if steps[i] == steps[i - 1] else 1
        if run >= 6:
            return True
    return False
