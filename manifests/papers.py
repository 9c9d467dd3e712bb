"""The sheets beside a release's card, each made from its manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from manifests import croissant, eu_summary, notice
from manifests.card_facts import CardFacts
from manifests.manifest import Manifest
from manifests.notices import Noticed


def papers(
    text: CardFacts, noticed: Mapping[str, Noticed] | None = None
) -> dict[str, Callable[[Manifest], bytes]]:
    """Return path -> what makes the bytes of that sheet from a manifest, a draft or a finished one.

    `noticed`: figures of `notices.parquet`, where the release has it.
    """
    return {
        croissant.FILE: partial(croissant.croissant, text=text),
        eu_summary.FILE: partial(eu_summary.eu_summary, text=text),
        notice.FILE: partial(notice.notice, text=text, noticed=noticed),
    }
