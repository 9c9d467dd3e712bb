"""The section `contamination` of the release configuration."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from pydantic import Field, field_validator

from pipeline.config_types import Section, Share

LEAST_THRESHOLD = Fraction(1, 4)
"""As pipeline.content.contamination.LEAST_SHARE: smaller shares are not looked for."""


class Benchmark(Section):
    """A benchmark whose texts must not be in the release."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", description="what the evidence calls it")
    path: str | None = Field(
        None,
        min_length=1,
        description="file or folder of it, local or s3://: .jsonl, .json (both also .gz), .parquet, .csv, or plain texts;"
        " null only in the config.yaml of a release, which names no place",
    )
    fields: tuple[str, ...] = Field(
        (), description="keys that hold its texts; empty: those of the known layout that its records have"
    )
    id: str | None = Field(None, min_length=1, description="key that names an item; null: that of the layout")

    @field_validator("fields")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not name.removesuffix("[]"):
                raise ValueError("a field must be the name of a key")
            if value.count(name) > 1:
                raise ValueError(f"the field {name!r} is given twice")
        return value


class Contamination(Section):
    """Files that hold texts of benchmarks are dropped as `contaminated`: docs/contamination.md."""

    benchmarks: tuple[Benchmark, ...] = Field((), description="whose texts are looked for; empty: nothing is")
    ngram: int = Field(5, ge=3, le=64, description="words of an n-gram")
    threshold: Share = Field(
        "0.4", description="share of a text's n-grams from which on a file is contaminated, at least 0.25"
    )
    anonymous: bool = Field(False, description="read those of the files that are on S3 without credentials")

    @field_validator("benchmarks")
    @classmethod
    def _names(cls, value: tuple[Benchmark, ...]) -> tuple[Benchmark, ...]:
        names = [one.name for one in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the name {name!r} is given twice")
        return value

    @field_validator("threshold")
    @classmethod
    def _looked_for(cls, value: str) -> str:
        if Fraction(value) < LEAST_THRESHOLD:
            raise ValueError(f"must be at least {float(LEAST_THRESHOLD)}: smaller shares are not looked for")
        return value

    def resolved(self) -> dict[str, Any]:
        """What of it can change a released byte: where the files are cannot, their digests stand in the manifest."""
        if not self.benchmarks:
            return {}
        data = self.model_dump(mode="json", exclude={"anonymous"})
        data["benchmarks"] = [
            {key: value for key, value in one.items() if key != "path"} for one in data["benchmarks"]
        ]
        return data
