"""A training process that writes down what its model is fed, and kills itself where it is told to.

    python tests/training/fed.py CONFIG FOLDER [KILL_STEP]

One file per step and rank in FOLDER, `STEP-RANK.pt`: int64 of shape (rows, 3, tokens): ids, positions, labels. With
KILL_STEP the process ends by SIGKILL after the first forward pass of that step (0-based).
"""

import os
import signal
import sys
from pathlib import Path

import torch
from transformers import TrainerCallback

from training import launch
from training.run.trainer import PackedTrainer

torch.set_num_threads(1)


class Fed(TrainerCallback):
    """Looks at the model's inputs."""

    def __init__(self, folder: Path, kill: int | None) -> None:
        self.folder, self.kill, self.step, self.parts = folder, kill, -1, []
        self.rank = os.environ.get("RANK", "0")

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        model.register_forward_pre_hook(self._look, with_kwargs=True)

    def on_step_begin(self, args, state, control, **kwargs):
        self.step, self.parts = state.global_step, []

    def _look(self, model, positional, inputs):
        if not model.training or "labels" not in inputs:
            return
        assert not positional and inputs.get("attention_mask") is None
        names = ("input_ids", "position_ids", "labels")
        self.parts.append(torch.stack([inputs[name] for name in names], dim=1))
        if self.step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        torch.save(torch.cat(self.parts), self.folder / f"{self.step}-{self.rank}.pt")


def main() -> int:
    config, folder, *kill = sys.argv[1:]
    begin = PackedTrainer.__init__

    def with_callback(self, *arguments, **named):
        begin(self, *arguments, **named)
        self.add_callback(Fed(Path(folder), int(kill[0]) if kill else None))

    PackedTrainer.__init__ = with_callback
    return launch.main([config])


if __name__ == "__main__":
    sys.exit(main())
