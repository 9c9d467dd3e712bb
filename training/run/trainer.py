"""transformers.Trainer with our own data order, evaluation and checkpoints in place of its own.

What stays Trainer's: mixed precision, gradient accumulation, distributed wrapping, optimizer, schedule,
clipping, loss normalised by the number of labels over all micro-batches and ranks, device placement,
callbacks.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from training.config import TrainConfig
from training.errors import NonFiniteLossError
from training.model.attention import packed_inputs
from training.prepare import Prepared
from training.run import lineage
from training.run.batches import MicroBatches, loader
from training.run.evaluate import LanguageLoss, evaluate, evaluation_report
from training.run.progress import Progress
from training.run.saving import SavesCheckpoints
from training.tokens.cache import Report

transformers_logging.disable_progress_bar()


class PackedTrainer(SavesCheckpoints):
    """Trainer over packed rows of a release.

    Attributes:
        last_evaluation: (step, total, per language) of the newest evaluation, or None.
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
        self.last_evaluation: tuple[int, LanguageLoss, dict[str, LanguageLoss]] | None = None
        super().__init__(model=model, args=training_arguments, callbacks=[self.progress])
        self.remove_callback(PrinterCallback)
        self.checkpoints = Path(config.output) / "checkpoints"

    def get_train_dataloader(self) -> DataLoader:
        """Our own micro-batches; not handed to accelerate, which would shard and pad them again."""
        place = (self.args.process_index, self.args.world_size)
        return loader(MicroBatches(self.prepared, self.config.micro_batch_size, *place))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """As Trainer's, through `packed_inputs`."""
        return super().compute_loss(model, packed_inputs(inputs), return_outputs, num_items_in_batch)

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """As Trainer's; stops before the optimizer steps on a loss that is not finite."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise NonFiniteLossError(self._non_finite(float(loss)))
        return loss

    def _non_finite(self, loss: float) -> str:
        step, order = self.state.global_step, self.prepared.order
        epoch, rows = order.rows(step)
        plan, names = order.plans[epoch], self.prepared.epochs[epoch].cache.content_id
        documents = sorted({names[d] for d in plan.document[np.isin(plan.row, rows[rows >= 0])]})
        shown = ", ".join(documents[:8]) + (f" and {len(documents) - 8} more" if len(documents) > 8 else "")
        return (
            f"step {step + 1}: the loss is {loss}; nothing was learnt from this step. Lower "
            "optimizer.learning_rate or raise optimizer.warmup_steps. Contents in the batch "
            f"(content_sha256): {shown}"
        )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Held-out loss per language (see `training.run.evaluate`); reported, recorded and logged."""
        if self.prepared.held_out is None:
            return {}
        begun = time.perf_counter()
        total, languages = evaluate(
            self.model,
            self.prepared.held_out.plan,
            self.prepared.held_out.cache,
            self.prepared.tokenizer.token_bytes(),
            self.prepared.corpus.languages,
            pad=self.prepared.tokenizer.control.pad,
            rows_per_batch=2 * self.config.micro_batch_size,
            rank=self.args.process_index,
            world=self.args.world_size,
        )
        step = self.state.global_step
        self.last_evaluation = (step, total, languages)
        if self.is_world_process_zero():
            best = sorted(languages.items(), key=lambda item: -item[1].bytes)[:4]
            each = "  ".join(f"{name} {loss.bits_per_byte:.3f}" for name, loss in best)
            self.report(
                f"step {step}/{self.state.max_steps}  held-out loss {total.loss:.4f}  perplexity "
                f"{total.perplexity:.1f}  bits/byte {total.bits_per_byte:.4f}  ({each})"
            )
            self.progress.record({"step": step, "evaluation": evaluation_report(total, languages)})
        self.progress.paused += time.perf_counter() - begun
        result = {"eval_loss": total.loss, "eval_bits_per_byte": total.bits_per_byte}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, result)
        return result


def process_place() -> tuple[int, int]:
    """(rank, number of processes) as torchrun says in the environment; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
