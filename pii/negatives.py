"""What looks like a secret and is none: decided from the value and its line, never from a path.

The released text of a file is a function of its bytes, so lock files and the like cannot be told by name;
what makes their digests harmless is visible in the text (an algorithm in front, a digest's length, a counting
alphabet).  Each test is about one finding: nothing here mutes a whole file.
"""

from __future__ import annotations

import math
import re
from collections import Counter

#: Hex digits of MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
DIGEST_LENGTHS = frozenset({32, 40, 56, 64, 96, 128})

#: Bytes of a line that the context tests read in front of a value.
CONTEXT = 200

_HEX = re.compile(rb"[0-9a-fA-F]+\Z")
_DUMMY = re.compile(
    rb"x{4}|\*{3}|\.{3}|_{4}|0{6}|1{6}|a{6}|example|sample|placeholder|change[_-]?me|your[_-]|dummy|redacted|"
    rb"foobar|123456|abcdef|deadbeef|\$\{|\{\{|%\(|%s|<[a-z]|insert[_-]|todo|hunter2|letmein|s3cr3t",
    re.IGNORECASE,
)
_REPEATED = re.compile(rb"(.)\1{9}", re.DOTALL)
_SECRET_WORD = re.compile(
    rb"key|secret|token|passw|pwd|auth|credential|bearer|signature|private|api", re.IGNORECASE
)
_DIGEST_WORD = re.compile(
    rb"sha-?\d|sha\b|md5|digest|checksum|integrity|hash|commit|revision|\brev\b|\bref\b|etag|fingerprint|uuid|guid|"
    rb"crc|\bh1:|blake|resolved",
    re.IGNORECASE,
)
_DIGEST_PREFIX = re.compile(
    rb"(?:sha(?:1|224|256|384|512)|md5|blake2[bs]?)[-:=_][A-Za-z0-9+/=_-]+\Z", re.IGNORECASE
)
_DATA_URI = re.compile(
    rb"data:[a-z]{1,20}/[a-z0-9.+-]{1,40};base64,|(?:iVBORw0KGgo|R0lGODlh|/9j/4AAQ|UEsDBB)"
)
_WORD = re.compile(rb"[A-Z]?[a-z]{2,}|[A-Z]{2,}(?![a-z])|[0-9]{1,3}(?![0-9])")

# Passwords that documentation writes, and defaults that protect nothing.
_STOCK_PASSWORDS = frozenset(
    b"""
    pass passwd password pwd secret user username token pw foo bar baz test admin root guest postgres
    mysql mypass mypassword userpass passw0rd x-oauth-basic x-token-auth credentials key access_token
    api_key apikey changeme somepassword mysecretpassword hunter secretpassword userpassword dbpassword
    pass123 password123
    """.split()
)
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_SHORT_WORD = re.compile(rb"[a-z]{1,8}\Z")
_PHRASE = re.compile(rb"[A-Za-z]+(?:[ ._:/-]{1,2}[A-Za-z]+)+[.!?]?\Z|[A-Z]+\Z")


def entropy(value: bytes) -> float:
    """Shannon entropy of the bytes of `value`, in bits per byte."""
    n = len(value)
    return math.log2(n) - sum(c * math.log2(c) for c in Counter(value).values()) / n if n else 0.0


def is_placeholder(value: bytes) -> bool:
    """Whether `value` stands for a secret instead of being one: `xxxx`, `${VAR}`, `changeme`."""
    return len(set(value)) <= 3 or bool(_DUMMY.search(value) or _REPEATED.search(value)) or counts_up(value)


def is_stock_password(value: bytes) -> bool:
    """Whether a password is one of those that documentation and test set-ups write: it protects nothing."""
    return value.lower() in _STOCK_PASSWORDS or bool(_SHORT_WORD.match(value))


def is_uuid(value: bytes) -> bool:
    """Whether `value` is a UUID: an identifier, as detect-secrets has it too."""
    return bool(_UUID.match(value))


def is_phrase(value: bytes) -> bool:
    """Whether `value` is a label, a constant's name or a sentence: words of letters with separators."""
    return bool(_PHRASE.match(value))


def counts_up(value: bytes, run: int = 8) -> bool:
    """Whether `run` successive bytes each are one more than the last: an alphabet, a digit row."""
    length = 1
    for i in range(1, len(value)):
        length = length + 1 if value[i] == value[i - 1] + 1 else 1
        if length >= run:
            return True
    return False


def is_digest(value: bytes, before: bytes) -> bool:
    """Whether `value` is a content digest: hex of a digest's length, or `sha512-...`.

    `before` is the line in front of it.  Hex of such a length beside a word like "key" is taken for a key,
    unless a word for digests is there as well.
    """
    if _DIGEST_PREFIX.match(value):
        return True
    context = before[-CONTEXT:]
    if _DIGEST_WORD.search(context) and not _SECRET_WORD.search(_DIGEST_WORD.sub(b"", context)):
        return True
    return len(value) in DIGEST_LENGTHS and bool(_HEX.match(value)) and not _SECRET_WORD.search(context)


def is_data(value: bytes, before: bytes) -> bool:
    """Whether `value` is the beginning of embedded data (an image, an archive) in base64."""
    return bool(_DATA_URI.search(before[-64:]) or _DATA_URI.match(value))


def is_words(value: bytes) -> bool:
    """Whether `value` reads as an identifier, a path, a phrase or escapes: mostly words, or with backslashes.

    Random base64 seldom has more than half of its characters in letter runs of four and more; names do.
    """
    if b"\\" in value or not any(48 <= c <= 57 for c in value):
        # 23 random base64 characters (the shortest that reach 4.5 bits) hold a digit in 98 of 100 cases.
        return True
    words = _WORD.findall(value)
    return sum(len(w) for w in words if len(w) >= 4) * 2 > len(value)
