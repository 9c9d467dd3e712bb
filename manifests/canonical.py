"""Canonical JSON (RFC 8785): one value, one sequence of bytes; and a strict reader.

Writing is the `rfc8785` library. Reading is Python's `json` with everything refused that two readers could
understand differently: a key given twice, NaN and infinities, lone surrogates, byte order marks, trailing
data.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import rfc8785

from manifests.errors import CanonicalError

MAX_BYTES = 256 << 20
"""Default size limit of `load`. A manifest holds about 300 bytes per shard: this is a release of 800,000
shards."""


def dumps(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value (dict with str keys, list, tuple, str, int, float, bool,
    None).

    Raises `CanonicalError` for what canonical JSON cannot hold: integers beyond 2**53 - 1, NaN, infinities,
    lone surrogates, other types, and values nested too deeply.
    """
    try:
        return rfc8785.dumps(value)
    except RecursionError as error:
        raise CanonicalError("value is nested too deeply for JSON") from error
    except rfc8785.CanonicalizationError as error:
        raise CanonicalError(f"value has no canonical JSON: {error}") from error


def digest(value: Any) -> str:
    """Return the SHA-256 of `dumps(value)` as 64 lower-case hex digits."""
    return hashlib.sha256(dumps(value)).hexdigest()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise CanonicalError(f"the key {key!r} is given twice in one object")
        found[key] = value
    return found


def _constant(text: str) -> Any:
    raise CanonicalError(f"{text} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise CanonicalError(f"the number {text[:40]} is too large")
    return number


def load(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Parse JSON bytes strictly; the bytes need not be canonical (compare with `dumps` where they must be).

    Raises `CanonicalError` when `data` is longer than `max_bytes`, is not UTF-8, is not JSON, gives a key
    twice in one object, or holds NaN, an infinity, a number beyond the range of a double, or a lone
    surrogate.
    """
    if len(data) > max_bytes:
        raise CanonicalError(f"{len(data):,} bytes of JSON, more than the limit of {max_bytes:,}")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # an escaped lone surrogate fails here
    except CanonicalError:
        raise
    except RecursionError as error:
        raise CanonicalError("the JSON is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise CanonicalError(f"not UTF-8: bad byte at offset {error.start}") from error
    except UnicodeEncodeError as error:
        raise CanonicalError("a string holds a lone surrogate") from error
    except json.JSONDecodeError as error:
        raise CanonicalError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise CanonicalError(f"not JSON that we accept: {error}") from error
    return value
