"""What a process of a test job notes down about its run; loaded by tests/training/ranks.py, never imported by a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from training.run.trainer import PackedTrainer


def _whole(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu().numpy().copy()


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
        local = (p.to_local() if isinstance(p, DTensor) else p for p in model.parameters())
        self.held = sum(part.numel() for part in local)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.draws.append(float(torch.rand(1)))


def note(rank: int, world: int, argument: dict[str, Any]) -> None:
    """Write `<folder>/<rank>.json` and `.npz`: gradients, labels per micro-batch, random draws, parameters held.

    `argument`: `folder`, and `local_averages` to switch on the setting that is known to be wrong.
    """
    notes, folder = _Notes(), Path(argument["folder"])
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
        about = {"labels": notes.labels, "draws": notes.draws, "held": notes.held}
        (folder / f"{rank}.json").write_text(json.dumps(about))
        return result

    PackedTrainer.__init__, PackedTrainer.training_step, PackedTrainer.train = init, step, train


def limit_file_size(rank: int, world: int, argument: dict[str, Any]) -> None:
    """From checkpoint `argument["after"]` on, no file may be larger than `argument["bytes"]`: what a full disk looks like."""
    import resource
    import signal

    from training.run import checkpoint

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    genuine, calls = checkpoint.make_room, 0

    def make_room(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > argument["after"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (argument["bytes"], argument["bytes"]))
        genuine(*arguments)

    checkpoint.make_room = make_room
