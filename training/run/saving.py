"""Writing a checkpoint from all processes: aside, each its part; then rank 0 seals it and removes old ones."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from transformers.trainer_callback import ExportableState

from training.config import TrainConfig
from training.prepare import Prepared
from training.run import best, checkpoint, lineage
from training.run.distributed import DistributedTrainer
from training.run.progress import Progress

METRICS = "metrics.json"
"""In a checkpoint: the last training loss and evaluation, each with its step."""


def checkpoint_bytes(model: torch.nn.Module) -> int:
    """About what a checkpoint of a model takes: the weights that are written, and two moments of each trained one."""
    adapter = hasattr(model, "peft_config")
    parameters = {id(p): p for p in model.parameters()}.values()
    written = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad or not adapter)
    return written + 2 * sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)


def tidy(config: TrainConfig, history: list[dict[str, Any]]) -> None:
    """After a checkpoint: say in `best.json` which is the best, then remove those that need not stay.

    In this order a kill leaves no `best.json` that names a checkpoint that is gone.

    Args:
        config: of the run.
        history: Trainer's log history up to the newest checkpoint.
    """
    output = Path(config.output)
    about = best.described(config, history)
    if about is None:
        (output / best.FILE).unlink(missing_ok=True)
    else:
        checkpoint.replace(output / best.FILE, json.dumps(about, indent=2, sort_keys=True) + "\n")
    checkpoint.prune(output / "checkpoints", config.keep_checkpoints, [about["step"]] if about else [])


class SavesCheckpoints(DistributedTrainer):
    """The part of `PackedTrainer` that writes checkpoints; its attributes are set there."""

    prepared: Prepared
    progress: Progress
    recorder: lineage.Recorder
    checkpoints: Path
    last_evaluation: tuple[int, dict[str, Any]] | None

    def _barrier(self) -> None:
        if self.args.world_size > 1:
            torch.distributed.barrier()

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write aside, every rank its part; then rank 0 seals it and removes old ones."""
        begun = time.perf_counter()
        step = self.state.global_step
        final = checkpoint.folder_of(self.checkpoints, step)
        temporary = checkpoint.aside(final)
        with checkpoint.writing(temporary):
            if self.args.should_save:
                self.progress.flush()
                checkpoint.make_room(self.checkpoints, checkpoint_bytes(self.model))
                temporary.mkdir(parents=True)
            self._barrier()
            self._save_rng_state(str(temporary))
            # Weights after the optimizer's state is written: whole tensors of both would take half as much again.
            self._save_optimizer_and_scheduler(str(temporary))
            weights = self.whole_weights()
            if self.args.should_save:
                self._write_parts(temporary, step, weights)
        del weights
        self._barrier()
        if self.args.should_save:
            checkpoint.seal(temporary, final)
            tidy(self.config, self.state.log_history)
        self._barrier()
        self.progress.paused += time.perf_counter() - begun

    def _write_parts(self, folder: Path, step: int, weights: dict[str, torch.Tensor] | None) -> None:
        self.model.save_pretrained(str(folder), state_dict=weights)
        self.prepared.tokenizer.save(folder)
        self._save_scaler(str(folder))
        states: Any = self.state.stateful_callbacks  # a dictionary, whatever its annotation says
        for callback in [
            c for c in [*self.callback_handler.callbacks, self.control] if isinstance(c, ExportableState)
        ]:
            states[type(callback).__name__] = callback.state()
        self.state.save_to_json(str(folder / "trainer_state.json"))
        lineage.write(folder, self.recorder.describe(step))
        metrics: dict[str, Any] = {"step": step}
        losses = [line["loss"] for line in self.state.log_history if "loss" in line]
        metrics["loss"] = losses[-1] if losses else None
        if self.last_evaluation is not None:
            at, report = self.last_evaluation
            metrics["evaluation"] = {"step": at, **report}
        (folder / METRICS).write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
