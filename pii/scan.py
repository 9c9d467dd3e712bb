"""Find secrets and personal data in texts: exact byte spans, independent of path, batch and order.

Sensitivities, each with all of the one before:

* `low`: tokens with a distinctive prefix or checksum, key blocks, passwords in URLs;
* `medium`: e-mail and public IP addresses, payment cards, random-looking values given to secret-like names;
* `high` (default): what detect-secrets finds (`pii.detect_secrets_gate`), less what `pii.negatives` explains.

**Overlaps.**  Findings that overlap are one finding over the union of their bytes; kind and rule are those of
the longest, then of the kind that comes first in `pii.rules.KINDS`, then of the rule first by name.  (A
winner that leaves bytes of the loser uncovered would leave a part of a secret.)

**Closure.**  Taking a value out can make another one visible (the keyword detector looks at a line's first
match, quotes pair up anew).  So a text with findings is scanned again where it was changed, as it would be
released, until nothing new is found: scanning a released text at the same sensitivity finds nothing.

Work is linear in the text: engines without backtracking, verifiers that read a bounded number of bytes, a
bounded window for the rest, a bounded number of rounds.  Values appear in no result, message or log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TypedDict

import pyarrow as pa

from pii.boundaries import line_before
from pii.detect_secrets_gate import LineFinding, gate
from pii.matcher import Finding, matcher_for
from pii.negatives import (
    counts_up,
    is_data,
    is_digest,
    is_phrase,
    is_placeholder,
    is_stock_password,
    is_words,
)
from pii.pem import block_end
from pii.redact import Place, as_bytes, replace
from pii.rules import KINDS, sensitivity_level

#: Measured on 30 MB of Python code: see benchmarks/bench_secrets.py.
DEFAULT_SENSITIVITY = "high"

#: One row per finding; `doc` is the row of the text, offsets are bytes of its UTF-8 text.
FINDINGS = pa.schema(
    [
        pa.field("doc", pa.int64(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
    ]
)

# Rounds of the closure.  Real code needs one more look, seldom two; from `_WIDEN` on a new finding takes its
# whole line, and after the last round the rest of the text goes as one.
_ROUNDS, _WIDEN = 24, 12


def scan(
    texts: pa.Array | pa.ChunkedArray,
    *,
    sensitivity: str = DEFAULT_SENSITIVITY,
    use_hyperscan: bool | None = None,
) -> pa.Table:
    """Findings of every text.

    Args:
        texts: UTF-8 in any string or binary type; a null has no findings.
        sensitivity: one of `pii.rules.SENSITIVITIES`.
        use_hyperscan: None takes it where it is installed; the findings are the same.

    Returns:
        Table with schema `FINDINGS`, sorted by (doc, start); findings of one text do not overlap.

    Raises:
        UnknownSensitivity: no such sensitivity.
    """
    sensitivity_level(sensitivity)
    docs: list[int] = []
    rows: list[Finding] = []
    for doc in range(len(texts)):
        body = as_bytes(texts[doc])
        if body:
            found = scan_one(body, sensitivity=sensitivity, use_hyperscan=use_hyperscan)
            docs += [doc] * len(found)
            rows += found
    starts, ends, kinds, rules = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table([docs, starts, ends, kinds, rules], schema=FINDINGS)


def scan_one(
    body: bytes, *, sensitivity: str = DEFAULT_SENSITIVITY, use_hyperscan: bool | None = None
) -> list[Finding]:
    """Findings of one text as (start, end, kind, rule), sorted, without overlaps, closed (see above)."""
    found = _merged(_look(body, sensitivity, use_hyperscan))
    for number in range(_ROUNDS if found else 0):
        released, places = replace(body, found)
        again = [
            (*_before_release(places, start, end), kind, rule)
            for low, high, first in _changed(released, places)
            for start, end, kind, rule in (
                (s + low, e + low, k, r)
                for s, e, k, r in _look(released[low:high], sensitivity, use_hyperscan)
            )
            if start >= first
        ]
        if not again:
            return found
        if number >= _WIDEN:
            again = [(*_whole_lines(body, s, e), k, r) for s, e, k, r in again]
        found = _merged(found + again)
    if found:  # never seen; a text that keeps showing new secrets when old ones go is not worth keeping
        found = [(found[0][0], found[-1][1], "key", "residue")]
    return found


class FolderFinding(TypedDict):
    """One line of `pipeline scan secrets`: byte offsets in the file's text, never the value."""

    path: bytes
    start: int
    end: int
    kind: str
    rule: str


def scan_folder(
    files: Iterable[tuple[bytes, bytes]], *, sensitivity: str = DEFAULT_SENSITIVITY
) -> Iterator[FolderFinding]:
    """Findings of (path, UTF-8 text) pairs, in their order; paths are passed on and decide nothing."""
    sensitivity_level(sensitivity)
    for path, text in files:
        for start, end, kind, rule in scan_one(text, sensitivity=sensitivity):
            yield {"path": path, "start": start, "end": end, "kind": kind, "rule": rule}


def counts_per_kind(findings: pa.Table, documents: int) -> dict[str, list[int]]:
    """Findings of each kind in each of `documents` texts: what a findings budget is decided on."""
    counts = {kind: [0] * documents for kind in KINDS}
    for doc, kind in zip(
        findings.column("doc").to_pylist(), findings.column("kind").to_pylist(), strict=True
    ):
        counts[kind][doc] += 1
    return counts


def _look(body: bytes, sensitivity: str, use_hyperscan: bool | None) -> list[Finding]:
    """One pass of all rules; neither merged nor closed."""
    found = matcher_for(sensitivity, use_hyperscan).findings(body)
    if sensitivity == "high":
        text = body.decode("utf-8", "surrogateescape")
        lines = gate(use_hyperscan).findings(text)
        if lines:
            offset = _byte_offsets(text, lines)
            found += [f for x in lines if (f := _judged(body, x, offset[x.start], offset[x.end])) is not None]
    return found


def _byte_offsets(text: str, lines: list[LineFinding]) -> dict[int, int]:
    """Byte offset of every character offset that `lines` name, in one pass."""
    wanted = sorted({p for x in lines for p in (x.start, x.end)})
    if text.isascii():
        return {p: p for p in wanted}
    out: dict[int, int] = {}
    at = size = 0
    for p in wanted:
        size += len(text[at:p].encode("utf-8", "surrogateescape"))
        out[p] = size
        at = p
    return out


# A base64 value longer than this is data, unless it is DER (the base64 of an ASN.1 sequence begins with MI).
_VALUE_MAX = 512
_HEX_MAX = 128


def _judged(body: bytes, found: LineFinding, start: int, end: int) -> Finding | None:
    """A finding of detect-secrets in our terms; None for what `pii.negatives` explains."""
    value, before = body[start:end], line_before(body, start, 200)
    rule = "detect-secrets/" + "-".join(found.type.lower().replace("(", "").replace(")", "").split())
    kind = "key"
    if is_placeholder(value):
        return None
    if found.type == "Private Key":
        # The plugin marks the header, also in code that looks for one; a key has material behind it.
        stop = block_end(body, end)
        return None if stop is None else (start, stop, "private_key", rule)
    if found.type == "Hex High Entropy String":
        if len(value) > _HEX_MAX or counts_up(value, 5) or is_digest(value, before):
            return None
    elif found.type == "Base64 High Entropy String":
        if (len(value) > _VALUE_MAX and not value.startswith(b"MI")) or counts_up(value):
            return None
        if is_digest(value, before) or is_data(value, before) or is_words(value):
            return None
    elif found.type == "Basic Auth Credentials":
        kind = "password"
        if is_stock_password(value):
            return None
    elif found.type == "Secret Keyword":
        kind = "key" if "key" in found.matched_name and "pass" not in found.matched_name else "password"
        if is_stock_password(value) or is_phrase(value):
            return None
    return start, end, kind, rule


def _merged(findings: list[Finding]) -> list[Finding]:
    """Sorted, overlapping ones united as the module says."""
    out: list[Finding] = []
    cluster: list[Finding] = []
    reach = -1
    for f in sorted(findings):
        if cluster and f[0] >= reach:
            out.append(_united(cluster, reach))
            cluster = []
        cluster.append(f)
        reach = max(reach, f[1]) if len(cluster) > 1 else f[1]
    if cluster:
        out.append(_united(cluster, reach))
    return out


def _united(cluster: list[Finding], reach: int) -> Finding:
    _, _, kind, rule = min(cluster, key=lambda f: (f[0] - f[1], KINDS.index(f[2]), f[3]))
    return cluster[0][0], reach, kind, rule


def _changed(released: bytes, places: list[Place]) -> Iterator[tuple[int, int, int]]:
    """(low, high, first): the windows of a released text that must be looked at again.

    The lines with placeholders, one before (a pragma there is about the next line) and one behind; only what
    begins at `first` or later is new.  Key blocks reach over many lines: with a header left, the whole text.
    """
    if b"PRIVATE KEY" in released or b"PuTTY-User" in released:
        yield 0, len(released), 0
        return
    pending: tuple[int, int, int] | None = None
    last_line_end = -1
    for p in places:
        if p.released_end <= last_line_end:
            continue  # on the line of the one before: looking for its borders again would cost the square
        first = released.rfind(b"\n", 0, p.released_start) + 1
        low = released.rfind(b"\n", 0, max(first - 1, 0)) + 1
        last_line_end = _line_end(released, p.released_end)
        high = _line_end(released, last_line_end + 1)
        if pending and low <= pending[1]:
            pending = (pending[0], max(high, pending[1]), pending[2])
        else:
            if pending:
                yield pending
            pending = (low, high, first)
    if pending:
        yield pending


def _line_end(body: bytes, position: int) -> int:
    end = body.find(b"\n", position)
    return len(body) if end < 0 else end


def _before_release(places: list[Place], start: int, end: int) -> tuple[int, int]:
    """A span of the released text in the text before; one that touches a placeholder takes in its finding."""
    i = bisect_right(places, start, key=lambda p: p.released_start) - 1
    if i >= 0:
        p = places[i]
        start = p.start if start < p.released_end else start - p.released_end + p.end
    j = bisect_right(places, end - 1, key=lambda p: p.released_start) - 1
    if j >= 0:
        p = places[j]
        end = p.end if end <= p.released_end else end - p.released_end + p.end
    return start, end


def _whole_lines(body: bytes, start: int, end: int) -> tuple[int, int]:
    low = max(body.rfind(b"\n", 0, start), body.rfind(b"\r", 0, start)) + 1
    high = min(p for p in (body.find(b"\n", end), body.find(b"\r", end), len(body)) if p >= 0)
    return low, high
