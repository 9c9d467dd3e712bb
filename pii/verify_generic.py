"""Verifiers of values that only their surroundings make secrets: in URLs, behind secret-like names."""

from __future__ import annotations

import re

from pii.boundaries import closes_here
from pii.negatives import entropy, is_placeholder, is_stock_password, is_uuid, is_words

Span = tuple[int, int]


def url_password(body: bytes, start: int, end: int) -> Span | None:
    """The password of `scheme://user:password@host`, unless it is a variable or a stock word."""
    value = body[start:end]
    if is_stock_password(value) or is_placeholder(value) or value[:1] in b"$%{[<*" or b"{" in value:
        return None
    return start, end


def random_value(body: bytes, start: int, end: int) -> Span | None:
    """A value of fixed length from a random source: it ends here, and is neither placeholder nor words."""
    value = body[start:end]
    if not closes_here(body, end) or is_placeholder(value) or is_words(value) or entropy(value) < 4.0:
        return None
    return start, end


_REFERENCE = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*(?:[.:/-]+[A-Za-z_][A-Za-z0-9_]*)*\Z")


def assigned_value(body: bytes, start: int, end: int) -> Span | None:
    """A quoted value behind a secret-like name: letters and digits mixed, no name, path, URL or phrase."""
    value = body[start:end]
    if is_placeholder(value) or value[:1] in b"/.%#@" or b"://" in value or is_stock_password(value):
        return None
    if not any(48 <= c <= 57 for c in value) or not any(
        c in b"abcdefghijklmnopqrstuvwxyz" for c in value.lower()
    ):
        return None
    if (
        is_uuid(value)
        or is_words(value)
        or entropy(value) < 2.75
        or (_REFERENCE.match(value) and entropy(value) < 3.5)
    ):
        return None
    return start, end
