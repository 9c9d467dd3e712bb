"""The training configuration: one YAML file, typed, frozen; an unknown key is an error with a suggestion.

`configs/train-*.yaml` are the presets; every key is commented there with type, unit and default. `load` reads
a file, applies `--set a.b=value` overrides and checks the whole. Nothing heavy is imported here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training import yaml_file
from training.errors import TrainingConfigError


class Section(BaseModel):
    """Base of all sections: unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TokenizerConfig(Section):
    """Where the tokenizer comes from: without `path` and `model.path` one is trained on the release."""

    path: str | None = None
    """Folder with a `tokenizer.json`, or null: that of `model.path`, else trained."""
    vocab_size: int = Field(default=8192, ge=300, le=1_000_000)
    """Entries, control tokens included. 256 are the bytes."""
    train_bytes: int = Field(default=10_000_000, ge=1)
    """Bytes of training text that the merges are learnt from."""


class ModelConfig(Section):
    """A Llama-style decoder built from these sizes, or the model found at `path`."""

    path: str | None = None
    """A model folder, or the output folder of another run (its newest sound checkpoint is taken)."""
    hidden_size: int = Field(default=128, ge=8)
    intermediate_size: int = Field(default=384, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=2, ge=1)
    rope_theta: float = Field(default=10_000.0, gt=0)
    tie_embeddings: bool = True
    attention: Literal["sdpa", "eager"] = "sdpa"

    @model_validator(mode="after")
    def _shapes(self) -> ModelConfig:
        if self.path is None:
            if self.hidden_size % (2 * self.heads):
                raise ValueError(
                    "hidden_size must be a multiple of 2 x heads (rotary positions need even heads)"
                )
            if self.heads % self.kv_heads:
                raise ValueError("heads must be a multiple of kv_heads")
        return self


class FimConfig(Section):
    """Fill in the middle, per document and at character level (see `training.fim`)."""

    rate: float = Field(default=0.5, ge=0, le=1)
    """Share of documents that are cut into prefix, middle, suffix."""
    spm_rate: float = Field(default=0.5, ge=0, le=1)
    """Share of those in suffix-prefix-middle order; the others are prefix-suffix-middle."""


class DataConfig(Section):
    """Which documents, and how they become rows of tokens."""

    sequence_length: int = Field(default=512, ge=16)
    """Tokens per row."""
    packing: Literal["bfd"] = "bfd"
    """Best-fit decreasing with splitting: nothing is dropped, only documents longer than a row are cut."""
    eval_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Wanted share of bytes held out, by whole owners. 0 holds nothing out and evaluates nothing."""
    max_train_bytes: int | None = Field(default=None, ge=1)
    """Train on at most so many bytes (of the originals); null is all."""
    max_eval_bytes: int | None = Field(default=None, ge=1)
    """Evaluate on at most so many bytes, shared out between the languages; null is all that is held out."""
    fim: FimConfig = FimConfig()
    cache: str | None = None
    """Folder of the token cache; null is `<output>/cache`."""


class LoraConfig(Section):
    """Low-rank adapters on a frozen base."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = (
        "all-linear"
    )


class OptimizerConfig(Section):
    """AdamW and its schedule."""

    learning_rate: float = Field(default=3e-3, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    max_grad_norm: float = Field(default=1.0, ge=0)
    """0 switches clipping off."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)


class TrainConfig(Section):
    """The whole configuration of one training run."""

    release: str = Field(min_length=1)
    """Folder of the release."""
    output: str = Field(min_length=1)
    """Folder of this run: token cache, tokenizer, checkpoints, metrics."""
    languages: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """Names as in the release's `language` column; null is all of them."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    lora: LoraConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; give this or `epochs`."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes over the training documents."""
    micro_batch_size: int = Field(default=4, ge=1)
    """Rows per forward pass and process."""
    global_batch_tokens: int = Field(default=8192, ge=16)
    """Tokens per optimizer step over all processes; a multiple of `data.sequence_length`."""
    log_every: int = Field(default=10, ge=1)
    """Steps."""
    eval_every: int = Field(default=50, ge=1)
    """Steps; the last step is always evaluated."""
    save_every: int = Field(default=50, ge=1)
    """Steps; the last step is always saved."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """The newest so many stay."""
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["auto", "cpu"] = "auto"

    @model_validator(mode="after")
    def _together(self) -> TrainConfig:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of `steps` and `epochs`")
        if self.global_batch_tokens % self.data.sequence_length:
            raise ValueError(
                f"global_batch_tokens ({self.global_batch_tokens}) must be a multiple of "
                f"data.sequence_length ({self.data.sequence_length})"
            )
        if self.rows_per_step % self.micro_batch_size:
            raise ValueError(
                f"global_batch_tokens / data.sequence_length = {self.rows_per_step} rows per step must be a "
                f"multiple of micro_batch_size ({self.micro_batch_size})"
            )
        if self.lora is not None and self.model.path is None:
            raise ValueError("lora needs a trained base: set model.path")
        return self

    @property
    def rows_per_step(self) -> int:
        """Rows in one optimizer step, over all processes and micro-batches."""
        return self.global_batch_tokens // self.data.sequence_length

    @property
    def cache_folder(self) -> Path:
        """Where the tokens are kept."""
        return Path(self.data.cache) if self.data.cache else Path(self.output) / "cache"

    def digest(self) -> str:
        """SHA-256 (hex) of all settings that can change the trained weights.

        Places, intervals of logging, evaluation and saving, retention and the micro-batch (which is a way to
        compute the same step) are left out: a run may be resumed with other values of these.
        """
        meaning = self.model_dump(mode="json")
        for key in (
            "release",
            "output",
            "log_every",
            "eval_every",
            "save_every",
            "keep_checkpoints",
            "device",
        ):
            meaning.pop(key)
        meaning.pop("micro_batch_size")
        meaning["data"].pop("cache")
        meaning["data"].pop("max_eval_bytes")
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def _fields_at(location: Sequence[str | int]) -> list[str]:
    """Keys allowed in the section that `location` (the path of a key) lies in."""
    section: Any = TrainConfig
    for key in location[:-1]:
        field = section.model_fields.get(key) if isinstance(key, str) else None
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), None)
        if section is None:
            return []
    return list(section.model_fields)


def _all_keys(section: type[Section] = TrainConfig, prefix: str = "") -> list[str]:
    """Every key of the configuration, with the sections that lead to it."""
    found = []
    for name, field in section.model_fields.items():
        found.append(prefix + name)
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, Section):
                found += _all_keys(kind, f"{prefix}{name}.")
    return found


def _suggestion(location: Sequence[str | int]) -> str:
    """What was probably meant: a key of the same section, the same key of another one, or what there is."""
    key, here = str(location[-1]), _fields_at(location)
    close = difflib.get_close_matches(key, here, n=1, cutoff=0.6)
    elsewhere = [dotted for dotted in _all_keys() if dotted.rpartition(".")[2] == key]
    if elsewhere or close:
        return f"; did you mean {(elsewhere or close)[0]!r}?"
    return f"; known: {', '.join(here)}"


def _explain(error: ValidationError, where: dict[tuple[str | int, ...], str]) -> str:
    messages = []
    for problem in error.errors():
        location = tuple(problem["loc"])
        # A union adds the names of its branches to the location; the longest known prefix is the key itself.
        known = next((location[:n] for n in range(len(location), 0, -1) if location[:n] in where), None)
        dotted = ".".join(str(part) for part in (known or location))
        place = where[known] if known else where.get((), "configuration")
        if problem["type"] == "extra_forbidden":
            hint = _suggestion(location)
            text = f"{place}: unknown key {dotted!r}{hint}"
        elif problem["type"] == "missing":
            text = f"{place}: the key {dotted!r} is required"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            text = f"{place}: {dotted}: {message}" if dotted else f"{place}: {message}"
            if problem["type"] != "value_error":
                text += f" (got {problem['input']!r})"
        if text not in messages:
            messages.append(text)
    return "\n".join(messages)


def _override(tree: dict[str, Any], text: str, where: dict[tuple[str | int, ...], str]) -> None:
    dotted, found, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not found or not all(keys):
        raise TrainingConfigError(f"--set {text}: write it as --set section.key=value")
    try:
        parsed, _ = yaml_file.parse(value)
    except TrainingConfigError as error:
        raise TrainingConfigError(f"--set {text}: {error}") from error
    section = tree
    for depth, key in enumerate(keys[:-1]):
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        where.setdefault(tuple(keys[: depth + 1]), f"--set {text}")
        if not isinstance(section, dict):
            raise TrainingConfigError(
                f"--set {text}: {'.'.join(keys[: depth + 1])!r} is a value, not a section"
            )
    section[keys[-1]] = parsed
    where[tuple(keys)] = f"--set {text}"


def load(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration file and apply overrides, each `section.key=value` with a YAML value.

    Raises:
        TrainingConfigError: every problem found, one per line, with file and line (or the override) and what
        to do.
    """
    file = Path(path)
    tree, lines = yaml_file.read(file)
    if not isinstance(tree, dict):
        raise TrainingConfigError(f"{file}: must be a mapping of keys to values")
    where = {key: f"{file}:{line}" for key, line in lines.items()}
    where[()] = str(file)
    for text in overrides:
        _override(tree, text, where)
    try:
        return TrainConfig.model_validate(tree)
    except ValidationError as error:
        raise TrainingConfigError(_explain(error, where)) from error
