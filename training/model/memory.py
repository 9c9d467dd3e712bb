"""How much memory a run will need, by part, before a byte of it is there.

The model is built from fake tensors (sizes and types, no numbers), which takes a second for 8 billion parameters, and
what is counted is that very model: any architecture of transformers, with its adapters. Activations are what autograd
keeps in ONE forward pass of it, added up by a hook; attention is replaced there by an operation that keeps what a
memory-saving kernel keeps (queries, keys, values, result), and what an implementation needs beyond that is added:

    flash attention, flex    nothing that grows with the square of the row
    sdpa                     the mask of packed documents, once as booleans and in each layer as numbers, and keys and
                             values repeated for every query head
    eager                    the weights of every head and pair, in fp32 and in the type of the computation

In fp32 training with AdamW, a trained weight takes 16 bytes: itself, its gradient, two moments. With `precision: bf16`
trained weights stay in fp32 and their bf16 copies are kept through the forward pass. A frozen base takes 2 bytes a
weight, or in 4 bits 0.5 and its constants: 1 byte per 64 weights and 4 per 16,384 (QLoRA, arXiv 2305.14314, section 3;
without double quantisation 4 bytes per 64).

Held against measured runs in tests/training/test_memory.py. What allocators lose and a GPU's context (`OTHER`) is an
allowance, not a count.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

GIB = 2**30

OTHER = 1.5 * GIB
"""Of a GPU: CUDA context, libraries' work space, what the allocator cannot use."""

COUNTED = "stackmill_counted"
"""Name of the attention that keeps what a memory-saving kernel keeps."""


@dataclass(frozen=True)
class Setup:
    """How a model is trained, as far as memory depends on it.

    Attributes:
        rows, row_tokens: of one micro-batch of one process.
        compute: type of the activations.
        attention: as in `model.attention`, resolved.
        checkpointing: activations are computed again layer by layer.
        quantised: the frozen base's matrices are in 4 bits; `double` constants too.
        processes: that share the weights with `fsdp`, or have gradients to exchange with `ddp`.
        loss_chunk: tokens whose logits are there at once, or None for all of the micro-batch.
        gpu: the allowance for a GPU is added.
    """

    rows: int
    row_tokens: int
    compute: torch.dtype = torch.float32
    attention: str = "sdpa"
    checkpointing: bool = False
    quantised: bool = False
    double: bool = True
    strategy: str = "ddp"
    processes: int = 1
    loss_chunk: int | None = None
    gpu: bool = False

    @property
    def tokens(self) -> int:
        """Of one micro-batch."""
        return self.rows * self.row_tokens


class _Kept(torch.autograd.Function):
    """Attention as a memory-saving kernel does it, without its arithmetic."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        result = query.new_empty(*query.shape[:3], value.shape[-1])
        ctx.save_for_backward(query, key, value, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        raise NotImplementedError("nothing is computed here")


def _counted(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    return _Kept.apply(query, key, value).transpose(1, 2).contiguous(), None  # type: ignore[no-untyped-call]


@contextmanager
def fake() -> Iterator[None]:
    """Tensors made inside have sizes and types, no numbers, and take no memory."""
    from transformers import AttentionInterface

    AttentionInterface.register(COUNTED, _counted)
    state = torch.get_rng_state()
    with FakeTensorMode():
        yield
    torch.set_rng_state(state)


def fake_model(config: Any, dtype: torch.dtype, adapt: Callable[[Any], Any] | None = None) -> Any:
    """The model of a transformers configuration, frozen and adapted by `adapt`; call it inside `fake()`."""
    from transformers import AutoModelForCausalLM

    # Made on the meta device, which peft knows; then every tensor is replaced by a fake one of the CPU, which autocast
    # knows.
    with unset_fake_temporarily(), torch.device("meta"):
        own = copy.deepcopy(config)  # it would remember the attention
        model = AutoModelForCausalLM.from_config(own, dtype=dtype, attn_implementation=COUNTED)
        if adapt is not None:
            model = adapt(model)
    known: dict[int, Any] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = known.setdefault(id(tensor), _faked(tensor))
    model.train()
    for module in model.modules():
        if type(module).__name__.endswith("Experts"):
            module.forward = partial(_experts, module)  # theirs depends on which tokens go where
    return model


def _faked(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _experts(module: Any, hidden: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What experts keep: every token once for each expert that it is sent to, through matrices of an expert's size."""
    width = hidden.shape[-1]
    rows = hidden.reshape(-1, width).repeat_interleave(chosen.shape[-1], dim=0)
    for number, parameter in enumerate(p for p in module.parameters() if p.ndim == 3):
        matrix = parameter[0] if parameter.shape[-1] == rows.shape[-1] else parameter[0].t()
        rows = nn.functional.linear(rows, matrix)
        if number == 0:  # gate and up in one
            gate, up = rows.chunk(2, dim=-1)
            rows = nn.functional.silu(gate) * up
    rows = rows * weights.reshape(-1, 1).to(rows.dtype)
    return rows.reshape(-1, chosen.shape[-1], width).sum(dim=1).view_as(hidden)


def parameters(model: nn.Module) -> tuple[int, int]:
    """(all, trained) parameters; tied ones are counted once."""
    known = {id(parameter): parameter for parameter in model.parameters()}.values()
    return sum(p.numel() for p in known), sum(p.numel() for p in known if p.requires_grad)


def estimate(model: nn.Module, setup: Setup) -> dict[str, int]:
    """Bytes of one process at the peak of a step, by part; `total` is their sum. Call it inside `fake()`.

    Parts: weights, adapters, gradients, optimizer, cast_weights (copies in the type of the computation), activations,
    attention (what grows with the square of a row), logits, working (what the backward pass of a layer needs beyond the
    memory that the logits have left), exchange (buckets of gradients, or unsharded layers), other.
    """
    parts = dict.fromkeys(PARTS, 0)
    parts.update(_weights(model, setup))
    layers, outside, casts = _activations(model, setup)
    largest = max(layers, default=0)
    if setup.checkpointing:
        config = model.config.get_text_config()  # type: ignore[union-attr,operator]
        kept = setup.tokens * config.hidden_size * setup.compute.itemsize * len(layers)
        parts["activations"] = outside + kept
    else:
        parts["activations"] = outside + sum(layers)
    parts["cast_weights"] = casts
    parts["attention"] = _attention(model, setup, len(layers))
    parts["logits"] = _logits(model, setup)
    # The backward pass works on one layer at a time, when the logits are gone: what it keeps if that was not kept
    # already, and the gradients of about as much.
    parts["working"] = max(0, (2 if setup.checkpointing else 1) * largest - parts["logits"])
    if setup.gpu:
        parts["other"] = int(OTHER)
    parts["total"] = sum(parts.values())
    return parts


PARTS = (
    "weights",
    "adapters",
    "gradients",
    "optimizer",
    "cast_weights",
    "activations",
    "attention",
    "logits",
    "working",
    "exchange",
    "other",
)


def quantised_bytes(weights: int, *, double: bool) -> int:
    """NF4: half a byte a weight, and the constants of its blocks of 64."""
    blocks = -(-weights // 64)
    constants = blocks + 4 * -(-blocks // 256) if double else 4 * blocks
    return -(-weights // 2) + constants


def _weights(model: nn.Module, setup: Setup) -> dict[str, int]:
    """What does not depend on the batch."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    in_four_bits = {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module is not head
        and not module.weight.requires_grad
        and "lora_" not in name
    }
    frozen = trained = trained_bytes = largest = 0
    for parameter in {id(p): p for p in model.parameters()}.values():
        size = parameter.numel() * parameter.element_size()
        if parameter.requires_grad:
            trained, trained_bytes = trained + parameter.numel(), trained_bytes + size
        elif setup.quantised and id(parameter) in in_four_bits:
            frozen += quantised_bytes(parameter.numel(), double=setup.double)
        else:
            frozen += size
        largest = max(largest, size)
    share = setup.processes if setup.strategy == "fsdp" else 1
    adapters = trained_bytes if frozen else 0
    exchange = 0
    if setup.processes > 1:
        # ddp: a second copy of the gradients in buckets. fsdp: two layers whole, in the type of the computation.
        whole = [sum(p.numel() for p in layer.parameters()) for layer in layers_of(model)]
        exchange = (
            trained_bytes
            if setup.strategy == "ddp"
            else 2 * max([*whole, largest // 4], default=0) * setup.compute.itemsize
        )
    return {
        "weights": (frozen + (0 if adapters else trained_bytes)) // share,
        "adapters": adapters // share,
        "gradients": trained_bytes // share,
        "optimizer": 2 * trained_bytes // share,
        "exchange": exchange,
    }


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The model's blocks: what gradient checkpointing and sharding take as one."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def _activations(model: nn.Module, setup: Setup) -> tuple[list[int], int, int]:
    """(bytes kept by each layer, outside of them, of weights cast for the computation) in one forward pass."""
    small, large = (_trace(model, setup, tokens) for tokens in (16, 32))
    # Linear in the tokens; what does not grow with them is casts of weights.
    grow = (setup.tokens - 16) / 16
    layers = [int(a + (b - a) * grow) for a, b in zip(small[0], large[0], strict=True)]
    casts = [2 * a - b for a, b in zip(small[0], large[0], strict=True)]
    outside = int(small[1] + (large[1] - small[1]) * grow)
    outside_casts = 2 * small[1] - large[1]
    return (
        [layer - cast for layer, cast in zip(layers, casts, strict=True)],
        outside - outside_casts,
        sum(casts) + outside_casts,
    )


def _trace(model: nn.Module, setup: Setup, tokens: int) -> tuple[list[int], int]:
    """Bytes kept by each layer and outside of them for this many tokens."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor  # stays alive, so that no other storage gets its number

    before: list[int] = []
    layers: list[int] = []

    def enter(*_: Any) -> None:
        before.append(sum(kept.values()))

    def leave(*_: Any) -> None:
        layers.append(sum(kept.values()) - before.pop())

    hooks = []
    for layer in layers_of(model):
        hooks += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
    mixed = setup.compute != torch.float32
    context = torch.autocast("cpu", setup.compute) if mixed else nullcontext()
    try:
        with context, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            # No mask: transformers makes none for an attention that it does not know.
            result = model(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    del result
    return layers, sum(kept.values()) - sum(layers)


def _attention(model: nn.Module, setup: Setup, layers: int) -> int:
    """What an implementation keeps beyond queries, keys, values and result."""
    config = model.config.get_text_config()  # type: ignore[union-attr,operator]
    heads, size = config.num_attention_heads, setup.compute.itemsize
    pairs = setup.rows * setup.row_tokens**2
    alive = 1 if setup.checkpointing else layers
    if setup.attention == "eager":
        # And those of one layer on the way: scores, with the scale, with the mask, and their gradients.
        return int(alive * heads * pairs * (4 + (size if size < 4 else 0)) + 6 * heads * pairs * 4)
    if setup.attention == "sdpa":
        groups = getattr(config, "num_key_value_heads", None) or heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        repeated = 2 * setup.tokens * max(0, heads - groups) * width * size
        return int(pairs + alive * (pairs * size + repeated))
    return 0


def _logits(model: nn.Module, setup: Setup) -> int:
    """Of the output head: logits, in fp32, their log-softmax, and gradients of both."""
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    vocabulary = head.weight.shape[0]
    size = setup.compute.itemsize
    tokens = min(setup.tokens, setup.loss_chunk or setup.tokens)
    return int(tokens * vocabulary * (12 + (2 * size if size < 4 else 0)))
