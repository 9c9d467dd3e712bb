"""A DeepSpeed configuration of the user's own, made to fit the run: what the run decides is filled in or refused.

DeepSpeed [1] shards optimizer state (ZeRO 1), gradients (2) and weights (3), and can keep them in host memory. It is
not needed for models that FSDP holds (`parallel.strategy: fsdp`); its settings are its own, and passed on as they are.

[1] https://www.deepspeed.ai/docs/config-json/
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from training.config import TrainConfig
from training.errors import TrainingConfigError

INSTALL = "pip install 'deepspeed>=0.18'"

_REFUSED = {
    "scheduler": "the learning rate is that of `optimizer.schedule`",
    "curriculum_learning": "it would change the rows of a step",
    "data_efficiency": "it would change the rows of a step",
    "sequence_parallel_size": "a row split over devices loses the boundaries of its documents",
}


def read(file: str | Path) -> dict[str, Any]:
    """The configuration as written.

    Raises:
        TrainingConfigError: not a file of one JSON object.
    """
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingConfigError(f"parallel.deepspeed: {file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TrainingConfigError(f"parallel.deepspeed: {file}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise TrainingConfigError(f"parallel.deepspeed: {file}: a JSON object is needed")
    return found


def _decided(config: TrainConfig, world: int, accumulation: int) -> dict[str, tuple[Any, str]]:
    """DeepSpeed's key -> (what the run decides, the key here that says so)."""
    batch = "global_batch_tokens, data.sequence_length, micro_batch_size and the number of processes"
    return {
        "train_micro_batch_size_per_gpu": (config.micro_rows, "micro_batch_size"),
        "gradient_accumulation_steps": (accumulation, batch),
        "train_batch_size": (config.micro_rows * accumulation * world, batch),
        "gradient_clipping": (config.optimizer.max_grad_norm, "optimizer.max_grad_norm"),
        "bf16.enabled": (config.precision == "bf16", "precision"),
        "fp16.enabled": (config.precision == "fp16", "precision"),
    }


def resolved(config: TrainConfig, world: int, accumulation: int, *, processor: bool) -> dict[str, Any] | None:
    """What TrainingArguments gets as `deepspeed`; None without `parallel.deepspeed`.

    Args:
        config: of the run.
        world: processes.
        accumulation: micro-batches per step and process.
        processor: the run uses no GPU.

    Raises:
        TrainingConfigError: a key whose value the run decides otherwise, one that cannot be honoured, or DeepSpeed is
            not installed.
    """
    if config.parallel.deepspeed is None:
        return None
    found = read(config.parallel.deepspeed)
    wrong = [f"{key}: take it out: {reason}" for key, reason in _REFUSED.items() if key in found]
    for dotted, (value, decides) in _decided(config, world, accumulation).items():
        section, _, key = dotted.rpartition(".")
        place = found.setdefault(section, {}) if section else found
        given = place.get(key, "auto")
        if given not in ("auto", value):
            wrong.append(f'{dotted}: {given!r}, but the run has {value!r} (by {decides}); write "auto"')
        place[key] = value
    # DeepSpeed works it out; transformers' own figure is wrong before the processes meet.
    del found["train_batch_size"]
    zero = found.get("zero_optimization", {})
    if zero.get("stage") == 3:
        zero.setdefault(
            "stage3_gather_16bit_weights_on_model_save", True
        )  # a checkpoint has the whole weights
    if wrong:
        raise TrainingConfigError(f"parallel.deepspeed: {config.parallel.deepspeed}: " + "\n".join(wrong))
    if processor:
        raise TrainingConfigError("parallel.deepspeed needs a GPU: transformers leaves it out on processors")
    if importlib.util.find_spec("deepspeed") is None:
        raise TrainingConfigError(f"parallel.deepspeed needs DeepSpeed, which is not installed: {INSTALL}")
    return found


def build_whole() -> None:
    """Let models be built with all their weights until Trainer's settings are made again.

    With ZeRO 3 transformers would cut each weight as it is made, and a model without its engine has no forward pass:
    it could not be checked.
    """
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
