"""Optimizer, evaluation, parallelism, logging."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from training.config.base import Names, Place, Section


class OptimizerConfig(Section):
    """AdamW and its schedule."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """At its peak."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the mean of the gradients."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the mean of their squares."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled, of matrices; not of norms and biases."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are clipped to this norm; 0 switches clipping off."""
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """After the warm-up. wsd: constant, then a decay over the last `decay_fraction` of the steps. See run/schedules.py."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps in which the rate rises to its peak."""
    decay_fraction: float = Field(default=0.2, gt=0, le=1)
    """Of wsd: share of all steps in which the rate falls."""
    min_ratio: float = Field(default=0.0, ge=0, lt=1)
    """What the rate falls to at the end of the last step, as a share of the peak."""


class EarlyStoppingConfig(Section):
    """Stop when the held-out metric has not become better for a while."""

    patience: int = Field(default=3, ge=1)
    """Evaluations without an improvement."""
    min_delta: float = Field(default=0.0, ge=0)
    """An improvement is at least so large."""


class EvaluationConfig(Section):
    """What is held out, and what is measured on it."""

    every: int = Field(default=50, ge=1)
    """Steps; the last step is always evaluated."""
    fraction: float = Field(default=0.05, ge=0, lt=1)
    """Wanted share of bytes held out, in whole groups (`split_by`). 0 holds nothing out and evaluates nothing."""
    split_by: Literal["network", "owner"] = "network"
    """Held out together: all origins of one fork network and owner, or of one owner."""
    near: float | None = Field(default=0.5, gt=0, le=1)
    """Held-out rows whose sketch agrees this much or more with a training row are left out and counted; null: none."""
    max_bytes: int | None = Field(default=None, ge=1)
    """Evaluate on at most so many bytes, shared out between the languages; null is all that is held out."""
    fim_documents: int = Field(default=0, ge=0)
    """Held-out documents whose middle is generated and compared (exact match, edit similarity); 0: none."""
    fim_max_tokens: int = Field(default=64, ge=1)
    """A middle of more tokens is not asked for."""
    metric: str = "loss"
    """What `best` and early stopping go by; smaller is better unless its name begins with `+`. A name as in the report."""
    early_stopping: EarlyStoppingConfig | None = None
    metrics: Names | None = None
    """Names of entry points in the group `stackmill.metrics`, or `module:function`."""


class ParallelConfig(Section):
    """How several processes share the work."""

    strategy: Literal["ddp", "fsdp"] = "ddp"
    """ddp: each holds the whole model. fsdp: weights, gradients and optimizer are sharded (FSDP2)."""
    deepspeed: Place | None = None
    """A DeepSpeed configuration file, passed through to Trainer."""


class ProfileConfig(Section):
    """Write a trace of some steps, for chrome://tracing or Perfetto, to `<output>/profile`."""

    first_step: int = Field(default=3, ge=1)
    """The first step in the trace, counted from 1."""
    steps: int = Field(default=3, ge=1)
    """Steps in the trace."""
