"""Which rows make up which step: a pure function of (seed, epoch, step).

An epoch is one packing plan whose rows are permuted by a hash of (seed, epoch, row). Step s of an epoch takes
the next `rows_per_step` rows; the last step of an epoch is filled up with rows of padding, which have no
label and change nothing but time. Micro-batch a of rank r among w takes the slice [(a * w + r) * b, ... + b)
of the step's rows: any number of processes and any accumulation sees the same rows in the same step, and
nothing has to be replayed on resume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from training.corpus.mixing import hashed_order
from training.errors import TrainingConfigError, TrainingDataError
from training.tokens.packing import PackingPlan


def permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `rows` rows in an epoch, int64."""
    return hashed_order(rows, f"order|{seed}|{epoch}")


def _what_divides(rows: int, world: int, micro: int, row_tokens: int) -> str:
    """Values of each of the three settings with which the step can be divided, the other two unchanged."""
    choices = []
    if rows % world == 0:
        sizes = [n for n in range(1, rows // world + 1) if (rows // world) % n == 0]
        choices.append(f"micro_batch_size: {_nearest(sizes, micro)}")
    if rows % micro == 0:
        counts = [n for n in range(1, rows // micro + 1) if (rows // micro) % n == 0]
        choices.append(f"processes: {_nearest(counts, world)}")
    whole = world * micro
    steps = sorted({max(1, rows // whole) * whole, -(-rows // whole) * whole})
    choices.append("global_batch_tokens: " + " or ".join(str(n * row_tokens) for n in steps))
    return "What would do, one of: " + "; ".join(choices)


def _nearest(values: Sequence[int], wanted: int) -> str:
    """Up to four of `values`, those closest to `wanted`, in rising order."""
    closest = sorted(values, key=lambda value: (abs(value - wanted), value))[:4]
    return ", ".join(map(str, sorted(closest)))


def accumulation(rows: int, world: int, micro: int | Literal["auto"], row_tokens: int) -> int:
    """Micro-batches per step and rank: the wanted rows per step divided by those of one pass of all ranks.

    `auto`, which is settled later, counts as one row.

    Raises:
        TrainingConfigError: the step's rows cannot be divided among the ranks; names values that would do.
    """
    micro = 1 if micro == "auto" else micro
    if rows % (world * micro) == 0:
        return rows // (world * micro)
    raise TrainingConfigError(
        f"{rows} rows per step (global_batch_tokens / data.sequence_length) cannot be divided among {world} "
        f"processes x micro_batch_size {micro}. {_what_divides(rows, world, micro, row_tokens)}"
    )


class TrainingOrder:
    """The plan of a whole run.

    Args:
        plans: packing plan of each epoch, in order.
        seed: of the run.
        rows_per_step: over all ranks and micro-batches.
        steps: optimizer steps of the run; None is all epochs to their end.

    Raises:
        TrainingDataError: an epoch without rows, or a step in which no token has a label.
    """

    def __init__(
        self, plans: Sequence[PackingPlan], seed: int, rows_per_step: int, steps: int | None
    ) -> None:
        self.plans = tuple(plans)
        self.rows_per_step = rows_per_step
        self._order = tuple(permutation(plan.rows, seed, epoch) for epoch, plan in enumerate(plans))
        per_epoch = np.array([-(-plan.rows // rows_per_step) for plan in plans], dtype=np.int64)
        if not len(per_epoch) or (per_epoch == 0).any():
            raise TrainingDataError("there is no document to train on")
        self._first_step = np.concatenate(([0], np.cumsum(per_epoch)))
        available = int(self._first_step[-1])
        self.steps = available if steps is None else steps
        assert self.steps <= available, "the epochs given do not last for the steps asked for"
        for epoch, (plan, order) in enumerate(zip(self.plans, self._order, strict=True)):
            targets = np.add.reduceat(plan.targets()[order], np.arange(0, plan.rows, rows_per_step))
            barren = np.flatnonzero(targets == 0) + self._first_step[epoch]
            if len(barren) and barren[0] < self.steps:
                raise TrainingDataError(
                    f"step {barren[0] + 1}: no token of its batch has a label (all documents there are one "
                    "token long); use a larger global_batch_tokens or more documents"
                )

    def epoch_of(self, step: int) -> tuple[int, int]:
        """(epoch, step within it) of a 0-based step."""
        epoch = int(np.searchsorted(self._first_step, step, side="right")) - 1
        return epoch, step - int(self._first_step[epoch])

    def rows(self, step: int) -> tuple[int, np.ndarray]:
        """(epoch, row numbers of the step in order, -1 for a row of padding)."""
        epoch, inner = self.epoch_of(step)
        rows = self._order[epoch][inner * self.rows_per_step : (inner + 1) * self.rows_per_step]
        blank = np.full(self.rows_per_step - len(rows), -1, dtype=np.int64)
        return epoch, np.concatenate((rows, blank))

    def remainders(self) -> list[int]:
        """Rows of padding in the last step of each epoch that the run ends: no label, so nothing is learnt twice."""
        ended = self._first_step[1:] <= self.steps
        return [
            -plan.rows % self.rows_per_step for plan, whole in zip(self.plans, ended, strict=True) if whole
        ]

    def accumulation(self, world: int, micro: int | Literal["auto"]) -> int:
        """As the function of that name, of this order's rows per step."""
        return accumulation(self.rows_per_step, world, micro, self.plans[0].capacity)

    def micro_batch(self, step: int, part: int, rank: int, world: int, micro: int) -> tuple[int, np.ndarray]:
        """(epoch, rows) of micro-batch `part` of `rank`."""
        epoch, rows = self.rows(step)
        first = (part * world + rank) * micro
        return epoch, rows[first : first + micro]

    def digest(self) -> str:
        """SHA-256 (hex) of the plans, the permutations and the rows per step."""
        result = hashlib.sha256(f"order|{self.rows_per_step}".encode())
        known: dict[int, str] = {}
        for plan, order in zip(self.plans, self._order, strict=True):
            if id(plan) not in known:
                known[id(plan)] = plan.digest()
            result.update(known[id(plan)].encode())
            result.update(np.ascontiguousarray(order, dtype="<i8").tobytes())
        return result.hexdigest()

    def seen(self, steps: int) -> list[tuple[int, int, np.ndarray]]:
        """What the first `steps` steps trained on: per epoch begun (epoch, rows, their numbers in order)."""
        result = []
        for epoch, order in enumerate(self._order):
            inner = min(max(steps - int(self._first_step[epoch]), 0) * self.rows_per_step, len(order))
            if inner:
                result.append((epoch, inner, order[:inner]))
        return result
