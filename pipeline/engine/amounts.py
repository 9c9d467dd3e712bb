"""Amounts of memory as DuckDB and the configuration write them."""

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
