"""transformers.Trainer with our own data order, evaluation and checkpoints in place of its own.

What stays Trainer's: mixed precision, gradient accumulation, distributed wrapping, optimizer, schedule,
clipping, loss normalised by the number of labels over all micro-batches and ranks, device placement,
callbacks.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState, TrainerControl, TrainerState
from transformers.utils import logging as transformers_logging

from training.config import TrainConfig
from training.errors import NonFiniteLossError, OutputError
from training.model.attention import packed_inputs
from training.prepare import Prepared
from training.run import checkpoint, lineage
from training.run.evaluate import LanguageLoss, evaluate
from training.tokens.cache import Report

transformers_logging.disable_progress_bar()

METRICS = "metrics.json"
"""In a checkpoint: the last training loss and evaluation, each with its step."""


class MicroBatches(Dataset):
    """All micro-batches of one rank, from the first step of the run to the last, as a list.

    Item `step * accumulation + part` is built when it is asked for, so a resume starts in the middle at no
    cost. Each is `{input_ids, position_ids, labels}` of shape (micro-batch, sequence length); never an
    attention mask.
    """

    def __init__(self, prepared: Prepared, micro: int, rank: int, world: int) -> None:
        self.prepared, self.micro, self.rank, self.world = prepared, micro, rank, world
        self.accumulation = prepared.order.accumulation(world, micro)

    def __len__(self) -> int:
        return self.prepared.order.steps * self.accumulation

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        step, part = divmod(index, self.accumulation)
        order = self.prepared.order
        epoch, rows = order.micro_batch(step, part, self.rank, self.world, self.micro)
        filled = order.plans[epoch].fill(
            self.prepared.epochs[epoch].cache.tokens, rows, self.prepared.tokenizer.control.pad
        )
        return {
            "input_ids": torch.from_numpy(filled.ids),
            "position_ids": torch.from_numpy(filled.positions),
            "labels": torch.from_numpy(filled.labels),
        }


def _only(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return items[0]


def arguments(config: TrainConfig, prepared: Prepared, world: int) -> TrainingArguments:
    """Trainer's settings for this run; evaluation and saving are scheduled by `Progress`."""
    optimizer = config.optimizer
    result = TrainingArguments(
        output_dir=str(Path(config.output) / "checkpoints"),
        max_steps=prepared.order.steps,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=prepared.order.accumulation(world, config.micro_batch_size),
        learning_rate=optimizer.learning_rate,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        lr_scheduler_type=optimizer.schedule,
        warmup_steps=optimizer.warmup_steps,
        optim="adamw_torch",
        seed=config.seed % 2**32,
        use_cpu=config.device == "cpu",
        bf16=config.precision == "bf16",
        logging_strategy="steps",
        logging_steps=config.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a NaN must be seen, not replaced by the last mean
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        average_tokens_across_devices=True,
        ddp_find_unused_parameters=False,
        use_cache=False,
        ddp_backend="gloo" if config.device == "cpu" and world > 1 else None,
    )
    result._n_gpu = min(result.n_gpu, 1)  # one process, one device: DataParallel would split packed rows
    return result


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


class PackedTrainer(Trainer):
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
        self.last_evaluation: tuple[int, LanguageLoss, dict[str, LanguageLoss]] | None = None
        super().__init__(model=model, args=training_arguments, callbacks=[self.progress])
        self.remove_callback(PrinterCallback)
        self.checkpoints = Path(config.output) / "checkpoints"

    def get_train_dataloader(self) -> DataLoader:
        """Our own micro-batches; not handed to accelerate, which would shard and pad them again."""
        batches = MicroBatches(
            self.prepared, self.config.micro_batch_size, self.args.process_index, self.args.world_size
        )
        # An own generator: the loader's draw of a worker seed must not move the global random state.
        return DataLoader(batches, batch_size=1, shuffle=False, collate_fn=_only, generator=torch.Generator())

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
        lineage.write(folder, lineage.describe(self.config, self.prepared, step, self.args.world_size))
        metrics: dict[str, Any] = {"step": step}
        losses = [line["loss"] for line in self.state.log_history if "loss" in line]
        metrics["loss"] = losses[-1] if losses else None
        if self.last_evaluation is not None:
            at, total, languages = self.last_evaluation
            metrics["evaluation"] = {"step": at, **evaluation_report(total, languages)}
        (folder / METRICS).write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")


def evaluation_report(total: LanguageLoss, languages: dict[str, LanguageLoss]) -> dict[str, Any]:
    """An evaluation as JSON."""
    return {"all": total.report(), "languages": {name: loss.report() for name, loss in languages.items()}}


def process_place() -> tuple[int, int]:
    """(rank, number of processes) as torchrun says in the environment; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
