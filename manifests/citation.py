"""How to cite a release."""

from __future__ import annotations

import re

from manifests.card_facts import CardFacts


def citation(name: str, version: str, text: CardFacts) -> str:
    """Return the publisher's citation, else a BibTeX entry made from what is known."""
    if text.citation is not None:
        return text.citation.strip("\n")
    key = re.sub(r"[^a-z0-9]+", "-", f"{name}-{version}".lower()).strip("-")
    lines = [
        f"@misc{{{key},",
        f"  title = {{{_bibtex(text.pretty_name)}, release {version}}},",
        *([f"  author = {{{{{_bibtex(text.publisher)}}}}},"] if text.publisher else []),
        *([f"  year = {{{text.published[:4]}}},"] if text.published else []),
        f"  version = {{{version}}},",
        *([f"  url = {{{text.homepage}}},"] if text.homepage else []),
        "  note = {Name the release by the SHA-256 of its manifest.json}",
        "}",
    ]
    return "\n".join(lines)


def _bibtex(value: str) -> str:
    """Braces of a text must not end the field that it stands in."""
    return value.replace("\\", "/").replace("{", "(").replace("}", ")")
