"""The sections of the release configuration that say how much is taken, and how tokens are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from licensing.selection import chosen
from pipeline.config_types import Section, hint
from pipeline.content.taxonomy import LANGUAGES
from pipeline.engine.amounts import data_bytes, token_count

DEFAULT_CAP = "default"
"""In `max_bytes` and `max_tokens`: every language that is not named."""


class Select(Section):
    """What is taken of all that may be released: licenses, and at most so much of a language.

    A cap takes the kept contents of a language in the order of their SHA-256, a uniform sample that stays when the input
    grows, up to the first that does not fit. `default` is the cap of every language that is not named.
    """

    licenses: tuple[str, ...] = Field(
        (), description="SPDX ids or expressions; empty: all that are permitted"
    )
    max_bytes: Mapping[str, int] = Field(
        {}, description="language or `default` -> bytes of released text, such as 10GB; empty: no cap"
    )
    max_tokens: Mapping[str, int] = Field(
        {}, description="the same in tokens, such as 500M; needs tokens.tokenizer"
    )

    @field_validator("licenses")
    @classmethod
    def _licenses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return chosen(value)

    @field_validator("max_bytes", "max_tokens", mode="before")
    @classmethod
    def _caps(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("must be a mapping of languages to amounts, such as {Python: 10GB}")
        amount = data_bytes if info.field_name == "max_bytes" else token_count
        for name in value:
            if name != DEFAULT_CAP and name not in LANGUAGES:
                raise ValueError(f"unknown language {name!r}{hint(str(name), [*LANGUAGES, DEFAULT_CAP])}")
        found = {}
        for name, given in sorted(value.items()):
            try:
                found[name] = amount(given)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return found


class Tokens(Section):
    """How tokens are counted."""

    tokenizer: str | None = Field(
        None, description="tokenizer.json whose tokens are counted, per language and shard; null: none are"
    )
    name: str = Field(
        "tokenizer",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,95}$",
        description="what the manifest and the card call it; its digest stands beside",
    )
