"""`stats.json`: what a release holds, in figures, for machines; every number of `report.html` is taken from it.

    build_stats(manifest, figures, near=..., parent=...)   the JSON object
    read_stats(data, manifest)                             back from bytes, held against the manifest

Figures of the manifest (rows, totals, languages, licenses), figures of the rows (`manifests.row_figures`), and figures of
what the rows replace, which only the maker of a release knows: how many contents of each language came to the search for
near-duplicates, and how many were dropped there. docs/report.md describes every key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manifests import canonical
from manifests.errors import CanonicalError, ReleaseError
from manifests.manifest import Manifest
from manifests.stats_shape import COUNT, MAKER_FIGURES, ROW_FIGURES, SUMS, check_shape

STATS_VERSION = 4
"""Version of the keys of `stats.json`; readers refuse a version that they do not know. Version 1 had no `duplication`, version
2 neither `language_licenses` nor `unknown_licenses`, version 3 no `secrets`: they are read as null."""

_NEW_KEYS = {2: ("duplication",), 3: ("language_licenses", "unknown_licenses"), 4: ("secrets",)}

SIZE_LIMITS = tuple(1 << bits for bits in (8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20))
"""Bounds of the classes of file size, in bytes of the original."""

LINE_LIMITS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
"""Bounds of the classes of number of lines."""

GROUP_LIMITS = (2, 3, 5, 9, 17, 65, 257, 1_025)
"""Bounds of the classes of cluster size and of number of occurrences; the first class is 1, alone."""

FIRST_YEAR, LAST_YEAR = 1970, 2100
"""Revision dates outside of these years are counted as `implausible`: authors' clocks say anything."""

TOP_ORIGINS = 100
TOP_ROWS = 20
TOP_REPOSITORIES = 20
"""Longest lists of origins, of rows (largest clusters, most copied), and of equal roots and fork networks."""

ALARM_LEAST = 100
ALARM_PERCENT = 75
"""A language or origin raises the wipe-out alarm when more than this share of at least so many contents was dropped as
near-duplicates. At 75 % of 100, chance alone cannot be the reason (the 95 % interval ends above 65 %), and it is where
published corpora were found to have lost whole sources to it: a median of 76 %, LLVM-IR 98 %."""


def alarming(entered: int, dropped: int) -> bool:
    """Whether near-deduplication took an unusual share; see `ALARM_PERCENT`."""
    return entered >= ALARM_LEAST and 100 * dropped > ALARM_PERCENT * entered


def histogram(limits: Sequence[int], rows: Sequence[int], *, first: int = 0) -> list[dict[str, int | None]]:
    """Classes as `stats.json` has them: `from` (inclusive), `below` (exclusive, null in the last), `rows`."""
    bounds: list[int | None] = [first, *limits, None]
    return [
        {"from": bounds[place], "below": bounds[place + 1], "rows": number}
        for place, number in enumerate(rows)
    ]


def build_stats(
    manifest: Manifest,
    figures: Mapping[str, Any],
    *,
    near: Mapping[str, Any] | None = None,
    duplication: Mapping[str, Any] | None = None,
    unknown_licenses: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    parent: Manifest | None = None,
) -> dict[str, Any]:
    """Return the JSON object of `stats.json`.

    `manifest` may be the draft that `finish_release` gives to makers: its files are not looked at. `figures` are those of
    `manifests.row_figures.figures_of_rows`; `near` are `languages` (language -> `entered`, `dropped`) and `origins`
    (`alarms`, `alarms_without_rows`), the others are as `stats_shape` says; None where nobody knows.
    """
    languages = {}
    for name, facts in manifest.languages.items():
        languages[name] = {
            "rows": facts.rows,
            "text_bytes": facts.text_bytes,
            "bytes": facts.bytes,
            "shards": facts.shards,
            "tokens": facts.tokens,
        }
    return {
        "stats_version": STATS_VERSION,
        "name": manifest.name,
        "version": manifest.version,
        "merkle_root": manifest.merkle_root,
        "configuration_digest": manifest.digests.configuration,
        "code_digest": manifest.digests.code,
        "policies": dict(manifest.digests.policies),
        "opt_out_head": manifest.opt_out_head,
        "inputs": dict(manifest.inputs),
        "rows": manifest.totals.kept,
        "text_bytes": sum(shard.text_bytes for shard in manifest.shards),
        "download_bytes": sum(shard.bytes for shard in manifest.shards),
        "shards": len(manifest.shards),
        "totals": manifest.totals.to_json(),
        "origins": manifest.origins.to_json(),
        "languages": languages,
        "licenses": dict(manifest.contents.licenses),
        **figures,
        "near": None if near is None else _near(near),
        "duplication": None if duplication is None else dict(duplication),
        "unknown_licenses": None if unknown_licenses is None else dict(unknown_licenses),
        "secrets": None if secrets is None else dict(secrets),
        "comparison": None if parent is None else compare_manifests(parent, manifest),
    }


def _near(near: Mapping[str, Any]) -> dict[str, Any]:
    languages = near["languages"]
    alarms = [
        {"language": name, **counts}
        for name, counts in languages.items()
        if alarming(counts["entered"], counts["dropped"])
    ]
    alarms.sort(key=lambda one: (-one["dropped"], one["language"]))
    return {
        "languages": languages,
        "alarm_least": ALARM_LEAST,
        "alarm_percent": ALARM_PERCENT,
        "language_alarms": alarms,
        "origin_alarms": near["origins"]["alarms"],
        "origin_alarms_without_rows": near["origins"]["alarms_without_rows"],
    }


def compare_manifests(old: Manifest, new: Manifest) -> dict[str, Any]:
    """Return the figures of two releases side by side: name -> `old`, `new`; a name that one of them lacks counts 0."""

    def both(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, dict[str, int]]:
        return {
            name: {"old": before.get(name, 0), "new": after.get(name, 0)}
            for name in sorted({*before, *after})
        }

    def rows(manifest: Manifest) -> dict[str, int]:
        return {name: facts.rows for name, facts in manifest.languages.items()}

    def sums(manifest: Manifest) -> dict[str, int]:
        return {
            "rows": manifest.totals.kept,
            "text_bytes": sum(shard.text_bytes for shard in manifest.shards),
            "download_bytes": sum(shard.bytes for shard in manifest.shards),
            "occurrences": manifest.totals.found,
            "origins": manifest.origins.found,
            "languages": len(manifest.languages),
        }

    return {
        "parent": {"name": old.name, "version": old.version, "digest": old.digest},
        "sums": both(sums(old), sums(new)),
        "languages": both(rows(old), rows(new)),
        "languages_gained": sorted(set(new.languages) - set(old.languages)),
        "languages_lost": sorted(set(old.languages) - set(new.languages)),
        "licenses": both(old.contents.licenses, new.contents.licenses),
        "dropped": both(old.totals.dropped, new.totals.dropped),
        "redactions": both(old.contents.redactions, new.contents.redactions),
    }


def read_stats(data: bytes, manifest: Manifest) -> dict[str, Any]:
    """Return the object in the bytes of `stats.json`, whose checksum the caller has checked.

    Raises `ReleaseError` for what is not such an object, for a version that this software does not know, for figures that
    are not those of the manifest, and for values that are not of their shape (`manifests.stats_shape`).
    """
    try:
        value = canonical.load(data)
    except CanonicalError as error:
        raise ReleaseError(f"stats.json: {error}") from error
    if not isinstance(value, dict):
        raise ReleaseError("stats.json: not a JSON object of any version")
    found = value.get("stats_version")
    if type(found) is not int or not 1 <= found <= STATS_VERSION:
        raise ReleaseError(
            f"stats.json is of version {ascii(found)[:40]}, this software reads up to {STATS_VERSION}; use the version of the"
            " software that made the release, or a newer one"
        )
    lacking = [key for version, keys in _NEW_KEYS.items() if found < version for key in keys]
    if lacking and not any(key in value for key in lacking):
        value = {**value, "stats_version": STATS_VERSION, **dict.fromkeys(lacking)}
    known = {name: part for name, part in build_stats(manifest, {}).items() if name not in MAKER_FIGURES}
    shapes = {**ROW_FIGURES, **MAKER_FIGURES}
    if set(value) != {*known, *shapes}:
        odd = min(set(value) ^ {*known, *shapes})
        raise ReleaseError(f"stats.json: the key {ascii(odd)[:80]} is missing or unknown")
    for name, wanted in known.items():
        if value[name] != wanted:
            raise ReleaseError(f"stats.json, $.{name}: these are not the figures of manifest.json")
    for name, shape in shapes.items():
        check_shape(f"$.{name}", value[name], shape)
    if value["comparison"] is not None:
        check_shape(
            "$.comparison.sums",
            value["comparison"]["sums"],
            {key: {"old": COUNT, "new": COUNT} for key in SUMS},
        )
    return value
