"""What a manifest says: the entries of `manifest.json` as frozen dataclasses, named as its keys are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from manifests.fields import Json


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """What the manifest says of one shard."""

    path: str
    """Path in the release, `data/<language-dir>/train-<prefix>.parquet`."""
    language: str
    sha256: str
    """Of the file, 64 lower-case hex digits."""
    bytes: int
    """Size of the file."""
    rows: int
    row_groups: int
    text_bytes: int
    """Sum of the UTF-8 lengths of `content`."""
    memory_bytes: int
    """Size of the rows in Arrow memory (`manifests.shards.memory_bytes`); `num_bytes` of the card."""
    merkle_root: str
    """Hex; of the shard's rows in their order, with the leaves of `ids.parquet` (`manifests.merkle`)."""
    tokens: int | None = None
    """Of `content`, by the manifest's tokenizer; None where the release counts none."""

    def to_json(self) -> dict[str, Json]:
        """Return the manifest's entry."""
        return {**vars(self)}


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What the manifest says of a file that is not a shard."""

    path: str
    sha256: str
    bytes: int

    def to_json(self) -> dict[str, Json]:
        """Return the manifest's entry."""
        return {**vars(self)}


@dataclass(frozen=True, kw_only=True)
class LanguageFacts:
    """Sums over the shards of one language."""

    config_name: str
    rows: int
    text_bytes: int
    memory_bytes: int
    bytes: int
    """Of the shard files together: what a download of this language costs."""
    shards: int
    tokens: int | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the manifest's entry."""
        return {**vars(self)}


@dataclass(frozen=True, kw_only=True)
class StageTotals:
    """Occurrences that came to one stage of the decision, and what became of them: entered = left + dropped."""

    name: str
    """`graph`, `licenses`, `contents`, `election`, `similarity`, `selection`: in this order, each needing more than the
    last."""
    entered: int
    left: int
    dropped: Mapping[str, int]

    def to_json(self) -> dict[str, Json]:
        """Return the manifest's entry."""
        return {**vars(self), "dropped": dict(self.dropped)}


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Occurrences, (origin, path, content), of the whole input: found = kept + sum(dropped)."""

    found: int
    kept: int
    dropped: Mapping[str, int]
    """Reason -> occurrences; the reasons of `docs/` and `pipeline explain`, such as `license` or
    `quality.lines`."""
    stages: Sequence[StageTotals] = ()
    """The same by stage: the first is entered by `found`, the last is left by `kept`. May be left out."""

    def to_json(self) -> dict[str, Json]:
        """Return the manifest's entry."""
        return {
            "found": self.found,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "stages": [stage.to_json() for stage in self.stages],
        }


@dataclass(frozen=True, kw_only=True)
class Origins:
    """Origins of the input: found = resolved + sum(unresolved)."""

    found: int
    resolved: int
    unresolved: Mapping[str, int]

    def to_json(self) -> dict[str, Json]:
        """Return the manifest's entry."""
        return {"found": self.found, "resolved": self.resolved, "unresolved": dict(self.unresolved)}


@dataclass(frozen=True, kw_only=True)
class Digests:
    """What the bytes of the release depend on, besides its input."""

    configuration: str
    """SHA-256 of the resolved configuration."""
    code: str
    """SHA-256 over the sources of the product's modules that take part."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Name (`license`, `opt_out`, `pii_rules`, ...) -> SHA-256."""
    detectors: Mapping[str, str] = field(default_factory=dict)
    """Name -> version."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Distribution -> version, for the libraries that affect released bytes."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """What counted the tokens."""

    name: str
    digest: str
    """SHA-256 of the tokenizer's file."""

    def to_json(self) -> dict[str, Json]:
        """Return the manifest's entry."""
        return {**vars(self)}


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the rows hold, counted over all of them."""

    licenses: Mapping[str, int]
    """SPDX expression -> rows; the sum is the number of rows."""
    redactions: Mapping[str, int]
    """Kind -> redacted spans."""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The release that this one is compared with."""

    version: str
    digest: str

    def to_json(self) -> dict[str, Json]:
        """Return the manifest's entry."""
        return {**vars(self)}
