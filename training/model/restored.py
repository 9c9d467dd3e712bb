"""The weights of a checkpoint, put into the model of a run that goes on from it: all of them, or an error.

Trainer's own way reads a file into memory as a whole, and leaves a weight that it does not find as it is, with no more
than a line in a log. That happens: transformers writes the experts of a mixture under the names that they have in
published files, one tensor each, while the model has all of a layer in one.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from training.errors import CheckpointError
from training.model import architectures


@torch.no_grad()
def restore(model: Any, folder: Path) -> None:
    """Load a checkpoint of this very model, or of the adapter on it, tensor by tensor.

    Args:
        model: as it was before the first step, with rows for new tokens and adapters.
        folder: a sound checkpoint.

    Raises:
        CheckpointError: weights that the model does not have, or has and the checkpoint does not.
    """
    if hasattr(model, "peft_config"):
        model.load_adapter(str(folder), model.active_adapters[0], is_trainable=True)
        return
    state = model.state_dict(keep_vars=True)
    with ExitStack() as opened:
        files = [opened.enter_context(safe_open(path, "pt")) for path in sorted(folder.glob("*.safetensors"))]
        stored = {name: file for file in files for name in file.keys()}  # noqa: SIM118
        if stored.keys() <= state.keys():
            _all_there(model, state, set(stored), folder)
            for name, file in stored.items():
                state[name].copy_(file.get_tensor(name))
            return
    _converted(model, state, folder)


def _converted(model: Any, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Through a second model that transformers loads: it knows what other names stand for."""
    try:
        other, about = type(model).from_pretrained(
            folder, config=copy.deepcopy(model.config), dtype=torch.float32, output_loading_info=True
        )
    except architectures.UNUSABLE as error:
        raise CheckpointError(f"{folder}: weights of another model: {error}") from error
    if about["unexpected_keys"]:
        raise CheckpointError(f"{folder}: weights of another model, such as {min(about['unexpected_keys'])}")
    loaded = other.state_dict()
    _all_there(model, state, loaded.keys() - set(about["missing_keys"]), folder)
    for name, value in loaded.items():
        state[name].copy_(value)


def _all_there(model: Any, state: dict[str, torch.Tensor], found: set[str], folder: Path) -> None:
    """Tied weights need one of their names; what a model says need not be saved, none."""
    known = {id(state[name]) for name in found} | {
        id(state.get(n)) for n in model._keys_to_ignore_on_save or ()
    }
    missing = [name for name, value in state.items() if id(value) not in known]
    if missing:
        raise CheckpointError(f"{folder}: {len(missing)} weights are missing, such as {min(missing)}")
