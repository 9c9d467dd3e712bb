"""Whether released texts hold what they should not: scanned again, everything found must be recorded.

What may be found: spans of `redactions` (a stand-in of the same form looks like what it stands for), and spans that were
recorded as spared. A recorded span is allowed by its value, in its own row only: no allow-list is needed, so that a
reader of the release can ask the same question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pii.scan import scan
from pii.settings import Allow, Settings

SHOWN = 10
"""Findings that a message names."""

COLUMNS = ["row_id", "content", "redactions"]
"""What is read of a row."""

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Unrecorded:
    """A finding in a released text that is recorded nowhere: bytes of `content`, never the value."""

    row_id: str
    start: int
    end: int
    kind: str
    rule: str

    def __str__(self) -> str:
        return f"row {self.row_id}, bytes {self.start:,} to {self.end:,}: {self.kind} by {self.rule}"


def without_exceptions(settings: Settings) -> Settings:
    """The settings with nothing that spares a finding, but the explanations of what is no secret."""
    return replace(settings, allow=(), obey_pragmas=False)


def unrecorded(
    rows: pa.Table, settings: Settings, spared: Mapping[str, Sequence[Span]]
) -> Iterator[Unrecorded]:
    """Findings in rows (`COLUMNS`) that neither `redactions` nor `spared` (row id -> spans) records; by row and place."""
    settings = without_exceptions(settings)
    rows = rows.select(COLUMNS).combine_chunks()
    ids = rows["row_id"].to_pylist()
    apart = [number for number, row in enumerate(ids) if row in spared]
    others = rows.filter(
        pc.invert(pc.is_in(rows["row_id"], value_set=pa.array([ids[n] for n in apart], pa.string())))
    )
    yield from _found(others, settings)
    for number in apart:
        row = rows.slice(number, 1)
        text = row["content"][0].as_buffer()
        values = tuple(
            sorted(
                {hashlib.sha256(memoryview(text)[low:high]).hexdigest() for low, high in spared[ids[number]]}
            )
        )
        yield from _found(row, replace(settings, allow=(Allow(reason="recorded as spared", values=values),)))


def _found(rows: pa.Table, settings: Settings) -> Iterator[Unrecorded]:
    if rows.num_rows == 0:
        return
    found = scan(rows["content"], settings)
    found = found.filter(pc.is_null(found["spared"]))
    for one in found.to_pylist():
        redacted = rows["redactions"][one["doc"]].as_py()
        if not any(r["start"] <= one["start"] and one["end"] <= r["end"] for r in redacted):
            yield Unrecorded(
                row_id=rows["row_id"][one["doc"]].as_py(),
                **{name: one[name] for name in ("start", "end", "kind", "rule")},
            )


def spans_by_row(spared: pa.Table) -> dict[str, list[Span]]:
    """Rows of `secrets-spared.parquet` by row id."""
    spans: dict[str, list[Span]] = {}
    columns = (spared[name].to_pylist() for name in ("row_id", "start", "end"))
    for row, start, end in zip(*columns, strict=True):
        spans.setdefault(row, []).append((start, end))
    return spans


def in_words(found: Sequence[Unrecorded] | Iterable[Mapping[str, Any]], total: int) -> str:
    """The first findings, and how many more there are, for a message."""
    shown = [str(one if isinstance(one, Unrecorded) else Unrecorded(**one)) for one in found][:SHOWN]
    more = f"; and {total - len(shown):,} more" if total > len(shown) else ""
    return "; ".join(shown) + more
