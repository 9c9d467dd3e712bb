"""The decision in rounds: one round over the open pairs of some documents, which know of the others only what
they were told.

The definition is that of `decide`. Every pair is looked at from its worse-ranked end, whose fate hangs on it:

    a document is kept      once every better-ranked candidate is dropped, or compared and no edge
    a document is dropped   once one edge leads to a kept one; that is told at once
    it is assigned          to the best-ranked such edge, once no better-ranked candidate is open

What a round decides is told to the worse-ranked ends for the next one. Which documents lie together does not
matter to the result, nor to the number of rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dedup.errors import DedupError
from dedup.machine import Bools, I64s, kernel, read_only

UNHEARD, KEPT, DROPPED = 0, 1, 2
"""What is known of a document: of a pair's better-ranked end, or as the outcome of a round."""

UNKNOWN, EDGE, NO_EDGE = 0, 1, 2
"""What is known of a pair's similarity."""

Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Round:
    """Of each pair: `open`, whether it can still matter; `asked`, whether it is to be compared for the next
    round; `final`, whether its worse-ranked end is dropped and assigned by it, now and for ever. `fates` of
    the distinct worse-ranked ends, in their order, each with the first of its pairs, `rows`: UNHEARD where
    still undecided, KEPT, DROPPED (from the first round on in which it is known)."""

    open: Bools
    asked: Bools
    final: Bools
    rows: I64s
    fates: Codes


def one_round(
    high: npt.NDArray[np.integer], heard: Codes, known: Codes, *, ahead: int | None = None
) -> Round:
    """Settle what can be settled, and ask for what is to be compared.

    Pairs ascend by (high, low): `high` is the worse-ranked end, `heard` is what is known of the better-ranked
    one, `known` of the pair's similarity. All pairs of an end that are open are given.
    Asked for are, of each end in rank order and up to its first edge, the pairs with kept ones and the first
    `ahead` of the others, whose better-ranked end may yet be dropped; all that is open with None.
    Linear time. Raises DedupError for columns of different lengths and ends that do not ascend.
    """
    if not len(high) == len(heard) == len(known):
        raise DedupError("the columns of the pairs differ in length")
    if (high[1:] < high[:-1]).any():
        raise DedupError("the pairs must ascend by their worse-ranked end")
    starts = np.ones(len(high), np.bool_)
    np.not_equal(high[1:], high[:-1], out=starts[1:])
    rows = np.flatnonzero(starts).astype(np.int64)
    still, asked, final = np.zeros((3, len(high)), np.bool_)
    fates = np.zeros(len(rows), np.int8)
    ends = np.append(rows, len(high)).astype(np.int64)
    _settle(
        read_only(ends),
        read_only(np.asarray(heard, np.int8)),
        read_only(np.asarray(known, np.int8)),
        len(high) if ahead is None else ahead,
        ahead is None,
        still,
        asked,
        final,
        fates,
    )
    return Round(still, asked, final, rows, fates)


@kernel
def _settle(  # noqa: PLR0917 - called by position
    ends: I64s,
    heard: Codes,
    known: Codes,
    ahead: int,
    everything: bool,
    still: Bools,
    asked: Bools,
    final: Bools,
    fates: Codes,
) -> None:
    for node in range(fates.shape[0]):
        waiting, guesses, blocked = 0, 0, False
        fates[node] = KEPT
        for pair in range(ends[node], ends[node + 1]):
            if heard[pair] == DROPPED or known[pair] == NO_EDGE:
                continue
            if heard[pair] == KEPT and known[pair] == EDGE:
                fates[node] = DROPPED
                final[pair] = waiting == 0
                still[pair] = waiting > 0
                break  # whatever is ranked below this one does not matter any more
            still[pair] = True
            waiting += 1
            fates[node] = UNHEARD
            if known[pair] == EDGE:
                blocked = True  # what follows matters only if this one's better-ranked end is dropped
            elif everything:
                asked[pair] = True
            elif not blocked:
                asked[pair] = heard[pair] == KEPT or guesses < ahead
                guesses += heard[pair] != KEPT
