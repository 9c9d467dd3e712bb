"""Verifiers of credentials with a structure of their own: what decodes, names itself or stands beside its name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Callable

from pii.boundaries import closes_here, opens_here
from pii.negatives import entropy, is_placeholder, is_stock_password
from pii.verify_tokens import token

Span = tuple[int, int]

# What is decoded of one match at most: parts of a web token and credentials of a header are shorter.
_DECODED_MAX = 8192


def decoded(value: bytes) -> bytes | None:
    """The bytes of base64 or base64url text, with or without padding; None for anything else."""
    text = value[:_DECODED_MAX].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _json_object(part: bytes) -> dict[str, object] | None:
    held = decoded(part)
    try:
        value = None if held is None else json.loads(held)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


# --- web tokens --------------------------------------------------------------------------------------------------


def json_web_token(body: bytes, start: int, end: int) -> Span | None:
    """A compact JWS (RFC 7515 3.1) of which header and payload are JSON objects and the header names its algorithm.

    The examples of RFC 7519 and of its readers' documentation are left: they are in every test suite.
    """
    if not opens_here(body, start):
        return None
    header, payload, _ = body[start:end].split(b".", 2)
    named, claims = _json_object(header), _json_object(payload)
    if named is None or not isinstance(named.get("alg"), str) or claims is None:
        # A payload longer than what is decoded is cut: its beginning is that of an object.
        if named is None or len(payload) <= _DECODED_MAX or "alg" not in named:
            return None
    elif claims.get("sub") == "1234567890" or "http://example.com/is_root" in claims or claims == _SAMPLE:
        return None
    return start, end


# The payload of the first example of several libraries.
_SAMPLE = {"some": "payload"}


def json_web_encryption(body: bytes, start: int, end: int) -> Span | None:
    """A compact JWE (RFC 7516 3.1): five parts, the first a JSON object with `alg` and `enc`."""
    if not opens_here(body, start):
        return None
    header = _json_object(body[start : body.index(b".", start, end)])
    return (start, end) if header is not None and "alg" in header and "enc" in header else None


def secret_map_token(body: bytes, start: int, end: int) -> Span | None:
    """Mapbox: `sk.`, a JSON object with the user (`u`) and the token id (`a`), a signature."""
    held = _json_object(body[start:end].split(b".")[1])
    return token(body, start, end) if held is not None and {"u", "a"} <= set(held) else None


# --- tokens that decode ------------------------------------------------------------------------------------------


def bot_token(body: bytes, start: int, end: int) -> Span | None:
    """Discord: the first of three parts is the bot's snowflake (17 to 20 decimal digits) in base64."""
    held = decoded(body[start : body.index(b".", start, end)])
    return token(body, start, end) if held and held.isdigit() and 17 <= len(held) <= 20 else None


def _decodes_to(expected: re.Pattern[bytes], behind: bytes = b"") -> Callable[[bytes, int, int], Span | None]:
    def verify(body: bytes, start: int, end: int) -> Span | None:
        held = decoded(body[start:end].rpartition(behind)[2] if behind else body[start:end])
        return token(body, start, end) if held is not None and expected.match(held) else None

    return verify


_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
#: Intercom: base64 of `tok:`, three hexadecimal groups, two digits.
intercom_token = _decodes_to(re.compile(rb"tok:[0-9a-f_]+:[0-9]:[0-9]\Z"))
#: PubNub: behind `sec-c-`, base64 of a UUID.
pubnub_key = _decodes_to(re.compile(_UUID + rb"\Z"), behind=b"-")
#: WorkOS: behind `sk_`, perhaps with `test_` or `live_`, base64 of the key's id and its secret.
workos_key = _decodes_to(re.compile(rb"key_01[0-9A-Z]{24},"), behind=b"_")
#: Neptune: base64 of a JSON object that names the service.
neptune_token = _decodes_to(re.compile(rb'\{"api_(?:address|url)":'))


def matrix_token(body: bytes, start: int, end: int) -> Span | None:
    """Synapse: `syt_`, the user in base64, 20 letters, and the CRC-32 of all before it in six base-62 digits."""
    if not opens_here(body, start) or not closes_here(body, end):
        return None
    value, check, digits = zlib.crc32(body[start : end - 7]), body[end - 6 : end], b""
    alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = alphabet[digit : digit + 1] + digits
    return (start, end) if digits == check else None


# --- user and password in base64 ---------------------------------------------------------------------------------


def basic_credentials(body: bytes, start: int, end: int) -> Span | None:
    """`user:password` in base64 (RFC 7617 2): printable, the password neither stock word nor placeholder."""
    if not closes_here(body, end):
        return None
    held = decoded(body[start:end])
    user, colon, password = (held or b"").partition(b":")
    if not colon or not user + password or not _printable(held or b""):
        return None
    if user in _DOCUMENTED_USERS:
        return None
    secret = password or user  # a token may stand in the user's place (RFC 7617 allows an empty password)
    return None if _no_password(secret) else (start, end)


# The users of the examples of RFC 7617 (2) and RFC 6749 (2.3.1).
_DOCUMENTED_USERS = (b"Aladdin", b"s6BhdRkqt3")


def _printable(value: bytes) -> bool:
    try:
        return value.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


# --- values beside their names -----------------------------------------------------------------------------------

_LETTERS = re.compile(rb"[A-Z]?[a-z]{3,}|[A-Z]{4,}(?![a-z])")
_NO_WORD = re.compile(rb"[bcdfghjklmnpqrstvwxz]{4}|[aeiou]{4}", re.IGNORECASE)
_VOWEL = re.compile(rb"[aeiouy]", re.IGNORECASE)
# Every letter and digit as its class; other bytes are left out.
_CLASS = bytes(48 if 48 <= c <= 57 else 65 if 65 <= c <= 90 else 97 for c in range(256))
_OTHERS = bytes(c for c in range(256) if not (chr(c).isascii() and chr(c).isalnum()))


def random_looking(value: bytes) -> bool:
    """Whether a value of letters and digits comes from a random source: no placeholder, not made of words.

    Random base 62 changes between lower case, upper case and digits at 62 of 100 places, random hex and base 36 at
    40 and more.  An identifier changes where its words do, and most of it lies in runs of letters that can be spoken.
    """
    if is_placeholder(value) or entropy(value) < 2.8:
        return False
    classes = value.translate(_CLASS, _OTHERS)
    changes = sum(classes[i] != classes[i + 1] for i in range(len(classes) - 1))
    if len(set(classes)) == 2 and b"0" in classes and changes * 5 >= len(classes):
        return True  # digits all over a value of one case: words with numbers have them at their ends
    if sum(len(w) for w in _LETTERS.findall(value) if _speakable(w)) * 2 > len(value):
        return False
    return changes * (6 if b"0" in classes else 2.5) >= len(classes)


def _speakable(run: bytes) -> bool:
    """Whether a run of letters may be a word: a vowel among every five, never four consonants or vowels in a row."""
    return len(run) >= 4 and len(_VOWEL.findall(run)) * 5 >= len(run) and not _NO_WORD.search(run)


def lone_token(body: bytes, start: int, end: int) -> Span | None:
    """A token with a short prefix: random, and no part of a longer name, path or number."""
    before, behind = body[start - 1 : start], body[end : end + 1]
    if start and before in b"-_./+" and not _escaped(body, start):
        return None
    if behind and behind in b"-/+":
        return None
    return token(body, start, end) if random_looking(_PREFIX.sub(b"", body[start:end])) else None


_PREFIX = re.compile(rb"\A(?:[A-Za-z0-9]{1,8}[_-]){1,3}")


def lone_uuid(body: bytes, start: int, end: int) -> Span | None:
    """A prefix and a UUID that are no part of a longer name."""
    if (start and body[start - 1 : start] in b"-_./") or body[end : end + 1] in (b"-", b"."):
        return None
    return token(body, start, end)


def telegram_token(body: bytes, start: int, end: int) -> Span | None:
    """A bot's number and its token; the path of a request writes `bot` in front of them."""
    if body[max(0, start - 4) : start].lower() == b"/bot":
        return (start, end) if closes_here(body, end) and not is_placeholder(body[start:end]) else None
    return token(body, start, end)


def long_token(body: bytes, start: int, end: int) -> Span | None:
    """A token of up to 2,048 characters that stands alone."""
    if not opens_here(body, start) or not closes_here(body, end) or is_placeholder(body[start:end]):
        return None
    return (start, end) if start == 0 or body[start - 1 : start] not in (b".", b"-", b"_") else None


def _escaped(body: bytes, start: int) -> bool:
    return body[max(0, start - 3) : start].upper() == b"%2F"


def named_value(body: bytes, start: int, end: int) -> Span | None:
    """A value of its issuer's form behind its issuer's name: it ends here and is random."""
    if not closes_here(body, end) or body[end : end + 1] in (b"(", b"/", b"+", b"-") or end - start > 512:
        return None
    if start and (body[start - 1 : start].isalnum() or body[start - 1 : start] == b"_"):
        return None
    value = body[start:end]
    if _UUID_ONLY.match(value):
        return None if is_placeholder(value) else (start, end)
    return (start, end) if random_looking(value) else None


def bearer_value(body: bytes, start: int, end: int) -> Span | None:
    """A random value of a header, a cookie or a query."""
    return (start, end) if closes_here(body, end) and random_looking(body[start:end]) else None


def twitter_bearer(body: bytes, start: int, end: int) -> Span | None:
    """X: many zero bits, the app's number, and behind an encoded `=` the random half."""
    half = body[start:end].rpartition(b"%3D")[2]
    return (
        (start, end) if opens_here(body, start) and closes_here(body, end) and random_looking(half) else None
    )


def npmrc_value(body: bytes, start: int, end: int) -> Span | None:
    """A token, or a password or `user:password` in base64."""
    value = body[start:end]
    if not closes_here(body, end) or body[end : end + 1] in (b"(", b"[") or _no_password(value):
        return None
    held = decoded(value) if len(value) % 4 == 0 else None
    return (start, end) if random_looking(value) or (held is not None and _printable(held)) else None


def hash_value(body: bytes, start: int, end: int) -> Span | None:
    """A password hash that ends here."""
    return (start, end) if closes_here(body, end) and entropy(body[start:end]) > 3.5 else None


def django_key(body: bytes, start: int, end: int) -> Span | None:
    """Fifty characters of Django's alphabet, random."""
    value = body[start:end]
    return (start, end) if entropy(value) > 4.3 and any(48 <= c <= 57 for c in value) else None


def wordpress_value(body: bytes, start: int, end: int) -> Span | None:
    """A key, salt or password of wp-config.php; its sample's texts are left."""
    value = body[start:end].lower()
    return None if b"unique phrase" in value or value.endswith(b"_here") else file_password(body, start, end)


_UUID_ONLY = re.compile(_UUID + rb"\Z", re.IGNORECASE)

# A reference instead of a value: a variable, a template, a command, a call, a tag of YAML.
_REFERENCE = re.compile(
    rb"\$[A-Za-z_{(]|%[A-Za-z_{(]|<|\{|\(|\[|\*\*|!(?:vault|secret|env|ref|sub|getatt|include)|@[A-Za-z]+@|"
    rb"(?:env|ENV|process|os|var|secrets?|vault|data|local|module|config|settings|self|this)[.:\[(]|"
    rb"(?:none|null|nil|true|false|undefined|empty|string|prompt|required|optional|password_?hash)\W*\Z",
    re.IGNORECASE,
)


def _no_password(value: bytes) -> bool:
    return (
        is_stock_password(value.rstrip(b"0123456789"))
        or is_placeholder(value)
        or bool(_REFERENCE.match(value))
        or len(value) < 4
    )


def file_password(body: bytes, start: int, end: int) -> Span | None:
    """A password where a file format or a command has one: no variable, stock word or placeholder."""
    value = body[start:end]
    return None if _no_password(value) or b"${" in value or b"{{" in value else (start, end)


def plain_password(body: bytes, start: int, end: int) -> Span | None:
    """A password without quotes, in a file of names and values: letters with digits or signs, no name of a variable."""
    value = body[start:end]
    if (
        _no_password(value)
        or not any(97 <= c | 32 <= 122 for c in value)
        or not any(48 <= c <= 57 for c in value)
    ):
        return None
    return None if _NAME.match(value) else (start, end)


# A name of several words (`db_password2`), a name with its attributes (`self.x1`, `cfg->db2`), a call, a path.
_NAME = re.compile(
    rb"(?:[A-Za-z]+_)+[A-Za-z]+[0-9]?\Z|[A-Za-z_][A-Za-z0-9_]*(?:(?:\.|->|::)[A-Za-z_][A-Za-z0-9_]*)+\Z|.*\(|\.{0,2}/"
)


def kubernetes_secret(body: bytes, start: int, end: int) -> Span | None:
    """A value of a Kubernetes `Secret`: base64 below `data` or plain below `stringData`, `kind: Secret` near."""
    near = body[max(0, start - 2500) : min(len(body), end + 500)]
    if b"kind: Secret" not in near and b'"kind": "Secret"' not in near:
        return None
    held = decoded(body[start:end])
    value = held if held and _printable(held) else body[start:end]
    return None if _no_password(value) or not closes_here(body, end) else (start, end)


def query_signature(body: bytes, start: int, end: int) -> Span | None:
    """The signature of a signed URL: its query says until when it holds or what it allows."""
    low, high = max(0, start - 1024), min(len(body), end + 1024)
    for stop in (b" ", b"\n", b'"', b"'", b"<", b"`"):
        low = max(low, body.rfind(stop, low, start) + 1)
        at = body.find(stop, end, high)
        high = at if at >= 0 else high
    url = body[low:high]
    signed = _SIGNED.search(url) is not None
    return (start, end) if signed and not is_placeholder(body[start:end]) else None


# Azure: se, sp, sv; Amazon: Expires, Key-Pair-Id.
_SIGNED = re.compile(rb"[?&;](?:se=[0-9]{4}-|sp=[a-z]{1,14}&|sv=[0-9]|Expires=[0-9]|Key-Pair-Id=)")


def extended_key(body: bytes, start: int, end: int) -> Span | None:
    """A key in Base58Check: the last four bytes are those of the double SHA-256 of the rest (BIP 32, WIF)."""
    number = 0
    for c in body[start:end]:
        number = number * 58 + _BASE58.index(c)
    held = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(held) < 33:
        return None
    check = hashlib.sha256(hashlib.sha256(held[:-4]).digest()).digest()
    return token(body, start, end) if check[:4] == held[-4:] else None


_BASE58 = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def private_member(body: bytes, start: int, end: int) -> Span | None:
    """A private member of a JSON web key (RFC 7517, 7518 6): `kty` in the same object, within 2,000 bytes."""
    value = body[start:end]
    low = max(body.rfind(b"{", max(0, start - 2000), start), start - 2000, 0)
    high = body.find(b"}", end, end + 2000)
    held = body[low : high if high >= 0 else min(len(body), end + 2000)]
    if b"kty" not in held or not random_looking(value[:512]):
        return None
    return start, end
