"""Low-rank adapters on a frozen base."""

from __future__ import annotations

import warnings

import torch
from transformers import PreTrainedModel

from training.config import LoraConfig
from training.errors import TrainingConfigError


def add_lora(model: PreTrainedModel, lora: LoraConfig, seed: int) -> torch.nn.Module:
    """The model with its weights frozen and low-rank adapters on the target modules.

    Raises:
        TrainingConfigError: no module has the name of a target.
    """
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    torch.manual_seed(seed)
    targets: str | list[str] = "all-linear"
    if not isinstance(lora.target_modules, str):
        targets = list(lora.target_modules)
    settings = PeftLora(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5 under a name that is going away
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            return get_peft_model(model, settings)
    except ValueError as error:
        raise TrainingConfigError(f"lora.target_modules: {error}") from error
