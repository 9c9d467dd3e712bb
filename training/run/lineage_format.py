"""The format of `lineage.json`, version 2: what is written is checked against it in tests, what is read always.

    python -m training.run.lineage_format

writes it as a JSON Schema beside this module, and as tables into docs/lineage.md. The text below a field is its
description in both.
"""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from training.errors import CheckpointError

SCHEMA = Path(__file__).parent / "data/lineage.schema.json"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hex."""

Count = Annotated[int, Field(ge=0)]

Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """Base of all records: unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


Format = TypeVar("Format", bound=Record)


class RowSet(Record):
    """Some of the rows of one file."""

    count: Count
    """How many."""
    bits: str
    """One bit per row, the first row in the highest bit of the first byte; zlib; base64."""
    ranges: list[tuple[int, int]] | None
    """The same for people: first row, and the row after the last; null where there are more than 32."""


class Part(Record):
    """One file that rows come from: a shard of a release, or a file of JSON lines."""

    path: str
    """In the release."""
    sha256: Digest
    """Of the file's bytes."""
    rows: Count
    """All that the file has; they are numbered from 0, as they lie in it."""
    train: RowSet
    """Rows to train on."""
    held_out: RowSet
    """Rows of the evaluation split, never trained on. Rows in neither were left out."""
    seen: RowSet
    """Rows of which at least one token was in a step that the weights have learnt from."""


class Source(Record):
    """A release, or a file of JSON lines. Rows are read in the order of `parts`."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["release", "jsonl"]
    """What it is."""
    name: str
    """In the configuration."""
    dataset: str | None = None
    """Name of the dataset."""
    version: str | None = None
    """Of the release."""
    digest: Digest
    """Of a release's manifest.json, or of the file."""
    languages: list[str]
    """That were read."""
    filters: dict[str, Any] | None
    """As configured; see configs/train-tiny.yaml."""
    parts: list[Part]
    """Its files."""


class Rows(Record):
    """What became of all rows of the languages that were read; train + held_out + left_out."""

    train: Count
    """To be trained on."""
    held_out: Count
    """For evaluation."""
    left_out: dict[str, Count]
    """By reason."""


class Split(Record):
    """How rows were held out."""

    fraction: Share
    """Wanted share of the bytes."""
    split_by: str
    """What stays together: see `evaluation.split_by`."""
    near: float | None
    """Held-out rows this similar to a training row were left out."""
    groups: Count
    """Held out, in whole."""


class Tokenizer(Record):
    """The file in the same folder, and the ids that no text can write."""

    file: str
    """Its name."""
    size: Count
    """Number of ids."""
    end_of_text: int
    """Id at the end of each document."""
    pad: int
    """Id of the padding."""


class Fim(Record):
    """Fill in the middle: see `training.corpus.fim`."""

    rate: Share
    """Share of documents that are cut."""
    spm_rate: Share
    """Share of these in suffix-prefix-middle order."""
    max_characters: Count
    """A longer document is never cut."""


class Repository(Record):
    """Repository context: see `training.corpus.repository`."""

    model_config = ConfigDict(extra="allow")

    rate: Share
    """Share of repositories shown as one document; further keys as in the configuration."""


class Packing(Record):
    """How documents become rows of tokens: see `training.tokens.packing`."""

    method: str
    """bfd or concat."""
    window: int | None
    """Documents that are packed together; null: a whole epoch."""
    sequence_length: int
    """Tokens per row."""


class Order(Record):
    """Which packed row is in which step: see `training.tokens.order`."""

    seed: int
    """Of the run."""
    rows_per_step: int
    """Over all processes."""
    steps: int
    """Of the whole run."""


class Shares(Record):
    """Shares of the trained tokens; those of each dictionary add up to 1."""

    languages: dict[str, float]
    """By language."""
    sources: dict[str, float]
    """By name of the source."""


class Mix(Record):
    """Wanted shares (empty: as the data are), and those of the tokens seen."""

    wanted: Shares
    """As configured."""
    achieved: Shares
    """Of the tokens seen so far."""
    max_repeats: float
    """A document is shown at most so often in an epoch."""


class Group(Record):
    """The documents of one source and language in an epoch of weighted data: see `training.corpus.mixing`."""

    source: str
    """Its name."""
    language: str
    """As in the data."""
    documents: Count
    """Of the group."""
    tokens: Count
    """Of the group, each document once."""
    wanted: Share
    """Share of the epoch's tokens that the weights ask for."""
    first: Count
    """First document, counted in the group's endless cycle, that the epoch holds."""
    stop: Count
    """The document after the last."""
    shown: Count
    """Tokens of these."""
    held_back: bool
    """`max_repeats` kept the group below its share."""


class SeenEpoch(Record):
    """One pass over the training rows that was begun."""

    epoch: Count
    """From 0."""
    first_step: Count
    """The first step of it, counted from 0 over all epochs."""
    steps: Count
    """Of it, that the weights have learnt from."""
    rows: Count
    """Packed rows in these steps: the first so many in the epoch's order."""
    of_rows: Count
    """Packed rows of the whole epoch."""
    documents: Count
    """In the epoch, repetitions counted."""
    filled: Share
    """Share of the places in packed rows that hold a token."""
    plan_digest: Digest
    """Of the packing plan."""
    tokens_digest: Digest
    """Of the token ids of all documents."""
    groups: list[Group]
    """Empty where languages and sources have no weights."""


class Seen(Record):
    """What the weights have learnt from."""

    steps: Count
    """Optimizer steps."""
    epochs: list[SeenEpoch]
    """Those that were begun."""
    rows: Count
    """Rows of all parts' `seen`."""
    tokens: Count
    """Without padding; a token that was shown twice counts twice."""
    trained_tokens: Count
    """Of these, with a label: all but the first of each fragment."""
    tokens_by_language: dict[str, Count]
    """`tokens`, by the language of their row."""


class Stretch(Record):
    """Steps that the same processes trained; a resume with another number of them begins a new one."""

    first_step: Count
    """From 0."""
    steps: Count
    """How many."""
    processes: Annotated[int, Field(ge=1)]
    """That shared each step."""
    micro_batch_size: Annotated[int, Field(ge=1)]
    """Rows per forward pass and process."""


class Git(Record):
    """The checkout that the product ran from."""

    commit: str
    """Of the repository."""
    dirty: bool
    """Whether its code was not that of the commit."""


class Product(Record):
    """The code."""

    version: str
    """Of the package `stackmill`."""
    git: Git | None
    """Null: an installed package."""


class Parent(Record):
    """The model that training started from."""

    folder: str
    """Its name, without the place."""
    checkpoint_digest: Digest | None
    """SHA-256 of its checkpoint.json, which lists all its files; null: not a checkpoint of Stackmill."""
    lineage: dict[str, Any] | None
    """Its whole lineage.json, and so the chain of all parents; null: it has none."""


class Base(Record):
    """Which model training started from, whatever it was."""

    kind: Literal["folder", "checkpoint", "hub"]
    """Where it came from."""
    name: str
    """Of the folder, or on the Hub."""
    digest: Digest
    """Of its files: see `training.model.base.digest_of`."""
    revision: str | None = None
    """On the Hub: as asked for."""
    commit: str | None = None
    """On the Hub: what it was."""


class Lineage(Record):
    """What a checkpoint was trained on, by what, and how."""

    schema_version: Literal[2]
    """Of this format."""
    product: Product
    """The code that trained."""
    sources: list[Source]
    """What was read, in this order."""
    rows: Rows
    """Of all sources, counted."""
    split: Split
    """The evaluation split."""
    mix: Mix
    """Shares of languages and sources."""
    tokenizer_digest: Digest
    """SHA-256 of tokenizer.json."""
    tokenizer: Tokenizer
    """How text becomes ids."""
    fim: Fim
    """Fill in the middle."""
    repository: Repository
    """Repository context."""
    packing: Packing
    """How documents become rows."""
    order: Order
    """How rows become steps."""
    stream_digest: Digest
    """Of the order and of all tokens: names the exact stream of batches."""
    seen: Seen
    """What the weights have learnt from, counted."""
    processes: Annotated[int, Field(ge=1)]
    """That wrote this checkpoint."""
    history: list[Stretch]
    """Which processes trained which steps; without gaps."""
    config: dict[str, Any]
    """The whole resolved configuration."""
    config_digest: Digest
    """Of the settings that can change the weights."""
    libraries: dict[str, str]
    """Name to version, or `not installed`."""
    base: Base | None
    """Null: trained from random weights."""
    parent: Parent | None
    """The base's own lineage; null: trained from random weights."""


class Merge(Record):
    """How an adapter was put into its base: see `training.after.merge`."""

    model_config = ConfigDict(extra="allow")

    base: dict[str, Any]
    """As in Base."""


class MergedLineage(Record):
    """The lineage.json of a merged model: nothing was learnt in merging, all else is its parent's."""

    schema_version: Literal[2]
    """Of this format."""
    merge: Merge
    """How it was put together."""
    tokenizer_digest: Digest
    """SHA-256 of tokenizer.json."""
    libraries: dict[str, str]
    """Name to version."""
    parent: Parent
    """The checkpoint with the adapter."""


def parse(value: Any, where: str) -> Lineage:
    """A lineage that was read.

    Raises:
        CheckpointError: another version, or not of this format; names the field.
    """
    return _parse(Lineage, value, where)


def parse_merged(value: Any, where: str) -> MergedLineage:
    """The lineage of a merged model, likewise."""
    return _parse(MergedLineage, value, where)


def _parse(kind: type[Format], value: Any, where: str) -> Format:
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != 2:
        raise CheckpointError(f"{where}: lineage of version {version!r}; this Stackmill reads version 2")
    try:
        return kind.model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{where}: not a lineage: {place}: {first['msg']}") from error


def schema() -> str:
    """The JSON Schema (draft 2020-12) of `lineage.json`, as text."""
    either = TypeAdapter(Lineage | MergedLineage).json_schema()
    tree = {"$schema": "https://json-schema.org/draft/2020-12/schema", **either}
    return json.dumps(tree, indent=1, sort_keys=True) + "\n"


def tables() -> str:
    """The records as tables of Markdown, each field with its type and description."""
    parts = []
    for record in RECORDS:
        lines = [f"**{record.__name__}.** {record.__doc__}", "", "| field | type | what |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {_type(field.annotation)} | {field.description} |"
            for name, field in record.model_fields.items()
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _type(annotation: Any) -> str:
    """A type as people write it."""
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if annotation is type(None):
        return "null"
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is tuple:
        return "[" + ", ".join(map(_type, arguments)) + "]"
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {_type(arguments[1])}"
    if arguments:
        return " or ".join(map(_type, arguments))
    return str(annotation.__name__)


RECORDS: tuple[type[Record], ...] = (
    *(Lineage, Source, Part, RowSet, Rows, Split, Mix, Shares, Tokenizer, Fim, Repository, Packing, Order),
    *(Seen, SeenEpoch, Group, Stretch, Product, Git, Base, Parent, MergedLineage, Merge),
)
"""In the order of the documentation."""

BEGIN, END = "<!-- begin of the fields -->", "<!-- end of the fields -->"


def documented(page: str) -> str:
    """A page with its tables of fields as they are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
    place = Path(__file__).parents[2] / "docs/lineage.md"
    place.write_text(documented(place.read_text(encoding="utf-8")), encoding="utf-8")
