"""What a run shows and keeps while it goes: lines for the user, `metrics.jsonl`, when to evaluate and save."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from training.config import TrainConfig
from training.corpus.sources import Report
from training.model.flops import RunFlops, mfu
from training.prepare import Prepared
from training.run import checkpoint
from training.tokens.order import TrainingOrder


def tokens_after(order: TrainingOrder) -> np.ndarray:
    """Non-padding tokens that the first 0, 1, ... steps of a run were trained on (int64, `steps + 1`)."""
    steps = []
    for epoch, _, rows in order.seen(order.steps):
        plan = order.plans[epoch]
        of_row = np.bincount(plan.row, weights=plan.length, minlength=plan.rows).astype(np.int64)[rows]
        steps.append(np.add.reduceat(of_row, np.arange(0, len(rows), order.rows_per_step)))
    return np.concatenate(([0], np.cumsum(np.concatenate(steps))))


def lines_until(file: Path, step: int) -> list[str]:
    """Lines of `metrics.jsonl` up to a step; one that a crash has torn is none."""
    kept = []
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line.decode())
        except (ValueError, TypeError, KeyError):
            continue
    return kept


class Progress(TrainerCallback):
    """Schedules evaluation and checkpoints, shows progress, and keeps `metrics.jsonl`."""

    def __init__(self, config: TrainConfig, prepared: Prepared, report: Report) -> None:
        self.config, self.prepared, self.report = config, prepared, report
        self.output = Path(config.output)
        self.file = self.output / "metrics.jsonl"
        self.tokens = tokens_after(prepared.order)
        self.started = time.perf_counter()
        self.first_step = 0
        self.paused = 0.0
        self.flops: RunFlops | None = None
        """What a token costs; set when the model is there, for the utilisation in the lines."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; forget the lines of steps that will be done again."""
        self.started, self.first_step, self.paused = time.perf_counter(), state.global_step, 0.0
        # A resumed run has it from the checkpoint; it may differ now. Not always whole: below 1 it is a share.
        state.logging_steps = args.logging_steps  # type: ignore[assignment]
        if state.is_world_process_zero:
            kept = lines_until(self.file, state.global_step) if state.global_step else []
            checkpoint.replace(self.file, "".join(f"{line}\n" for line in kept))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for evaluation, logging and a checkpoint when they are due."""
        step, last = state.global_step, state.global_step >= state.max_steps
        if self.prepared.held_out is not None:
            control.should_evaluate |= step % self.config.evaluation.every == 0 or last
        control.should_save |= step % self.config.save_every == 0 or last
        # A checkpoint does not hold the losses since the last line: logged with it, a resumed run's lines are the same.
        # An evaluation may ask for a checkpoint: of the best step, or of the last one.
        control.should_log |= control.should_save or control.should_evaluate

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The loop has ended: a run that a callback stopped has its last step saved, too."""
        folder = checkpoint.folder_of(self.output / "checkpoints", state.global_step)
        if state.global_step > 0 and not folder.exists():
            control.should_save = control.should_log = True

    def speed(self, step: int) -> tuple[float, float]:
        """(training seconds so far, without evaluation and saving; non-padding tokens per second)."""
        seconds = time.perf_counter() - self.started - self.paused
        seen = int(self.tokens[step] - self.tokens[self.first_step])
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
        share = mfu(rate, 1.0, self.flops) if self.flops else None
        used = "" if share is None else f"MFU {share:.1%}  "
        self.report(
            f"step {step}/{state.max_steps}  loss {logs['loss']:.4f}  {rate:,.0f} tokens/s  {used}"
            f"{int(left) // 60}:{int(left) % 60:02d} left"
        )
        self.record(
            {
                "step": step,
                **{key: logs[key] for key in ("loss", "learning_rate", "grad_norm") if key in logs},
            }
        )

    def show_evaluation(self, step: int, report: dict[str, Any]) -> None:
        """One line on stderr, one in the file."""
        total = report["all"]
        largest = sorted(report["languages"].items(), key=lambda item: -item[1]["bytes"])[:4]
        each = "  ".join(f"{name} {figures['bits_per_byte']:.3f}" for name, figures in largest)
        line = (
            f"step {step}/{self.prepared.order.steps}  held-out loss {total['loss']:.4f}  perplexity "
            f"{total['perplexity']:.1f}  bits/byte {total['bits_per_byte']:.4f}  ({each})"
        )
        if "fim" in report:
            fim = report["fim"]["all"]
            line += f"  middle: exact {fim['exact_match']:.1%}, similar {fim['edit_similarity']:.3f}"
        line += "".join(f"  {name} {value:.4g}" for name, value in report.get("custom", {}).items())
        self.report(line)
        self.record({"step": step, "evaluation": report})

    def record(self, line: dict[str, Any]) -> None:
        """Append to `metrics.jsonl`."""
        with self.file.open("a") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")

    def flush(self) -> None:
        """Put the lines on disk: a checkpoint must not outlive what was measured before it."""
        if self.file.exists():
            checkpoint.sync(self.file)
