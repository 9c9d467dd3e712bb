"""What an ORC file says of itself in its last bytes: columns, stripes, labels. Plain Python, so that no file can crash us.

Layout (ORC specification v1, https://orc.apache.org/specification/ORCv1/): stripes | metadata | footer | postscript | one
byte with the postscript's length. Postscript and footer are protocol buffers; the footer is packed in chunks with a header
of three bytes each.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import zstandard

TAIL_BYTES = 1 << 16  # of a file that are read first; the footer of a file with some hundred stripes fits
_MAX_FOOTER_BYTES = 1 << 28  # unpacked; a footer says about 200 bytes of a stripe
_MAGIC = b"ORC"
_NONE, _ZLIB, _ZSTD = 0, 1, 5  # what exports are packed with; snappy, lzo and lz4 are 2 to 4
KINDS = (
    "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string", "binary", "timestamp", "array", "map",
    "struct", "uniontype", "decimal", "date", "varchar", "char", "timestamp with local time zone",
)  # fmt: skip
"""Names of the types, in the order of their numbers in the format."""


class NotOrcError(ValueError):
    """The bytes are not the end of an ORC file."""


@dataclass(frozen=True)
class Stripe:
    """A part of the file that is read as a whole: where it lies, in bytes, and its rows."""

    offset: int
    bytes: int
    rows: int


@dataclass(frozen=True)
class Tail:
    """Columns (name -> type), stripes, and the user's labels."""

    columns: tuple[tuple[str, str], ...]
    stripes: tuple[Stripe, ...]
    labels: Mapping[str, bytes]


def tail_bytes(end: bytes, size: int) -> int:
    """How many of the last bytes hold postscript and footer, told by the last ones; `size` is the whole file's.

    Raises NotOrcError when these are not the last bytes of an ORC file: it is something else, or cut off.
    """
    script, length = _postscript(end)
    wanted = 1 + length + _int(script, 1)
    if wanted > size:
        raise NotOrcError("its footer is longer than the file")
    return wanted


def parse_tail(end: bytes, size: int) -> Tail:
    """The tail of a file of `size` bytes; `end` holds at least its last `tail_bytes`. Raises NotOrcError."""
    try:
        script, length = _postscript(end)
        stop = len(end) - 1 - length
        packed = end[stop - _int(script, 1) : stop]
        footer = _fields(_unpack(packed, _int(script, 2), _int(script, 3, 1 << 18)))
        tail = Tail(_columns(footer.get(4, [])), tuple(map(_stripe, footer.get(3, []))), _labels(footer))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError, MemoryError,
            zlib.error, zstandard.ZstdError) as error:  # fmt: skip
        raise NotOrcError(f"its footer cannot be read ({error})") from error
    if any(stripe.offset + stripe.bytes > size for stripe in tail.stripes):
        raise NotOrcError("its footer names a part that lies behind its end")
    return tail


def _postscript(end: bytes) -> tuple[dict[int, list[int | bytes]], int]:
    length = end[-1] if end else 0
    if not length or len(end) < length + 1 or end[-1 - len(_MAGIC) : -1] != _MAGIC:
        raise NotOrcError("it does not end as an ORC file does")
    try:
        return _fields(end[-1 - length : -1]), length
    except (ValueError, IndexError) as error:
        raise NotOrcError(f"its last bytes cannot be read ({error})") from error


# ------------------------------------------------------------------------------------------------ protocol buffers


def _fields(data: bytes) -> dict[int, list[int | bytes]]:
    """Field number -> its values: numbers, or bytes of what is nested."""
    found: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        value: int | bytes
        if wire == 0:
            value, at = _varint(data, at)
        else:
            if wire == 2:
                length, at = _varint(data, at)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise ValueError(f"wire type {wire}")
            if at + length > len(data):
                raise ValueError("a field ends behind the end")
            value, at = data[at : at + length], at + length
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number does not end")


def _int(fields: Mapping[int, list[int | bytes]], number: int, default: int = 0) -> int:
    value = fields.get(number, [default])[-1]
    if not isinstance(value, int):
        raise NotOrcError(f"field {number} is no number")
    return value


def _nested(value: int | bytes) -> dict[int, list[int | bytes]]:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")
    return _fields(value)


# ---------------------------------------------------------------------------------------------------- the footer


def _stripe(value: int | bytes) -> Stripe:
    fields = _nested(value)
    return Stripe(_int(fields, 1), sum(_int(fields, number) for number in (2, 3, 4)), _int(fields, 5))


def _labels(footer: Mapping[int, list[int | bytes]]) -> dict[str, bytes]:
    pairs = [_nested(value) for value in footer.get(5, [])]
    return {bytes(p[1][-1]).decode(): bytes(p[2][-1]) for p in pairs if 1 in p and 2 in p}


def _columns(types: list[int | bytes]) -> tuple[tuple[str, str], ...]:
    parsed = [_nested(value) for value in types]
    if not parsed or KINDS[_int(parsed[0], 1)] != "struct":
        raise ValueError("it is no table")
    children: list[int] = []
    for value in parsed[0].get(2, []):
        children += [value] if isinstance(value, int) else list(_packed(value))
    names = [bytes(name).decode() for name in parsed[0].get(3, [])]
    return tuple((name, KINDS[_int(parsed[child], 1)]) for name, child in zip(names, children, strict=True))


def _packed(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _unpack(packed: bytes, codec: int, block: int) -> bytes:
    if codec == _NONE:
        return packed
    if codec not in _UNPACK:
        raise ValueError("it is packed neither with zlib nor with zstd")
    unpack = _UNPACK[codec]
    out, at, total = [], 0, 0
    while at < len(packed):
        header = int.from_bytes(packed[at : at + 3], "little")
        chunk = packed[at + 3 : at + 3 + (header >> 1)]
        at += 3 + (header >> 1)
        out.append(chunk if header & 1 else unpack(chunk, min(block, _MAX_FOOTER_BYTES)))
        total += len(out[-1])
        if total > _MAX_FOOTER_BYTES:
            raise ValueError("it is too large")
    return b"".join(out)


def _zlib(chunk: bytes, limit: int) -> bytes:
    return zlib.decompressobj(-15).decompress(chunk, limit)


def _zstd(chunk: bytes, limit: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(chunk, max_output_size=limit)


_UNPACK: dict[int, Callable[[bytes, int], bytes]] = {_ZLIB: _zlib, _ZSTD: _zstd}
