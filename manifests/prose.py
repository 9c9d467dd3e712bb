"""The part of the dataset card that people read, as Markdown: what it is, how it was made, how to use and check it."""

from __future__ import annotations

from collections.abc import Mapping

from manifests.card_facts import CardFacts
from manifests.citation import citation
from manifests.columns import COLUMNS
from manifests.croissant import newest_visit
from manifests.datasheet import datasheet
from manifests.facts import LanguageFacts, StageTotals, Totals
from manifests.manifest import Manifest
from manifests.markdown import block, bullets, code, folded, link, plain, share, table
from manifests.names import visible
from manifests.principles import principles
from manifests.review import review_prose

MAX_LANGUAGES_SHOWN = 1_000
UNFOLDED_ROWS = 40
"""Rows of a table that the card shows without being asked."""
LICENSES_SHOWN = 20
"""Expressions in the card; NOTICE.md has them all."""

STAGES: Mapping[str, str] = {
    "graph": "decided from the archive's graph alone, before any file is read: what is no file, is too large, lies in a"
    " vendored folder, was not selected or has opted out",
    "licenses": "decided from the license files and package manifests nearest to a file",
    "contents": "decided from the bytes: unreadable, binary or generated files, unknown languages, files beyond the"
    " thresholds of quality",
    "election": "one place is elected for each distinct content, and for each distinct released text",
    "similarity": "near-duplicates, verified, are dropped in favour of a file that is kept",
    "selection": "of each language no more than was asked for, a uniform sample by hash",
    "withdrawn": "rows that were withdrawn after this release was published",
}
"""What a stage of the decision does, where the maker of the release says no more of it."""


def funnel(totals: Totals) -> str:
    """Return the table of occurrences found, dropped by reason, kept; by stage where the stages are known."""
    rows = [("", "**found**", f"**{totals.found:,}**", "100 %")]
    stages = totals.stages or (
        StageTotals(name="", entered=totals.found, left=totals.kept, dropped=totals.dropped),
    )
    for stage in stages:
        ordered = sorted(stage.dropped.items(), key=lambda item: (-item[1], item[0]))
        rows += [
            (plain(stage.name), f"dropped: {code(reason)}", f"{count:,}", share(count, totals.found))
            for reason, count in ordered
        ]
        if totals.stages:
            rows.append((plain(stage.name), "left", f"{stage.left:,}", share(stage.left, totals.found)))
    rows.append(("", "**kept** (rows)", f"**{totals.kept:,}**", share(totals.kept, totals.found)))
    return table(("stage", "occurrences", "count", "share of found"), rows, left=2)


def language_table(languages: Mapping[str, LanguageFacts]) -> str:
    """Return the table of languages, by size of text; beyond `UNFOLDED_ROWS` it is folded away."""
    ordered = sorted(languages.items(), key=lambda item: (-item[1].text_bytes, item[0]))
    counted = any(facts.tokens is not None for facts in languages.values())
    rows = [
        (
            plain(language),
            code(facts.config_name),
            f"{facts.rows:,}",
            f"{facts.text_bytes:,}",
            *([f"{facts.tokens or 0:,}"] if counted else []),
            f"{facts.bytes:,}",
        )
        for language, facts in ordered[:MAX_LANGUAGES_SHOWN]
    ]
    header = (
        "language",
        "config",
        "rows",
        "text (bytes)",
        *(["tokens"] if counted else []),
        "download (bytes)",
    )
    if len(rows) <= UNFOLDED_ROWS:
        return table(header, rows, left=2)
    rest = table(header, rows[UNFOLDED_ROWS:], left=2)
    return f"{table(header, rows[:UNFOLDED_ROWS], left=2)}\n\n" + folded(
        f"{len(rows) - UNFOLDED_ROWS:,} further languages", rest
    )


def license_table(licenses: Mapping[str, int], limit: int | None = None) -> str:
    """Return the table of SPDX expressions, by rows."""
    rows = sum(licenses.values())
    ordered = sorted(licenses.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return table(
        ("license expression (SPDX)", "rows", "share"),
        [(code(expression), f"{count:,}", share(count, rows)) for expression, count in ordered],
    )


def redaction_table(redactions: Mapping[str, int]) -> str:
    """Return the table of what was replaced, by kind."""
    ordered = sorted(redactions.items(), key=lambda item: (-item[1], item[0]))
    if not ordered:
        return "Nothing was found to be replaced in this release."
    return table(("replaced", "spans"), [(code(kind), f"{count:,}") for kind, count in ordered])


def column_table() -> str:
    """Return the table of the columns of a row."""
    return table(
        ("column", "meaning"), [(code(name), plain(words)) for name, words in COLUMNS.items()], left=2
    )


def card_prose(manifest: Manifest, text: CardFacts) -> str:
    """Return the Markdown below the YAML block."""
    totals, languages, origins = manifest.totals, manifest.languages, manifest.origins
    folder = f"path/to/{manifest.name}/{manifest.version}"
    example = max(languages.items(), key=lambda item: (item[1].rows, item[0]))[1].config_name
    unresolved = ", ".join(
        f"{count:,} {code(reason)}" for reason, count in sorted(origins.unresolved.items())
    )
    tokens = sum(facts.tokens or 0 for facts in languages.values())
    counted = (
        f", {tokens:,} tokens by {plain(manifest.tokenizer.name)}" if manifest.tokenizer is not None else ""
    )
    newest = newest_visit(manifest)
    parent = manifest.parent
    licenses = manifest.contents.licenses
    more = len(licenses) - LICENSES_SHOWN
    sections = [
        f"# {plain(text.pretty_name)}, release {manifest.version}",
        text.summary,
        f"{totals.kept:,} rows in {len(languages):,} languages and {len(manifest.shards):,} shards;"
        f" {sum(facts.text_bytes for facts in languages.values()):,} bytes of text{counted}."
        + (f" It follows release {parent.version}." if parent is not None else ""),
        *_links(text),
        "## Load it",
        "```python\n"
        "from datasets import load_dataset\n\n"
        f'rows = load_dataset("{folder}", "{example}", split="train")\n'
        f'rows = load_dataset("{folder}", "{example}", split="train", streaming=True)\n'
        f'everything = load_dataset("{folder}", split="train", streaming=True)\n'
        "```",
        f"```sql\nSELECT language, count(*) FROM '{folder}/data/*/*.parquet' GROUP BY ALL;   -- DuckDB\n```",
        "The shards are plain Parquet, for polars, pandas and every other reader; `croissant.json` describes them,"
        " with types and checksums, in Croissant 1.1.",
        "## Verify it",
        "Loading does not verify files: `datasets` checks row counts, no checksums. These do:",
        "```sh\npipeline verify path/to/release     # the file set, every byte, every row, every"
        " figure of this card\n"
        "sha256sum -c SHA256SUMS             # checksums only, without our software\n```",
        "The release's digest is the SHA-256 of `manifest.json`. The Merkle root over"
        f" `ids.parquet` is `{manifest.merkle_root}`. Who made the release is told by the signature"
        " `manifest.json.sig`, where there is one: check it with the publisher's public key,"
        " `pipeline verify --trusted-keys FILE`. Without it all this shows that the release agrees with itself.",
        "## How it was made",
        text.source + (f" The newest visit in it is of {newest}." if newest else ""),
        f"{origins.found:,} origins were found, {origins.resolved:,} could be resolved"
        + (f" ({unresolved} could not)." if unresolved else "."),
        "An occurrence is one file at one place: origin, path, content. Each was kept or dropped for"
        " exactly one reason, the first that applied; the counts add up, an independent walk of the input has counted"
        " the same number, and a release whose counts do not agree is refused.",
        *_steps(totals, text),
        funnel(totals),
        text.deduplication,
        *text.notes,
        text.signals or "",
        "The same input, configuration and code give the same bytes: "
        f"configuration `{manifest.digests.configuration}` (`config.yaml`), code `{manifest.digests.code}`.",
        "## Languages",
        language_table(languages),
        "## Columns",
        "One row is one distinct file. Offsets are byte offsets into the UTF-8 of `content`.",
        folded(f"The {len(COLUMNS)} columns", column_table()),
        "## Licenses",
        text.license_policy
        + (
            f" The policy has the digest `{policy}`."
            if (policy := manifest.digests.policies.get("license"))
            else ""
        ),
        "The data set as a whole has no license of its own: every file keeps the license that its row"
        " names, with the duties that follow from it, attribution above all. How to find the notices that a license asks"
        " you to keep is told in `NOTICE.md`.",
        license_table(licenses, LICENSES_SHOWN),
        *([f"And {more:,} further expressions, in `NOTICE.md`."] if more > 0 else []),
        "## Personal data and secrets",
        text.redaction,
        redaction_table(manifest.contents.redactions),
        "A SWHID still leads to the unredacted original; redaction protects models and readers,"
        " it does not unpublish.",
        "## Opt-out and removal",
        text.removal_policy,
        f"The registry that this release honours has the digest `{manifest.opt_out_head}`"
        + _entries(text)
        + f"; {totals.dropped.get('opted_out', 0):,} occurrences were left out for it.",
        _contact(text),
        "Users of this data set are asked to move to the newest release, and so to drop what it no longer"
        " holds. Who must stay with an older copy brings it in line with the tombstones of the newest release, which name"
        " the rows that were withdrawn and no reason but that:",
        "```sh\npipeline apply-removals path/to/older/release path/to/newest/removals.jsonl\n```",
        *review_prose(text.review),
        "## Limits",
        bullets(text.limits),
        principles(manifest, text),
        datasheet(manifest, text),
        "## Training-content summary",
        "`EU-SUMMARY.md` holds what this release can tell for the public summary of training content that Article 53(1)(d)"
        " of the EU's AI Act asks of providers of general-purpose models; what only the provider knows is left open there.",
        "## Cite it",
        block(citation(manifest.name, manifest.version, text), "bibtex"),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _links(text: CardFacts) -> list[str]:
    named = [
        ("Published by", plain(text.publisher) if text.publisher else None),
        ("Home page:", link(text.homepage) if text.homepage else None),
        ("Contact:", link(text.contact) if text.contact else None),
        ("On licenses:", link(text.license_link) if text.license_link else None),
    ]
    said = [f"{label} {value}" for label, value in named if value]
    return [" · ".join(said)] if said else []


def _steps(totals: Totals, text: CardFacts) -> list[str]:
    steps = [
        f"{number}. **{plain(stage.name)}**: {text.steps.get(stage.name) or STAGES.get(stage.name, 'a stage of its own')};"
        f" {stage.entered:,} came in, {stage.left:,} were left."
        for number, stage in enumerate(totals.stages, start=1)
    ]
    return ["\n".join(steps)] if steps else []


def _entries(text: CardFacts) -> str:
    if text.opt_out_entries is None:
        return ""
    if text.opt_out_entries == 0:
        return " and is empty: nobody was registered when it was made"
    return f" and {text.opt_out_entries:,} entries"


def _contact(text: CardFacts) -> str:
    whom = f"write to {link(text.contact)}" if text.contact else "ask the publisher of this release"
    return f"To opt out, {visible(whom)}; no reason need be given."
