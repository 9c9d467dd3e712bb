"""The same answers from ScanCode in a fraction of the time: an inverted index in front of its candidate
search.

ScanCode's approximate matching compares the token set of a text with the token set of each of its 37,000
rules, in Python; that is four fifths of its time (measured on the license files of an installed
environment). Most rules fail its thresholds on the number of shared tokens, and these numbers are one
`bincount` over the posting lists of the text's tokens. So the rules that would fail are left out of the
search beforehand, by the same comparisons on the same numbers; the search itself still does all its own work
on the rest. Dropping what would be dropped anyway changes no answer: `tests/licensing/test_candidates.py`
holds both to the same result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PARAMETERS = (
    "query_run",
    "idx",
    "matchable_rids",
    "top",
    "high_resemblance",
    "high_resemblance_threshold",
    "_use_bigrams",
)
"""Parameters of `licensedcode.match_set.compute_candidates` in the versions that this filter was checked
with."""


class CandidateFilter:
    """For one loaded ScanCode index: which rules can pass the first step of `compute_candidates` for a
    query."""

    def __init__(self, index: Any) -> None:
        rules = index.rules_by_rid
        self._legalese = int(index.len_legalese)
        self._length = np.array([rule.length_unique for rule in rules], dtype=np.int64)
        self._min_matched = np.array([rule.min_matched_length_unique for rule in rules], dtype=np.int64)
        self._min_high = np.array([rule.min_high_matched_length_unique for rule in rules], dtype=np.int64)
        self._min_containment = np.array([rule._minimum_containment or 0 for rule in rules], dtype=np.float64)
        sizes = np.zeros(len(rules), dtype=np.int64)
        token_parts = []
        for rid in sorted(index.approx_matchable_rids):
            tokens = np.fromiter(index.sets_by_rid[rid], dtype=np.int32)
            sizes[rid] = len(tokens)
            token_parts.append(tokens)
        tokens = np.concatenate(token_parts) if token_parts else np.zeros(0, dtype=np.int32)
        rids = np.repeat(np.arange(len(rules), dtype=np.int32), sizes)
        self._postings: NDArray[np.int32] = rids[np.argsort(tokens, kind="stable")]
        counts = np.bincount(tokens, minlength=1)
        self._offsets = np.concatenate(([0], np.cumsum(counts)))

    def survivors(self, tokens: set[int], resemblance_threshold: float | None) -> set[int]:
        """Ids of the rules that a text with this set of token ids does not rule out.

        `resemblance_threshold`: the text must also resemble the rule (Jaccard of the token sets) at least so
        much.
        """
        high = self._shared(sorted(t for t in tokens if t < self._legalese))
        matched = high + self._shared(sorted(t for t in tokens if t >= self._legalese))
        # The order and the types of these comparisons are those of compare_token_sets: integers, then
        # float64.
        passed = (high > 0) & (high >= self._min_high) & (matched >= self._min_matched)
        rids = np.flatnonzero(passed)
        shared, length = matched[rids], self._length[rids]
        kept = shared / length >= self._min_containment[rids]
        if resemblance_threshold is not None:
            kept &= shared / (len(tokens) + length - shared) >= resemblance_threshold
        return set(rids[kept].tolist())

    def _shared(self, tokens: list[int]) -> NDArray[np.int64]:
        known = len(self._offsets) - 1
        parts = [self._postings[self._offsets[t] : self._offsets[t + 1]] for t in tokens if t < known]
        if not parts:
            return np.zeros(len(self._length), dtype=np.int64)
        return np.bincount(np.concatenate(parts), minlength=len(self._length))


def filtered(search: Callable[..., Any], index: Any) -> Callable[..., Any]:
    """`search` (ScanCode's `compute_candidates`) with the filter in front; `search` itself if it is not as
    known."""
    if tuple(inspect.signature(search).parameters) != _PARAMETERS:
        return search
    candidates = CandidateFilter(index)

    def compute_candidates(  # noqa: PLR0917 - the signature is ScanCode's
        query_run: Any,
        idx: Any,
        matchable_rids: Any,
        top: int = 50,
        high_resemblance: bool = False,
        high_resemblance_threshold: float = 0.8,
        _use_bigrams: bool = False,
    ) -> Any:
        rids = matchable_rids
        if idx is index and matchable_rids is index.approx_matchable_rids and not _use_bigrams:
            tokens = set(query_run.matchable_tokens())
            tokens.discard(-1)  # a position that is already matched
            rids = candidates.survivors(tokens, high_resemblance_threshold if high_resemblance else None)
            if not rids:
                return []
        return search(
            query_run,
            idx,
            rids,
            top=top,
            high_resemblance=high_resemblance,
            high_resemblance_threshold=high_resemblance_threshold,
            _use_bigrams=_use_bigrams,
        )

    return compute_candidates
