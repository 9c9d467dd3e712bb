"""Reading the fields of a JSON value whose shape is known, with an error that names the JSON path of a
fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from manifests.errors import ManifestError, PathError
from manifests.names import has_hidden_characters

Json: TypeAlias = Any
"""A JSON value: dict with str keys, list, str, int, float, bool or None."""

HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
REASON = re.compile(r"[a-z][a-z0-9_]{0,63}(\.[a-z0-9_]{1,63}){0,2}")
MAX_COUNT = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8785, section 3.2.2.3)."""


def record(where: str, value: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return an object that has exactly `keys`."""
    entry = mapping(where, value)
    for key in keys:
        if key not in entry:
            raise ManifestError(f"{where}.{key}", "missing")
    for key in entry:
        if key not in keys:
            raise ManifestError(where, f"unknown key {ascii(key)[:80]}")
    return entry


def mapping(where: str, value: Any) -> dict[str, Any]:
    """Return an object."""
    if not isinstance(value, dict):
        raise ManifestError(where, f"not an object: {ascii(value)[:80]}")
    return value


def objects(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (JSON path, element) of an array."""
    if not isinstance(value, list):
        raise ManifestError(where, f"not an array: {ascii(value)[:80]}")
    for number, element in enumerate(value):
        yield f"{where}[{number}]", element


def count(where: str, value: Any, *, minimum: int = 0) -> int:
    """Return an integer from `minimum` to 2**53 - 1 (true and false are no integers)."""
    if type(value) is not int or not minimum <= value <= MAX_COUNT:
        raise ManifestError(where, f"not an integer of at least {minimum}: {ascii(value)[:80]}")
    return value


def text(where: str, value: Any, pattern: re.Pattern[str] | None = None) -> str:
    """Return a non-empty string of visible characters, of the form of `pattern` where given."""
    if not isinstance(value, str) or not value or has_hidden_characters(value):
        raise ManifestError(where, f"not a visible text: {ascii(value)[:80]}")
    if pattern is not None and not pattern.fullmatch(value):
        raise ManifestError(where, f"not of the form {pattern.pattern}: {ascii(value)[:80]}")
    return value


def safe(where: str, value: Any, check: Callable[[str], str]) -> str:
    """Return a string that `check` (of `manifests.names`) accepts."""
    if not isinstance(value, str):
        raise ManifestError(where, f"not a string: {ascii(value)[:80]}")
    try:
        return check(value)
    except PathError as error:
        raise ManifestError(where, str(error)) from error


def texts(where: str, value: Any) -> dict[str, str]:
    """Return an object of strings."""
    return {
        text(f"{where}, key", key): text(f"{where}.{key!a}", element)
        for key, element in mapping(where, value).items()
    }


def digests(where: str, value: Any) -> dict[str, str]:
    """Return an object of SHA-256 digests in hex."""
    return {
        text(f"{where}, key", key): text(f"{where}.{key!a}", element, HEX_DIGEST)
        for key, element in mapping(where, value).items()
    }
