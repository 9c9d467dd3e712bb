"""What a release of a `World` must hold, in plain Python: no tables, no buckets, no SQL.

It shares with the pipeline only what it does not test: `pii` (which bytes are a secret). Everything else, from the order
of reasons over the election to the near-duplicate decision by brute force over all pairs, is written again from DESIGN 3.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

import e2e_archives as archives
import pyarrow as pa

from pii.redact import redact_batch
from pii.scan import scan

PERMISSIVE = {"MIT", "Apache-2.0", "BSD-3-Clause", "ISC"}
MAX_PATH_BYTES = 4_096
_TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")


@dataclass(frozen=True)
class Place:
    """An occurrence: origin, path, content."""

    url: str
    path: bytes
    sha256: str


@dataclass
class Expected:
    """The reason of every occurrence (None: kept), and what stands for the dropped duplicates."""

    reasons: dict[tuple[str, bytes], str | None] = field(default_factory=dict)
    kept: dict[str, Place] = field(default_factory=dict)  # sha256 of the original -> elected occurrence
    texts: dict[str, bytes] = field(default_factory=dict)  # sha256 of the original -> released text
    occurrences: Counter[str] = field(default_factory=Counter)  # sha256 -> lawful occurrences of these bytes
    near: dict[str, str] = field(default_factory=dict)  # dropped content -> the kept one that stands for it
    unresolved: int = 0

    @property
    def totals(self) -> dict[str, object]:
        dropped = Counter(reason for reason in self.reasons.values() if reason is not None)
        return {"found": len(self.reasons), "kept": len(self.kept), "dropped": dict(sorted(dropped.items()))}


def expect(
    world: archives.World,
    *,
    threshold: str = "0.7",
    licenses: frozenset[str] = frozenset(),
    cap: int | None = None,
) -> Expected:
    """Decide every occurrence. `licenses`: those selected, empty for all; `cap`: bytes of text, of one language all."""
    expected = Expected()
    candidates: dict[str, list[tuple[tuple[object, ...], Place]]] = defaultdict(list)
    files: dict[str, archives.File] = {}
    for origin in world.origins:
        if origin.files is None:
            expected.unresolved += 1
            continue
        for path, entry in origin.all_files().items():
            reason = _reason(origin, path, entry, licenses)
            expected.reasons[origin.url, path] = reason
            if reason is None:
                assert isinstance(entry, archives.File)
                sha256 = hashlib.sha256(entry.body).hexdigest()
                place = Place(origin.url, path, sha256)
                # No fork, no stars: the earliest revision, unknown last; fewest components; origin; path.
                date = (origin.date is None, origin.date or 0)
                key = (date, path.count(b"/") + 1, origin.url.encode(), path)
                candidates[sha256].append((key, place))
                files[sha256] = entry
    # One occurrence per content ...
    elected: dict[str, tuple[tuple[object, ...], Place]] = {}
    for sha256, places in candidates.items():
        elected[sha256] = min(places)
        expected.occurrences[sha256] = len(places)
        for _, place in places:
            expected.reasons[place.url, place.path] = "exact_duplicate"
    # ... one content per released text, in the order of election ...
    ranked = sorted(elected, key=lambda sha256: (elected[sha256][0], sha256))
    texts = dict(zip(ranked, released([files[sha256].decoded for sha256 in ranked]), strict=True))
    seen: set[bytes] = set()
    winners = [sha256 for sha256 in ranked if not (texts[sha256] in seen or seen.add(texts[sha256]))]
    # ... and of those the first maximal independent set of the similarity graph.
    limit = Fraction(threshold)
    shingled = {sha256: shingles(texts[sha256]) for sha256 in winners}
    for sha256 in winners:
        near = [other for other in expected.kept if similar(shingled[sha256], shingled[other], limit)]
        place = elected[sha256][1]
        if near:
            expected.near[sha256] = near[0]  # kept ones are in rank order
            expected.reasons[place.url, place.path] = "near_duplicate"
        else:
            expected.kept[sha256] = place
            expected.texts[sha256] = texts[sha256]
            expected.reasons[place.url, place.path] = None
    if cap is not None:
        _cut(expected, cap)
    return expected


def _cut(expected: Expected, cap: int) -> None:
    """Keep the first texts by the SHA-256 of their originals that fit together."""
    total, full = 0, False
    for sha256 in sorted(expected.kept):
        total += len(expected.texts[sha256])
        full = full or total > cap
        if full:
            place = expected.kept.pop(sha256)
            del expected.texts[sha256]
            expected.reasons[place.url, place.path] = "over_cap"


def _reason(
    origin: archives.Origin, path: bytes, entry: archives.Entry, licenses: frozenset[str]
) -> str | None:
    """The reason of waves W0 to W2, in their order."""
    if not isinstance(entry, archives.File):
        return "not_a_file"
    if len(path) > MAX_PATH_BYTES:
        return "path_limit"
    if origin.opted_out:
        return "opted_out"
    if entry.early is not None:
        return entry.early
    expression = _license(origin, path)
    if expression not in PERMISSIVE:
        return "license"
    if licenses and expression not in licenses:
        return "license_not_selected"
    return entry.late


def _license(origin: archives.Origin, path: bytes) -> str | None:
    """The license of the nearest directory that has one."""
    directory = path
    while directory:
        directory = directory.rpartition(b"/")[0]
        if directory in origin.licenses:
            return origin.licenses[directory]
    return None


def released(texts: list[bytes]) -> list[bytes]:
    """Texts without their secrets."""
    batch = pa.array(texts, pa.large_binary())
    return [bytes(value) for value in redact_batch(batch, scan(batch))[0].cast(pa.large_binary()).to_pylist()]


def shingles(text: bytes) -> frozenset[tuple[bytes, ...]]:
    """The set of five successive tokens each."""
    tokens = _TOKEN.findall(text)
    return frozenset(tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4))


def similar(a: frozenset[tuple[bytes, ...]], b: frozenset[tuple[bytes, ...]], limit: Fraction) -> bool:
    """Whether the Jaccard similarity reaches the limit; never without shingles."""
    return bool(a and b) and Fraction(len(a & b), len(a | b)) >= limit
