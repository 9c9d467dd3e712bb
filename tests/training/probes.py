"""What a process of a test job notes down about its run; loaded by tests/training/ranks.py, never imported by a test."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from training.config import LoraConfig, ModelConfig
from training.model import adapters, build, start
from training.run import sharded
from training.run.trainer import PackedTrainer


def _whole(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu().numpy().copy()


def _held(model: torch.nn.Module) -> int:
    local = (p.to_local() if isinstance(p, DTensor) else p for p in model.parameters())
    return sum(part.numel() for part in local)


class _Notes(TrainerCallback):
    def __init__(self) -> None:
        self.labels: list[int] = []
        self.draws: list[float] = []
        self.gradients: dict[str, np.ndarray] = {}
        self.held = 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model = kwargs["model"]
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                self.gradients[f"{state.global_step}/{name}"] = _whole(parameter.grad)
        self.held = _held(model)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.draws.append(float(torch.rand(1)))


def note(rank: int, world: int, argument: dict[str, Any]) -> None:
    """Write `<folder>/<rank>.json` and `.npz`: gradients, labels per micro-batch, random draws, parameters held.

    `argument`: `folder`, and `local_averages` to switch on the setting that is known to be wrong. Held: in training,
    while the model is checked, and whether this process built or read weights.
    """
    notes, folder = _Notes(), Path(argument["folder"])
    at_start = {"held_at_check": 0, "weights": False}
    made_weights, checked = start._weights, start.architectures.check_causal

    def weights(*arguments: Any) -> Any:
        at_start["weights"] = True
        return made_weights(*arguments)

    def check(model: torch.nn.Module, *arguments: Any, **named: Any) -> None:
        at_start["held_at_check"] = _held(model)
        checked(model, *arguments, **named)

    start._weights, start.architectures.check_causal = weights, check
    folder.mkdir(parents=True, exist_ok=True)
    made, stepped, trained = PackedTrainer.__init__, PackedTrainer.training_step, PackedTrainer.train

    def init(self: PackedTrainer, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.add_callback(notes)
        if argument.get("local_averages"):
            self.args.average_tokens_across_devices = False

    def step(self: PackedTrainer, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
        notes.labels.append(int((inputs["labels"][:, 1:] != -100).sum()))
        return stepped(self, model, inputs, *more)

    def train(self: PackedTrainer, **named: Any) -> Any:
        result = trained(self, **named)
        np.savez(folder / f"{rank}.npz", **notes.gradients)
        about = {"labels": notes.labels, "draws": notes.draws, "held": notes.held, **at_start}
        (folder / f"{rank}.json").write_text(json.dumps(about))
        return result

    PackedTrainer.__init__, PackedTrainer.training_step, PackedTrainer.train = init, step, train


def limit_file_size(rank: int, world: int, argument: dict[str, Any]) -> None:
    """After `argument["after"]` checkpoints no file may be larger than `argument["bytes"]`: what a full disk looks like."""
    import resource
    import signal

    from training.run import checkpoint

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    genuine, calls = checkpoint.make_room, 0

    def make_room(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > argument["after"] + 1:  # room is asked for before the first step, too
            resource.setrlimit(resource.RLIMIT_FSIZE, (argument["bytes"], argument["bytes"]))
        genuine(*arguments)

    checkpoint.make_room = make_room


def see_each_other(rank: int, world: int, argument: dict[str, Any]) -> None:
    """Let every forward pass of the check be one with which documents see the ones before them."""
    start.attention.packed_inputs = lambda inputs, attention="": {**inputs, "use_cache": True}


@torch.no_grad()
def cut(rank: int, world: int, argument: dict[str, Any]) -> None:
    """Cut models made in rank 0 over all processes; write what is wrong to `<folder>/<rank>.json`, and end the process.

    `argument`: `folder`, and `models`: name -> fields of `ModelConfig`, `lora` (fields or None), `untie`.
    """
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    wrong = {}
    for name, about in argument["models"].items():
        torch.manual_seed(rank)  # nothing may depend on what a process draws itself
        try:
            wrong[name] = _cut_one(rank, about)
        except Exception as error:  # noqa: BLE001 - told to the test
            wrong[name] = repr(error)[:300]
    (Path(argument["folder"]) / f"{rank}.json").write_text(json.dumps(wrong))
    torch.distributed.destroy_process_group()
    os._exit(0)


def _cut_one(rank: int, about: dict[str, Any]) -> str | None:
    tokenizer = SimpleNamespace(size=300, control=SimpleNamespace(end_of_text=0, pad=1))
    with nullcontext() if rank == 0 else torch.device("meta"):
        model = build.build(ModelConfig(**about["model"]), tokenizer, 64, seed=5)
        if about.get("untie") and rank == 0:
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight + 1)
        if about.get("lora"):
            model = adapters.add_lora(model, LoraConfig(**about["lora"]), 5)
    inputs = {"input_ids": torch.arange(24).view(2, 12), "use_cache": False}
    model.eval()
    wanted = logits = None
    if rank == 0:
        wanted = {name: value.clone() for name, value in model.named_parameters()}
        logits = model(**inputs).logits
    told = [(logits, {n: b.clone() for n, b in model.named_buffers()} if rank == 0 else None)]
    sharded.follow_layout(model)
    sharded.shard(model, torch.device("cpu"), bf16=False)
    torch.distributed.broadcast_object_list(told, src=0)
    logits, buffers = told[0]
    if not torch.equal(model(**inputs).logits, logits):
        return "other logits"
    sharded.release(model)
    parameters = dict(model.named_parameters())
    if not all(isinstance(p, DTensor) for p in parameters.values()):
        return "not cut"
    whole = {name: p.full_tensor() for name, p in parameters.items()}
    if wanted is not None and not all(torch.equal(whole[n], value) for n, value in wanted.items()):
        return "other weights"
    if not all(torch.equal(b, buffers[n]) for n, b in model.named_buffers()):
        return "other buffers"
    return None
