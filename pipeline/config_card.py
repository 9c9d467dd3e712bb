"""The section `card` of the configuration."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from manifests.card_facts import check_contact, check_date, check_text, check_url
from pipeline.config_types import Section as _Section


class Card(_Section):
    """What the publisher of a release says in its card, NOTICE.md, EU-SUMMARY.md and croissant.json."""

    pretty_name: str | None = Field(None, description="title of the dataset; null: its name")
    publisher: str | None = Field(None, description="who publishes it")
    contact: str | None = Field(
        None, description="e-mail or http(s) address for opt-outs, questions and corrections"
    )
    homepage: str | None = Field(None, description="http(s) address of the dataset")
    license_link: str | None = Field(None, description="http(s) address of your words on licenses")
    citation: str | None = Field(
        None, description="how to cite it, BibTeX or text; null: made from name and version"
    )
    review: str | None = Field(
        None, description="review.json of `pipeline review score`, of an earlier release; null: none"
    )
    published: str | None = Field(
        None,
        description="date, as in 2026-03-01; null: that of the newest visit, since no byte depends on a clock",
    )

    @field_validator("published", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        return value.isoformat() if type(value) is date else value  # YAML reads an unquoted date as one

    @field_validator(
        "pretty_name",
        "publisher",
        "contact",
        "homepage",
        "license_link",
        "citation",
        "published",
        mode="after",
    )
    @classmethod
    def _safe(cls, value: str | None, info: ValidationInfo) -> str | None:
        """As the card takes it: visible text, plain addresses (manifests.card_facts)."""
        name = str(info.field_name)
        if value is None:
            return None
        if name == "contact":
            return check_contact(name, value)
        if name in ("homepage", "license_link"):
            return check_url(name, value)
        return (
            check_date(name, value)
            if name == "published"
            else check_text(name, value, lines=name == "citation")
        )
