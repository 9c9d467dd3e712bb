"""The model that training starts from: built or loaded, adapted, checked."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from training.config import TrainConfig
from training.corpus.sources import Report
from training.errors import LeakyMaskError, TrainingConfigError
from training.model import adapters, architectures, attention, build, loss, new_tokens, quantise, restored
from training.prepare import Prepared
from training.run import sharded


def device_for(config: TrainConfig) -> torch.device:
    """Where this process computes."""
    if not build.on_gpu(config):
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def model_for(config: TrainConfig, prepared: Prepared, report: Report, resume: Path | None = None) -> Any:
    """The model of a run before its next step: where it computes, and cut over the processes if it is to be.

    Called by every process. Of a model that is cut, rank 0 alone builds or reads the weights, in host memory.

    Args:
        config: the whole configuration.
        prepared: tokenizer and base.
        report: takes lines for the user.
        resume: a checkpoint of this run, whose weights are taken.

    Raises:
        CheckpointError: a checkpoint of another model.
        LeakyMaskError: documents in a packed row would see each other with every attention that could be used.
        TrainingConfigError: a model that cannot be built, or that is not causal.
    """
    tokenizer, length = prepared.tokenizer, config.data.sequence_length
    device = device_for(config)
    if prepared.base is None:
        about = architectures.built_config(config.model, tokenizer, length)
    else:
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
    cut = config.parallel.strategy == "fsdp"
    if cut and torch.distributed.get_rank():
        with torch.device("meta"):
            inner, model = _modules(config, prepared, about, names[0])
    else:
        inner, model = _weights(config, prepared, names[0], device, report)
        if resume is not None and config.parallel.deepspeed is None:  # DeepSpeed reads files of its own
            restored.restore(model, resume)
    if cut:
        sharded.follow_layout(model)
        sharded.shard(model, device, bf16=build.precision(config) == "bf16")
    elif config.quantization is None:
        model.to(device)
    used = _checked(model, inner, names, tokenizer.size, _autocast(config, device), report)
    sharded.release(model)
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


def _weights(
    config: TrainConfig, prepared: Prepared, attention: str, device: torch.device, report: Report
) -> tuple[Any, Any]:
    """(the model built or read, the same with its adapters); in host memory unless it is quantised."""
    tokenizer, length = prepared.tokenizer, config.data.sequence_length
    if prepared.base is None:
        inner: Any = build.build(config.model, tokenizer, length, config.seed, attention)
        return inner, _adapted(inner, config, [])
    torch.manual_seed(config.seed)  # rows that a library makes room for are drawn before they are set
    dtype = build.weights_dtype(config)
    inner = build.load(
        prepared.base, config.model, tokenizer, length, dtype, config.quantization, attention, device
    )
    rows = new_tokens.add_rows(inner, tokenizer)
    if rows:
        report(f"new tokens: {rows} rows of the embeddings start as the mean of the others")
    model = _adapted(inner, config, new_tokens.ids_of(tokenizer))
    if config.quantization is not None:
        report(quantise.describe(model))
    return inner, model


def _modules(config: TrainConfig, prepared: Prepared, about: Any, attention: str) -> tuple[Any, Any]:
    """As `_weights`, without numbers: on the meta device."""
    inner: Any = architectures.built(about, attention, config.seed)
    new = new_tokens.ids_of(prepared.tokenizer) if prepared.base is not None else []
    if new:
        new_tokens.make_room(inner, prepared.tokenizer.size)
    return inner, _adapted(inner, config, new)


def _adapted(inner: Any, config: TrainConfig, new_ids: list[int]) -> Any:
    return inner if config.lora is None else adapters.add_lora(inner, config.lora, config.seed, new_ids)


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
