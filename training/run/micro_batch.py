"""`micro_batch_size: auto`: the largest micro-batch that fits, found before the first step and without a trace.

On a GPU, micro-batches of 1, 2, 3, ... rows (the divisors of the rows that a process has in a step) are tried: a forward
and a backward pass over the fullest rows of the first epoch, with room kept for the optimizer, until one does not fit.
No weight moves, gradients are dropped, and the random state is what it was. Processes take the smallest that any of
them found. A model that is sharded later cannot be tried before: there it is one row, and said.

On a CPU, memory is seldom the limit and more rows at once bring nothing: the largest divisor with at most `CPU_TOKENS`
tokens.

The size changes speed and rounding, not what is learnt: a run may be resumed with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed

from training.config import TrainConfig
from training.corpus.sources import Report
from training.errors import TrainingConfigError
from training.model import flops
from training.model.attention import attention_of, on, packed_inputs
from training.model.build import on_gpu, precision
from training.prepare import Prepared

CPU_TOKENS = 4096
"""Of a micro-batch on a CPU: its activations stay near the caches, and the cost per call is small beside the work."""

HEADROOM = 0.92
"""Share of a GPU's memory that may be used: allocations of later steps fall into other places."""


def candidates(rows_per_step: int, world: int) -> list[int]:
    """Micro-batch sizes that divide what a process has in a step, rising.

    Raises:
        TrainingConfigError: the rows of a step cannot be divided among the processes.
    """
    rows, left = divmod(rows_per_step, world)
    if left or rows == 0:
        raise TrainingConfigError(
            f"{rows_per_step} rows per step (global_batch_tokens / data.sequence_length) cannot be divided among "
            f"{world} processes; change global_batch_tokens"
        )
    return [size for size in range(1, rows + 1) if rows % size == 0]


def on_cpu(sizes: Sequence[int], row_tokens: int) -> int:
    """The rule for CPUs: the largest of `sizes` with at most `CPU_TOKENS` tokens, at least the first."""
    return max([size for size in sizes if size * row_tokens <= CPU_TOKENS], default=sizes[0])


def search(sizes: Sequence[int], attempt: Callable[[int], None]) -> int:
    """The largest of the rising `sizes` before the first that `attempt` runs out of memory with.

    Raises:
        TrainingConfigError: not even the first fits.
    """
    found = None
    for size in sizes:
        try:
            attempt(size)
        except torch.OutOfMemoryError:
            break
        found = size
    if found is None:
        raise TrainingConfigError(
            f"a micro-batch of {sizes[0]} row does not fit into memory; set gradient_checkpointing: true, a shorter "
            "data.sequence_length, loss_chunk, lora or quantization, or parallel.strategy: fsdp "
            "(pipeline train CONFIG --dry-run shows what needs how much)"
        )
    return found


class Attempt:
    """A forward and a backward pass that leaves nothing behind.

    Args:
        model: on its device, in training mode.
        prepared: rows come from its first epoch.
        precision: the type that is computed in, or None for that of the weights.
        reserve: bytes per trained weight that the optimizer will take (AdamW: two moments in the weight's type).
    """

    def __init__(
        self,
        model: torch.nn.Module,
        prepared: Prepared,
        precision: torch.dtype | None = None,
        reserve: int = 8,
    ) -> None:
        self.model, self.prepared, self.precision, self.reserve = model, prepared, precision, reserve
        plan = prepared.epochs[0].plan
        longest = np.zeros(plan.rows, dtype=np.int64)
        np.maximum.at(longest, plan.row, plan.length)
        # Rows with the longest fragments: attention costs most there. Repeated where there are too few.
        self.rows = np.argsort(-longest, kind="stable")

    def __call__(self, size: int) -> None:
        """Raises torch.OutOfMemoryError where `size` rows do not fit."""
        device = next(self.model.parameters()).device
        devices = [device] if device.type == "cuda" else []
        was_training = self.model.training
        held = None
        try:
            with torch.random.fork_rng(devices):
                trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
                held = torch.empty(trained * self.reserve, dtype=torch.uint8, device=device)
                self.model.train()
                self._step(size, device)
        finally:
            del held
            for parameter in self.model.parameters():
                parameter.grad = None
            self.model.train(was_training)
            if devices:
                torch.cuda.empty_cache()

    def _step(self, size: int, device: torch.device) -> None:
        epoch = self.prepared.epochs[0]
        rows = epoch.plan.fill(
            epoch.cache.tokens, np.resize(self.rows, size), self.prepared.tokenizer.control.pad
        )
        inputs: dict[str, Any] = {
            "input_ids": torch.from_numpy(rows.ids),
            "position_ids": torch.from_numpy(rows.positions),
            "labels": torch.from_numpy(rows.labels),
        }
        packed = on(device, packed_inputs(inputs, attention_of(self.model)))
        with torch.autocast(device.type, self.precision or torch.float32, enabled=self.precision is not None):
            loss = self.model(**packed).loss
        loss.backward()


def agree(size: int, device: torch.device) -> int:
    """The smallest that any process found; itself without other processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return size
    shared = torch.tensor([size], device=device)
    torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MIN)
    return int(shared.item())


def before(config: TrainConfig, world: int) -> TrainConfig:
    """The configuration with `auto` replaced: by the rule on a CPU, by one row on a GPU until its model is there."""
    if config.micro_batch_size != "auto":
        return config
    sizes = candidates(config.rows_per_step, world)
    size = sizes[0] if on_gpu(config) else on_cpu(sizes, config.data.sequence_length)
    return config.model_copy(update={"micro_batch_size": size})


def settle(  # noqa: PLR0917
    asked: TrainConfig, config: TrainConfig, prepared: Prepared, model: Any, world: int, report: Report
) -> TrainConfig:
    """The configuration with the largest micro-batch that fits, if `asked` wanted it and there is a GPU.

    Every process must call it; all get the same.
    """
    if asked.micro_batch_size != "auto":
        return config
    why = f"at most {CPU_TOKENS} tokens on a CPU"
    if on_gpu(config):
        sizes = candidates(config.rows_per_step, world)
        if config.parallel.strategy == "fsdp" or config.parallel.deepspeed is not None:
            found, why = (
                sizes[0],
                "a model that is sharded later: set micro_batch_size by --dry-run's estimate",
            )
        else:
            kind = flops.dtype_of(precision(config))
            torch.cuda.set_per_process_memory_fraction(HEADROOM)
            try:
                found = search(sizes, Attempt(model, prepared, None if kind == torch.float32 else kind))
            finally:
                torch.cuda.set_per_process_memory_fraction(1.0)
            found, why = agree(found, next(model.parameters()).device), "the largest that fits every GPU"
        config = config.model_copy(update={"micro_batch_size": found})
    report(f"micro_batch_size: {config.micro_batch_size} rows ({why})")
    return config
