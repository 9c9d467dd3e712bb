"""Find secrets and personal data in texts: exact byte spans, independent of batch and order.

Sensitivities, each with all of the one before:

* `low`: tokens with a distinctive prefix or checksum, key blocks, passwords in URLs;
* `medium`: e-mail and public IP addresses, payment cards, random-looking values given to secret-like names;
* `high` (default): what detect-secrets finds (`pii.detect_secrets_gate`).

**Spared.**  What a rule or detect-secrets finds and is yet left as it is gets recorded with the reason: an explanation
of `pii.negatives` (a digest, a placeholder, ...), `allowed: ` and the reason of an allow-list entry, or `pragma`.
Nothing is left silently.

**Overlaps.**  Findings that overlap are one finding over the union of their bytes (`pii.spans`).  (A winner that leaves
bytes of the loser uncovered would leave a part of a secret.)

**Closure.**  Scanning a released text with the same settings finds nothing (`pii.closure`).

Work is linear in the text: engines without backtracking, verifiers that read a bounded number of bytes, a
bounded window for the rest, a bounded number of rounds.  Values appear in no result, message or log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict

import pyarrow as pa

from pii.closure import closed
from pii.entropy import bare_findings
from pii.gate_findings import Spared, gate_findings
from pii.matcher import Finding, Matcher, Occurring, matcher_for
from pii.pragmas import holds_pragmas, pragma_at
from pii.replacements import is_stand_in
from pii.rules import KINDS
from pii.settings import Settings
from pii.spans import merged
from pii.texts import bodies

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

#: Bytes of a text: beyond, offsets of the engines do not reach.
MAX_TEXT = 2**31 - 1


class TextTooLarge(ValueError):
    """A text of more than `MAX_TEXT` bytes."""


class Scanned(NamedTuple):
    """What was found in one text: `findings` sorted, without overlaps, closed; `spared` sorted, disjoint from them."""

    findings: list[Finding]
    spared: list[Spared]


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
        also: findings of somebody else (a model) in the same texts, columns of `FINDINGS` up to `rule`; merged, unless
            their kind is off or the settings spare them.
        use_hyperscan: None takes it where it is installed; the findings are the same.

    Returns:
        Table with schema `FINDINGS`, sorted by (doc, start); what is redacted of one text does not overlap.
    """
    others = _by_doc(also)
    matcher = _matcher_of(settings, use_hyperscan)
    gated = _asks_gate(settings)
    columns: tuple[list[Any], ...] = ([], [], [], [], [], [], [])
    for doc, view in enumerate(bodies(texts)):
        if not view:
            continue
        if len(view) > MAX_TEXT:
            raise TextTooLarge(f"text {doc} has {len(view):,} bytes: {MAX_TEXT:,} can be scanned")
        occurring = matcher.occurring(view)
        if not gated and occurring.is_nothing and doc not in others:
            continue  # most texts: never copied
        body = bytes(view)
        found = _scanned(body, settings, others.get(doc, ()), use_hyperscan, occurring)
        held = [(*f, None) for f in found.findings] + list(found.spared)
        pragmas = bool(held) and holds_pragmas(body)
        for f in sorted(held, key=lambda f: f[:4]):
            pragma = pragmas and pragma_at(body, f[0], f[1])
            for column, value in zip(columns, (doc, *f, pragma), strict=True):
                column.append(value)
    return pa.table(list(columns), schema=FINDINGS)


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
    if len(body) > MAX_TEXT:
        raise TextTooLarge(f"the text has {len(body):,} bytes: {MAX_TEXT:,} can be scanned")
    return _scanned(body, settings, also, use_hyperscan, None)


def _scanned(
    body: bytes,
    settings: Settings,
    also: Iterable[Finding],
    use_hyperscan: bool | None,
    occurring: Occurring | None,
) -> Scanned:
    def by_rules(text: bytes, occurring: Occurring | None = None) -> list[Finding]:
        found = matcher.findings(text, occurring)
        if gated:
            found += (f for f in bare_findings(text) if settings.gated(f[2]))
        return [f for f in found if not is_stand_in(text[f[0] : f[1]])]

    def by_gate(text: bytes) -> tuple[list[Finding], list[Spared]]:
        found, explained = gate_findings(text, use_hyperscan)
        return [f for f in found if settings.gated(f[2])], explained

    matcher = _matcher_of(settings, use_hyperscan)
    gated = _asks_gate(settings)
    first = by_rules(body, occurring)
    spared: list[Spared] = []
    if gated:
        more, spared = by_gate(body)
        first += more
    first += (f for f in also if settings.level_of(f[2]) >= 0 and not is_stand_in(body[f[0] : f[1]]))
    first, left = _kept(body, first, settings)
    found = closed(
        body,
        merged(first),
        lambda text: _kept(text, by_rules(text), settings)[0],
        (lambda text: _kept(text, by_gate(text)[0], settings)[0]) if gated else None,
        settings.replacement,
    )
    return Scanned(found, _left(spared + left, found))


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


@lru_cache(maxsize=64)
def _matcher_of(settings: Settings, use_hyperscan: bool | None) -> Matcher:
    """By the settings: to compare some hundred rules for every text takes longer than to scan most of them."""
    return matcher_for(settings.active_rules, use_hyperscan)


@lru_cache(maxsize=64)
def _asks_gate(settings: Settings) -> bool:
    return any(settings.gated(kind) for kind in ("private_key", "key", "password"))


def _kept(body: bytes, found: list[Finding], settings: Settings) -> tuple[list[Finding], list[Spared]]:
    """Findings less those that the settings spare, and these."""
    if not settings.allow and not settings.obey_pragmas:
        return found, []
    kept: list[Finding] = []
    spared: list[Spared] = []
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
