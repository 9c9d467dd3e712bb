"""transformers.Trainer with our own data order, schedule, evaluation and checkpoints in place of its own.

What stays Trainer's: mixed precision, gradient accumulation, distributed wrapping, optimizer, clipping, loss
normalised by the number of labels over all micro-batches and ranks, device placement, callbacks, loggers.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl
from transformers.utils import logging as transformers_logging

from training.config import TrainConfig
from training.corpus.sources import Report
from training.errors import NonFiniteLossError
from training.model.attention import attention_of, packed_inputs
from training.prepare import Prepared
from training.run import best, lineage, schedules
from training.run.batches import MicroBatches, loader
from training.run.callbacks import callbacks
from training.run.evaluation import Evaluation
from training.run.profile import Profiler
from training.run.progress import Progress
from training.run.saving import SavesCheckpoints

transformers_logging.disable_progress_bar()


class PackedTrainer(SavesCheckpoints):
    """Trainer over packed rows of a release.

    Attributes:
        last_evaluation: (step, report) of the newest evaluation, or None.
    """

    def __init__(
        self,
        config: TrainConfig,
        prepared: Prepared,
        model: torch.nn.Module,
        training_arguments: TrainingArguments,
        report: Report,
    ) -> None:
        self.config, self.prepared, self.report = config, prepared, report
        self.progress = Progress(config, prepared, report)
        self.recorder = lineage.Recorder(config, prepared, training_arguments.world_size)
        self.evaluation = Evaluation(config, prepared, report)
        self.last_evaluation: tuple[int, dict[str, Any]] | None = None
        self.step_loss: torch.Tensor | None = None
        profiler = [Profiler(config.profile, Path(config.output), report)] if config.profile else []
        super().__init__(
            model=model,
            args=training_arguments,
            callbacks=[self.progress, *profiler, *callbacks(config.callbacks)],
        )
        self.remove_callback(PrinterCallback)
        self.checkpoints = Path(config.output) / "checkpoints"

    def remember(self, metrics: dict[str, Any]) -> None:
        """Take over the evaluation in a checkpoint's metrics: the newest one until the next."""
        if "evaluation" in metrics:
            report = dict(metrics["evaluation"])
            self.last_evaluation = (report.pop("step"), report)

    def get_train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Our own micro-batches; not handed to accelerate, which would shard and pad them again."""
        place = (self.args.process_index, self.args.world_size)
        return loader(MicroBatches(self.prepared, self.config.micro_rows, *place))

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """The schedule of `training.run.schedules`."""
        if self.lr_scheduler is None:
            made = optimizer or self.optimizer
            assert made is not None
            self.lr_scheduler = schedules.scheduler(made, self.config.optimizer, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """0: Trainer's own count walks over all modules for every micro-batch, and knows neither padding nor adapters."""
        return 0

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """As Trainer's, of packed rows; stops before the optimizer steps on a loss that is not finite.

        Looked at once per step: reading a number from a GPU waits for it.
        """
        # Checked here, before the batch goes to the device, for the same reason.
        packed = packed_inputs(inputs, attention_of(model))
        loss = super().training_step(model, packed, num_items_in_batch)
        self.step_loss = loss if self.step_loss is None else self.step_loss + loss
        if self.accelerator.sync_gradients:
            total, self.step_loss = self.step_loss, None
            if not torch.isfinite(total):
                raise NonFiniteLossError(self._non_finite(float(total)))
        return loss

    def _non_finite(self, loss: float) -> str:
        step, order = self.state.global_step, self.prepared.order
        epoch, rows = order.rows(step)
        plan, names = order.plans[epoch], self.prepared.epochs[epoch].cache.content_id
        documents = sorted({names[d].as_py() for d in plan.document[np.isin(plan.row, rows[rows >= 0])]})
        shown = ", ".join(documents[:8]) + (f" and {len(documents) - 8} more" if len(documents) > 8 else "")
        return (
            f"step {step + 1}: the loss is {loss}; nothing was learnt from this step. Lower "
            "optimizer.learning_rate or raise optimizer.warmup_steps. Contents in the batch "
            f"(content_sha256): {shown}"
        )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measure on the held-out documents (see `training.run.evaluation`); log, judge, and say when to stop."""
        if self.prepared.held_out is None:
            return {}
        begun = time.perf_counter()
        step = self.state.global_step
        report = self.evaluation.measure(
            self.model,
            2 * self.config.micro_rows,
            self.args.process_index,
            self.args.world_size,
            cut=self.fsdp or self.is_deepspeed_enabled,
        )
        best.check(self.config.evaluation, report)
        self.last_evaluation = (step, report)
        if self.is_world_process_zero():
            self.progress.show_evaluation(step, report)
        values = best.logged(report)
        self.log(dict(values))
        self._judge()
        self.progress.paused += time.perf_counter() - begun
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, values)
        return values

    def _judge(self) -> None:
        """Keep the best step in Trainer's state; ask for its checkpoint; stop when it is time."""
        found = best.judge(self.config.evaluation, self.state.log_history)
        self.state.best_global_step, self.state.best_metric = found.step, found.value
        if not self.state.global_step:
            return
        if self.config.keep_best and found.step == self.state.global_step:
            self.control.should_save = True
        if found.stop:
            self.control.should_save = self.control.should_training_stop = True
            self.report(
                f"step {self.state.global_step}: stopped early, {self.config.evaluation.metric} was best at step "
                f"{found.step} and has not become better in {found.waited} evaluations"
            )

    def _load_callback_state(self) -> None:
        """As Trainer's, but for what was asked of the loop in the step of the checkpoint: that is done."""
        states: Any = self.state.stateful_callbacks  # a dictionary, whatever its annotation says
        states.pop(TrainerControl.__name__, None)
        super()._load_callback_state()
