"""Private key blocks for the planted set: PEM, PKCS #8, OpenSSH, OpenPGP, PuTTY, in the coatings that files give them.

Part of what is frozen by digest; imports nothing of `pii`. Sources: RFC 7468 (PEM), RFC 5208/5958 (PKCS #8), RFC 1421
(its headers), OpenSSH's PROTOCOL.key, RFC 9580 (armour and its CRC-24), PuTTY's manual, appendix C. The outer
structure is right; the numbers inside are random.
"""

from __future__ import annotations

import base64
import textwrap

from secrets_draw import Draw, Snippet, mark


def _der(draw: Draw, label: str) -> bytes:
    """Bytes with the outer structure that the label promises; the numbers in it are random."""
    if label == "EC PRIVATE KEY":
        return (
            bytes.fromhex("30770201010420")
            + draw.bytes(32)
            + bytes.fromhex("a00a06082a8648ce3d030107a144034200")
            + b"\4"
            + draw.bytes(64)
        )
    size = draw.pick([600, 1187, 2345])
    inner = {
        "PRIVATE KEY": bytes.fromhex("020100300d06092a864886f70d0101010500"),
        "ENCRYPTED PRIVATE KEY": bytes.fromhex("305706092a864886f70d01050d"),
    }.get(label, bytes.fromhex("020100028201")) + draw.bytes(size)
    return b"\x30\x82" + len(inner).to_bytes(2, "big") + inner


PEM_LABELS = (
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "DSA PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
)


def pem_lines(draw: Draw, label: str) -> list[str]:
    """The lines of a private key block."""
    width = 64
    headers: list[str] = []
    if label == "OPENSSH PRIVATE KEY":
        width = 70
        name = b"ssh-ed25519" if draw.chance(0.6) else b"ssh-rsa"
        body = (
            b"openssh-key-v1\0"
            + b"\0\0\0\4none\0\0\0\4none\0\0\0\0\0\0\0\1"
            + len(name).to_bytes(4, "big")
            + name
            + draw.bytes(150 if b"ed" in name else 900)
        )
    else:
        body = _der(draw, label)
        if label in {"RSA PRIVATE KEY", "EC PRIVATE KEY"} and draw.chance(0.2):
            headers = ["Proc-Type: 4,ENCRYPTED", f"DEK-Info: AES-128-CBC,{draw.hex(32).upper()}", ""]
    return [
        f"-----BEGIN {label}-----",
        *headers,
        *textwrap.wrap(base64.b64encode(body).decode(), width),
        f"-----END {label}-----",
    ]


def _crc24(data: bytes) -> bytes:
    """Checksum of OpenPGP's armour (RFC 9580, section 6.1)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return (crc & 0xFFFFFF).to_bytes(3, "big")


def pgp_lines(draw: Draw) -> list[str]:
    """The lines of an OpenPGP private key block."""
    body = b"\x95\x05\x86" + draw.bytes(draw.pick([500, 1400]))
    headers = draw.pick([[], ["Version: GnuPG v2"], ["Comment: backup", "Version: GnuPG v1"]])
    label = "PGP PRIVATE " + "KEY BLOCK"
    return [
        f"-----BEGIN {label}-----",
        *headers,
        "",
        *textwrap.wrap(base64.b64encode(body).decode(), 64),
        "=" + base64.b64encode(_crc24(body)).decode(),
        f"-----END {label}-----",
    ]


def putty_lines(draw: Draw) -> list[str]:
    """The lines of a PuTTY private key file."""
    version = draw.pick("23")
    public = textwrap.wrap(draw.b64(draw.pick([83, 279])), 64)
    private = textwrap.wrap(draw.b64(draw.pick([36, 600])), 64)
    middle = (
        [
            "Key-Derivation: Argon2id",
            "Argon2-Memory: 8192",
            "Argon2-Passes: 21",
            "Argon2-Parallelism: 1",
            f"Argon2-Salt: {draw.hex(32)}",
        ]
        if version == "3" and draw.chance(0.4)
        else []
    )
    encryption = "aes256-cbc" if middle else "none"
    return [
        f"PuTTY-User-Key-File-{version}: ssh-{draw.pick(['rsa', 'ed25519'])}",
        f"Encryption: {encryption}",
        "Comment: imported-key",
        f"Public-Lines: {len(public)}",
        *public,
        *middle,
        f"Private-Lines: {len(private)}",
        *private,
        f"Private-MAC: {draw.hex(64 if version == '3' else 40)}",
    ]


def key_block(draw: Draw) -> Snippet:
    """A private key block, in one of the ways in which programs hold them."""
    family = draw.below(8)
    if family == 0:
        lines, type_ = pgp_lines(draw), "pgp"
    elif family == 1:
        lines, type_ = putty_lines(draw), "putty"
    else:
        label = draw.pick(PEM_LABELS)
        lines, type_ = pem_lines(draw, label), "openssh" if label.startswith("OPENSSH") else "pem"
    form = draw.below(11)

    def whole(text: str) -> str:
        return mark("private_key", type_, text)

    if type_ == "putty" and form not in {0, 1, 9}:
        form = 0
    if form == 1:
        indent = draw.pick(["    ", "  ", "\t"])
        return Snippet(
            f"key: |\n{indent}" + whole(f"\n{indent}".join(lines)), "YAML block", ("lines", "last")
        )
    if form == 2:
        return Snippet(
            '"private_key": "' + whole("\\n".join(lines)) + '\\n",',
            "JSON string",
            ("lines", "long", "last"),
        )
    if form == 3:
        return Snippet(
            'PRIVATE_KEY="' + whole("\\n".join(lines)) + '"', "env with \\n", ("lines", "first", "last")
        )
    if form == 4:
        tail = draw.pick([" +", "", " \\"])
        text = f"{tail}\n".join(f'    "{line}\\n"' for line in lines)
        start, end = text.index("-----BEGIN"), text.rindex("-----") + 5
        return Snippet(
            "String key =\n" + text[:start] + whole(text[start:end]) + text[end:] + ";",
            "string concatenation",
            ("lines",),
        )
    if form == 5:
        cut = lines[: draw.between(max(3, len(lines) // 2), len(lines) - 1)]
        return Snippet(whole("\n".join(cut)), "truncated", ("lines", "last"))
    if form == 6:
        return Snippet("key = '''" + whole("\n".join(lines)) + "'''", "Python string", ("lines",))
    if form == 7:
        return Snippet(
            "config = '" + '{"key": "' + whole("\\\\n".join(lines)) + '"}' + "'",
            "escaped twice",
            ("lines", "long"),
        )
    if form == 8:
        return Snippet(whole("\r\n".join(lines)), "CRLF", ("lines",))
    if form == 9:
        return Snippet("/*\n * " + whole("\n * ".join(lines)) + "\n */", "comment block", ("lines",))
    return Snippet(whole("\n".join(lines)), "plain", ("lines", "first", "last"))
