"""Writing a checkpoint from all processes: aside, each its part; then rank 0 seals it and removes old ones."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from transformers.trainer_callback import ExportableState

from training.run import checkpoint, lineage
from training.run.distributed import DistributedTrainer

METRICS = "metrics.json"
"""In a checkpoint: the last training loss and evaluation, each with its step."""


def checkpoint_bytes(model: torch.nn.Module) -> int:
    """About what a checkpoint of a model takes: the weights that are written, and two moments of each trained one."""
    adapter = hasattr(model, "peft_config")
    parameters = {id(p): p for p in model.parameters()}.values()
    written = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad or not adapter)
    return written + 2 * sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)


class SavesCheckpoints(DistributedTrainer):
    """The part of `PackedTrainer` that writes checkpoints; its attributes are set there."""

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
            best = self.state.best_global_step if self.config.keep_best else None
            checkpoint.prune(self.checkpoints, self.config.keep_checkpoints, [best] if best else [])
        self._barrier()
        self.progress.paused += time.perf_counter() - begun

    def _write_parts(self, folder: Path, step: int, weights: dict[str, torch.Tensor] | None) -> None:
        self.model.save_pretrained(str(folder), state_dict=weights)
        self.prepared.tokenizer.save(folder)
        self._save_scaler(str(folder))
        for callback in [
            c for c in [*self.callback_handler.callbacks, self.control] if isinstance(c, ExportableState)
        ]:
            self.state.stateful_callbacks[type(callback).__name__] = callback.state()
        self.state.save_to_json(str(folder / "trainer_state.json"))
        lineage.write(folder, self.recorder.describe(step))
        metrics: dict[str, Any] = {"step": step}
        losses = [line["loss"] for line in self.state.log_history if "loss" in line]
        metrics["loss"] = losses[-1] if losses else None
        if self.last_evaluation is not None:
            at, report = self.last_evaluation
            metrics["evaluation"] = {"step": at, **report}
        (folder / METRICS).write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
