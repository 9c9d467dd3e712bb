"""What a run has been trained on after so many steps: counted once, then asked at no cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.prepare import Epoch, Prepared

NEVER = np.iinfo(np.int64).max
"""First step of a row that the run does not come to."""


@dataclass(frozen=True)
class Pieces:
    """The places where a fragment of a packed row and a row of the corpus (a member of a document) overlap.

    Attributes:
        fragment: number of the fragment in the plan (int64).
        row: number of the row of the corpus (int64).
        tokens: tokens of the row in that fragment (int64).
        offset: token of the row with which the piece begins (int64).
    """

    fragment: np.ndarray
    row: np.ndarray
    tokens: np.ndarray
    offset: np.ndarray


def pieces(epoch: Epoch) -> Pieces:
    """Which rows of the corpus lie in which fragments of an epoch's plan.

    Tokens of a document before its first member (such as a repository's name) are counted to that member.
    """
    plan, cache = epoch.plan, epoch.cache
    begin = np.cumsum(cache.length) - cache.length
    fragment = np.arange(len(plan.source), dtype=np.int64)
    if len(cache.member_row) == len(cache.length):  # every document is one row
        member = plan.document
        return Pieces(fragment, cache.member_row[member], plan.length, plan.source - begin[member])
    first = np.ones(len(cache.member_row), dtype=bool)
    first[1:] = cache.member_document[1:] != cache.member_document[:-1]
    start = begin[cache.member_document] + np.where(first, 0, cache.member_token)
    end = np.append(start[1:], len(cache.tokens))
    low = np.searchsorted(start, plan.source, side="right") - 1
    high = np.searchsorted(start, plan.source + plan.length, side="left")
    count = high - low
    fragment = np.repeat(fragment, count)
    member = np.arange(len(fragment)) - np.repeat(np.cumsum(count) - count - low, count)
    left = np.maximum(start[member], plan.source[fragment])
    right = np.minimum(end[member], plan.source[fragment] + plan.length[fragment])
    return Pieces(fragment, cache.member_row[member], right - left, left - start[member])


class SeenCounter:
    """How many tokens, and which rows, the first steps of a run are trained on.

    Made in time proportional to the packed fragments; `tokens` and `trained_tokens` then cost nothing, the others
    one pass over arrays.

    Attributes:
        first_step: the first step (0-based) that each row of the corpus has a token in, or `NEVER` (int64).
    """

    def __init__(self, prepared: Prepared) -> None:
        order, corpus = prepared.order, prepared.corpus
        steps = order.steps
        self.first_step = np.full(len(corpus.train), NEVER, dtype=np.int64)
        tokens, targets = np.zeros(steps, dtype=np.int64), np.zeros(steps, dtype=np.int64)
        source_of_row = corpus.source_of(np.arange(len(corpus.train)))
        step_parts, group_parts, token_parts = [], [], []
        self._languages, self._sources = len(corpus.languages), len(corpus.sources)
        first = 0
        for number, count, rows in order.seen(steps):
            epoch = prepared.epochs[number]
            row_step = np.full(epoch.plan.rows, NEVER, dtype=np.int64)
            row_step[rows] = first + np.arange(count) // order.rows_per_step
            first += -(-epoch.plan.rows // order.rows_per_step)
            targets += np.bincount(row_step[rows], epoch.plan.targets()[rows], steps).astype(np.int64)
            found = pieces(epoch)
            step = row_step[epoch.plan.row[found.fragment]]
            taken = step != NEVER
            step, row, amount = step[taken], found.row[taken], found.tokens[taken]
            np.minimum.at(self.first_step, row, step)
            tokens += np.bincount(step, amount, steps).astype(np.int64)
            step_parts.append(step.astype(np.int32))
            group_parts.append((source_of_row[row] * self._languages + corpus.language[row]).astype(np.int32))
            token_parts.append(amount.astype(np.int32))
        step = np.concatenate(step_parts) if step_parts else np.zeros(0, dtype=np.int32)
        by_step = np.argsort(step, kind="stable")
        self._group = np.concatenate(group_parts)[by_step] if group_parts else step
        self._amount = np.concatenate(token_parts)[by_step] if token_parts else step
        self._until = np.searchsorted(step[by_step], np.arange(steps + 1))
        self._tokens = np.concatenate(([0], np.cumsum(tokens)))
        self._targets = np.concatenate(([0], np.cumsum(targets)))

    def tokens(self, steps: int) -> int:
        """Tokens without padding in the first `steps` steps."""
        return int(self._tokens[steps])

    def trained_tokens(self, steps: int) -> int:
        """Of these, the tokens that have a label."""
        return int(self._targets[steps])

    def tokens_by_group(self, steps: int) -> np.ndarray:
        """`tokens`, by source and language: int64 of shape (sources, languages)."""
        until = self._until[steps]
        size = self._sources * self._languages
        counted = np.bincount(self._group[:until], self._amount[:until], size).astype(np.int64)
        return counted.reshape(self._sources, self._languages)

    def rows(self, steps: int) -> np.ndarray:
        """Rows of the corpus that have a token in the first `steps` steps: bool per row."""
        return self.first_step < steps
