"""Trainer on several processes: how the model is shared out, and what each process draws at random."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from transformers import Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from training.config import TrainConfig
from training.errors import ProcessError, TrainingConfigError
from training.prepare import Prepared
from training.run import sharded
from training.run.seeds import SeedsSteps
from training.tokens.order import accumulation


def process_place() -> tuple[int, int]:
    """(rank, number of processes) as torchrun says in the environment; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def on_processor(config: TrainConfig, world: int) -> bool:
    """Whether the run uses no GPU. Where there is none Trainer must be told: it would refuse bf16, and let each of several
    processes train by itself."""
    if config.device == "cpu":
        return True
    kind = torch.accelerator.current_accelerator(check_available=True)
    return kind is None or (world > 1 and kind.type == "mps")


def check_processes(config: TrainConfig, world: int) -> None:
    """Refuse a number of processes that the strategy cannot use, or that the rows of a step cannot be shared out to.

    Raises:
        TrainingConfigError: says what to change.
    """
    if config.parallel.strategy == "fsdp" and world == 1:
        raise TrainingConfigError(
            "parallel.strategy: fsdp cuts the model over several processes, and this is one; start more "
            "(--nproc, --nodes) or set parallel.strategy: ddp"
        )
    accumulation(config.rows_per_step, world, config.micro_batch_size, config.data.sequence_length)


def agree(config: TrainConfig, prepared: Prepared, resume: Path | None, world: int) -> Path | None:
    """The checkpoint that all processes go on from: what rank 0 found. Called by every process.

    Raises:
        ProcessError: each process would train by itself.
        TrainingConfigError: this process was started with another configuration or reads other data than rank 0.
    """
    if world == 1:
        return resume
    if not torch.distributed.is_initialized():
        raise ProcessError(f"this is one of {world} processes (WORLD_SIZE), and they did not join")
    mine = {"configuration": config.digest(), "stream of tokens": prepared.stream_digest}
    told: list[Any] = [(mine, str(resume) if resume else None)]
    torch.distributed.broadcast_object_list(told, src=0)
    wanted, name = told[0]
    differs = [key for key, digest in mine.items() if digest != wanted[key]]
    if differs:
        raise TrainingConfigError(
            f"process {torch.distributed.get_rank()} has another {' and '.join(differs)} than process 0: start every "
            "machine with the same configuration, release and library versions"
        )
    return Path(name) if name else None


class DistributedTrainer(Trainer):
    """The part of `PackedTrainer` that differs with `parallel.strategy`; `config` is set there.

    ddp is Trainer's own way. With fsdp the model comes cut, each part on its device (`training.model.start`).
    """

    config: TrainConfig
    model: Any  # transformers' or peft's

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.args.average_tokens_across_devices:
            raise TrainingConfigError(
                "average_tokens_across_devices: false would weigh a token by how many others are in its process; "
                "take it out of `trainer`"
            )
        self.add_callback(SeedsSteps(self.config.seed, self.args.process_index))

    @property
    def fsdp(self) -> bool:
        """Whether the model is cut over the processes."""
        return self.config.parallel.strategy == "fsdp"

    def create_accelerator_and_postprocess(self) -> None:
        """As Trainer's; a model that is cut is not wrapped once more."""
        super().create_accelerator_and_postprocess()
        if self.fsdp:
            # `evaluation_mode`: everything but the distributed wrapper.
            self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)

    def _move_model_to_device(self, model: torch.nn.Module, device: torch.device) -> None:
        if not self.fsdp:  # it is there
            super()._move_model_to_device(model, device)

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the model came with the weights of the checkpoint (`training.model.start`)."""

    def whole_weights(self) -> dict[str, torch.Tensor] | None:
        """What `save_pretrained` is to write in rank 0, where the model itself does not hold it. For all processes."""
        if self.is_deepspeed_enabled:
            gathered: dict[str, torch.Tensor] | None = self.accelerator.get_state_dict(self.deepspeed)
            return gathered
        return sharded.whole_weights(self.model, keep=self.args.should_save) if self.fsdp else None

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.fsdp:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        assert self.optimizer is not None and self.lr_scheduler is not None
        state = sharded.whole_optimizer_state(self.optimizer, keep=self.args.should_save)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.fsdp or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None and self.lr_scheduler is not None
        # Mapped, not read: the processes of a machine share the pages, and each copies only its part.
        state = torch.load(
            Path(checkpoint) / OPTIMIZER_NAME, map_location="cpu", weights_only=True, mmap=True
        )
        sharded.load_optimizer_state(self.optimizer, state)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))
