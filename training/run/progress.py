"""What a run shows and keeps while it goes: lines for the user, `metrics.jsonl`, when to evaluate and save."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from training.config import TrainConfig
from training.prepare import Prepared
from training.run import lineage
from training.tokens.cache import Report


class Progress(TrainerCallback):
    """Schedules evaluation and checkpoints, shows progress, and keeps `metrics.jsonl`."""

    def __init__(self, config: TrainConfig, prepared: Prepared, report: Report) -> None:
        self.config, self.prepared, self.report = config, prepared, report
        self.file = Path(config.output) / "metrics.jsonl"
        self.started = time.perf_counter()
        self.first_step = 0
        self.paused = 0.0
        self.tokens_per_step = prepared.order.rows_per_step * config.data.sequence_length

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; forget the lines of steps that will be done again."""
        self.started, self.first_step, self.paused = time.perf_counter(), state.global_step, 0.0
        if state.is_world_process_zero:
            kept = []
            if self.file.exists():
                lines = self.file.read_text().splitlines()
                kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
            self.file.write_text("".join(f"{line}\n" for line in kept if state.global_step))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for evaluation, logging and a checkpoint when they are due."""
        step, last = state.global_step, state.global_step >= state.max_steps
        control.should_log |= last
        control.should_evaluate = (
            step % self.config.evaluation.every == 0 or last
        ) and self.prepared.held_out is not None
        control.should_save = step % self.config.save_every == 0 or last

    def speed(self, step: int) -> tuple[float, float]:
        """(training seconds so far, without evaluation and saving; non-padding tokens per second)."""
        seconds = time.perf_counter() - self.started - self.paused
        seen = (
            lineage.seen(self.prepared, step)["tokens"]
            - lineage.seen(self.prepared, self.first_step)["tokens"]
        )
        return seconds, seen / seconds if seconds > 0 else 0.0

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One line on stderr, one line in the file."""
        if not state.is_world_process_zero or logs is None or "loss" not in logs:
            return
        step = state.global_step
        seconds, rate = self.speed(step)
        left = seconds / max(1, step - self.first_step) * (state.max_steps - step)
        self.report(
            f"step {step}/{state.max_steps}  loss {logs['loss']:.4f}  {rate:,.0f} tokens/s  "
            f"{int(left) // 60}:{int(left) % 60:02d} left"
        )
        self.record(
            {
                "step": step,
                **{key: logs[key] for key in ("loss", "learning_rate", "grad_norm") if key in logs},
            }
        )

    def record(self, line: dict[str, Any]) -> None:
        """Append to `metrics.jsonl`."""
        with self.file.open("a") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")
