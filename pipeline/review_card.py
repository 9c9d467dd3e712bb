"""The review that a configuration names, `card.review`, for the card of the release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manifests.card_facts import CardFacts
from manifests.errors import ReleaseError
from manifests.review import Review
from pipeline.errors import ConfigError

_MAX_BYTES = 16 << 20


def load_review(path: str | None, *, name: str) -> dict[str, Any] | None:
    """`{"sha256": of the file, "found": its content}`; None where none is named.

    Raises ConfigError when the file is no review, or one of a dataset of another name.
    """
    if path is None:
        return None
    where = f"card.review {path}"
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from error
    try:
        if len(data) > _MAX_BYTES:
            raise ReleaseError("it is too large")
        found = json.loads(data)
        review = Review.parse(found)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not what `pipeline review score` writes: {error}") from error
    if review.name != name:
        raise ConfigError(f"{where} is a review of the dataset {review.name!r}, this one is {name!r}")
    return {"sha256": hashlib.sha256(data).hexdigest(), "found": found}


def with_review(text: CardFacts, found: Mapping[str, Any] | None) -> CardFacts:
    """The words of a card with what people found, if anybody looked."""
    return text if found is None else replace(text, review=Review.parse(found))
