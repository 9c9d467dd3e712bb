"""`EU-SUMMARY.md`: what a release can tell for the public summary of training content of the EU's AI Act.

Article 53(1)(d) of Regulation (EU) 2024/1689 asks providers of general-purpose AI models for such a summary, by the template
of the AI Office of 24 July 2025. The publisher of a data set is no such provider: this sheet follows the template's parts
and fills in what the data set is the source of; the rest is for the provider.
"""

from __future__ import annotations

from manifests.card_facts import CardFacts
from manifests.croissant import newest_visit
from manifests.manifest import Manifest
from manifests.markdown import bullets, code, link, plain, table

FILE = "EU-SUMMARY.md"
PROVIDER = "*For the provider of the model to fill in.*"


def eu_summary(manifest: Manifest, text: CardFacts | None = None) -> bytes:
    """Return the bytes of `EU-SUMMARY.md`."""
    text = CardFacts() if text is None else text
    totals = manifest.totals
    text_bytes = sum(facts.text_bytes for facts in manifest.languages.values())
    tokens = sum(facts.tokens or 0 for facts in manifest.languages.values())
    newest = newest_visit(manifest) or "not told by the input"
    publisher = plain(text.publisher) if text.publisher else "not named"
    where = link(text.homepage) if text.homepage else "the place that it was fetched from"
    languages = sorted(manifest.languages.items(), key=lambda item: (-item[1].text_bytes, item[0]))
    main = ", ".join(plain(name) for name, _ in languages[:20])
    kinds = ", ".join(
        f"{code(kind)} {count:,}" for kind, count in sorted(manifest.contents.redactions.items())
    )
    sections = [
        f"# Source sheet for the public summary of training content: {plain(manifest.name)} {manifest.version}",
        "For providers of general-purpose AI models that train on this release. It follows the parts of the AI Office's"
        " template of 24 July 2025 for Article 53(1)(d) of Regulation (EU) 2024/1689, and fills in what this release is the"
        " source of. It is no legal advice and does not make a summary complete.",
        "## 1. General information",
        "### 1.1 Provider",
        PROVIDER,
        "### 1.2 Model",
        PROVIDER,
        "### 1.3 Modalities, size and other characteristics",
        table(
            ("modality", "in this release", "size"),
            [
                (
                    "text (source code)",
                    "yes",
                    f"{totals.kept:,} files, {text_bytes:,} bytes of UTF-8"
                    + (
                        f", {tokens:,} tokens by {plain(manifest.tokenizer.name)}"
                        if manifest.tokenizer is not None
                        else "; tokens depend on the model's tokenizer"
                    ),
                ),
                ("image", "no", "0"),
                ("audio", "no", "0"),
                ("video", "no", "0"),
            ],
            left=3,
        ),
        bullets(
            [
                "Range of sizes of the template, over all data of the model: " + PROVIDER,
                f"Latest date of acquisition: {newest} (newest visit of the archive to a repository in the input).",
                f"Programming languages: {len(manifest.languages):,}, by size {main}. Natural languages in comments and names"
                " are not determined.",
                "Updates or continuous training after release: " + PROVIDER,
            ]
        ),
        "## 2. Data sources",
        "### 2.1 Publicly available datasets",
        bullets(
            [
                f"This release: {plain(text.pretty_name)} ({plain(manifest.name)}), version {manifest.version}, published by"
                f" {publisher}, from {where}; identified by the SHA-256 of `manifest.json`.",
                f"What it is: {text.summary}",
                "Other publicly available datasets that the model used: " + PROVIDER,
            ]
        ),
        "### 2.2 Private datasets from third parties",
        "None in this release. For the model: " + PROVIDER,
        "### 2.3 Data crawled and scraped from online sources",
        bullets(
            [
                "By the publisher of this release: the software that made it crawls nothing, it reads an archive. "
                + text.source,
                f"Repositories in the input: {manifest.origins.found:,}, of which {manifest.origins.resolved:,} were used."
                f" Newest visit: {newest}; when each was visited is in the column `visit_date`.",
                "Crawler, its identity and how it heeds robots.txt: those of the archive, see"
                " <https://www.softwareheritage.org/>, where that is the input.",
                "Domains by size, as the template asks: group `origin` by host; in DuckDB `SELECT"
                " regexp_extract(origin, '://([^/]+)', 1) AS host, sum(octet_length(encode(content))) AS bytes FROM"
                " 'data/*/*.parquet' GROUP BY 1 ORDER BY 2 DESC`.",
                "Crawled by the provider: " + PROVIDER,
            ]
        ),
        "### 2.4 User data",
        "None in this release. For the model: " + PROVIDER,
        "### 2.5 Synthetic data",
        "None was made for this release. Whether a file in a repository was written by a machine is not known, beyond"
        " `is_generated`. For the model: " + PROVIDER,
        "### 2.6 Other sources",
        "None in this release. For the model: " + PROVIDER,
        "## 3. Data processing",
        "### 3.1 Respect of reservations of rights",
        bullets(
            [
                f"Licenses: {text.license_policy}",
                f"Opt-outs: {text.removal_policy} Registry {code(manifest.opt_out_head)},"
                f" {totals.dropped.get('opted_out', 0):,} occurrences left out.",
                "Machine-readable reservations at the source (robots.txt, ai.txt and the like) are heeded by the archive's"
                " crawler, not again by this release.",
                "Later removals: apply `removals.jsonl` of the newest release before training.",
                "Signatory of the Code of Practice, policy on copyright: " + PROVIDER,
            ]
        ),
        "### 3.2 Removal of illegal content",
        bullets(
            [
                f"Secrets and personal data: {text.redaction} In this release: {kinds or 'none found'}.",
                "Other illegal content (for example material of abuse, incitement) is not searched for: the release holds text"
                " files in known programming languages, no images, audio or video, and no binaries.",
                "Taken down on notice: "
                + (link(text.contact) if text.contact else "ask the publisher")
                + ".",
                "Measures on the model's other data: " + PROVIDER,
            ]
        ),
        "### 3.3 Other information",
        bullets(
            [
                f"Exact duplicates and near-duplicates: {text.deduplication}",
                f"Files found {totals.found:,}, kept {totals.kept:,}; every reason with its count is in `README.md`.",
            ]
        ),
    ]
    return ("\n\n".join(sections) + "\n").encode("utf-8")
