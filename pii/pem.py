"""Private key blocks: from BEGIN to END as one span, also escaped, indented, quoted or cut off.

Every function is linear in what it reads, and reads at most `MAX_BLOCK` bytes per header.
"""

from __future__ import annotations

import re

#: Bytes looked at behind a header.  A 16,384-bit RSA key is 12.7 kB of PEM; escapes and indentation come on
#: top.
MAX_BLOCK = 32_768

#: Base64 characters that a closed block must hold: the shortest real one (an Ed25519 key in PKCS#8) has 64.
MIN_PAYLOAD = 48

_BEGIN = re.compile(rb"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_END = re.compile(rb"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_RUN = re.compile(rb"[A-Za-z0-9+/=]{16,}")
_LAST = re.compile(rb"[A-Za-z0-9+/=]{1,15}(?=[ \t]{0,8}(?:[\r\n\"'`\\]|\Z))")
_BETWEEN = re.compile(rb"(?:\\[nrt]|[\s\"'`+,;|>#*\\])*")
_FIELD = re.compile(rb"(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash): ?[^\n\r\\\"']{0,120}")
_PUTTY_END = re.compile(rb"Private-MAC: ?[0-9a-f]{40,64}")
_ESCAPED_BREAK = re.compile(rb"\\[nr]")


def block_end(body: bytes, header_end: int) -> int | None:
    """End of the block whose header ends at `header_end`; None if no key material follows the header.

    A header alone (code that looks for one, a documentation stub with "...") is not a key.  A block without
    footer ends with its last line of key material.
    """
    limit = min(len(body), header_end + MAX_BLOCK)
    following = _BEGIN.search(body, header_end, limit)
    if following:
        limit = following.start()
    footer = _END.search(body, header_end, limit)
    if footer:
        return footer.end() if _payload(body[header_end : footer.start()]) >= MIN_PAYLOAD else None
    return _open_block_end(body, header_end, limit)


def putty_block_end(body: bytes, header_end: int) -> int | None:
    """End of a PuTTY key file (its MAC line); None if there is none within `MAX_BLOCK`."""
    mac = _PUTTY_END.search(body, header_end, min(len(body), header_end + MAX_BLOCK))
    return mac.end() if mac else None


def _payload(block: bytes) -> int:
    # An escaped line break must not glue its letter to the base64 behind it.
    return sum(len(run) for run in _RUN.findall(_ESCAPED_BREAK.sub(b"\n", block)))


def _open_block_end(body: bytes, position: int, limit: int) -> int | None:
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
        if run:
            size += len(run.group())
            end = position = run.end()
            continue
        last = _LAST.match(body, position, limit)
        if last and size >= MIN_PAYLOAD and between.group().count(b"\n") <= 1:
            end = last.end()  # the short last line of a block
        break
    return end if size >= MIN_PAYLOAD else None


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
