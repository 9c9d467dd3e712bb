"""Texts from elsewhere against the texts of a `Deduplicator`: which are copies of which, exactly verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.compare import LengthsOf, Read, compare
from dedup.contents import KeyIndex
from dedup.documents import as_documents
from dedup.machine import Bools, I64s, U64s
from dedup.verify import ShingleSets, Threshold


@dataclass(frozen=True, slots=True)
class Matches:
    """By row, then ordinal: `row` in the batch, `ordinal` of the text it matches; `inter` and `union` where near."""

    row: I64s
    ordinal: I64s
    exact: Bools
    inter: I64s
    union: I64s


@dataclass(frozen=True, slots=True)
class Matcher:
    """What is known of the texts to match against; their rows are numbered below `rows`."""

    index: KeyIndex
    row_of: I64s
    """By ordinal, the row where a text can be read."""
    rows: int
    lengths_of: LengthsOf
    read: Read
    sets_of: Callable[[Any], ShingleSets]
    threshold: Threshold
    group_bytes: int

    def match(self, texts: pa.Array, same: I64s, keyed: I64s, keys: U64s) -> Matches:
        """Match a batch. `same`: by row, the ordinal of the very same text, else -1; `keys`: of the rows `keyed`."""
        at, ordinal = self.index.find(keys)
        row = keyed[at]
        other = same[row] != ordinal
        row, ordinal = row[other], ordinal[other]
        given = as_documents(texts).lengths

        # One numbering for both sides: rows of the known texts, then those of the batch.
        def lengths_of(numbers: I64s) -> I64s:
            known = numbers < self.rows
            return np.concatenate((self.lengths_of(numbers[known]), given[numbers[~known] - self.rows]))

        def read(numbers: I64s) -> pa.Array:
            known = numbers < self.rows
            mine = texts.take(pa.array(numbers[~known] - self.rows)).cast(pa.large_binary())
            return pa.concat_arrays([self.read(numbers[known]), mine]) if known.any() else mine

        found = compare(
            self.row_of[ordinal],
            row + self.rows,
            lengths_of,
            read,
            self.sets_of,
            self.threshold,
            group_bytes=self.group_bytes,
        )
        reached = self.threshold.reached(found.inter, found.union)
        copies = np.flatnonzero(same >= 0)
        nothing = np.zeros(len(copies), np.int64)
        row = np.concatenate((copies, row[reached]))
        ordinal = np.concatenate((same[copies], ordinal[reached]))
        order = np.lexsort((ordinal, row))
        return Matches(
            row[order],
            ordinal[order],
            (np.arange(len(row)) < len(copies))[order],
            np.concatenate((nothing, found.inter[reached]))[order],
            np.concatenate((nothing, found.union[reached]))[order],
        )
