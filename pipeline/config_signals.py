"""The sections of the release configuration on signals beside near-duplicates: containment, and repeated blocks of lines."""

from __future__ import annotations

from pydantic import Field

from pipeline.config_types import MAX, Count, Section, Share


class Containment(Section):
    """Files that lie in bigger ones: told in `signals.parquet`, dropped by nobody."""

    least: Share = Field(
        "0.8", description="share of a file's shingles that must lie in the bigger one, as a decimal string"
    )


class Repeated(Section):
    """Blocks of lines that many files hold, and the share that they have of a file."""

    lines: int = Field(
        5, ge=1, le=1_000, description="lines of a block; those without a letter or digit do not count"
    )
    bytes: int = Field(100, ge=1, le=MAX, description="bytes that the lines of a block have at least, in all")
    contents: int = Field(10, ge=2, le=MAX, description="files that hold a block before it is a repeated one")
    origins: Count = Field(2, description="origins that these files come from at least")
    drop_above: Share | None = Field(
        None, description="drop a file with a larger share of repeated lines, in bytes; null: drop none"
    )
