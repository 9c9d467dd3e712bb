"""Verified similarities -> which documents stay, and which document stands for each that goes.

Walk the documents in rank order: one is kept iff it has no edge to a kept one; else it is dropped and
assigned to its best-ranked kept neighbour. This is the lexicographically first maximal independent set of the
similarity graph. So every dropped document has a verified similarity to the one that stands for it, no two
kept ones are duplicates, a chain A ~ B ~ C keeps A and C, and the result is a function of the set of edges
alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from dedup.errors import DedupError
from dedup.machine import Bools, I64s, kernel
from dedup.verify import Threshold


@dataclass(frozen=True, slots=True)
class Decision:
    """The dropped documents, by ordinal ascending, each with its kept one and their similarity inter / union:
    exact, or, where `estimated`, that of their sketches.

    Every document that is not in `dropped` is kept. kept[i] < dropped[i]. `compared`: pairs whose sets were
    compared; all that were given where somebody else compared them.
    """

    dropped: npt.NDArray[np.integer]
    kept: npt.NDArray[np.integer]
    inter: I64s
    union: I64s
    estimated: Bools
    compared: int = 0

    def __len__(self) -> int:
        return len(self.dropped)


def decide(
    ordinals_low: npt.NDArray[np.integer],
    ordinals_high: npt.NDArray[np.integer],
    inter: I64s,
    union: I64s,
    threshold: Threshold | str | Fraction | Decimal | float,
) -> Decision:
    """Decide over pairs in any order; those below the threshold are no edges. Ordinals are ranks, lower is
    better.

    A pair may repeat with the same similarity. Time: a sort of the edges, then linear.
    Raises DedupError unless ordinals_low[i] < ordinals_high[i] for all i.
    """
    limit = Threshold.of(threshold)
    if not len(ordinals_low) == len(ordinals_high) == len(inter) == len(union):
        raise DedupError("the four columns of the pairs differ in length")
    if not (ordinals_low < ordinals_high).all():
        raise DedupError("each pair must have its better-ranked (lower) ordinal first")
    edge = limit.reached(inter, union)
    low, high, inter, union = ordinals_low[edge], ordinals_high[edge], inter[edge], union[edge]
    order = np.lexsort((low, high))  # by worse-ranked end; within it the best-ranked neighbour first
    low, high, inter, union = low[order], high[order], inter[order], union[order]
    _, numbers = np.unique(np.concatenate((low, high)), return_inverse=True)
    better, worse = numbers[: len(low)].astype(np.int64), numbers[len(low) :].astype(np.int64)
    chosen = np.zeros(len(low), np.bool_)
    dropped = np.zeros(int(numbers.max()) + 1 if len(numbers) else 0, np.bool_)
    _walk(better, worse, dropped, chosen)
    exact = np.zeros(int(chosen.sum()), np.bool_)
    return Decision(high[chosen], low[chosen], inter[chosen], union[chosen], exact, len(ordinals_low))


@kernel
def _walk(better: I64s, worse: I64s, dropped: Bools, chosen: Bools) -> None:
    """Edges ascend by (worse, better): all that a document's fate hangs on is settled when its edges come."""
    for i in range(worse.shape[0]):
        if not dropped[worse[i]] and not dropped[better[i]]:
            dropped[worse[i]] = True
            chosen[i] = True
