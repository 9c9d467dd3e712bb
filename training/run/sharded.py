"""Models beyond one device: weights, gradients and optimizer state cut over the processes (FSDP2).

PyTorch's `fully_shard` [1] is called here directly. accelerate's FSDP2 replaces the optimizer's parameters after the
optimizer was made, takes its settings from a plugin, does not exist for processors, and saves formats of its own;
called directly, the same few lines run on gloo and NCCL, and a checkpoint has the files that every other run has:

- whole weights in safetensors, which `generate`, `merge` and `export` read;
- `optimizer.pt` as `torch.optim.Optimizer.state_dict` of the whole model.

So a run may be resumed with another number of processes and with the other strategy. Tensors are put together one at
a time; only the process that writes keeps them, in its host memory (8 bytes per trained weight, then 4 per weight).

At the start rank 0 alone has the weights, in host memory; the other processes build modules without numbers (on the meta
device) and get their parts from it, tensor by tensor.

[1] Zhao et al. 2023, arXiv 2304.11277; https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from training.errors import ProcessError


def blocks(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The model's repeated blocks: what transformers says must not be split over devices."""
    whole: torch.nn.Module = getattr(model, "get_base_model", lambda: model)()  # peft's wrapper has it
    names = set(getattr(whole, "_no_split_modules", None) or ())
    return (module for module in whole.modules() if type(module).__name__ in names)


def follow_layout(model: torch.nn.Module) -> None:
    """Give the modules the parameters and buffers that rank 0 has: shapes, types, which are trained, which are one.

    Called by every process. In all but rank 0 the model is on the meta device, and stays there. What weights are tied
    may depend on the files that rank 0 read.

    Raises:
        ProcessError: this process has built other modules.
    """
    known: dict[int, int] = {}
    layout: list[_Place] = []
    for name, tensor in _tensors(model):
        first = known.setdefault(id(tensor), len(layout))
        layout.append((name, first, tensor.shape, tensor.dtype, tensor.requires_grad))
    told = [layout]
    torch.distributed.broadcast_object_list(told, src=0)
    rank = torch.distributed.get_rank()
    if rank == 0:
        return
    differs = {place[0] for place in layout} ^ {place[0] for place in told[0]}
    if differs:
        raise ProcessError(
            f"process {rank} builds another model than process 0 ({min(differs)}): start every machine with the same "
            "library versions"
        )
    made: list[torch.Tensor] = []
    for name, first, shape, dtype, trained in told[0]:
        path, _, key = name.rpartition(".")
        module = model.get_submodule(path)
        held: dict[str, Any] = module._parameters if key in module._parameters else module._buffers
        new = torch.empty(shape, dtype=dtype, device="meta")
        if held is module._parameters:
            new = torch.nn.Parameter(new, trained)
        made.append(new if first == len(made) else made[first])
        held[key] = made[-1]


_Place = tuple[str, int, torch.Size, torch.dtype, bool]
"""Of a tensor: name, number of the first one that it is the same as, shape, type, whether it is trained."""


def _tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters, then buffers; tied ones under each of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


@torch.no_grad()
def shard(model: torch.nn.Module, device: torch.device, *, bf16: bool) -> None:
    """Cut a model in place over all processes, block by block; the weights are those of rank 0.

    Args:
        model: in rank 0 on the CPU; in the others the same modules on the meta device (`follow_layout`).
        device: of this process. It never holds more than its share and one block in rank 0, one tensor in the others.
        bf16: gather the weights and compute in bfloat16; gradients are summed, and weights kept, as they are.
    """
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    policy = MixedPrecisionPolicy()
    if bf16:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for part in (*blocks(model), model):
        uncut = {n: p.detach() for n, p in part.named_parameters() if not isinstance(p, DTensor)}
        fully_shard(part, mesh=mesh, mp_policy=policy)
        part._apply(lambda t: torch.empty_like(t, device=device) if t.is_meta else t)
        for name in list(uncut):
            _hand_out(uncut.pop(name), part.get_parameter(name))
    for buffer in model.buffers():
        whole = buffer.contiguous()
        torch.distributed.broadcast(whole, src=0)
        buffer.copy_(whole)


def _hand_out(whole: torch.Tensor, parameter: Any) -> None:
    """Fill every process's part of a parameter from the whole tensor in rank 0; without numbers in the others."""
    if torch.distributed.get_rank() == 0:  # its part was cut out of the tensor itself
        torch.distributed.broadcast(whole.to(parameter.device), src=0)
        return
    received = torch.empty(whole.shape, dtype=whole.dtype, device=parameter.device)
    torch.distributed.broadcast(received, src=0)
    parameter.to_local().copy_(_cut(received, parameter).to_local())


def _cut(whole: torch.Tensor, parameter: DTensor) -> DTensor:
    """What this process holds of a tensor that is cut as a parameter is; nothing is sent."""
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)


def release(model: torch.nn.Module) -> None:
    """Drop what a forward pass without a backward pass has left gathered."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


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
                entry[key] = _cut(value.to(parameter.device), parameter)
    optimizer.load_state_dict(state)
