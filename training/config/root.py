"""`TrainConfig`: the whole configuration of one training run."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from training.config import compatibility
from training.config.base import Names, Place, Section, Settings
from training.config.data import DataConfig, FilterConfig, SourceConfig
from training.config.model import LoraConfig, ModelConfig, QuantizationConfig, TokenizerConfig
from training.config.run import EvaluationConfig, OptimizerConfig, ParallelConfig, ProfileConfig

WITHOUT_EFFECT = (
    "release",
    "output",
    "micro_batch_size",
    "log_every",
    "save_every",
    "keep_checkpoints",
    "keep_best",
    "device",
    "peak_tflops",
    "gradient_checkpointing",
    "loss_chunk",
    "compile",
    "parallel",
    "loggers",
    "run_name",
    "profile",
    "data.cache",
    "data.workers",
    "evaluation.every",
    "evaluation.max_bytes",
    "evaluation.fim_documents",
    "evaluation.fim_max_tokens",
    "evaluation.metric",
    "evaluation.metrics",
    "evaluation.early_stopping",
)
"""Keys that say where, how often or how fast, not what is learnt: a run may be resumed with other values of these."""


class TrainConfig(Section):
    """The whole configuration of one training run."""

    release: Place | None = None
    """Folder of the release; give this or `sources`."""
    sources: Annotated[tuple[SourceConfig, ...], Field(strict=False, min_length=1)] | None = None
    """Several releases and files of JSON lines, with weights."""
    output: Place
    """Folder of this run: token cache, tokenizer, checkpoints, metrics."""
    languages: Names | None = None
    """Names as in the release's `language` column; null is all of them."""
    filters: FilterConfig = FilterConfig()
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Initial weights, order of rows, fill-in-the-middle, dropout."""
    deterministic: bool = False
    """Only algorithms that give the same bits each time; slower on GPUs, an error where there is none."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    lora: LoraConfig | None = None
    quantization: QuantizationConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    parallel: ParallelConfig = ParallelConfig()
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; give this or `epochs`."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes over the training documents."""
    micro_batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = 4
    """Rows per forward pass and process; auto: the largest that a GPU's memory takes."""
    global_batch_tokens: int = Field(default=8192, ge=16)
    """Tokens per optimizer step over all processes; a multiple of `data.sequence_length`."""
    log_every: int = Field(default=10, ge=1)
    """Steps."""
    save_every: int = Field(default=50, ge=1)
    """Steps; the last step is always saved."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """The newest so many stay."""
    keep_best: bool = True
    """The best by `evaluation.metric` stays, too."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Of the computation; auto: bf16 where the GPU has it, else fp32."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, about a third more time."""
    loss_chunk: int | None = Field(default=None, ge=1)
    """Tokens whose logits are there at once: much less memory where the vocabulary is large; null: all of a micro-batch."""
    compile: bool = False
    """torch.compile the model."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU if there is one."""
    peak_tflops: float | None = Field(default=None, gt=0)
    """What one device could do, in 10^12 dense FLOP/s, for the utilisation; null: as published, or measured on a CPU."""
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = Field(default=(), strict=False)
    """Where metrics go besides `<output>/metrics.jsonl`."""
    run_name: str | None = None
    """Name of the run for the loggers; null: the name of `output`."""
    callbacks: Names | None = None
    """Further transformers callbacks, each `module:Class`; made without arguments."""
    profile: ProfileConfig | None = None
    trainer: Settings = Field(default_factory=dict)
    """Further keys of transformers' TrainingArguments, passed through; those that a key here decides are errors."""

    @model_validator(mode="after")
    def _together(self) -> TrainConfig:
        compatibility.check(self)
        return self

    @property
    def micro_rows(self) -> int:
        """`micro_batch_size` where `auto` has been replaced (see `training.run.micro_batch`)."""
        assert self.micro_batch_size != "auto"
        return self.micro_batch_size

    @property
    def rows_per_step(self) -> int:
        """Rows in one optimizer step, over all processes and micro-batches."""
        return self.global_batch_tokens // self.data.sequence_length

    @property
    def all_sources(self) -> tuple[SourceConfig, ...]:
        """`sources`, or the one release; each with its languages and filters filled in."""
        given = self.sources or (SourceConfig(name="release", release=self.release),)
        return tuple(
            source.model_copy(
                update={
                    "languages": source.languages or self.languages,
                    "filters": source.filters or self.filters,
                }
            )
            for source in given
        )

    @property
    def cache_folder(self) -> Path:
        """Where the tokens are kept."""
        return Path(self.data.cache) if self.data.cache else Path(self.output) / "cache"

    def digest(self) -> str:
        """SHA-256 (hex) of all settings that can change the trained weights: all but `WITHOUT_EFFECT`."""
        meaning = with_effect(self.model_dump(mode="json"))
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def with_effect(settings: dict[str, Any]) -> dict[str, Any]:
    """Of a whole configuration as a dictionary, what can change the trained weights: all but `WITHOUT_EFFECT`."""
    meaning = copy.deepcopy(settings)
    for dotted in WITHOUT_EFFECT:
        section, _, key = dotted.rpartition(".")
        (meaning[section] if section else meaning).pop(key, None)
    for source in meaning["sources"] or ():  # places may differ, contents may not: see lineage.same_run
        source.pop("release"), source.pop("jsonl")
    return meaning
