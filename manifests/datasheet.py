"""The datasheet of a release, after "Datasheets for Datasets" (Gebru et al., 2021): its questions, answered from figures.

What neither manifest nor configuration can know is said to be unknown.
"""

from __future__ import annotations

from manifests.card_facts import CardFacts
from manifests.croissant import newest_visit
from manifests.manifest import Manifest
from manifests.markdown import bullets, code, link, plain


def datasheet(manifest: Manifest, text: CardFacts) -> str:
    """Return the section."""
    totals, origins = manifest.totals, manifest.origins
    languages = sorted(manifest.languages.items(), key=lambda item: (-item[1].rows, item[0]))
    largest = ", ".join(f"{plain(name)} ({facts.rows:,})" for name, facts in languages[:5])
    text_bytes = sum(facts.text_bytes for facts in manifest.languages.values())
    spans = sum(manifest.contents.redactions.values())
    newest = newest_visit(manifest)
    detectors = ", ".join(
        f"{plain(name)} {plain(version)}" for name, version in manifest.digests.detectors.items()
    )
    parent = manifest.parent
    publisher = plain(text.publisher) if text.publisher else "not named by who made this release"
    contact = link(text.contact) if text.contact else "the publisher"
    parts = [
        (
            "Motivation",
            [
                "For what: training and studying language models of source code on files whose licenses permit it, with"
                " evidence for each file.",
                f"By whom: {publisher}. Funding: not known to the software that wrote this sheet.",
            ],
        ),
        (
            "Composition",
            [
                f"An instance is one distinct source file: {totals.kept:,} of them, {text_bytes:,} bytes of text,"
                f" {len(languages):,} languages; those with most rows: {largest}.",
                f"They were chosen from {totals.found:,} occurrences in {origins.resolved:,} repositories. One row stands"
                " for all places of its content and for its near-duplicates (`num_occurrences`, `cluster_size`).",
                "It is not a random sample: it is all that passed the filters above"
                + (
                    ", and of the languages that were capped a uniform sample of it."
                    if any(stage.name == "selection" and stage.dropped for stage in totals.stages)
                    else "."
                ),
                "No labels, no splits but `train`. Missing values: dates, branch and snapshot, where the archive has none.",
                "Personal data: names, e-mail addresses and the like can be in code; what the rules found was replaced, in"
                f" {spans:,} spans. What they did not find is still there.",
                "Offensive or harmful content is neither searched for nor removed.",
            ],
        ),
        (
            "Collection",
            [
                text.source,
                f"Repositories found: {origins.found:,}; resolved to a state of their files: {origins.resolved:,}."
                + (f" Newest visit: {newest}." if newest else " The time of the visits is not known."),
                "Nobody was asked for consent, nobody was paid: the files were published by their authors under the licenses"
                " that the rows name. Authors can opt out.",
            ],
        ),
        (
            "Filters and labels",
            [
                f"Every file that was left out has one reason; the table above counts {len(totals.dropped):,} of them.",
                f"Made by machine, none by people: languages, licenses and findings. Detectors: {detectors or 'none named'}.",
                "The raw files are not in the release; the SWHID of each row leads to its original in the archive.",
            ],
        ),
        (
            "Removals",
            [
                text.removal_policy,
                f"Opt-out registry {code(manifest.opt_out_head[:16])}; {totals.dropped.get('opted_out', 0):,} occurrences"
                " left out.",
            ],
        ),
        (
            "Uses",
            [
                "Suited: pre-training and fine-tuning of code models, studies of code, duplicates and licenses.",
                "Not suited: to find out about persons, to run the code, to take a file out of its license.",
                "A model can repeat training text word for word: who serves one should be able to name the license of such"
                " an output (`license_expression`, `license_evidence`).",
            ],
        ),
        (
            "Distribution and maintenance",
            [
                f"Name and version: {plain(manifest.name)} {manifest.version}"
                + (
                    f", after {parent.version}."
                    if parent is not None
                    else "; no release before it was named."
                ),
                "A release is never changed: corrections and removals are a new version, with `CHANGELOG.md` and tombstones.",
                f"Errors, questions, removals: {contact}.",
            ],
        ),
        ("Limits", list(text.limits)),
    ]
    body = [f"### {title}\n\n{bullets(items)}" for title, items in parts]
    return "\n\n".join(["## Datasheet", *body])
