"""The part of the dataset card that people read, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from manifests.facts import LanguageFacts, Origins, Totals
from manifests.review import review_prose

if TYPE_CHECKING:
    from manifests.card import CardFacts

MAX_LANGUAGES_SHOWN = 1_000


def _cell(value: str) -> str:
    """Escape a text for a Markdown table cell."""
    for character in "\\`*_{}[]<>#|":
        value = value.replace(character, f"\\{character}")
    return value


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def funnel(totals: Totals) -> str:
    """Return the table of occurrences found, dropped by reason, kept."""
    rows = [("**found**", f"{totals.found:,}", "100 %")]
    ordered = sorted(totals.dropped.items(), key=lambda item: (-item[1], item[0]))
    rows += [(f"dropped: `{reason}`", f"{count:,}", _share(count, totals.found)) for reason, count in ordered]
    rows.append(("**kept** (rows)", f"{totals.kept:,}", _share(totals.kept, totals.found)))
    return _table(("occurrences", "count", "share"), rows)


def language_table(languages: Mapping[str, LanguageFacts]) -> str:
    """Return the table of languages, by size of text."""
    ordered = sorted(languages.items(), key=lambda item: (-item[1].text_bytes, item[0]))
    rows = [
        (
            _cell(language),
            f"`{facts.config_name}`",
            f"{facts.rows:,}",
            f"{facts.text_bytes:,}",
            f"{facts.bytes:,}",
            *([f"{facts.tokens:,}"] if facts.tokens is not None else []),
        )
        for language, facts in ordered[:MAX_LANGUAGES_SHOWN]
    ]
    head = ("language", "config", "rows", "text (bytes)", "download (bytes)")
    counted = any(facts.tokens is not None for _, facts in ordered)
    return _table((*head, "tokens") if counted else head, rows)


def card_prose(
    *,
    name: str,
    version: str,
    languages: Mapping[str, LanguageFacts],
    shard_count: int,
    totals: Totals,
    origins: Origins,
    merkle_root: str,
    text: CardFacts,
) -> str:
    """Return the Markdown below the YAML block."""
    example = max(languages.items(), key=lambda item: (item[1].rows, item[0]))[1].config_name
    unresolved = ", ".join(f"{count:,} `{reason}`" for reason, count in sorted(origins.unresolved.items()))
    sections = [
        f"# {text.pretty_name}, release {version}",
        text.summary,
        f"{totals.kept:,} rows in {len(languages):,} languages and {shard_count:,} shards;"
        f" {sum(facts.text_bytes for facts in languages.values()):,} bytes of text.",
        "## Load it",
        "```python\n"
        "from datasets import load_dataset\n\n"
        f'rows = load_dataset("path/to/{name}/{version}", "{example}", split="train")\n'
        f'rows = load_dataset("path/to/{name}/{version}", "{example}", split="train", streaming=True)\n'
        f'everything = load_dataset("path/to/{name}/{version}", split="train", streaming=True)\n'
        "```",
        f"```sql\nSELECT language, count(*) FROM 'path/to/{name}/{version}/data/*/*.parquet'"
        " GROUP BY ALL;\n```",
        "## Verify it",
        "Loading does not verify files: `datasets` checks row counts, no checksums. These do:",
        "```sh\npipeline verify path/to/release     # the file set, every byte, every row, every"
        " figure of this card\n"
        "sha256sum -c SHA256SUMS             # checksums only, without our software\n```",
        "The release's digest is the SHA-256 of `manifest.json`. The Merkle root over"
        f" `ids.parquet` is `{merkle_root}`.",
        "## How it was made",
        text.source,
        f"{origins.found:,} origins were found, {origins.resolved:,} could be resolved"
        + (f" ({unresolved} could not)." if unresolved else "."),
        "An occurrence is one file at one place: origin, path, content. Each was kept or dropped for"
        " exactly one reason, the first that applied; the counts add up and a release whose counts do not"
        " is refused.",
        funnel(totals),
        text.deduplication,
        *text.notes,
        "## Languages",
        language_table(languages),
        "## Columns",
        "One row is one distinct file: the text as released (`content`), the hashes and SWHID of the"
        " original, one elected place where it was found (`origin`, `revision_id`, `path`), the number of"
        " all places (`num_occurrences`, `num_origins`), the license with the evidence for it, the size of"
        " its cluster of near-duplicates, what was redacted, and simple measures of the text. Offsets are"
        " byte offsets into the UTF-8 of `content`.",
        "## Licenses",
        text.license_policy,
        "The data set as a whole has no license of its own: every file keeps the license that its row"
        " names, with the duties that follow from it, attribution above all.",
        "## Personal data and secrets",
        text.redaction,
        "A SWHID still leads to the unredacted original; redaction protects models and readers,"
        " it does not unpublish.",
        "## Opt-out and removal",
        text.removal_policy,
        "Users of this data set are asked to move to the newest release, and so to drop what it no longer"
        " holds.",
        text.removal_contact,
        *review_prose(text.review),
        "## Limits",
        "\n".join(f"- {limit}" for limit in text.limits),
    ]
    return "\n\n".join(sections) + "\n"
