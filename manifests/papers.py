"""The sheets beside a release's card, each made from its manifest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from manifests import croissant, eu_summary, notice
from manifests.card_facts import CardFacts
from manifests.manifest import Manifest


def papers(text: CardFacts) -> dict[str, Callable[[Manifest], bytes]]:
    """Return path -> what makes the bytes of that sheet from a manifest, a draft or a finished one."""
    return {
        croissant.FILE: partial(croissant.croissant, text=text),
        eu_summary.FILE: partial(eu_summary.eu_summary, text=text),
        notice.FILE: partial(notice.notice, text=text),
    }
