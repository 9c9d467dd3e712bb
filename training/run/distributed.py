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
    """Refuse a number of processes that the strategy cannot use.

    Raises:
        TrainingConfigError: says what to change.
    """
    if config.parallel.strategy == "fsdp" and world == 1:
        raise TrainingConfigError(
            "parallel.strategy: fsdp cuts the model over several processes, and this is one; start more "
            "(--nproc, --nodes) or set parallel.strategy: ddp"
        )


def check_rows(prepared: Prepared, config: TrainConfig, world: int) -> None:
    """Refuse a step that cannot be shared out between the processes.

    Raises:
        TrainingConfigError: says what to change.
    """
    micro = 1 if config.micro_batch_size == "auto" else config.micro_batch_size
    prepared.order.accumulation(world, micro)


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

    ddp is Trainer's own way. fsdp cuts the model right before the optimizer is made: after the weights of a resumed
    checkpoint were loaded, and before anything was moved to the device.
    """

    config: TrainConfig

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
        if not self.fsdp:  # the whole model would not fit
            super()._move_model_to_device(model, device)

    def create_optimizer(self, *args: Any) -> torch.optim.Optimizer:
        """As Trainer's, over the parts that this process holds."""
        if self.fsdp and not sharded.is_sharded(self.model):
            sharded.shard(self.model, self.args.device, bf16=self.args.bf16)
        return super().create_optimizer(*args)

    def whole_weights(self) -> dict[str, torch.Tensor] | None:
        """What `save_pretrained` is to write in rank 0, where the model itself does not hold it. For all processes."""
        if self.is_deepspeed_enabled:
            return self.accelerator.get_state_dict(self.deepspeed)
        return sharded.whole_weights(self.model, keep=self.args.should_save) if self.fsdp else None

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.fsdp:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        state = sharded.whole_optimizer_state(self.optimizer, keep=self.args.should_save)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.fsdp or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        # Mapped, not read: the processes of a machine share the pages, and each copies only its part.
        state = torch.load(
            Path(checkpoint) / OPTIMIZER_NAME, map_location="cpu", weights_only=True, mmap=True
        )
        sharded.load_optimizer_state(self.optimizer, state)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))
