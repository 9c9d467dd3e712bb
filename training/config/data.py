"""Which documents are trained on, and how they become rows of tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from training.config.base import Names, Place, Section


def _ordered(limits: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    if None not in limits and limits[0] > limits[1]:  # type: ignore[operator]
        raise ValueError(f"[least, most]: {limits[0]} is more than {limits[1]}")
    return limits


Range = Annotated[tuple[float | None, float | None], Field(strict=False), AfterValidator(_ordered)]
"""[least, most], both included; null is no limit."""


class FilterConfig(Section):
    """Which rows of a source are taken. Each filter that is given must hold; what it left out is counted."""

    licenses: Names | None = None
    """SPDX ids; a row is kept if its license expression can be met with these alone. Null keeps all."""
    exclude_licenses: Names | None = None
    """SPDX ids; a row is left out if its license expression cannot be met without one of these."""
    vendored: Literal["keep", "drop"] = "keep"
    """What happens to rows with `is_vendor`."""
    generated: Literal["keep", "drop"] = "keep"
    """What happens to rows with `is_generated`."""
    ranges: dict[str, Range] = Field(default_factory=dict)
    """For a numeric column of the release or its `quality-signals.parquet`, such as `alphanum_fraction`: [least, most],
    both included; null is no limit."""


class SourceConfig(Section):
    """One of several things to train on: a release, or a local file of JSON lines."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
    """Names the source in reports and in the lineage."""
    release: Place | None = None
    """Folder of a release."""
    jsonl: Place | None = None
    """File of JSON objects, one a line, plain or compressed (gzip, Zstandard), with the key `text` and perhaps `language`,
    `id`, `origin`, `path`, `repo_name`, and what filters ask for."""
    languages: Names | None = None
    """Names as in the `language` column; null is all of them."""
    filters: FilterConfig | None = None
    """Null: the `filters` of the whole configuration."""
    weight: float | None = Field(default=None, gt=0)
    """Wanted share of the trained tokens, relative to the other sources' weights; give all or none."""

    @model_validator(mode="after")
    def _one(self) -> SourceConfig:
        if (self.release is None) == (self.jsonl is None):
            raise ValueError("give exactly one of `release` and `jsonl`")
        return self


class MixConfig(Section):
    """How much of each language an epoch holds; without weights every document comes once."""

    languages: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Language -> wanted share of the trained tokens, relative to the other weights; a language that is not named
    has the weight 0. Empty: as the data are."""
    max_repeats: float = Field(default=4.0, ge=1)
    """A document is shown at most so many times in an epoch, however large its group's share should be."""


class FimConfig(Section):
    """Fill in the middle, per document and at character level (see `training.corpus.fim`)."""

    rate: float = Field(default=0.5, ge=0, le=1)
    """Share of documents that are cut into prefix, middle, suffix."""
    spm_rate: float = Field(default=0.5, ge=0, le=1)
    """Share of those in suffix-prefix-middle order; the others are prefix-suffix-middle."""


class RepositoryConfig(Section):
    """Repository context: the files of one repository in one document (see `training.corpus.repository`)."""

    rate: float = Field(default=0.0, ge=0, le=1)
    """Share of repositories that are shown as one document; the files of the others are documents of their own."""
    order: Literal["path", "dependency", "random"] = "random"
    """Order of the files: by path; a file after those that it imports; or drawn for each epoch."""
    metadata_rate: float = Field(default=0.5, ge=0, le=1)
    """Share of repository documents that show the repository's name and the files' paths."""


class DataConfig(Section):
    """How documents become rows of tokens."""

    sequence_length: int = Field(default=512, ge=16)
    """Tokens per row."""
    packing: Literal["bfd", "concat"] = "bfd"
    """bfd: best-fit decreasing with splitting, cuts only documents longer than a row. concat: one after the other,
    cut at each row's end."""
    packing_window: int | None = Field(default=None, ge=1)
    """Documents that are packed together; null is a whole epoch. A window bounds the memory of the planning."""
    max_train_bytes: int | None = Field(default=None, ge=1)
    """Train on at most so many bytes (of the originals); null is all."""
    fim: FimConfig = FimConfig()
    repository: RepositoryConfig = RepositoryConfig()
    mix: MixConfig = MixConfig()
    cache: Place | None = None
    """Folder of the token cache; null is `<output>/cache`."""
    workers: int = Field(default=1, ge=1)
    """Ray tasks that tokenise at the same time; 1 tokenises in this process, without Ray."""
