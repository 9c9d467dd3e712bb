"""Digests, checksums, commit ids and UUIDs: random-looking, and public."""

from __future__ import annotations

import re

from pii.secret_names import SECRET_WORD

#: Hex digits of CRC-32, 64-bit hashes, MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
DIGEST_LENGTHS = frozenset({8, 16, 32, 40, 56, 64, 96, 128})

#: Bytes of a line that the context tests read in front of a value.
CONTEXT = 200

_HEX = re.compile(rb"[0-9a-fA-F]+\Z")
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_DIGEST_WORD = re.compile(
    rb"sha-?\d|sha\b|md5|digest|checksum|integrity|hash|commit|revision|\brev\b|\bref\b|etag|fingerprint|uuid|guid|"
    rb"crc|\bh1:|blake|resolved|cksum|narhash|\btree\b|\bparent\b|\bobject\b|\bindex [0-9a-f]|thumbprint|subject_?key_?id|"
    rb"\bpins?\b|pubkey|public_?key",
    re.IGNORECASE,
)
_DIGEST_PREFIX = re.compile(
    rb"(?:sha-?(?:1|224|256|384|512)|md5|blake2[bs]?|blake3|xxh(?:64|128|3)|h1)[-:=_][A-Za-z0-9+/=_-]+\Z",
    re.IGNORECASE,
)
_PREFIX_BEFORE = re.compile(
    rb"(?:sha-?(?:1|224|256|384|512)|md5|blake2[bs]?|blake3|h1)[-:=_]\Z", re.IGNORECASE
)


def is_uuid(value: bytes) -> bool:
    """Whether `value` is a UUID: an identifier, as detect-secrets has it too."""
    return bool(_UUID.match(value))


def is_digest(value: bytes, before: bytes) -> bool:
    """Whether `value` is a content digest: hex of a digest's length, or `sha512-...`.

    `before` is the line in front of it.  Hex of such a length beside a word like "key" is taken for a key,
    unless a word for digests is there as well.
    """
    if _DIGEST_PREFIX.match(value):
        return True
    context = before[-CONTEXT:]
    if _PREFIX_BEFORE.search(context[-12:]):
        return True
    if _DIGEST_WORD.search(context) and not SECRET_WORD.search(_DIGEST_WORD.sub(b"", context)):
        return True
    return len(value) in DIGEST_LENGTHS and bool(_HEX.match(value)) and not SECRET_WORD.search(context)
