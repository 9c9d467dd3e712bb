"""Amounts of memory and of data as DuckDB and the configuration write them."""

from __future__ import annotations

import re

_AMOUNT = re.compile(r"([1-9][0-9]{0,8}(?:\.[0-9]{1,3})?) ?([KMGT])(i?)B")
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}


def memory_bytes(text: str) -> int:
    """Bytes of an amount: 1GB is 10^9, 1.5GiB is 1.5 x 2^30. ValueError when it is none."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ValueError("must be an amount with its unit, such as 512MB, 1GB or 1.5GiB")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2]])


_PLAIN = re.compile(r"[1-9][0-9]{0,15}")
_NUMBER = re.compile(r"([1-9][0-9]{0,8}(?:\.[0-9]{1,3})?) ?([KMGT])")


def data_bytes(given: object) -> int:
    """Bytes of an amount of data: a number of bytes, or an amount with its unit. ValueError when it is neither."""
    if isinstance(given, str) and not _PLAIN.fullmatch(given):
        return memory_bytes(given)
    return _whole(given, "must be a number of bytes, or an amount with its unit, such as 500MB or 10GB")


def token_count(given: object) -> int:
    """A number of tokens, as it is or as thousands (K), millions (M), ... . ValueError when it is none."""
    found = _NUMBER.fullmatch(given) if isinstance(given, str) else None
    if found is not None:
        return int(float(found[1]) * 1000 ** _POWERS[found[2]])
    return _whole(given, "must be a number of tokens, such as 2000000, 2M or 1.5G")


def _whole(given: object, message: str) -> int:
    if isinstance(given, str) and _PLAIN.fullmatch(given):
        given = int(given)
    if type(given) is not int or not 1 <= given <= 1 << 53:
        raise ValueError(message)
    return given
