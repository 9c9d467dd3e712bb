"""Find secrets and personal data in texts: exact byte spans, independent of batch and order.

Sensitivities, each with all of the one before:

* `low`: tokens with a distinctive prefix or checksum, key blocks, passwords in URLs;
* `medium`: e-mail and public IP addresses, payment cards, random-looking values given to secret-like names;
* `high` (default): what detect-secrets finds (`pii.detect_secrets_gate`).

**Spared.**  What a rule or detect-secrets finds and is yet left as it is gets recorded with the reason: an explanation
of `pii.negatives` (a digest, a placeholder, ...), `allowed: ` and the reason of an allow-list entry, or `pragma`.
Nothing is left silently.

**Overlaps.**  Findings that overlap are one finding over the union of their bytes; kind and rule are those of
the longest, then of the kind that comes first in `pii.rules.KINDS`, then of the rule first by name.  (A
winner that leaves bytes of the loser uncovered would leave a part of a secret.)

**Closure.**  Taking a value out can make another one visible (the keyword detector looks at a line's first
match, quotes pair up anew).  So a text with findings is scanned again where it was changed, as it would be
released, until nothing new is found: scanning a released text with the same settings finds nothing.

Work is linear in the text: engines without backtracking, verifiers that read a bounded number of bytes, a
bounded window for the rest, a bounded number of rounds.  Values appear in no result, message or log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypedDict

import pyarrow as pa

from pii.entropy import bare_findings
from pii.gate_findings import Spared, gate_findings
from pii.matcher import Finding, matcher_for
from pii.pragmas import pragma_at
from pii.redact import Place, as_bytes, replace
from pii.rules import KINDS
from pii.settings import Settings

#: One row per finding; `doc` is the row of the text, offsets are bytes of its UTF-8 text.  `spared`: null for what is
#: redacted, else why it is left.  `pragma`: whether an inline pragma asks to leave it.
FINDINGS = pa.schema(
    [
        pa.field("doc", pa.int64(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("spared", pa.string()),
        pa.field("pragma", pa.bool_(), nullable=False),
    ]
)


class Scanned(NamedTuple):
    """What was found in one text: `findings` sorted, without overlaps, closed; `spared` sorted, disjoint from them."""

    findings: list[Finding]
    spared: list[Spared]


# Rounds of the closure.  Real code needs one more look, seldom two; from `_WIDEN` on a new finding takes its
# whole line, and after the last round the rest of the text goes as one.
_ROUNDS, _WIDEN = 24, 12

_DEFAULT = Settings()


def scan(
    texts: pa.Array | pa.ChunkedArray,
    settings: Settings = _DEFAULT,
    *,
    also: pa.Table | None = None,
    use_hyperscan: bool | None = None,
) -> pa.Table:
    """Findings of every text.

    Args:
        texts: UTF-8 in any string or binary type; a null has no findings.
        settings: what to look for, at every text alike.
        also: findings of somebody else (a model) in the same texts, columns of `FINDINGS` up to `rule`; merged.
        use_hyperscan: None takes it where it is installed; the findings are the same.

    Returns:
        Table with schema `FINDINGS`, sorted by (doc, start); what is redacted of one text does not overlap.
    """
    others = _by_doc(also)
    docs: list[int] = []
    rows: list[tuple[int, int, str, str, str | None, bool]] = []
    for doc in range(len(texts)):
        body = as_bytes(texts[doc])
        if body:
            found = scan_text(body, settings, also=others.get(doc, ()), use_hyperscan=use_hyperscan)
            held = [(*f, None) for f in found.findings] + list(found.spared)
            docs += [doc] * len(held)
            rows += [(*f, pragma_at(body, f[0], f[1])) for f in sorted(held, key=lambda f: f[:4])]
    columns = zip(*rows, strict=True) if rows else ((),) * 6
    return pa.table([docs, *columns], schema=FINDINGS)


def _by_doc(also: pa.Table | None) -> dict[int, list[Finding]]:
    out: dict[int, list[Finding]] = {}
    if also is not None:
        columns = (also.column(n).to_pylist() for n in ("doc", "start", "end", "kind", "rule"))
        for doc, *found in zip(*columns, strict=True):
            out.setdefault(doc, []).append((found[0], found[1], found[2], found[3]))
    return out


def scan_one(
    body: bytes, settings: Settings = _DEFAULT, *, use_hyperscan: bool | None = None
) -> list[Finding]:
    """What is redacted of one text: (start, end, kind, rule), sorted, without overlaps, closed (see above)."""
    return scan_text(body, settings, use_hyperscan=use_hyperscan).findings


def scan_text(
    body: bytes,
    settings: Settings = _DEFAULT,
    *,
    also: Iterable[Finding] = (),
    use_hyperscan: bool | None = None,
) -> Scanned:
    """What is found in one text, with what is spared; `also`: findings of somebody else that are merged."""
    first, spared = _look(body, settings, use_hyperscan)
    found = _merged(first + list(also))
    for number in range(_ROUNDS if found else 0):
        released, places = replace(body, found)
        again = [
            (*_before_release(places, start, end), kind, rule)
            for low, high, first_new in _changed(released, places)
            for start, end, kind, rule in (
                (s + low, e + low, k, r)
                for s, e, k, r in _look(released[low:high], settings, use_hyperscan)[0]
            )
            if start >= first_new
        ]
        if not again:
            return Scanned(found, _left(spared, found))
        if number >= _WIDEN:
            again = [(*_whole_lines(body, s, e), k, r) for s, e, k, r in again]
        found = _merged(found + again)
    if found:  # never seen; a text that keeps showing new secrets when old ones go is not worth keeping
        found = [(found[0][0], found[-1][1], "key", "residue")]
    return Scanned(found, _left(spared, found))


def _left(spared: list[Spared], found: list[Finding]) -> list[Spared]:
    """What is spared and not part of a finding after all, once per span."""
    out: list[Spared] = []
    starts = [f[0] for f in found]
    for s in sorted(spared):
        i = bisect_right(starts, s[0]) - 1
        covered = (i >= 0 and found[i][1] > s[0]) or (i + 1 < len(found) and starts[i + 1] < s[1])
        if not covered and (not out or out[-1][:2] != s[:2]):
            out.append(s)
    return out


class FolderFinding(TypedDict):
    """One line of `pipeline scan secrets`: byte offsets in the file's text, never the value."""

    path: bytes
    start: int
    end: int
    kind: str
    rule: str


def scan_folder(
    files: Iterable[tuple[bytes, bytes]], settings: Settings = _DEFAULT
) -> Iterator[FolderFinding]:
    """Findings of (path, UTF-8 text) pairs, in their order; paths are passed on and decide nothing."""
    for path, text in files:
        for start, end, kind, rule in scan_one(text, settings):
            yield {"path": path, "start": start, "end": end, "kind": kind, "rule": rule}


def counts_per_kind(findings: pa.Table, documents: int) -> dict[str, list[int]]:
    """What is redacted of each kind in each of `documents` texts: what a findings budget is decided on."""
    counts = {kind: [0] * documents for kind in KINDS}
    columns = (findings.column(name).to_pylist() for name in ("doc", "kind", "spared"))
    for doc, kind, spared in zip(*columns, strict=True):
        if spared is None:
            counts[kind][doc] += 1
    return counts


def _look(body: bytes, settings: Settings, use_hyperscan: bool | None) -> tuple[list[Finding], list[Spared]]:
    """One pass of all rules; findings neither merged nor closed."""
    found = matcher_for(settings.active_rules, use_hyperscan).findings(body)
    spared: list[Spared] = []
    if any(settings.gated(kind) for kind in ("private_key", "key", "password")):
        found += [f for f in bare_findings(body) if settings.gated(f[2])]
        gated, explained = gate_findings(body, use_hyperscan)
        found += [f for f in gated if settings.gated(f[2])]
        spared += explained
    if not settings.allow and not settings.obey_pragmas:
        return found, spared
    kept: list[Finding] = []
    for f in found:
        why = _why_left(body, f, settings)
        if why is None:
            kept.append(f)
        else:
            spared.append((*f, why))
    return kept, spared


def _why_left(body: bytes, found: Finding, settings: Settings) -> str | None:
    """What of the settings spares a finding: an entry of the allow-list, or a pragma that is obeyed."""
    start, end, kind, rule = found
    for entry in settings.allow:
        if entry.holds(body[start:end], kind, rule):
            return f"allowed: {entry.reason}"
    return "pragma" if settings.obey_pragmas and pragma_at(body, start, end) else None


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
