"""The stable name of a content in any release."""

from __future__ import annotations

import hashlib

ROW_ID_SQL = "left(sha256('stackmill row'::blob || '\\x00'::blob || unhex({sha256})), 32)"
"""`row_id` of a column, in DuckDB."""


def row_id(sha256: str) -> str:
    """128 bits of a hash of the content's identity, as hex: the same in any release."""
    return hashlib.sha256(b"stackmill row\0" + bytes.fromhex(sha256)).hexdigest()[:32]
