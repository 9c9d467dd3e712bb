"""A trace of some steps, for chrome://tracing or https://ui.perfetto.dev: `<output>/profile/steps-3-5-rank-0.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from training.config import ProfileConfig
from training.corpus.sources import Report


class Profiler(TrainerCallback):
    """Records the steps `first_step` to `first_step + steps - 1` (1-based, of the run) in every process.

    A run that ends or stops before the last of them keeps the trace of those that were done; one that is resumed behind
    them has none.
    """

    def __init__(self, settings: ProfileConfig, output: Path, report: Report) -> None:
        self.first, self.last = settings.first_step, settings.first_step + settings.steps - 1
        self.folder, self.report = output / "profile", report
        self.running: profile | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say so if there will be no trace."""
        if not state.global_step < self.first <= state.max_steps and state.is_world_process_zero:
            self.report(
                f"profile: no trace: step {self.first} (profile.first_step) is not among the steps to come, "
                f"{state.global_step + 1} to {state.max_steps}"
            )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin before the first step."""
        if self.running is None and state.global_step + 1 == self.first:
            activities = [ProfilerActivity.CPU]
            if args.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self.running = profile(activities=activities)
            self.running.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End after the last step."""
        if state.global_step == self.last:
            self._write(args, state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End with the run."""
        self._write(args, state)

    def _write(self, args: TrainingArguments, state: TrainerState) -> None:
        if self.running is None:
            return
        self.running.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"steps-{self.first}-{state.global_step}-rank-{args.process_index}.json"
        temporary = file.with_suffix(".tmp.json")
        self.running.export_chrome_trace(str(temporary))
        temporary.rename(file)
        self.running = None
        self.report(f"profile: {file} (open it in chrome://tracing or Perfetto)")
