"""The memory of this machine, asked before a run on a processor begins.

A GPU's allocator refuses, and the run ends with a message. On a processor the system promises memory that it does not
have, and later kills the process without a word: what certainly does not fit is refused before.
"""

from __future__ import annotations

import os
from pathlib import Path

from training.config import TrainConfig
from training.corpus.sources import Report
from training.errors import OutOfMemoryError
from training.model import build
from training.run import interrupted

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of a container: control groups of version 2 and 1."""

FIXED = ("weights", "adapters", "gradients", "optimizer")
"""Parts of the estimate that are counts, not estimates."""


def total() -> int | None:
    """Bytes of memory that this machine or container has, without swap; None where the system does not say."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (OSError, ValueError):
        return None
    for name in LIMITS:
        try:
            found.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found)


def check(config: TrainConfig, report: Report) -> None:
    """Refuse a run on a processor whose weights, gradients and moments alone are more than the machine has.

    Args:
        config: with its micro-batch size settled.
        report: takes a warning where a whole step is estimated to be more.

    Raises:
        OutOfMemoryError: with the estimate, and what takes less.
    """
    have = None if build.on_gpu(config) else total()
    parts = interrupted.estimate(config) if have is not None else None
    if have is None or parts is None:
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fixed = here * sum(parts[name] for name in FIXED)
    processes = f" in {here} processes" if here > 1 else ""
    if fixed > have:
        reason = (
            f"weights, gradients and optimizer take {fixed / 1e9:,.1f} GB{processes}, and this machine has "
            f"{have / 1e9:,.1f} GB"
        )
        raise OutOfMemoryError(interrupted.too_little(config, reason))
    if here * parts["total"] > have:
        report(
            f"WARNING: a step takes about {here * parts['total'] / 1e9:,.1f} GB{processes}, and this machine has "
            f"{have / 1e9:,.1f} GB: the system may end the run without a message"
        )
