"""Models beyond one device: weights, gradients and optimizer state cut over the processes (FSDP2).

PyTorch's `fully_shard` [1] is called here directly. accelerate's FSDP2 replaces the optimizer's parameters after the
optimizer was made, takes its settings from a plugin, does not exist for processors, and saves formats of its own;
called directly, the same few lines run on gloo and NCCL, and a checkpoint has the files that every other run has:

- whole weights in safetensors, which `generate`, `merge` and `export` read;
- `optimizer.pt` as `torch.optim.Optimizer.state_dict` of the whole model.

So a run may be resumed with another number of processes and with the other strategy. Tensors are put together one at
a time; only the process that writes keeps them, in its host memory (4 bytes per weight, 8 per trained weight).

[1] Zhao et al. 2023, arXiv 2304.11277; https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def blocks(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The model's repeated blocks: what transformers says must not be split over devices."""
    whole: torch.nn.Module = getattr(model, "get_base_model", lambda: model)()  # peft's wrapper has it
    names = set(getattr(whole, "_no_split_modules", None) or ())
    return (module for module in whole.modules() if type(module).__name__ in names)


def shard(model: torch.nn.Module, device: torch.device, *, bf16: bool) -> None:
    """Cut a model in place over all processes, block by block; each must hold the same weights.

    Args:
        model: on the CPU; each block is moved to `device` and cut there before the next.
        device: of this process.
        bf16: gather the weights and compute in bfloat16; gradients are summed, and weights kept, as they are.
    """
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    policy = MixedPrecisionPolicy()
    if bf16:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether `shard` was called for the model."""
    return isinstance(model, FSDPModule)


def _whole(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_weights(model: torch.nn.Module, *, keep: bool) -> dict[str, torch.Tensor]:
    """The state dict with whole tensors in host memory; of an adapter, only what is trained. Called by every process.

    Args:
        model: sharded.
        keep: whether this process wants them; the others take part and get an empty dictionary.
    """
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    adapter = hasattr(model, "peft_config")
    result: dict[str, torch.Tensor] = {}
    tied: dict[int, torch.Tensor] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if adapter and name in frozen:
            continue
        if id(value) not in tied:
            whole = _whole(value.detach())
            # An entry for each, kept or not: every process must take part in the same exchanges.
            tied[id(value)] = whole.cpu() if keep else torch.empty(0)
        if keep:
            result[name] = tied[id(value)]
    return result


def whole_optimizer_state(optimizer: torch.optim.Optimizer, *, keep: bool) -> dict[str, Any]:
    """`optimizer.state_dict()` with whole tensors in host memory. Called by every process; see `whole_weights`."""
    state = optimizer.state_dict()
    entries: dict[int, dict[str, Any]] = {}
    for index, entry in state["state"].items():
        whole = {}
        for key, value in entry.items():
            if isinstance(value, torch.Tensor):
                value = _whole(value)  # noqa: PLW2901
                value = value.cpu() if keep else None  # noqa: PLW2901
            whole[key] = value
        entries[index] = whole
    return {"state": entries, "param_groups": state["param_groups"]} if keep else {}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give a sharded model's optimizer the state of the whole model: every process takes its part.

    Args:
        optimizer: over sharded parameters, in the order of those that `state` was taken of.
        state: as `whole_optimizer_state` gives it, the same in every process; changed in place.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, entry in state["state"].items():
        parameter = parameters[index]
        if not isinstance(parameter, DTensor):
            continue
        for key, value in entry.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.dim():
                entry[key] = distribute_tensor(
                    value.to(parameter.device),
                    parameter.device_mesh,
                    parameter.placements,
                    src_data_rank=None,  # nothing is sent: every process has the whole and cuts out its part
                )
    optimizer.load_state_dict(state)
