"""The format of `lineage.json`, version 2: what is written is checked against it in tests, what is read always.

    python -m training.run.lineage_format > training/run/data/lineage.schema.json

prints it as a JSON Schema. The text below a field is its description there and in docs/lineage.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import CheckpointError

SCHEMA = Path(__file__).parent / "data/lineage.schema.json"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hex."""

Count = Annotated[int, Field(ge=0)]

Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """Base of all records: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


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


class Rows(Record):
    """What became of all rows of the languages that were read; train + held_out + left_out."""

    train: Count
    held_out: Count
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
    size: Count
    """Number of ids."""
    end_of_text: int
    pad: int


class Fim(Record):
    """Fill in the middle: see `training.corpus.fim`."""

    rate: Share
    spm_rate: Share
    max_characters: Count
    """A longer document is never cut."""


class Repository(Record):
    """Repository context: see `training.corpus.repository`."""

    model_config = ConfigDict(extra="allow")

    rate: Share


class Packing(Record):
    """How documents become rows of tokens: see `training.tokens.packing`."""

    method: str
    window: int | None
    """Documents that are packed together; null: a whole epoch."""
    sequence_length: int


class Order(Record):
    """Which packed row is in which step: see `training.tokens.order`."""

    seed: int
    rows_per_step: int
    steps: int
    """Of the whole run."""


class Shares(Record):
    """Shares of the trained tokens; those of each dictionary add up to 1."""

    languages: dict[str, float]
    sources: dict[str, float]


class Mix(Record):
    """Wanted shares (empty: as the data are), and those of the tokens seen."""

    wanted: Shares
    achieved: Shares
    max_repeats: float


class SeenEpoch(Record):
    """One pass over the training rows that was begun."""

    epoch: Count
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


class Seen(Record):
    """What the weights have learnt from."""

    steps: Count
    epochs: list[SeenEpoch]
    rows: Count
    """Rows of all parts' `seen`."""
    tokens: Count
    """Without padding; a token that was shown twice counts twice."""
    trained_tokens: Count
    """Of these, with a label: all but the first of each fragment."""
    tokens_by_language: dict[str, Count]


class Stretch(Record):
    """Steps that the same processes trained; a resume with another number of them begins a new one."""

    first_step: Count
    steps: Count
    processes: Annotated[int, Field(ge=1)]
    micro_batch_size: Annotated[int, Field(ge=1)]
    """Rows per forward pass and process."""


class Git(Record):
    """The checkout that the product ran from."""

    commit: str
    dirty: bool
    """Whether its code was not that of the commit."""


class Product(Record):
    """The code."""

    version: str
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


class Lineage(Record):
    """What a checkpoint was trained on, by what, and how."""

    schema_version: Literal[2]
    product: Product
    sources: list[Source]
    rows: Rows
    split: Split
    mix: Mix
    tokenizer_digest: Digest
    """SHA-256 of tokenizer.json."""
    tokenizer: Tokenizer
    fim: Fim
    repository: Repository
    packing: Packing
    order: Order
    stream_digest: Digest
    """Of the order and of all tokens: names the exact stream of batches."""
    seen: Seen
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
    parent: Parent | None
    """Null: trained from random weights."""


def parse(value: Any, where: str) -> Lineage:
    """A lineage that was read.

    Raises:
        CheckpointError: another version, or not of this format; names the field.
    """
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != 2:
        raise CheckpointError(f"{where}: lineage of version {version!r}; this Stackmill reads version 2")
    try:
        return Lineage.model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{where}: not a lineage: {place}: {first['msg']}") from error


def schema() -> str:
    """The JSON Schema (draft 2020-12) of `lineage.json`, as text."""
    tree = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Lineage.model_json_schema()}
    return json.dumps(tree, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
