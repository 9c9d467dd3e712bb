"""The model that training starts from: built or loaded, adapted, checked."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from training.config import TrainConfig
from training.errors import CheckpointError, LeakyMaskError, TrainingConfigError
from training.model import adapters, architectures, attention, build, loss, new_tokens, quantise
from training.prepare import Prepared
from training.tokens.cache import Report


def device_for(config: TrainConfig) -> torch.device:
    """Where this process computes."""
    if not build.on_gpu(config):
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def model_for(config: TrainConfig, prepared: Prepared, report: Report) -> Any:
    """The model of a run before its first step; on the GPU where there is one, unless it is to be sharded.

    Raises:
        CheckpointError: the base is an adapter, not a model.
        LeakyMaskError: documents in a packed row would see each other with every attention that could be used.
        TrainingConfigError: a model that cannot be built, or that is not causal.
    """
    tokenizer, length = prepared.tokenizer, config.data.sequence_length
    device, dtype = device_for(config), build.weights_dtype(config)
    if prepared.base is None:
        about = architectures.built_config(config.model, tokenizer, length)
    else:
        if (prepared.base / "adapter_config.json").exists():
            raise CheckpointError(
                f"{prepared.base}: holds an adapter, not a whole model; merge it first "
                "(pipeline merge CHECKPOINT --out DIR), or start from its base"
            )
        about = build.read_config(prepared.base, config.model, length)
    wanted = config.model.attention
    if device.type == "cpu" and wanted not in {"auto", "sdpa", "eager"}:
        why = "has no backward pass" if wanted == "flex_attention" else "does not exist"
        raise TrainingConfigError(f"model.attention: {wanted} {why} on a processor; use auto, sdpa or eager")
    names, without = architectures.attentions(
        wanted,
        architectures.model_class(about),
        gpu=device.type == "cuda",
        half=build.precision(config) != "fp32",
        sequence_length=length,
    )
    if prepared.base is None:
        model: Any = build.build(config.model, tokenizer, length, config.seed, names[0])
    else:
        torch.manual_seed(config.seed)  # rows that a library makes room for are drawn before they are set
        model = build.load(
            prepared.base, config.model, tokenizer, length, dtype, config.quantization, names[0], device
        )
    inner = model
    rows = new_tokens.add_rows(model, tokenizer) if prepared.base is not None else 0
    if rows:
        report(f"new tokens: {rows} rows of the embeddings start as the mean of the others")
    if config.lora is not None:
        new = new_tokens.ids_of(tokenizer) if rows else []
        model = adapters.add_lora(model, config.lora, config.seed, new)
    if config.quantization is not None:
        report(quantise.describe(model))
    else:
        model.to(device)
    used = _checked(model, inner, names, tokenizer.size, _autocast(config, device), report)
    if config.parallel.strategy == "fsdp" and config.quantization is None:
        model.to("cpu")  # sharded from there
    if config.gradient_checkpointing:
        checkpoint_activations(inner, frozen=config.lora is not None)
    if config.loss_chunk is not None:
        loss.install(model, config.loss_chunk)
    total, trainable = build.parameters(model)
    why = ", ".join(f"{name}: {reason}" for name, reason in without.items() if name.startswith("flash"))
    report(
        f"model: {inner.config.model_type}, {total:,} parameters, {trainable:,} trained, attention {used}"
        f"{f' ({why})' if why and device.type == 'cuda' else ''}; "
        "documents in a row do not see each other (checked)"
    )
    return model


def _autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    """As in training: flash attention takes no fp32."""
    kind = build.precision(config)
    if kind == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if kind == "bf16" else torch.float16)


def _checked(  # noqa: PLR0917
    model: Any,
    inner: Any,
    names: list[str],
    vocab_size: int,
    precision: AbstractContextManager[Any],
    report: Report,
) -> str:
    """Set the first attention with which the model is causal and keeps packed documents apart; its name."""
    tolerance = ROUTED_TOLERANCE if architectures.routed(inner) else 0.0
    for number, name in enumerate(names):
        try:
            if number:
                inner.set_attn_implementation(name)
            with precision:
                architectures.check_causal(model, vocab_size)
                attention.check_isolation(model, vocab_size, tolerance=tolerance)
                if name not in {"sdpa", "eager"}:
                    attention.check_backward(model, vocab_size)
                if name == "flex_attention":
                    # Compiled for each shape, and beyond eight not at all: then it makes all scores of a row. Those of
                    # the check are forgotten.
                    torch.compiler.reset()
        except (torch.OutOfMemoryError, TrainingConfigError):  # too large, or not causal with any attention
            raise
        except (LeakyMaskError, *architectures.UNUSABLE) as error:
            if number + 1 == len(names):
                if isinstance(error, LeakyMaskError):
                    raise
                raise TrainingConfigError(
                    f"model: the forward pass of this {inner.config.model_type} fails: {error}"
                ) from error
            first = str(error).splitlines()[0]
            report(f"attention {name} is not used ({first}); {names[number + 1]} is tried")
        else:
            return name
    raise AssertionError("no attention to try")


ROUTED_TOLERANCE = 1e-3
"""Share of the logits' spread by which they may move where tokens are routed to experts: the tokens of an expert are
multiplied together, and how many these are changes the rounding (1e-7 in fp32, against 1e-3 and more of real leaks)."""


def checkpoint_activations(model: Any, *, frozen: bool) -> None:
    """Compute activations again in the backward pass instead of keeping them.

    Without `use_reentrant=False` and, over a frozen base, inputs that require gradients, none would reach the adapters.

    Raises:
        TrainingConfigError: the architecture cannot.
    """
    try:
        model.activation_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise TrainingConfigError(f"gradient_checkpointing: {error}") from error
    if frozen:
        model.enable_input_require_grads()
