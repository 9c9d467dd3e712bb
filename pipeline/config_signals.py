"""The sections of the release configuration on signals beside near-duplicates: containment, and repeated blocks of lines."""

from __future__ import annotations

import re
from fractions import Fraction

from pydantic import Field, field_validator

from pipeline.config_types import MAX, Count, Section


def _share(value: str) -> str:
    if not re.fullmatch(r"[0-9]{0,2}(\.[0-9]{1,6})?", value) or not value:
        raise ValueError("must be a decimal number in quotes, such as '0.8', with at most six decimals")
    if not 0 < Fraction(value) <= 1:
        raise ValueError("must be above 0 and at most 1")
    return value


class Containment(Section):
    """Files that lie in bigger ones: told in `signals.parquet`, dropped by nobody."""

    least: str = Field(
        "0.8", description="share of a file's shingles that must lie in the bigger one, as a decimal string"
    )

    _in_range = field_validator("least")(_share)


class Repeated(Section):
    """Blocks of lines that many files hold, and the share that they have of a file."""

    lines: int = Field(
        5, ge=1, le=1_000, description="lines of a block; those without a letter or digit do not count"
    )
    bytes: int = Field(100, ge=1, le=MAX, description="bytes that the lines of a block have at least, in all")
    contents: int = Field(10, ge=2, le=MAX, description="files that hold a block before it is a repeated one")
    origins: Count = Field(2, description="origins that these files come from at least")
    drop_above: str | None = Field(
        None, description="drop a file with a larger share of repeated lines, in bytes; null: drop none"
    )

    @field_validator("drop_above")
    @classmethod
    def _in_range(cls, value: str | None) -> str | None:
        return None if value is None else _share(value)
