"""Embedded data: images, fonts, archives, certificates and public keys in base64; blocks of encoded lines."""

from __future__ import annotations

import base64
import binascii
import re

_DATA_URI = re.compile(
    rb"data:[a-z]{1,20}/[a-z0-9.+-]{1,40};(?:charset=[a-z0-9-]{1,20};)?base64,", re.IGNORECASE
)

#: How base64 of public formats begins: PNG, GIF, JPEG, ZIP, gzip, PDF, WOFF, WOFF2, TrueType, OpenType, SVG, XML, RIFF,
#: bzip2, xz, WebAssembly, ELF, HTML; OpenSSH public keys (string "ssh-", "ecdsa-").
_MAGIC = re.compile(
    rb"iVBORw0KGgo|R0lGODlh|/9j/[24]|UEsDB|H4sI|JVBERi0|d09GR|d09GMg|AAEAAAA|T1RUTw|PHN2Zy|PD94bWw|UklGR|Qlpo|/Td6WFo|"
    rb"AGFzbQ|f0VMRg|PCFET0NU|PGh0bWw|AAAAB3NzaC1|AAAAE2VjZHNh|AAAAC3NzaC1lZDI1NTE5|AAAAIGZ0eX"
)
# DER of an X.509 certificate (SEQUENCE, SEQUENCE, [0] version) and of a SubjectPublicKeyInfo (RSA, EC, Ed25519).
_PUBLIC_DER = re.compile(
    rb"MII[A-Za-z0-9+/]{3}CC[A-Za-z0-9+/]{3}gAw|MI[A-L][A-Za-z0-9+/]{1,4}ANBgkqhkiG9w0BAQ|MFkwEwYHKoZIzj0C|MHYwEAYHKoZIzj0C|"
    rb"MCowBQYDK2Vw"
)
_PUBLIC_BLOCK = re.compile(
    rb"BEGIN (?:CERTIFICATE|PUBLIC KEY|RSA PUBLIC KEY|X509|PGP PUBLIC|PGP SIGNATURE|PGP MESSAGE|SSH2? PUBLIC)"
)
_PUBLIC_WORD = re.compile(
    rb"ssh-(?:rsa|dss|ed25519) |ecdsa-sha2-|certificate|public_?key|pubkey|x5c\b|x5t\b|signature",
    re.IGNORECASE,
)

_HEX_LINE = re.compile(rb"[ \t\"'+#*/,;\\{(\[]{0,24}(?:0x)?[0-9a-fA-F]{12,}[ \t\"'+,;\\n)}\]]{0,8}\Z")
_ENCODED_LINE = re.compile(rb"[ \t\"'+#*/,;\\n]{0,24}[A-Za-z0-9+/_-]{40,}={0,2}[ \t\"'+,;\\n)]{0,8}\Z")

#: Bytes of a value that are decoded.
READ = 256

#: A base64 value longer than this is data, unless it is DER (the base64 of an ASN.1 sequence begins with MI).
LONG = 512


def is_data(value: bytes, before: bytes) -> bool:
    """Whether `value` is (the beginning of) embedded data or a public key in base64; `before`: the line in front of it."""
    return bool(
        _MAGIC.match(value)
        or _DATA_URI.search(before[-80:])
        or _MAGIC.search(before[-80:])
        or _PUBLIC_DER.match(value)
        or (_PUBLIC_WORD.search(before[-80:]) and len(value) >= 64)
    )


def is_encoded_text(value: bytes) -> bool:
    """Whether `value` is base64 of readable text: of 16 random characters one in 100,000 is."""
    value = value.rstrip(b"=")[:READ]
    value = value[: len(value) // 4 * 4]
    if len(value) < 16:
        return False
    try:
        held = base64.b64decode(
            value, altchars=b"-_" if b"-" in value or b"_" in value else None, validate=True
        )
    except (binascii.Error, ValueError):
        return False
    return all(32 <= c < 127 or c in b"\t\n\r" for c in held)


def in_block(body: bytes, start: int, end: int, *, hexadecimal: bool = False) -> bool:
    """Whether the line of body[start:end] is one of several successive lines of encoded data; reads 4 kB at most.

    `hexadecimal`: lines that hold a string of hex and nothing else, as tables of expected digests do.
    """
    line = _HEX_LINE if hexadecimal else _ENCODED_LINE
    if end - start < (12 if hexadecimal else 40):
        return False
    low = body.rfind(b"\n", max(0, start - 512), start)
    high = body.find(b"\n", end, end + 512)
    if hexadecimal and not line.match(body[low + 1 : high if high >= 0 else end + 512].rstrip(b"\r")):
        return False
    near = 0
    if low > 0:
        above = body[max(0, body.rfind(b"\n", max(0, low - 512), low) + 1) : low].rstrip(b"\r")
        near += bool(line.match(above)) or bool(_PUBLIC_BLOCK.search(above))
    if high >= 0:
        stop = body.find(b"\n", high + 1, high + 513)
        below = body[high + 1 : stop if stop >= 0 else high + 513].rstrip(b"\r")
        near += bool(line.match(below))
    return near > 0
