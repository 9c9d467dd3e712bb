"""All random generators of a process in one place, and algorithms that give the same bits each time."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from training.config import TrainConfig


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and PyTorch (all devices). Trainer and the making of weights seed PyTorch again, with the same."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def algorithms(config: TrainConfig) -> Iterator[None]:
    """With `deterministic`, for the time of a run: an operation without an algorithm that repeats itself is an error.

    See https://docs.pytorch.org/docs/stable/notes/randomness.html. cuBLAS reads its workspace setting when a process
    first uses a GPU.
    """
    if not config.deterministic:
        yield
        return
    cudnn = torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = before[2], before[3]
        if before[4] is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
