"""Writing a checkpoint from all processes: aside, each its part; then rank 0 seals it and removes old ones."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from transformers import Trainer
from transformers.trainer_callback import ExportableState

from training.errors import OutputError
from training.run import checkpoint, lineage
from training.run.evaluate import evaluation_report

METRICS = "metrics.json"
"""In a checkpoint: the last training loss and evaluation, each with its step."""


class SavesCheckpoints(Trainer):
    """The part of `PackedTrainer` that writes checkpoints; its attributes are set there."""

    def _barrier(self) -> None:
        if self.args.world_size > 1:
            torch.distributed.barrier()

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write aside, every rank its random state; then rank 0 seals it and removes old ones."""
        begun = time.perf_counter()
        step = self.state.global_step
        final = checkpoint.folder_of(self.checkpoints, step)
        temporary = self.checkpoints / f"{final.name}.tmp-save"
        try:
            if self.args.should_save:
                for left in self.checkpoints.glob("*.tmp-save"):
                    shutil.rmtree(left)
                temporary.mkdir(parents=True)
            self._barrier()
            self._save_rng_state(str(temporary))
            if self.args.should_save:
                self._write_parts(temporary, step)
        except OSError as error:
            raise OutputError(f"{temporary}: cannot be written: {error.strerror or error}") from error
        self._barrier()
        if self.args.should_save:
            checkpoint.seal(temporary, final)
            checkpoint.prune(self.checkpoints, self.config.keep_checkpoints)
        self._barrier()
        self.progress.paused += time.perf_counter() - begun

    def _write_parts(self, folder: Path, step: int) -> None:
        self.model.save_pretrained(str(folder))
        self.prepared.tokenizer.save(folder)
        self._save_optimizer_and_scheduler(str(folder))
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
            at, total, languages = self.last_evaluation
            metrics["evaluation"] = {"step": at, **evaluation_report(total, languages)}
        (folder / METRICS).write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
