"""The generated section of CHANGELOG.md: what changed against the parent, by change, reason and language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from manifests.changes import KINDS
from manifests.diff import ReleaseDiff
from manifests.names import visible

MAX_LANGUAGES = 50
"""Lines of the table of languages; the rest is in changes.parquet."""

WORDS = {
    "added": "new",
    "removed": "removed",
    "restored": "withdrawn earlier, and back",
    "re_redacted": "with another released text",
    "re_elected": "with another origin, path or license",
    "changed": "with other differences",
}
"""Change -> what its rows are, in words."""


def section(diff: ReleaseDiff) -> str:
    """Return the Markdown of a diff with the parent, without a heading."""
    old, new = diff.old, diff.new
    shards = diff.shards()
    changed = sum(diff.changes.values())
    lines = [
        f"Against {old.version}: {changed:,} rows differ"
        + (":" if changed else f"; all {new.totals.kept:,} rows are the same."),
    ]
    if changed:
        lines += [
            "",
            _table(("rows", "number"), _by_change(diff)),
            "",
            _table(_LANGUAGES, list(_by_language(diff))),
        ]
    lines += [
        "",
        f"{shards['same']['shards']:,} shards are the same files; {shards['new']['shards']:,} are new"
        f" ({shards['new']['bytes']:,} bytes to fetch), {shards['gone']['shards']:,} are gone.",
    ]
    if diff.configuration:
        lines += ["", _table(("configuration", "before", "now"), list(_pairs(diff.configuration.items())))]
    if diff.differing:
        lines += ["", _table(("depends on", "before", "now"), list(_pairs(diff.differing.items())))]
    return "\n".join(lines)


_LANGUAGES = ("language", "rows before", "rows now", *KINDS)


def _by_change(diff: ReleaseDiff) -> list[tuple[str, str]]:
    rows = []
    for kind in KINDS:
        if number := diff.changes[kind]:
            rows.append((f"{kind}: {WORDS[kind]}", f"{number:,}"))
        if kind == "removed":
            ordered = sorted(diff.reasons.items(), key=lambda item: (-item[1], item[0]))
            rows += [(f"removed: `{reason}`", f"{number:,}") for reason, number in ordered]
    return rows


def _by_language(diff: ReleaseDiff) -> Iterable[tuple[str, ...]]:
    found = [
        (language, figures)
        for language, figures in diff.languages().items()
        if any(kind in figures for kind in KINDS)
    ]
    ordered = sorted(found, key=lambda item: (-sum(item[1].get(kind, 0) for kind in KINDS), item[0]))
    for language, figures in ordered[:MAX_LANGUAGES]:
        before, now = figures["rows"]
        yield (language, f"{before:,}", f"{now:,}", *(f"{figures.get(kind, 0):,}" for kind in KINDS))
    if len(ordered) > MAX_LANGUAGES:
        yield (f"({len(ordered) - MAX_LANGUAGES:,} more)", *[""] * (len(_LANGUAGES) - 1))


def _pairs(items: Iterable[tuple[str, tuple[str | None, str | None]]]) -> Iterable[tuple[str, str, str]]:
    for name, (before, now) in items:
        yield name, _shown(before), _shown(now)


def _shown(value: str | None) -> str:
    if value is None:
        return "(none)"
    is_digest = len(value) == 64 and set(value) <= set("0123456789abcdef")
    return f"`{value[:16]}`" if is_digest else visible(value)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
