"""Put replacements where findings are: the released text, and where it was changed.

What stands there is chosen in `pii.replacements` by kind, ordinal of the value in order of first appearance, and form; the
form by the bytes outside findings (`pii.surroundings`), and the same for all places of a value.  So the same value gets the
same replacement throughout a file, and two files that differ in nothing but a secret become the same text.

Bytes outside findings are copied.  Every line break inside a finding stays (`pii.pem.replace_block`).  A quote that a finding
opens or closes stays, and so does a backslash at its end, which escapes what follows; one in front of it goes, as it would
escape the replacement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pii.matcher import Finding
from pii.pem import replace_block
from pii.replacements import Form, Replacement, placeholder, stand_in
from pii.rules import KINDS
from pii.surroundings import Line, has_markup, is_number

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


def replace(
    text: bytes, findings: Sequence[Finding], replacement: Replacement = "placeholder"
) -> tuple[bytes, list[Place]]:
    """The released text and, for each finding in order, its place.

    Raises:
        BadFindings: findings not sorted, overlapping, empty, of an unknown kind, or outside the text.
    """
    if not findings:
        return text, []
    _check(text, findings)
    ends = [0, *(f[1] for f in findings)]
    starts = [_start(text, f[0], ends[i]) for i, f in enumerate(findings)]
    gaps = [text[end:start] for end, start in zip(ends, [*starts, len(text)], strict=True)]
    values = [text[start:end] for start, end, _, _ in findings]
    wanted = [(f[2], v[:-1] if _odd(v[-_RUN:]) else v) for v, f in zip(values, findings, strict=True)]
    lines = list(_frames(gaps, values))
    markup = has_markup(gaps)
    forms: dict[tuple[str, bytes], Form] = {}
    for i, key in enumerate(wanted):
        form = _form(markup, lines[i][0], key[1], gaps[i], gaps[i + 1])
        forms[key] = max(form, forms.get(key, form))

    out: list[bytes] = []
    places: list[Place] = []
    ordinals: dict[str, int] = {}
    chosen: dict[tuple[str, bytes], bytes] = {}
    size = 0
    for i, (kind, value) in enumerate(wanted):
        new = chosen.get((kind, value))
        if new is None:
            ordinals[kind] = ordinals.get(kind, 0) + 1
            new = chosen[kind, value] = _new(kind, ordinals[kind], value, forms[kind, value], replacement)
        new = replace_block(values[i], new) if _broken(values[i]) else lines[i][1] % new
        out += (gaps[i], new)
        size += len(gaps[i])
        places.append(Place(starts[i], ends[i + 1], size, size + len(new)))
        size += len(new)
    out.append(gaps[-1])
    return b"".join(out), places


def _check(text: bytes, findings: Sequence[Finding]) -> None:
    at = 0
    for number, (start, end, kind, _) in enumerate(findings):
        if not at <= start < end <= len(text) or kind not in KINDS:
            raise BadFindings(
                f"finding {number} ({kind}, {start}..{end}) does not fit a text of {len(text)} bytes"
            )
        at = end


def _new(kind: str, ordinal: int, value: bytes, form: Form, replacement: Replacement) -> bytes:
    if replacement == "fake" and kind != "private_key" and not _broken(value):
        return stand_in(kind, ordinal, value)
    return placeholder(kind, ordinal, form)


def _broken(value: bytes) -> bool:
    return b"\n" in value or b"\r" in value


def _form(markup: bool, inside: bytes, value: bytes, before: bytes, behind: bytes) -> Form:
    if value.isdigit() and not (inside in _QUOTES and before.endswith(inside) and behind.startswith(inside)):
        # A number may stand where nothing else does, and what looks like a string or comment may be a regular
        # expression with a quote in it or a directive of a preprocessor.
        return Form.NUMBER if not inside and is_number(before, behind) else Form.BARE
    return Form.BARE if markup or not inside else Form.BRACKETED


_QUOTES = frozenset((b'"', b"'", b"`"))


def _start(text: bytes, start: int, low: int) -> int:
    """Where a finding that begins at `start` is cut: with the backslash that escapes its first byte."""
    return start - 1 if _odd(text[max(low, start - _RUN) : start]) else start


_RUN = 64  # backslashes in a row that are counted


def _odd(piece: bytes) -> bool:
    """Whether an odd number of backslashes ends `piece`."""
    return bool((len(piece) - len(piece.rstrip(b"\\"))) % 2)


def _frames(gaps: Sequence[bytes], values: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """For each finding what it is inside of (`Line.inside`), and a template with `%s` for its replacement.

    The template holds the quotes that the finding opens or closes, and the backslash at its end: what follows reads as before.
    """
    line, escaping = Line(), False
    for gap, value in zip(gaps, values, strict=False):
        line.feed(b"\\" + gap if escaping else gap)
        before = line.inside
        if _broken(value):
            yield before, b""
            line, escaping = Line(), False
            continue
        line.feed(value)
        after = line.inside
        frame = b"%s"
        if before != after and {before, after} <= _QUOTES | {b""}:
            frame = after + b"%s" if not before else b"%s" + before + after
        else:
            line.inside = before
        escaping = _odd(value[-_RUN:])
        yield before, frame + b"\\" if escaping else frame


def released_spans(places: Sequence[Place], spared: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
    """Where spans that were left as they are stand in the released text.

    Args:
        places: as `replace` gives them.
        spared: tuples that begin with (start, end) in the text, sorted, disjoint from the findings.
    """
    ends = [(p.end, p.released_end) for p in places]
    return _shifted(ends, [(s[0], s[1]) for s in spared])


def _shifted(ends: Sequence[tuple[int, int]], spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans moved by how far the last finding that ends before them was moved; `ends`: (end, released end), both ascending."""
    out: list[tuple[int, int]] = []
    i, shift = 0, 0
    for start, end in spans:
        while i < len(ends) and ends[i][0] <= start:
            shift = ends[i][1] - ends[i][0]
            i += 1
        out.append((start + shift, end + shift))
    return out


def released_spared(findings: pa.Table, redactions: pa.ListArray | pa.ChunkedArray) -> pa.Table:
    """The findings that were left as they are, with `start` and `end` in the released texts.

    Args:
        findings: as `pii.scan.scan` returns them.
        redactions: as `redact_batch` returns them for the same findings.
    """
    starts: list[int] = []
    stops: list[int] = []
    kept = findings.filter(pc.is_valid(findings["spared"]))
    gone = findings.filter(pc.is_null(findings["spared"]))
    ends: dict[int, list[int]] = {}
    for doc, end in zip(gone["doc"].to_pylist(), gone["end"].to_pylist(), strict=True):
        ends.setdefault(doc, []).append(end)
    spans: dict[int, list[tuple[int, int]]] = {}
    for doc, start, end in zip(*(kept[n].to_pylist() for n in ("doc", "start", "end")), strict=True):
        spans.setdefault(doc, []).append((start, end))
    for doc, held in spans.items():  # sorted by document, as the rows are
        released = [mark["end"] for mark in redactions[doc].as_py()] if doc in ends else []
        moved = _shifted(list(zip(ends.get(doc, []), released, strict=True)), held)
        starts += [start for start, _ in moved]
        stops += [end for _, end in moved]
    for name, column in (("start", starts), ("end", stops)):
        at = kept.column_names.index(name)
        kept = kept.set_column(at, kept.schema.field(at), pa.array(column, pa.int64()))
    return kept


def redact_one(
    text: bytes, findings: Sequence[Finding], replacement: Replacement = "placeholder"
) -> tuple[bytes, list[Finding]]:
    """The released text of one text, and its redactions as (start, end, kind, rule) in released bytes."""
    released, places = replace(text, findings, replacement)
    redactions = [
        (p.released_start, p.released_end, kind, rule)
        for p, (_, _, kind, rule) in zip(places, findings, strict=True)
    ]
    return released, redactions


def redact_batch(
    texts: pa.Array | pa.ChunkedArray, findings: pa.Table, replacement: Replacement = "placeholder"
) -> tuple[pa.LargeStringArray, pa.ListArray]:
    """Released texts and their redactions, row for row.

    Args:
        texts: valid UTF-8, any string or binary type; a null stays null, its redactions are empty.
        findings: as `pii.scan.scan` returns them for these texts; what is spared is left.
        replacement: that of the `Settings` of the scan, which was closed with it.

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
            body, marks = redact_one(body, by_doc[doc], replacement)
        released.append(body)
        redactions.append([{"kind": k, "start": s, "end": e, "rule": r} for s, e, k, r in marks])
    column = pa.array(released, pa.large_binary()).cast(pa.large_string())
    return column, pa.array(redactions, pa.list_(REDACTION))


def as_bytes(text: pa.Scalar) -> bytes | None:
    """The bytes of a string or binary scalar; None for null."""
    buffer = text.as_buffer()
    return None if buffer is None else buffer.to_pybytes()
