"""Private key blocks: from BEGIN to END as one span, also escaped, indented, quoted or cut off; keys in bare base64.

Every function is linear in what it reads, and reads at most `MAX_BLOCK` bytes per header.
"""

from __future__ import annotations

import base64
import binascii
import re

Span = tuple[int, int]

#: Bytes looked at behind a header.  A 16,384-bit RSA key is 12.7 kB of PEM; escapes and indentation come on
#: top.
MAX_BLOCK = 32_768

#: Base64 characters that a closed block must hold: the shortest real one (an Ed25519 key in PKCS#8) has 64.
MIN_PAYLOAD = 48


def _mark(text: bytes) -> re.Pattern[bytes]:
    """An expression in which a space may also be that of a URL (`%20`, RFC 3986 2.1) or of a form (`+`)."""
    return re.compile(text.replace(b" ", rb"(?: |%20|\+)"))


_BEGIN = _mark(rb"-{4,5} ?BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY")
_END = _mark(rb"-{4,5} ?END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_RUN = re.compile(rb"[A-Za-z0-9+/=]{16,}")
_LAST = re.compile(rb"[A-Za-z0-9+/=]{1,15}(?=[ \t]{0,8}(?:[\r\n\"'`\\<]|\Z))")
# A line break as source text and nested strings write it: \n, \\n, \u000a, %0A, &#10;, <br>.
_ESCAPED_BREAK = re.compile(
    rb"\\{1,8}(?:[nrt]|u000[adAD]|x0[adAD])|%0[adAD]|&#(?:1[03]|x[adAD]);|<br ?/?>", re.IGNORECASE
)
# What stands between two lines of key material: breaks, quotes, comment marks, operators, `name +=`.
_BETWEEN = re.compile(
    rb"(?:"
    + _ESCAPED_BREAK.pattern
    + rb"|//(?=[ \t])|[A-Za-z_$][A-Za-z0-9_.$]{0,39}(?:[ \t]{1,8}(?:\+=|\.=|<<|\+)|\.(?:append|push|add)\()"
    rb"|[bru_](?=[\"'\s])|[\s\"'`+,;|>#*\\&()<.-])*",
    re.IGNORECASE,
)
_FIELD = re.compile(
    rb"(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash|Subject|x-[a-z-]{1,20}): ?"
    rb"(?:\\*\"[^\"\r\n]{0,120}\"|[^\n\r\\\"']{0,120})"
)
_PUTTY_BEGIN = re.compile(rb"PuTTY-User-Key-File-")
_PUTTY_END = re.compile(rb"Private-(?:MAC|Hash): ?[0-9a-f]{40,64}")
_PUTTY_LINES = re.compile(rb"Private-Lines: ?[0-9]{1,4}")
_OPENVPN_BEGIN = re.compile(rb"-{5}BEGIN OpenVPN")
_OPENVPN_END = re.compile(rb"-{5}END OpenVPN [A-Za-z0-9 -]{1,40}-{5}")
# Base64's three signs in a URL, and the one that JSON may escape.
_ESCAPED_BASE64 = ((b"%2B", b"+"), (b"%2F", b"/"), (b"%3D", b"="), (b"\\/", b"/"))
_SPACE = re.compile(rb"\s+")


def pem_block(body: bytes, start: int, end: int) -> Span | None:
    """The whole block of the header at `start`..`end`."""
    stop = block_end(body, end)
    return None if stop is None else (start, stop)


def putty_block(body: bytes, start: int, end: int) -> Span | None:
    """The whole key file of the header at `start`..`end`."""
    stop = putty_block_end(body, end)
    return None if stop is None else (start, stop)


def openvpn_block(body: bytes, start: int, end: int) -> Span | None:
    """An OpenVPN static key: to its END line, or to its last line of hexadecimal digits."""
    limit = _until_next(body, end, _OPENVPN_BEGIN)
    footer = _OPENVPN_END.search(body, end, limit)
    if footer and _payload(body[end : footer.start()]) >= MIN_PAYLOAD:
        return start, footer.end()
    stop = None if footer else _open_block_end(body, end, limit)
    return None if stop is None else (start, stop)


def block_end(body: bytes, header_end: int) -> int | None:
    """End of the block whose header ends at `header_end`; None if no key material follows the header.

    A header alone (code that looks for one, a documentation stub with "...") is not a key, nor is code between a
    header and a footer that it writes.  A block without footer ends with its last line of key material.
    """
    limit = _until_next(body, header_end, _BEGIN)
    footer = _END.search(body, header_end, limit)
    if footer and _payload(body[header_end : footer.start()]) >= MIN_PAYLOAD:
        return footer.end()
    return None if footer else _open_block_end(body, header_end, limit)


def putty_block_end(body: bytes, header_end: int) -> int | None:
    """End of a PuTTY key file: its MAC line (version 1: its hash), else the last line of its private part."""
    limit = _until_next(body, header_end, _PUTTY_BEGIN)
    mac = _PUTTY_END.search(body, header_end, limit)
    if mac:
        return mac.end()
    private = _PUTTY_LINES.search(body, header_end, limit)
    return _open_block_end(body, private.end(), limit, least=32) if private else None


def _until_next(body: bytes, position: int, header: re.Pattern[bytes]) -> int:
    """Where to stop looking: `MAX_BLOCK` bytes on, or at the next header: headers in a row cost what one costs."""
    limit = min(len(body), position + MAX_BLOCK)
    following = header.search(body, position, limit)
    return following.start() if following else limit


def _payload(block: bytes) -> int:
    """Characters of key material; 0 where most of the block is something else, or one character over and over."""
    # An escaped line break must not glue its letter to the base64 behind it.
    block = _SPACE.sub(b" ", _ESCAPED_BREAK.sub(b"\n", block))
    for escaped, plain in _ESCAPED_BASE64:
        block = block.replace(escaped, plain)
    runs = b"".join(_RUN.findall(block))
    fields = sum(len(f) for f in _FIELD.findall(block))
    if len(runs) * 2 < len(block) - block.count(b" ") - fields or len(set(runs)) < 10:
        return 0
    return len(runs)


def _open_block_end(body: bytes, position: int, limit: int, least: int = MIN_PAYLOAD) -> int | None:
    end, size = position, 0
    while position < limit:
        between = _BETWEEN.match(body, position, limit)
        assert between is not None  # the expression matches the empty string
        position = between.end()
        field = _FIELD.match(body, position, limit)
        if field:
            position = field.end()
            continue
        run = _RUN.match(body, position, limit)
        if run and _is_material(run.group()):
            size += len(run.group())
            end = position = run.end()
            continue
        last = _LAST.match(body, position, limit)
        if last and size >= least and between.group().count(b"\n") <= 1:
            end = last.end()  # the short last line of a block
        break
    return end if size >= least else None


def _is_material(run: bytes) -> bool:
    """Whether a run is a line of base64 or hexadecimal digits, not a long word behind a cut-off block."""
    return (len(run) >= 40 or any(c < 58 for c in run)) and len(set(run)) >= 6


# --- keys without a header ---------------------------------------------------------------------------------------

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_NEXT_LINE = re.compile(rb"(?:" + _ESCAPED_BREAK.pattern + rb"|[\r\n])[\s\\]*", re.IGNORECASE)
# How what the rules `encoded-*` look for begins: where one begins on a later line, another one has ended.
_FIRST = re.compile(
    rb"LS0tLS[1B]CRUdJTi|MII[A-Za-z0-9+/]{2}[AQgw]IB|MIICX[A-Za-z0-9+/]IB|MI[GH][A-Za-z0-9+/]{1,2}AgE|M[CE][4c]CAQAw|"
    rb"MH[cQ]CAQEE|b3BlbnNzaC1r|/u3\+7QAA|zs7OzgAA"
)
_LINE_END = re.compile(rb"[\r\n\"'\\]|[ \t]{0,8}(?:[\r\n]|\Z)")


def _base64_end(body: bytes, start: int, limit: int) -> int:
    """End of the base64 at `start`; of text broken into lines of one length (at most 80), the last may be shorter."""
    end = at = start
    width = 0
    while run := _BASE64.match(body, at, limit):
        size = run.end() - at
        if width and (
            size > width or not _LINE_END.match(body, run.end(), limit) or _FIRST.match(body, at, limit)
        ):
            break
        end = run.end()
        pause = _NEXT_LINE.match(body, end, limit)
        if pause is None or size < width or size > 80 or body[end - 1 : end] == b"=":
            break
        width, at = size, pause.end()
    return end


def encoded_pem(body: bytes, start: int, end: int) -> Span | None:
    """A PEM file in base64, as Kubernetes and CI systems keep it: what it decodes to holds a private key.

    `LS0tLS1CRUdJTi` is base64 of `-----BEGIN `.  A certificate or public key is left.
    """
    if start and body[start - 1 : start].isalnum():
        return None
    stop = _base64_end(body, start, min(len(body), start + MAX_BLOCK))
    text = _ESCAPED_BREAK.sub(b"", body[start:stop])
    text = _SPACE.sub(b"", text).replace(b"\\", b"").rstrip(b"=")
    try:
        held = base64.b64decode(text[: len(text) // 4 * 4])
    except (binascii.Error, ValueError):
        return None
    header = _BEGIN.search(held)
    return None if header is None or len(held) < header.end() + MIN_PAYLOAD else (start, stop)


def encoded_key(body: bytes, start: int, end: int) -> Span | None:
    """A private key or key store in base64 without a header: the whole run, of a key's size."""
    if start and body[start - 1 : start] in _BASE64_BYTES and not _behind_escape(body, start):
        return None
    stop = _base64_end(body, start, min(len(body), start + MAX_BLOCK))
    return (start, stop) if stop - start >= MIN_PAYLOAD else None


_BASE64_BYTES = tuple(bytes([c]) for c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def _behind_escape(body: bytes, start: int) -> bool:
    return body[start - 2 : start] in (b"\\n", b"\\r", b"\\t")


# What stays of a line inside a redacted block, so that quotes stay balanced and continuation lines continue:
# an indentation, a comment mark, an assignment or operator in front of an opening quote; behind the key
# material a closing quote, an operator, a continuation backslash.
_HEAD = re.compile(
    rb"[ \t]{0,200}(?:(?:#{1,3}|//|\*|;|--)[ \t]{1,8})?"
    rb"(?:(?:[A-Za-z_$][A-Za-z0-9_.$]{0,39}[ \t]{1,8}(?:\+=|\.=|<<|\+)[ \t]{0,8}|[+.,&][ \t]{1,8})?"
    rb"[bBrRuU]?[\"'`])?"
)
_TAIL = re.compile(rb"(?:[\"'`][ \t]{0,8}[+.,;&)\]}]{0,4}[ \t]{0,8})?\\?\Z")
_BREAKS = re.compile(rb"(\r\n|\r|\n)")


def replace_block(block: bytes, placeholder: bytes) -> bytes:
    """`placeholder` instead of the key material of a span of several lines; every line break stays.

    The first line becomes the placeholder; of every other line only its frame stays (see above).
    """
    parts = _BREAKS.split(block)
    lines, breaks = parts[0::2], parts[1::2]
    out = [placeholder + _tail(lines[0])]
    for number, line in enumerate(lines[1:], 1):
        out.append(breaks[number - 1])
        head = _HEAD.match(line)
        frame = head.group() if head else b""
        # The span ends on its last line: what closes it lies behind the span.
        out.append(frame if number == len(lines) - 1 else frame + _tail(line[len(frame) :]))
    return b"".join(out)


def _tail(line: bytes) -> bytes:
    found = _TAIL.search(line[-32:])
    return found.group() if found else b""
