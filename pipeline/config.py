"""The release configuration: typed, frozen, documented; an unknown key is an error that suggests the right one.

`load(path)` reads YAML (safe, no duplicate keys) and returns a ReleaseConfig. `resolved(config)` is what is written
into the release and hashed: everything that can change a released byte, and nothing else (no path, address, worker or
bucket count).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.config_card import Card
from pipeline.config_contamination import Contamination
from pipeline.config_licenses import Licenses
from pipeline.config_quality import Quality
from pipeline.config_secrets import Secrets
from pipeline.config_select import Select, Tokens
from pipeline.config_signals import Containment, Repeated
from pipeline.config_types import Bytes, Count, Share
from pipeline.config_types import Section as _Section
from pipeline.config_types import hint as _hint
from pipeline.content.taxonomy import LANGUAGES
from pipeline.engine.amounts import memory_bytes
from pipeline.engine.buckets import check_buckets
from pipeline.errors import ConfigError

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_DATE = re.compile(r"\d{4}-?\d\d-?\d\d")
_SHOWN = 200  # characters of a wrong value that a message repeats


class Archive(_Section):
    """Where the input is: a Software-Heritage-layout archive, or what to build one from."""

    uri: str | None = Field(
        None, description="folder or s3:// prefix that holds graph/ and content/; null: build one"
    )
    graph: str | None = Field(
        None, description="address of the graph export, where it is not <uri>/graph/<export>"
    )
    content: str | None = Field(
        None, description="address of the content objects, where it is not <uri>/content"
    )
    export: str | None = Field(None, description="name of the export below graph/; null: the only one there")
    format: Literal["parquet", "orc"] | None = Field(
        None, description="form of the tables to read; null: parquet if it is there, else orc"
    )
    anonymous: bool = Field(True, description="read S3 without credentials, as the public bucket allows")
    build: Literal["installed"] | None = Field(
        None, description="build the archive from the installed distributions"
    )
    max_files: Count = Field(24_000, description="files in the built archive, in all")
    max_bytes: Bytes = Field(268_435_456, description="bytes in the built archive, in all")
    max_files_per_origin: Count = Field(4_000, description="files of one distribution in the built archive")


class Origins(_Section):
    """Which origins take part: those that every given selection names; at which visit or revision they are taken.

    `list`, `revisions`, `metadata` and `dataset` are addresses, local or s3://, of the user's files: see
    pipeline/sources/selection.py for their columns.
    """

    list: str | None = Field(None, description="file of URLs: text, one a line, or Parquet or CSV; null: all")
    prefixes: tuple[str, ...] = Field((), description="URL prefixes; empty: every origin")
    forges: tuple[str, ...] = Field((), description="host names, such as github.com; empty: every host")
    dataset: str | None = Field(
        None, description="file or folder with the ids of a published dataset; null: every content"
    )
    limit: Count | None = Field(None, description="at most so many, the first by sha1 of the URL; null: all")
    as_of: str | None = Field(
        None,
        description="date (its whole day) or date-time, UTC: the latest full visit up to then; null: the latest",
    )
    revisions: str | None = Field(
        None, description="file that names the revision to take of an origin; null: its branch decides"
    )
    metadata: str | None = Field(
        None, description="file or folder with stars, forks, default branch, fork-of; null: nothing is known"
    )
    anonymous: bool = Field(False, description="read those of these files that are on S3 without credentials")

    @field_validator("forges")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not a host name; give it as in github.com, without scheme and path"
                )
        return tuple(sorted({name.lower() for name in value}))

    @field_validator("as_of", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> str | None:
        """A moment in one spelling, microseconds in UTC: YAML reads an unquoted date as a date."""
        if value is None:
            return None
        try:
            found = datetime.fromisoformat(value) if isinstance(value, str) else value
            if (isinstance(value, str) and _DATE.fullmatch(value)) or type(found) is date:
                found = datetime(found.year, found.month, found.day, 23, 59, 59, 999_999)
            if found.tzinfo is not None:
                found = found.astimezone(UTC).replace(tzinfo=None)
            return str(found.isoformat(timespec="microseconds"))
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise ValueError(
                "must be a date or date-time, such as 2024-05-17 or 2024-05-17T12:00:00Z"
            ) from None


class Files(_Section):
    """Limits on what is walked and fetched."""

    max_bytes: Bytes = Field(10_485_760, description="bytes of one file; larger is `too_large`")
    max_depth: int = Field(64, ge=1, le=512, description="levels of directories below a root")
    max_path_bytes: Bytes = Field(4_096, description="bytes of a path; longer is `path_limit`")
    max_entries: Count = Field(
        1_000_000, description="entries of one root; a larger tree is `path_limit` as a whole"
    )
    vendored: Literal["drop", "keep"] = Field("drop", description="files in vendored directories")
    languages: tuple[str, ...] = Field((), description="languages to keep; empty: every known one")

    @field_validator("languages")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in LANGUAGES:
                raise ValueError(f"unknown language {name!r}{_hint(name, LANGUAGES)}")
        return value


class Optout(_Section):
    """Who asked not to be in the dataset."""

    registry: str | None = Field(None, description="registry file of origins and owners; null: nobody")


class SketchShortcut(_Section):
    """Pairs that their sketches settle without a comparison of the texts."""

    accept: Share = Field(
        "0.85", description="share of equal values from which on two files are near-duplicates"
    )
    reject: Share = Field("0.55", description="share of equal values below which they are none")


class NearDuplicates(_Section):
    """Near-duplicate removal: verified exact Jaccard of 5-token shingles."""

    enabled: bool = Field(True, description="false: exact duplicates only")
    threshold: Share = Field(
        "0.7", description="Jaccard at or above which two files are near-duplicates, as a decimal string"
    )
    bands: int = Field(42, ge=1, le=256, description="bands of the 256-value sketch")
    rows: int = Field(6, ge=1, le=256, description="values per band")
    bucket_cap: int = Field(
        64, ge=2, le=65_536, description="members up to which a band bucket pairs all with all"
    )
    bucket_best: int = Field(
        16, ge=1, le=65_536, description="best-ranked members that each one is paired with above that"
    )
    across_languages: bool = Field(
        True,
        description="false: only files of the same language are compared; buckets, too, are those of one language",
    )
    across_origins_only: bool = Field(
        False,
        description="true: a file is no near-duplicate of one of the same origin (where each is elected);"
        " buckets and their best-ranked members stay those of all origins",
    )
    band_groups: int | None = Field(
        None,
        ge=1,
        le=256,
        description="groups of bands whose keys are on disk one after the other; changes no byte of a release;"
        " null: by the number of contents",
    )

    shortcut: SketchShortcut | None = Field(
        None,
        description="{accept: 0.85, reject: 0.55}: pairs whose sketches agree that much, or that little, are not compared:"
        " faster, and not exact; null: every decision is by an exact similarity",
    )
    operators: bool = Field(
        False, description="true: every byte of punctuation is a token, too; false: it only separates"
    )
    sketch: Literal["fast", "minhash"] = Field(
        "fast", description="fast: Fast Similarity Sketching; minhash: classic MinHash, the slower reference"
    )
    containment: Containment | None = Field(
        None, description="tell which files lie in bigger ones: {least: '0.8'}; null: do not look for them"
    )
    repeated: Repeated | None = Field(
        None, description="tell which files consist of blocks that many hold; null: do not look for them"
    )

    @field_validator("shortcut")
    @classmethod
    def _around(cls, value: SketchShortcut | None, info: Any) -> SketchShortcut | None:
        threshold = Fraction(info.data.get("threshold", 1))
        if value is not None and not Fraction(value.reject) <= threshold <= Fraction(value.accept):
            raise ValueError("reject must not be above near_duplicates.threshold, nor that above accept")
        return value

    @model_validator(mode="after")
    def _best(self) -> NearDuplicates:
        if self.bucket_best > self.bucket_cap:
            raise ValueError("bucket_best must not be above bucket_cap")
        return self

    @field_validator("rows")
    @classmethod
    def _fits(cls, value: int, info: Any) -> int:
        if value * info.data.get("bands", 1) > 256:
            raise ValueError("bands x rows must not exceed the 256 values of a sketch")
        return value


class Emit(_Section):
    """How shards are cut and written; all of it changes their bytes."""

    shard_bytes: Bytes = Field(268_435_456, description="text bytes at which a shard is split in two")
    group_rows: int = Field(10_000, ge=1, le=1_000_000, description="rows of a row group at most")
    group_bytes: int = Field(
        67_108_864,
        ge=1_024,
        le=286 << 20,
        description="raw bytes of a row group at most; the Hub's viewer refuses more than 286 MiB",
    )
    compression_level: int = Field(3, ge=1, le=22, description="level of zstd")
    content_defined_chunking: bool = Field(
        False, description="cut pages by content: a changed file shares pieces with its parent on the Hub"
    )


class Engine(_Section):
    """How the work is done; none of it can change a released byte."""

    buckets: int | None = Field(
        None,
        ge=1,
        description="buckets of a new work directory, a power of two; null: by the size of the input",
    )
    workers: int | None = Field(
        None, ge=1, description="units at once; null: one per core, of all nodes on a cluster"
    )
    task_memory: str = Field("1GB", description="memory limit of the joins of one task; more spills to disk")
    fetch_rate: int = Field(
        2_000, ge=1, le=1_000_000, description="objects per second that one task asks S3 for at most"
    )
    fetch_concurrency: int = Field(
        64, ge=1, le=1024, description="objects in flight per task at most; rate x latency decides below that"
    )
    fetch_failures: Count = Field(
        100, description="objects of one unit that may fail in passing before the release stops"
    )
    fetch_incomplete: bool = Field(
        False, description="true: go on although nearly all objects of the archive are missing"
    )
    shared_disk: bool = Field(
        False, description="on a cluster: all nodes see the same folders, so local ones may be used"
    )
    forward_credentials: bool = Field(
        False,
        description="on a cluster: send AWS keys of the driver's environment to the nodes; Ray stores them in plain text",
    )

    @field_validator("buckets")
    @classmethod
    def _power_of_two(cls, value: int | None) -> int | None:
        return None if value is None else check_buckets(value)

    @field_validator("task_memory")
    @classmethod
    def _amount(cls, value: str) -> str:
        memory_bytes(value)
        return value


class ReleaseConfig(_Section):
    """Everything about a release but its version."""

    name: str = Field(
        "stackmill-release", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="name of the dataset"
    )
    archive: Archive = Archive()
    origins: Origins = Origins()
    files: Files = Files()
    licenses: Licenses = Licenses()
    optout: Optout = Optout()
    quality: Quality = Quality()
    secrets: Secrets = Secrets()
    contamination: Contamination = Contamination()
    near_duplicates: NearDuplicates = NearDuplicates()
    select: Select = Select()
    tokens: Tokens = Tokens()
    emit: Emit = Emit()
    card: Card = Card()
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _countable(self) -> ReleaseConfig:
        if self.select.max_tokens and self.tokens.tokenizer is None:
            raise ValueError("select.max_tokens needs tokens.tokenizer: what is to count the tokens?")
        return self


class _NoDuplicates(yaml.SafeLoader):
    """YAML 1.1 as PyYAML's safe loader reads it, but a repeated key is an error, and so are aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be plain text", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> ReleaseConfig:
    """Read a configuration file. Raises ConfigError naming file, key and, where it can, the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        data = yaml.load(text, Loader=_NoDuplicates)
    except RecursionError as error:
        raise ConfigError(f"{path}: not valid YAML: too many brackets in one another") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number that is none
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping of sections, not a {type(data).__name__}")
    return parse(data, where=str(path), text=text)


def parse(data: dict[str, Any], *, where: str = "configuration", text: str = "") -> ReleaseConfig:
    """A ReleaseConfig from plain data. Raises ConfigError for unknown keys (did you mean) and wrong types."""
    try:
        return ReleaseConfig.model_validate(_tuples(data))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item, where, text) for item in error.errors())) from None


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _explain(item: Any, where: str, text: str) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    line = _line_of(text, path)
    place = f"{where}:{line}" if line else where
    if item["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        return f"{place}: unknown key {key!r}{_hint(path[-1], known) or '; known keys: ' + ', '.join(known)}"
    got = repr(item["input"])
    got = got if len(got) <= _SHOWN else f"{got[:_SHOWN]}..."
    message = item["msg"].removeprefix("Value error, ")
    if path[:1] == ["secrets"] and "values" in path:  # somebody wrote a secret where its digest belongs
        return f"{place}: {key}: {message}"
    return f"{place}: {key}: {message} (got {got})" if key else f"{place}: {message}"


def _known_keys(path: list[str]) -> list[str]:
    model: Any = ReleaseConfig
    for part in path:
        if part in model.model_fields:  # else the number of an element of a list, or a key of a mapping
            model = model.model_fields[part].annotation
        model = next(
            (one for one in get_args(model) if hasattr(one, "model_fields")), model
        )  # it may be null
    return list(model.model_fields)


def _line_of(text: str, path: list[str]) -> int | None:
    """Line of the key at `path` in simple block-style YAML."""
    row, indent = 0, -1
    lines = text.splitlines()
    for part in path:
        for number in range(row, len(lines)):
            stripped = lines[number].lstrip()
            depth = len(lines[number]) - len(stripped)
            if stripped.startswith(f"{part}:") and depth > indent:
                row, indent = number + 1, depth
                break
        else:
            return row or None
    return row or None


def resolved(config: ReleaseConfig) -> dict[str, Any]:
    """The part of the configuration that can change a released byte, as plain data.

    Files that it names (policy, opt-out registry, selections, benchmarks, rules for secrets) are left out: their digests
    stand in the manifest.
    """
    data = config.model_dump(mode="json", exclude={"engine"})
    data["archive"] = {}
    data["contamination"] = config.contamination.resolved()
    data["secrets"] = config.secrets.resolved()
    data["card"].pop("review")
    data["licenses"].pop("policy")
    data["licenses"].pop("decisions")
    data["licenses"].pop("processes")
    data["near_duplicates"].pop("band_groups")
    data["optout"].pop("registry")
    data["tokens"].pop("tokenizer")
    for name in ("list", "dataset", "revisions", "metadata", "anonymous"):
        data["origins"].pop(name)
    return {key: value for key, value in data.items() if value != {}}
