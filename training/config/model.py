"""The model, its adapters and its quantisation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config.base import Names, Place, Section, Settings


class TokenizerConfig(Section):
    """Where the tokenizer comes from: without `path` and `model.path` one is trained on the release."""

    path: Place | None = None
    """Folder with a `tokenizer.json`, or null: that of `model.path`, else trained."""
    vocab_size: int = Field(default=8192, ge=300, le=1_000_000)
    """Entries, control tokens included. 256 are the bytes."""
    train_bytes: int = Field(default=10_000_000, ge=1)
    """Bytes of training text that the merges are learnt from, the same of each language as far as there is so much."""
    add_missing: bool = False
    """Give a tokenizer that has no fill-in-the-middle or repository tokens new ones, with embeddings to be trained."""


class ModelConfig(Section):
    """A model built from these sizes, or the one found at `path`."""

    path: Place | None = None
    """A model folder, the output of another run (its newest sound checkpoint is taken), or a name on the Hub."""
    revision: str | None = None
    """Commit of a model on the Hub; null is its main branch. Recorded in the lineage as resolved."""
    architecture: str = "llama"
    """Of a model built from sizes: a `model_type` that transformers' AutoModelForCausalLM knows."""
    hidden_size: int = Field(default=128, ge=8)
    """Width of the model; a multiple of 2 x `heads`."""
    intermediate_size: int | None = Field(default=None, ge=8)
    """Width of the feed-forward layers; null: four times `hidden_size`, or what the architecture makes of it."""
    layers: int = Field(default=4, ge=1)
    """Blocks of attention and feed-forward."""
    heads: int = Field(default=4, ge=1)
    """Attention heads."""
    kv_heads: int | None = Field(default=None, ge=1)
    """Heads of keys and values; divides `heads` (grouped-query attention); null: as many as `heads`."""
    rope_theta: float | None = Field(default=None, gt=0)
    """Base of the rotary positions of a built model; null: the architecture's own."""
    rope_scaling: Settings | None = None
    """Rotary scaling as transformers spells it, such as {rope_type: yarn, factor: 4.0}; null: the model's own."""
    tie_embeddings: bool = True
    """Input and output embeddings are one matrix."""
    config: Settings = Field(default_factory=dict)
    """Further keys of the architecture's transformers configuration, also of a model at `path`; unknown ones are errors."""
    attention: Literal[
        "auto", "sdpa", "eager", "flex_attention", "varlen", "flash_attention_2", "flash_attention_3"
    ] = "auto"
    """auto: the fastest that the machine has and that keeps packed documents apart for this architecture."""

    @model_validator(mode="after")
    def _shapes(self) -> ModelConfig:
        if self.path is None:
            if self.hidden_size % (2 * self.heads):
                raise ValueError(
                    "hidden_size must be a multiple of 2 x heads (rotary positions need even heads)"
                )
            if self.heads % (self.kv_heads or self.heads):
                raise ValueError("heads must be a multiple of kv_heads")
        return self


class LoraConfig(Section):
    """Low-rank adapters on a frozen base."""

    rank: int = Field(default=16, ge=1)
    """Of the update of each matrix."""
    alpha: float = Field(default=32.0, gt=0)
    """The update is scaled by alpha / rank, or alpha / sqrt(rank) with `rslora`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the adapters' input."""
    target_modules: Literal["auto", "all-linear"] | Annotated[Names, Field(strict=False, min_length=1)] = (
        "auto"
    )
    """auto: the attention and feed-forward matrices of the architecture; all-linear; or a list of module names."""
    dora: bool = False
    """Weight-decomposed adapters (DoRA, arXiv 2402.09353)."""
    rslora: bool = False
    """Rank-stabilised scaling (arXiv 2312.03732)."""


class QuantizationConfig(Section):
    """The frozen base in 4 bits (QLoRA, arXiv 2305.14314); needs `lora` and the package bitsandbytes."""

    type: Literal["nf4"] = "nf4"
    """Normal float of 4 bits."""
    double: bool = True
    """Quantise the constants of the quantisation, too."""
