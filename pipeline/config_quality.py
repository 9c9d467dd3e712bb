"""The section `quality` of the release configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.config_types import Section
from pipeline.content.profiles import ProfileError, parse_profile, profile_names, read_profile
from pipeline.content.text import Notebooks


class Quality(Section):
    """Which quality rules drop files, and whether the signals are published.

    `profile` holds a name, or the rules themselves: a file is read when the configuration is, so that all of a release
    speaks of the same rules, and the resolved configuration has no path but can be used again.
    """

    profile: str | dict[str, Any] = Field(
        "the-stack-v2", description="name of a profile, or a YAML file of your own; docs/quality.md"
    )
    generated: Literal["drop", "keep"] = Field("drop", description="generated files")
    signals: Literal["public", "none"] = Field(
        "public",
        description="public: quality-signals.parquet has the signals of every row; none: no such file",
    )
    parsers: bool = Field(
        False,
        description="parse files of the languages with a parser at hand, for the signals of their syntax",
    )
    notebooks: Notebooks = Field(
        "strip_outputs",
        description="Jupyter notebooks: without outputs, counters and attached images, or as they are",
    )

    @field_validator("profile", mode="before")
    @classmethod
    def _rules(cls, value: Any) -> str | dict[str, Any]:
        if not isinstance(value, str | dict):
            raise ValueError("must be the name of a profile, a YAML file, or what such a file holds")
        if isinstance(value, str) and value in profile_names():
            return value
        raw, where = read_profile(value) if isinstance(value, str) else (value, "the profile")
        if parse_profile(raw, where).name in profile_names():
            raise ProfileError(
                f"{where}: `profile` names one that ships with the product; give it another name"
            )
        return dict(raw)


def profile_name(profile: str | dict[str, Any]) -> str:
    """What a checked `quality.profile` is called."""
    return profile if isinstance(profile, str) else str(profile["profile"])
