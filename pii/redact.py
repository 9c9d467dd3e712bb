"""Put placeholders where findings are: the released text, and where it was changed.

A placeholder is `<KIND_n>`: the kind in capitals and the ordinal of the distinct value among the values of
that kind in this text, in order of first appearance.  So it depends on nothing but the text: the same value
gets the same placeholder throughout a file, and two files that differ in nothing but a secret become the same
text. It is the convention of the published code datasets with a number added; it holds no quote, backslash,
space or line break, so a quoted string stays one, and detect-secrets takes it for a
template.  Documentation-range addresses were considered for addresses and rejected: a reader could not tell
them from the author's own.

Bytes outside findings are copied.  Every line break inside a finding stays (`pii.pem.replace_block`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pii.matcher import Finding
from pii.pem import replace_block
from pii.rules import KINDS

#: Type of one entry of the `redactions` column; offsets are bytes of the released text.
REDACTION = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
    ]
)


class BadFindings(ValueError):
    """Findings that are out of order, overlap, or lie outside their text."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a finding was (`start`, `end` in the text) and what stands there now (in the released text)."""

    start: int
    end: int
    released_start: int
    released_end: int


def placeholder(kind: str, ordinal: int) -> bytes:
    """The placeholder of the `ordinal`-th distinct value (from 1) of a kind."""
    return b"<%s_%d>" % (kind.upper().encode("ascii"), ordinal)


def replace(text: bytes, findings: Sequence[Finding]) -> tuple[bytes, list[Place]]:
    """The released text and, for each finding in order, its place.

    Raises:
        BadFindings: findings not sorted, overlapping, empty, of an unknown kind, or outside the text.
    """
    out: list[bytes] = []
    places: list[Place] = []
    ordinals: dict[str, dict[bytes, int]] = {}
    at = size = 0
    for number, (start, end, kind, _) in enumerate(findings):
        if not at <= start < end <= len(text) or kind not in KINDS:
            raise BadFindings(
                f"finding {number} ({kind}, {start}..{end}) does not fit a text of {len(text)} bytes"
            )
        value = text[start:end]
        known = ordinals.setdefault(kind, {})
        new = placeholder(kind, known.setdefault(value, len(known) + 1))
        if b"\n" in value or b"\r" in value:
            new = replace_block(value, new)
        out += (text[at:start], new)
        size += start - at
        places.append(Place(start, end, size, size + len(new)))
        size += len(new)
        at = end
    out.append(text[at:])
    return b"".join(out), places


def redact_one(text: bytes, findings: Sequence[Finding]) -> tuple[bytes, list[Finding]]:
    """The released text of one text, and its redactions as (start, end, kind, rule) in released bytes."""
    released, places = replace(text, findings)
    redactions = [
        (p.released_start, p.released_end, kind, rule)
        for p, (_, _, kind, rule) in zip(places, findings, strict=True)
    ]
    return released, redactions


def redact_batch(
    texts: pa.Array | pa.ChunkedArray, findings: pa.Table
) -> tuple[pa.LargeStringArray, pa.ListArray]:
    """Released texts and their redactions, row for row.

    Args:
        texts: valid UTF-8, any string or binary type; a null stays null, its redactions are empty.
        findings: as `pii.scan.scan` returns them for these texts; what is spared is left.

    Returns:
        (large_string, list<`REDACTION`>).

    Raises:
        BadFindings: findings do not fit the texts.
        pyarrow.ArrowInvalid: a text is no valid UTF-8.
    """
    by_doc: dict[int, list[Finding]] = {}
    if "spared" in findings.column_names:
        findings = findings.filter(pc.is_null(findings["spared"]))
    columns = (findings.column(n).to_pylist() for n in ("doc", "start", "end", "kind", "rule"))
    for doc, start, end, kind, rule in zip(*columns, strict=True):
        by_doc.setdefault(doc, []).append((start, end, kind, rule))
    if by_doc and not 0 <= min(by_doc) <= max(by_doc) < len(texts):
        raise BadFindings(f"findings name documents beyond the {len(texts)} texts")
    released: list[bytes | None] = []
    redactions: list[list[dict[str, object]]] = []
    for doc in range(len(texts)):
        body = as_bytes(texts[doc])
        marks: list[Finding] = []
        if doc in by_doc:
            if body is None:
                raise BadFindings(f"findings in document {doc}, which is null")
            body, marks = redact_one(body, by_doc[doc])
        released.append(body)
        redactions.append([{"kind": k, "start": s, "end": e, "rule": r} for s, e, k, r in marks])
    column = pa.array(released, pa.large_binary()).cast(pa.large_string())
    return column, pa.array(redactions, pa.list_(REDACTION))


def as_bytes(text: pa.Scalar) -> bytes | None:
    """The bytes of a string or binary scalar; None for null."""
    buffer = text.as_buffer()
    return None if buffer is None else buffer.to_pybytes()
