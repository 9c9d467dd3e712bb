"""Verifiers of issuers' tokens: alone between other characters, no placeholder, checksums where the format has one."""

from __future__ import annotations

import base64
import re
import zlib
from collections import Counter
from itertools import pairwise

from pii.boundaries import closes_here, opens_here
from pii.negatives import entropy, is_placeholder

Span = tuple[int, int]

# Longest token of a fixed format that any issuer documents is about 250 characters; a longer run is data.
_TOKEN_MAX = 512
# Signed blobs (session tokens, macaroons) grow with what they state; issuers name 4 KiB and less.
_BLOB_MAX = 4096
_BASE62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def token(body: bytes, start: int, end: int) -> Span | None:
    """A token that stands alone and is no placeholder."""
    if end - start > _TOKEN_MAX or not opens_here(body, start) or not closes_here(body, end):
        return None
    return None if is_placeholder(body[start:end]) else (start, end)


def random_token(body: bytes, start: int, end: int) -> Span | None:
    """A token whose format alone does not tell it from a name or a word: it also looks drawn at random."""
    if token(body, start, end) is None or not looks_random(body[start:end]):
        return None
    return start, end


def looks_random(value: bytes) -> bool:
    """Whether `value` (16 bytes and more) looks drawn from an alphabet and not written: 3 bits of Shannon entropy per
    byte, and as many changes between lower case, upper case and digits as few names have.

    One change for 14 characters is asked for, and three for 8 where there is no digit (random base-62 changes at five of
    8, hexadecimal and base 32 of one case at three to four).  False for at most 2 of 100 random values of 16 to 20
    characters, and 1 of 100 longer ones (`tests/pii/test_tokens.py`).
    """
    classes = [c for c in map(_CLASS.__getitem__, value) if c]
    changes = sum(a != b for a, b in pairwise(classes))
    enough = changes * 14 >= len(classes) if _DIGIT in classes else changes * 8 >= 3 * len(classes)
    return enough and entropy(value) >= 3.0


_LOWER, _UPPER, _DIGIT = 1, 2, 3
_CLASS = [
    _LOWER if 97 <= c <= 122 else _UPPER if 65 <= c <= 90 else _DIGIT if 48 <= c <= 57 else 0
    for c in range(256)
]


def blob(body: bytes, start: int, end: int) -> Span | None:
    """A long signed token: it stands alone, and no byte makes up a third of it.

    Such tokens hold runs of one character (zero bits in base64), so that the test for placeholders is not for them.
    """
    if end - start > _BLOB_MAX or not opens_here(body, start) or not closes_here(body, end):
        return None
    value = body[start:end]
    most = Counter(value).most_common(1)[0][1]
    return None if 3 * most > len(value) or b"EXAMPLE" in value.upper() else (start, end)


def crc32_token(body: bytes, start: int, end: int) -> Span | None:
    """Four bytes of prefix, 30 random characters, then their CRC-32 in six base-62 digits.

    Sources: GitHub, "Behind GitHub's new authentication token formats" (2021); "Announcing npm's new access token
    format" (2021), which takes the same format.
    """
    if token(body, start, end) is None:
        return None
    random, check = body[start + 4 : end - 6], body[end - 6 : end]
    return (start, end) if _base62(zlib.crc32(random)) == check else None


def _base62(value: int) -> bytes:
    digits = bytearray()
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits.append(_BASE62[digit])
    return bytes(reversed(digits))


# Twelve decimal digits (AWS general reference, "AWS account identifiers").
_ACCOUNTS = 10**12


def aws_key_id(body: bytes, start: int, end: int) -> Span | None:
    """An access key id whose account part can be an account.

    Ids made since 2019 hold the account: the sixteen base-32 characters behind the prefix are 80 bits, the first of
    them is set, and the next 40 are the account's number, below 10^12 (what `aws sts get-access-key-info` answers
    without asking the owner).  Older ids have the first bit clear and hold no account.
    """
    if token(body, start, end) is None:
        return None
    account = aws_account(body[start:end])
    return (start, end) if account is None or account < _ACCOUNTS else None


def aws_account(key_id: bytes) -> int | None:
    """The account in an access key id (four letters, 16 base-32 characters); None for an id of the old form."""
    bits = int.from_bytes(base64.b32decode(key_id[4:20]), "big")
    return bits >> 39 & (1 << 40) - 1 if bits >> 79 else None


# Microsoft's identifiable keys: characters before the fixed signature in a key of 64, 40, 39, 33 or 32 bytes
# (github.com/microsoft/security-utilities: the key is random bytes, a signature of four base-64 characters that ends
# where the four bytes of checksum begin, and the checksum).  The checksum is Marvin32 under a seed per service; we do
# not compute it: signature, place and length leave one random text in 10^7 and more.
_AZURE_BEFORE = {
    b"APIM": (76,),
    b"ACDb": (76,),
    b"+ABa": (76,),
    b"+AMC": (76,),
    b"+ASt": (76,),
    b"JQQJ": (52,),
    b"AZDO": (76,),
    b"AzFu": (44,),
    b"AzSe": (42,),
    b"+ACR": (42,),
    b"AzCa": (33, 34),
    b"AIoT": (33,),
    b"+ASb": (33,),
    b"+AEh": (33,),
    b"+ARm": (33,),
}
# The keys that the emulators of Storage and of Cosmos DB are published with begin so.
_AZURE_EMULATORS = (b"Eby8vdM02xNOc", b"C2y6yDjf5/R+o")
_BASE64_END = re.compile(rb"[A-Za-z0-9+/_-]*\Z")


def azure_account_key(body: bytes, start: int, end: int) -> Span | None:
    """The key of a connection string, unless it is the published one of an emulator."""
    return None if body.startswith(_AZURE_EMULATORS, start) else token(body, start, end)


def azure_key(body: bytes, start: int, end: int) -> Span | None:
    """An identifiable key of Azure, found by its signature: as many base-64 characters before it as its service has."""
    run = _BASE64_END.search(body[max(0, start - 80) : start])
    before = len(run[0]) if run else 0
    if before not in _AZURE_BEFORE.get(body[start : start + 4], ()):
        return None
    return token(body, start - before, end)


def entra_secret(body: bytes, start: int, end: int) -> Span | None:
    """A client secret of Microsoft Entra: three characters before the signature `7Q~` or `8Q~`, 31 to 34 behind it."""
    begin = start - 3
    if begin < 0 or not re.fullmatch(rb"[A-Za-z0-9_.~-]{3}", body[begin:start]):
        return None
    if body[end : end + 1] in (b"~", b"-"):
        return None
    return token(body, begin, end)


_SAS_FIELD = re.compile(rb"(?:[?&;]|amp;|u0026|\b)s(?:v|e|r|ig)=")


def sas_signature(body: bytes, start: int, end: int) -> Span | None:
    """The signature of a shared access signature: another of its fields (`sv`, `se`, `sr`) is on the same line."""
    low, high = max(0, start - 400), end + 400
    line = body[max(low, body.rfind(b"\n", low, start) + 1) : start - 4]
    after = body[end:high].split(b"\n", 1)[0]
    if not _SAS_FIELD.search(line) and not _SAS_FIELD.search(after):
        return None
    return None if is_placeholder(body[start:end]) else (start, end)


def keyed_uuid(body: bytes, start: int, end: int) -> Span | None:
    """A UUID that its issuer uses as a secret: it stands alone and is not the one of an example."""
    value = body[start:end]
    if not closes_here(body, end) or body[end : end + 1] == b"-" or len(set(value)) < 8:
        return None
    return None if is_placeholder(value) else (start, end)
