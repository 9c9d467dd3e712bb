"""The model that training starts from: built or loaded, adapted, checked."""

from __future__ import annotations

from typing import Any

from training.config import TrainConfig
from training.errors import CheckpointError
from training.model import adapters, attention, build
from training.prepare import Prepared
from training.tokens.cache import Report


def model_for(config: TrainConfig, prepared: Prepared, report: Report) -> Any:
    """The model of a run before its first step, on the CPU.

    Raises:
        CheckpointError: the base is an adapter, not a model.
        LeakyMaskError: documents in a packed row would see each other.
    """
    if prepared.base is None:
        model: Any = build.build(config.model, prepared.tokenizer, config.data.sequence_length, config.seed)
    else:
        if (prepared.base / "adapter_config.json").exists():
            raise CheckpointError(
                f"{prepared.base}: holds an adapter, not a whole model; start from its base"
            )
        model = build.load(prepared.base, config.model, prepared.tokenizer)
    if config.lora is not None:
        model = adapters.add_lora(model, config.lora, config.seed)
    attention.check_isolation(model, prepared.tokenizer.size)
    total, trainable = build.parameters(model)
    report(
        f"model: {total:,} parameters, {trainable:,} trained; "
        "documents in a row do not see each other (checked)"
    )
    return model
