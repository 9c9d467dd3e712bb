"""The random state of a step: a pure function of (seed, step, process).

Trainer seeds every process alike, so that all of them would drop the same units out; and a run that is resumed with
another number of processes has no saved state for some of them. Drawn anew for each step, dropout differs between
processes and steps, and is the same again in a repeated or resumed run.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of PyTorch's generators for a 0-based step in one process."""
    return int.from_bytes(hashlib.sha256(f"step|{seed}|{step}|{rank}".encode()).digest()[:8], "big") >> 1


class SeedsSteps(TrainerCallback):
    """Seeds PyTorch's generators before every step."""

    def __init__(self, seed: int, rank: int) -> None:
        self.seed, self.rank = seed, rank

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called before the first micro-batch of a step."""
        torch.manual_seed(step_seed(self.seed, state.global_step, self.rank))
