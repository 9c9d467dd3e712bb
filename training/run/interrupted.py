"""What can end a run from outside: a full memory, a disk that refuses, a user who presses Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from training.config import TrainConfig
from training.corpus.sources import Report
from training.errors import OutOfMemoryError, OutputError, TrainingError
from training.model import architectures, build, memory
from training.run import checkpoint, planned_model

_ON_A_PROCESSOR = ("can't allocate memory", "not enough memory")
"""In the message of the RuntimeError that PyTorch's allocator for processors raises."""


@contextmanager
def told(config: TrainConfig, checkpoints: Path, report: Report) -> Iterator[None]:
    """Turn such ends into a message that says what to change, or what is left.

    Raises:
        OutOfMemoryError: an estimate of a step by part, and the settings that decide it.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(too_little(config, _first_line(error))) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _ON_A_PROCESSOR):
            raise
        raise OutOfMemoryError(too_little(config, _first_line(error))) from error
    except KeyboardInterrupt:
        left = checkpoint.all_steps(checkpoints)
        report(
            f"interrupted: the newest checkpoint is {left[0]}; the same command goes on from it"
            if left
            else "interrupted: no checkpoint was written yet; the same command begins again, with the tokens that are made"
        )
        raise


@contextmanager
def refused(config: TrainConfig) -> Iterator[None]:
    """Turn what a disk refuses, and nothing nearer to it has told, into a message that names the file.

    Raises:
        OutputError: a file could not be written or read.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{error.filename or config.output}: cannot be written or read: {error.strerror or error}; see whether the "
            "disk is full, and whose the folder is"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def too_little(config: TrainConfig, reason: str) -> str:
    """The message for a memory that does not suffice: what a step takes by part, and what takes less."""
    smaller = [
        f"a smaller micro_batch_size (now {config.micro_batch_size}; the batch of a step stays the same)",
    ]
    if not config.gradient_checkpointing:
        smaller.append("gradient_checkpointing: true")
    if config.loss_chunk is None:
        smaller.append("loss_chunk: 1024")
    if config.precision == "fp32":
        smaller.append("precision: bf16")
    if config.lora is None:
        smaller.append("lora")
    elif config.quantization is None:
        smaller.append("quantization (QLoRA)")
    smaller.append(f"a smaller data.sequence_length (now {config.data.sequence_length})")
    if config.parallel.strategy == "ddp":
        smaller.append("parallel.strategy: fsdp over several GPUs")
    return (
        f"out of memory: {reason}\n{_parts(config)}What takes less, the first first: {'; '.join(smaller)}. "
        "Checkpoints are untouched"
    )


def _parts(config: TrainConfig) -> str:
    """One line on the parts of a step, largest first; nothing where there is no estimate for the architecture."""
    parts = estimate(config)
    if parts is None:
        return ""
    total = parts.pop("total")
    unit, size_of = ("GB", 1e9) if total >= 1e9 else ("MB", 1e6)
    largest = sorted((size, name) for name, size in parts.items() if size)[::-1]
    each = ", ".join(f"{name} {size / size_of:,.2f}" for size, name in largest)
    return f"A step takes about {total / size_of:,.2f} {unit} in each process: {each}.\n"


def estimate(config: TrainConfig) -> dict[str, int] | None:
    """Bytes of one process by part (see `training.model.memory`), or None where the architecture has no estimate."""
    gpu = build.on_gpu(config)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        about, _ = planned_model.model_config(config, None, None)
        rows = planned_model.rows_of(config, processes, gpu=gpu)
        precision = build.precision(config)
        how = planned_model.setup(config, about, gpu=gpu, precision=precision, rows=rows, processes=processes)
        with memory.fake():
            return memory.estimate(planned_model.fake(config, about, build.weights_dtype(config)), how)
    except (TrainingError, *architectures.UNUSABLE):
        return None
