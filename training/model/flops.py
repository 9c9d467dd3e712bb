"""Floating-point operations of training, counted from the modules of the actual model; a multiply-add is two.

Per token, of every matrix that the token is multiplied with (embedding tables are looked up, not multiplied; the
output head is, also where it is the same matrix as the embeddings):

    forward                          2 x weights
    backward, to the layer's input   2 x weights
    backward, to the weights         2 x weights, only if they are trained

so 6N for full training and 4N + 6A for adapters of A weights on a frozen base of N (the 6N of Kaplan et al. 2020,
arXiv 2001.08361, and what is left of it). Of experts, only those that a token is sent to count.

Attention, per fragment of L tokens: L(L+1)/2 pairs of a query and a key that it may see (fewer with a window), each a
dot product and a weighted sum in every head; its backward pass is twice its forward pass. Packed documents do not see
each other, so the pairs are those of the fragments, not of the rows: counting rows would flatter the result.

MODEL FLOPs are these, and MFU is their rate over the device's peak (Chowdhery et al. 2022, arXiv 2204.02311, appendix
B). With gradient checkpointing the layers' forward pass is computed twice; these HARDWARE FLOPs (HFU) are stated
apart: all of a layer, as is the convention, though PyTorch leaves out its last product the second time. Not counted:
norms, activations, softmax, the optimizer, recomputation inside an attention kernel, DoRA's norms, recurrent and
linear-attention mixing. Counted though not done: the gradient to the first layer's input, which adapters do not need
(2 x the weights of its q, k and v: 0.2 % at 32 layers).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from training.model.peak import Peak
from training.tokens.packing import PackingPlan

ACTIVE_EXPERTS = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "top_k_experts")
"""How transformers' configurations call the number of experts that a token is sent to."""


@dataclass(frozen=True)
class ModelFlops:
    """FLOPs of one token's matrix products, and of one attended pair.

    Attributes:
        forward: per token, all matrices.
        layers: the part of `forward` inside the layers, which gradient checkpointing computes twice.
        backward: per token, all matrices.
        attention: (window or None, forward FLOPs per pair) of each kind of attention layer.
    """

    forward: int
    layers: int
    backward: int
    attention: tuple[tuple[int | None, int], ...]

    def of(self, lengths: np.ndarray, *, checkpointing: bool = False) -> float:
        """FLOPs of training on fragments of these lengths; with `checkpointing`, hardware FLOPs."""
        tokens = int(lengths.sum())
        attended = sum(cost * int(pairs(lengths, window).sum()) for window, cost in self.attention)
        total = tokens * (self.forward + self.backward) + 3 * attended
        return float(total + (tokens * self.layers + attended if checkpointing else 0))


@dataclass(frozen=True)
class RunFlops:
    """What a token of a run costs, and what the devices could do.

    Attributes:
        per_token: model FLOPs per non-padding token, the average over all epochs' fragments.
        hardware_per_token: the same with what gradient checkpointing computes again.
        devices: number of them.
        peak: of each; None if it is not known.
    """

    per_token: float
    hardware_per_token: float
    devices: int
    peak: Peak | None


def pairs(lengths: np.ndarray, window: int | None = None) -> np.ndarray:
    """(query, key) pairs of causal attention in a fragment of each length; a query sees `window` keys at most."""
    lengths = np.asarray(lengths, dtype=np.int64)
    inside: np.ndarray = lengths if window is None else np.minimum(lengths, window)
    if window is None:
        return np.asarray(inside * (inside + 1) // 2)
    return np.asarray(inside * (inside + 1) // 2 + (lengths - inside) * window)


def mfu(tokens: float, seconds: float, flops: RunFlops, *, hardware: bool = False) -> float | None:
    """Model FLOPs utilisation per device, 0..1: `tokens` non-padding tokens of all devices in `seconds`.

    None where the peak is not known or no time has passed. `hardware`: what gradient checkpointing computes again
    counts, too (HFU).
    """
    if flops.peak is None or seconds <= 0:
        return None
    each = flops.hardware_per_token if hardware else flops.per_token
    return tokens * each / (seconds * flops.devices * flops.peak.flops)


def for_run(
    model: nn.Module, plans: Sequence[PackingPlan], *, checkpointing: bool, devices: int, peak: Peak | None
) -> RunFlops:
    """What a token costs on average over the fragments of the epochs' plans (each epoch counts as a whole)."""
    counted = count(model)
    lengths = np.concatenate([plan.length for plan in plans])
    tokens = max(1, int(lengths.sum()))
    plain, again = (counted.of(lengths, checkpointing=on) / tokens for on in (False, checkpointing))
    return RunFlops(plain, again, devices, peak)


def count(model: nn.Module) -> ModelFlops:
    """Count the matrices of a model: full, with adapters, or with a quantised base; on any device, meta too."""
    config = model.config.get_text_config()  # type: ignore[union-attr,operator]  # transformers' models have it
    forward = layers = backward = 0
    for name, weights, trained in matrices(model, config):
        forward += 2 * weights
        backward += (4 if trained else 2) * weights
        layers += 2 * weights if _in_a_layer(name) else 0
    return ModelFlops(forward, layers, backward, _attention(config))


def matrices(model: nn.Module, config: Any) -> Iterable[tuple[str, int, bool]]:
    """(name, weights that one token is multiplied with, trained) of every matrix of the model."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    for name, module in model.named_modules():
        # By the sizes, not by the weights: a quantised matrix stores two weights in a byte.
        if isinstance(module, nn.Linear):
            yield name, module.in_features * module.out_features, module.weight.requires_grad
        elif isinstance(module, Conv1D):
            yield name, module.nx * module.nf, module.weight.requires_grad
        elif type(module).__name__.endswith("Router"):
            yield name, module.weight.numel(), module.weight.requires_grad
        elif type(module).__name__.endswith("Experts"):
            for key, parameter in module.named_parameters(recurse=False):
                if parameter.ndim == 3:  # (experts, out, in)
                    active = min(parameter.shape[0], active_experts(config))
                    yield (
                        f"{name}.{key}",
                        active * (parameter.numel() // parameter.shape[0]),
                        parameter.requires_grad,
                    )


def active_experts(config: Any) -> int:
    """Experts that a token is sent to.

    Raises:
        ValueError: the configuration does not say.
    """
    for key in ACTIVE_EXPERTS:
        if getattr(config, key, None):
            return int(getattr(config, key))
    raise ValueError(f"{config.model_type}: none of {', '.join(ACTIVE_EXPERTS)} is in its configuration")


def _in_a_layer(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


def _attention(config: Any) -> tuple[tuple[int | None, int], ...]:
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    query = getattr(config, "qk_head_dim", None) or width  # multi-head latent attention has two widths
    value = getattr(config, "v_head_dim", None) or width
    per_layer = 2 * heads * (query + value)
    layers = config.num_hidden_layers
    window = getattr(config, "sliding_window", None)
    kinds = (
        getattr(config, "layer_types", None)
        or ["full_attention" if window is None else "sliding_attention"] * layers
    )
    full = kinds.count("full_attention")
    windowed = kinds.count("sliding_attention")
    result: list[tuple[int | None, int]] = [(None, full * per_layer)] if full else []
    return (*result, *([(window, windowed * per_layer)] if windowed else []))


def active_parameters(model: nn.Module) -> int:
    """Weights that a token is multiplied with: the N of 6N."""
    return count(model).forward // 2


def dtype_of(precision: str) -> torch.dtype:
    """The type in which a run of this precision multiplies."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
