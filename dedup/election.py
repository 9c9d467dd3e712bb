"""Which occurrence of a content stands for it: the strict total order of the release.

The first in this order among the occurrences that pass their own rules is elected. Stars and forks count by
powers of two only: exact counts drift with every export of the archive, and a release should not move with
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

# bin(n) of DuckDB has one character per bit: exact, where floor(log2(n)) on doubles rounds 2^53 - 1 up.
_LOG2_FLOOR_SQL = "length(bin(greatest(coalesce({column}, 0), 0)::HUGEINT + 1)) - 1"


@dataclass(frozen=True, slots=True)
class ElectionKey:
    """One column of the order: `sql` is what is compared, with `{column}` for the (qualified) column name."""

    column: str
    type: pa.DataType
    direction: str  # ASC or DESC
    nulls: str  # FIRST or LAST
    sql: str
    meaning: str


ELECTION_ORDER: tuple[ElectionKey, ...] = (
    ElectionKey(
        "is_fork",
        pa.bool_(),
        "ASC",
        "LAST",
        "coalesce({column}, false)",
        "an original before a fork; unknown = original",
    ),
    ElectionKey(
        "stars",
        pa.int64(),
        "DESC",
        "LAST",
        _LOG2_FLOOR_SQL,
        "more stars first, by floor(log2(stars + 1)); unknown = 0",
    ),
    ElectionKey(
        "forks",
        pa.int64(),
        "DESC",
        "LAST",
        _LOG2_FLOOR_SQL,
        "more forks first, by floor(log2(forks + 1)); unknown = 0",
    ),
    ElectionKey(
        "revision_date",
        pa.int64(),
        "ASC",
        "LAST",
        "{column}",
        "earliest revision first, microseconds since the epoch; unknown last",
    ),
    ElectionKey(
        "path_components", pa.int32(), "ASC", "LAST", "{column}", "fewest components of the path first"
    ),
    ElectionKey("origin", pa.large_binary(), "ASC", "LAST", "{column}", "origin, bytewise"),
    ElectionKey("path", pa.large_binary(), "ASC", "LAST", "{column}", "path, bytewise"),
)
"""The order, most significant first. (origin, path) is unique among the occurrences of one content, so it is
strict."""


def order_by_sql(alias: str = "", *, then: Sequence[str] = ()) -> str:
    """Build what follows ORDER BY in DuckDB: `ELECTION_ORDER` over the columns of table `alias`.

    `then`: further columns of the same table, ascending; ("sha256",) makes it the rank among elected
    contents. Names are quoted. Dates must be BIGINT, origin and path BLOB or VARCHAR.
    """
    terms = [
        f"{key.sql.format(column=_quoted(alias, key.column))} {key.direction} NULLS {key.nulls}"
        for key in ELECTION_ORDER
    ]
    terms += [f"{_quoted(alias, column)} ASC NULLS LAST" for column in then]
    return ", ".join(terms)


def log2_floor(count: int | None) -> int:
    """floor(log2(count + 1)) in integers; an unknown or negative count is 0."""
    return (max(count or 0, 0) + 1).bit_length() - 1


def election_key(occurrence: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give the sort key of one occurrence (a mapping of the columns): the reference for `order_by_sql`.

    min(occurrences, key=election_key) is the elected one.
    """
    date = occurrence["revision_date"]
    return (
        bool(occurrence["is_fork"]),
        -log2_floor(occurrence["stars"]),
        -log2_floor(occurrence["forks"]),
        (date is None, date or 0),
        occurrence["path_components"],
        _as_bytes(occurrence["origin"]),
        _as_bytes(occurrence["path"]),
    )


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _quoted(alias: str, column: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in (alias, column) if name)
