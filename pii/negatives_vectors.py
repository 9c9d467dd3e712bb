"""Test vectors of cryptography: keys and texts that standards publish, told by the words around them."""

from __future__ import annotations

import re
from itertools import pairwise

#: Bytes on either side of a value in which the words of a test vector are looked for.
NEAR = 400

_WORDS = re.compile(
    rb"plain_?text|cipher_?text|test[ _-]?vectors?|known[ _-]?answer|keystream|\bnist\b|\bcavp\b|\bkat\b|\brfc[ -]?[0-9]{4}|fips[ -]?1|"
    rb"\bokm\b|\bikm\b|\bprk\b|\bcount ?= ?[0-9]|wycheproof|nonce ?[=:]|\biv ?[=:]|\bmsg ?[=:]|\btag ?[=:]|\btcId\b|expected_?(?:hash|mac|tag|digest|output)",
    re.IGNORECASE,
)
_HEX = re.compile(rb"(?:0x)?[0-9a-fA-F]{16,}\Z")


def is_test_vector(body: bytes, start: int, end: int) -> bool:
    """Whether body[start:end] is hex beside the words of a test vector; reads `NEAR` bytes on either side."""
    value = body[start:end]
    if not _HEX.match(value[:256]):
        return False
    if counts_in_bytes(value):
        return True
    near = body[max(0, start - NEAR) : start] + b"\n" + body[end : end + NEAR]
    return len({m.lower() for m in _WORDS.findall(near)}) >= 2


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
