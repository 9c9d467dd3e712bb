"""From a file's bytes to its text: lossless, or a reason why not; never a silent replacement.

The first rule that applies decides, and names the encoding:

1. a UTF-32 or UTF-16 byte order mark, and everything behind it decodes: `utf-32-le`, `utf-32-be`,
   `utf-16-le`, `utf-16-be`; the mark is not part of the text, and a text that holds U+0000 is `binary`;
2. a NUL byte: reason `binary`, unless the body is UTF-16 without a mark beyond doubt (`bare_utf16`): `utf-16-le-bare`,
   `utf-16-be-bare`;
3. valid UTF-8: `utf-8`, or `utf-8-sig` if it started with a mark, which is not part of the text; bytes above 0x7F that
   are UTF-8 for the most part but not all (a cut character, two encodings in one file): `undecodable`, for any other
   reading would show the good ones as other letters;
4. an encoding that the file declares in its first 1,024 bytes (`coding:`, `encoding=`, `charset=`);
5. bytes above 0x7F that mostly stand alone and all read as Western European letters or signs: `cp1252`;
6. what charset-normalizer finds in the lines that hold bytes above 0x7F (at most 8,192 bytes of them), among
   `CANDIDATES`;
7. reason `undecodable`.

Rules 4 to 6 give candidates only; a candidate is taken iff the whole file decodes and encoding the text
again gives the same bytes. Line ends are kept as they are. All steps are linear in the file's size and use
no clock.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

import charset_normalizer
import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.buffers import buffers

CANDIDATES = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "koi8_u", "iso8859_2",
    "mac_roman", "cp437", "cp850", "cp866", "cp932", "euc_jp", "gb18030", "big5", "cp949",
)  # fmt: skip
"""Encodings that rule 6 chooses from: those that occur in source code, one of each family."""

DECLARABLE = frozenset(
    (*CANDIDATES, "latin_1", "iso8859_1", "iso8859_15", "iso8859_5", "iso8859_7", "iso8859_9", "gbk",
    "gb2312", "shift_jis", "euc_kr", "johab", "big5hkscs", "cp1257", "iso8859_13", "tis_620", "cp874",
    "mac_cyrillic")
)  # fmt: skip
"""Encodings that rule 4 believes, by Python's names."""

SCHEMA = pa.schema([("encoding", pa.string()), ("reason", pa.string()), ("text", pa.large_binary())])
"""`encoding` and `text` (UTF-8) are null where `reason` (`binary` or `undecodable`) is not."""

PLAIN, WITH_MARK, HAS_NUL, WIDE, OTHER = range(5)
"""What the first pass finds: UTF-8, UTF-8 with a mark, a NUL byte, a UTF-16 or UTF-32 mark, anything else."""

BARE = {"utf-16-le-bare": "utf-16-le", "utf-16-be-bare": "utf-16-be"}
"""Names of UTF-16 without a mark -> Python's codec."""

_BARE_HEAD = 256  # bytes of which every other one must be zero
_SAMPLE_BYTES = 8192
_BEFORE = 256  # bytes of a line that are shown before its first byte above 0x7F
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"(?i)(?:coding|charset)[ \t]{0,4}[=:][ \t]{0,4}[\"']?([a-z0-9_-]{2,20})")
# Letters of Western European languages and signs of prose, without those bytes that are frequent letters of
# Polish, Czech or Turkish in their own code pages.
_WESTERN = frozenset(
    byte
    for byte in range(0x80, 0x100)
    if (char := bytes((byte,)).decode("cp1252", "ignore"))
    and (char in "ÄÅÆÇÉÑÖØÜßàáâãäåæçèéêëíîïñòóôõöøùúûü" or char in "©®°±²«»§µ·£€‘’“”–—•…™½¼\xa0¿¡´×")
)


def decode_batch(bodies: pa.LargeBinaryArray) -> pa.Table:
    """Text, encoding or reason of every body (`SCHEMA`); three nulls for a null body.

    Where all bodies are plain UTF-8 the texts are the bodies' own buffers: nothing is copied.
    """
    bodies = bodies.cast(pa.large_binary())
    _, offsets, data = buffers(bodies)
    kinds = np.empty(len(bodies), np.uint8)
    _classify(data, offsets, kinds)
    valid = bodies.is_valid().to_numpy(zero_copy_only=False)
    encodings = np.where(kinds == PLAIN, "utf-8", "utf-8-sig").astype(object)
    reasons = np.where(kinds == HAS_NUL, "binary", None).astype(object)
    replaced: dict[int, bytes] = {}
    for row in np.flatnonzero((kinds != PLAIN) & valid).tolist():
        body = data[offsets[row] : offsets[row + 1]]
        if kinds[row] == HAS_NUL and bare_utf16(body[:_BARE_HEAD].tobytes()) is None:
            continue
        if kinds[row] == WITH_MARK:
            replaced[row] = body[3:].tobytes()
        else:
            encodings[row], reasons[row], text = _decode_other(body.tobytes())
            if text is not None:
                replaced[row] = text
    dropped = np.array([reason is not None for reason in reasons], bool)
    encodings[dropped | ~valid] = None
    reasons[~valid] = None
    texts = bodies
    if replaced:
        mask = np.zeros(len(bodies), bool)
        mask[list(replaced)] = True
        texts = pc.replace_with_mask(
            texts, pa.array(mask), pa.array(list(replaced.values()), pa.large_binary())
        )
    if dropped.any():
        texts = _with_nulls(texts, valid & ~dropped)
    columns = [pa.array(encodings, pa.string()), pa.array(reasons, pa.string()), texts]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def encode(text: str, encoding: str) -> bytes:
    """The original bytes of a text that `decode_batch` made: its inverse."""
    for mark, name in _WIDE_MARKS:
        if name == encoding:
            return mark + text.encode(name)
    return text.encode(BARE.get(encoding, encoding))


def bare_utf16(head: bytes) -> str | None:
    """The name in `BARE` if a body that starts so can only be UTF-16 without a mark: at least 8 characters, mostly ASCII.

    Of the first 256 bytes at least seven eighths of those at odd places (little-endian; big-endian: even) are zero, and at
    most one sixteenth of the others. Text whose first characters are not Latin stays `binary`.
    """
    head = head[: min(_BARE_HEAD, len(head) & ~1)]
    if len(head) < 16:
        return None
    even, odd = head[::2], head[1::2]
    for name, zeros, others in (("utf-16-le-bare", odd, even), ("utf-16-be-bare", even, odd)):
        if 8 * zeros.count(0) >= 7 * len(zeros) and 16 * others.count(0) <= len(others):
            return name
    return None


def _with_nulls(texts: pa.LargeBinaryArray, keep: np.ndarray) -> pa.LargeBinaryArray:
    """The same buffers with another validity: dropped bodies are hidden, not moved."""
    _, offsets, data = texts.buffers()
    bits = np.zeros(texts.offset + len(texts), bool)
    bits[texts.offset :] = keep
    validity = pa.py_buffer(np.packbits(bits, bitorder="little"))
    return pa.Array.from_buffers(
        pa.large_binary(), len(texts), [validity, offsets, data], offset=texts.offset
    )


def _decode_other(body: bytes) -> tuple[str | None, str | None, bytes | None]:
    """Encoding, reason, text of a body that is not UTF-8 (rules 1, 2, 4 to 7)."""
    for mark, encoding in _WIDE_MARKS:
        if body.startswith(mark):
            text = _strict(body[len(mark) :], encoding)
            if text is not None:
                return (None, "binary", None) if "\0" in text else (encoding, None, text.encode())
    if b"\0" in body:
        return _decode_bare(body)
    if _mostly_utf8(np.frombuffer(body, np.uint8)):
        return None, "undecodable", None
    for encoding in _guesses(body):
        text = _strict(body, encoding)
        if text is not None and (encoding != "cp932" or _reads_as_japanese(text)):
            return encoding, None, text.encode()
    return None, "undecodable", None


_UNPRINTED = re.compile(
    "[\0-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x9f\ue000-\uf8ff\ufffe\uffff]"
)  # but for escape sequences


def _decode_bare(body: bytes) -> tuple[str | None, str | None, bytes | None]:
    name = bare_utf16(body)
    text = _strict(body, BARE[name]) if name is not None and len(body) % 2 == 0 else None
    if name is None or text is None or _UNPRINTED.search(text):
        return None, "binary", None
    return name, None, text.encode()


def _mostly_utf8(body: np.ndarray) -> bool:
    """Whether at least three quarters of the bytes above 0x7F are in valid sequences of UTF-8, and there are three such.

    Text of no other encoding is: in two-byte encodings of East Asia one pair in ten is a valid sequence by chance, in cp866,
    the worst of the single-byte ones, one byte in three.
    """
    high, valid, sequences = _utf8_share(body)
    return bool(sequences >= 3 and 4 * valid >= 3 * high)


def _reads_as_japanese(text: str) -> bool:
    """Whether at most a quarter of the characters beyond ASCII is half-width katakana.

    These are single bytes in Shift JIS, so text of nearly any single-byte encoding can be read as them.
    """
    half_width = sum(text.count(chr(point)) for point in range(0xFF61, 0xFFA0))
    return 4 * half_width <= len(text) - len(text.encode("ascii", "ignore"))


def _strict(body: bytes, encoding: str) -> str | None:
    """The text, if decoding it and encoding it again loses nothing."""
    try:
        text = body.decode(encoding)
        same = text.encode(encoding) == body
    except UnicodeError:
        return None
    return text if same else None


def _guesses(body: bytes) -> list[str]:
    """Encodings worth trying, best first."""
    guesses: list[str] = []
    declared = _DECLARED.search(body, 0, 1024)
    if declared:
        name = _codec(declared.group(1).decode())
        if name in ("iso8859_1", "latin_1"):
            guesses.append("cp1252")  # what it means in practice; they differ in control characters only
        if name is not None:
            guesses.append(name)
    values = np.frombuffer(body, np.uint8)
    positions = np.flatnonzero(values >= 0x80)
    if set(values[positions].tolist()) <= _WESTERN:
        alone = np.diff(positions, prepend=-2) > 1
        alone[:-1] &= alone[1:]
        if 10 * int(alone.sum()) >= 8 * positions.size:
            guesses.append("cp1252")
    found = charset_normalizer.from_bytes(
        _sample(body, positions),
        cp_isolation=list(CANDIDATES),
        preemptive_behaviour=False,
        language_threshold=0.1,
    )
    guesses += [match.encoding for match in found]
    return guesses


def _sample(body: bytes, positions: np.ndarray) -> bytes:
    """What charset-normalizer gets to see: the first lines that hold bytes above 0x7F."""
    sample = bytearray()
    at = 0
    while at < positions.size and len(sample) < _SAMPLE_BYTES:
        position = int(positions[at])
        start = body.rfind(b"\n", max(0, position - _BEFORE), position) + 1 or max(0, position - _BEFORE)
        limit = min(len(body), position + _SAMPLE_BYTES)
        end = body.find(b"\n", position, limit) + 1 or limit
        sample += body[start:end]
        at = int(np.searchsorted(positions, end))
    if len(sample) > _SAMPLE_BYTES:
        # Cut between lines, or at least not between the bytes of a character.
        cut = sample.rfind(b"\n", _SAMPLE_BYTES // 2, _SAMPLE_BYTES) + 1
        ascii_end = max(
            sample.rfind(bytes((byte,)), _SAMPLE_BYTES // 2, _SAMPLE_BYTES) for byte in b" ,;.)\"'"
        )
        del sample[cut or ascii_end + 1 or _SAMPLE_BYTES :]
    return bytes(sample)


@lru_cache(maxsize=1024)
def _codec(declared: str) -> str | None:
    """Python's name of a declared encoding, if it is one that we believe."""
    try:
        name = codecs.lookup(declared).name.replace("-", "_")
    except LookupError:
        return None
    return name if name in DECLARABLE else None


@numba.njit(nogil=True, cache=True)
def _classify(data, offsets, kinds):
    for row in range(offsets.shape[0] - 1):
        kinds[row] = _classify_one(data, offsets[row], offsets[row + 1])


@numba.njit(nogil=True, cache=True)
def _classify_one(data, start, end):
    size = end - start
    if size >= 2:
        a, b = data[start], data[start + 1]
        if (a == 0xFF and b == 0xFE) or (a == 0xFE and b == 0xFF):
            return WIDE
        if size >= 4 and a == 0 and b == 0 and data[start + 2] == 0xFE and data[start + 3] == 0xFF:
            return WIDE
    has_nul, valid = _scan(data, start, end)
    if has_nul:
        return HAS_NUL
    if not valid:
        return OTHER
    if size >= 3 and data[start] == 0xEF and data[start + 1] == 0xBB and data[start + 2] == 0xBF:
        return WITH_MARK
    return PLAIN


@numba.njit(nogil=True, cache=True)
def _scan(data, start, end):
    """Whether a range holds a NUL byte, and whether it is valid UTF-8 (as Unicode's table 3-7 defines it)."""
    valid = True
    at = start
    while at < end:
        # Blocks of plain ASCII, two reductions that the compiler vectorises.
        if at + 64 <= end:
            seen, least = np.uint8(0), np.uint8(255)
            for i in range(at, at + 64):
                seen |= data[i]
                least = min(least, data[i])
            if least == 0:
                return True, False
            if seen < 0x80 or not valid:
                at += 64
                continue
        stop = min(at + 64, end)
        while at < stop:
            byte = data[at]
            if byte == 0:
                return True, False
            length = 1
            if byte >= 0x80 and valid:
                length = _sequence(data, at, end)
                if length == 0:
                    valid, length = False, 1
            at += length
    return False, valid


@numba.njit(nogil=True, cache=True)
def _utf8_share(data):
    """Bytes above 0x7F, how many of them are in valid sequences, and how many sequences there are."""
    high, valid, sequences = 0, 0, 0
    at = 0
    while at < data.shape[0]:
        length = 1
        if data[at] >= 0x80:
            found = _sequence(data, at, data.shape[0])
            if found:
                valid += found
                sequences += 1
                length = found
            high += length
        at += length
    return high, valid, sequences


@numba.njit(nogil=True, cache=True)
def _sequence(data, at, end):
    """Bytes of the multi-byte sequence that starts here; 0 if it is not a valid one."""
    lead = data[at]
    if 0xC2 <= lead <= 0xDF:
        length = 2
    elif 0xE0 <= lead <= 0xEF:
        length = 3
    elif 0xF0 <= lead <= 0xF4:
        length = 4
    else:
        return 0
    if at + length > end:
        return 0
    second = data[at + 1]
    low, high = 0x80, 0xBF
    if lead == 0xE0:
        low = 0xA0
    elif lead == 0xED:
        high = 0x9F
    elif lead == 0xF0:
        low = 0x90
    elif lead == 0xF4:
        high = 0x8F
    if second < low or second > high:
        return 0
    for i in range(at + 2, at + length):
        if data[i] < 0x80 or data[i] > 0xBF:
            return 0
    return length
