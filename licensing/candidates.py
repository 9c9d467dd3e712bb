"""The same candidates as ScanCode's search in a fraction of the time: its two rankings over posting lists.

ScanCode's approximate matching compares the token set of a text with the token set of each of its 37,000
rules, then the token multisets of the 500 best, in Python: most of its time on the license files of an
installed environment. Here the shared tokens of all rules are counted at once, by one `bincount` over the
posting lists of the text's tokens, and the thresholds and scores follow in arrays; the few that are left are
handed on in ScanCode's own types. Each number is the one that ScanCode computes: integers, their quotients in
float64, and Python's own power and rounding. `tests/licensing/test_candidates.py` holds both to the same
result.

Source: the ranking is that of `licensedcode.match_set.compute_candidates` (scancode-toolkit 32.5.0). Another
version of it is left to do its own work (`ranked`).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KNOWN_SOURCES = "9bddf725cd3940753cad26799464f9225d67f10f2b01523317cc4780ed3639f1"
"""SHA-256 of the sources that this module stands for: `_source_digest`."""

_FACTOR = 10
"""The second ranking takes so many times the candidates that are asked for."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class _Rules:
    """Numbers of the rules for one of the two rankings, by rule id."""

    def __init__(self, rules: Iterable[Any], unique: bool) -> None:
        rules = list(rules)
        self.length: Ints = np.array([rule.get_length(unique) for rule in rules], dtype=np.int64)
        self.min_matched: Ints = np.array(
            [rule.get_min_matched_length(unique) for rule in rules], dtype=np.int64
        )
        self.min_high: Ints = np.array(
            [rule.get_min_high_matched_length(unique) for rule in rules], dtype=np.int64
        )
        self.min_containment: Floats = np.array(
            [rule._minimum_containment or 0 for rule in rules], dtype=np.float64
        )


class _Passed:
    """Rules that pass the thresholds of a ranking, with their scores; all arrays are aligned."""

    def __init__(self, rids: Ints, matched: Ints, length: Ints, size: int, threshold: float) -> None:
        self.rids, self.matched = rids, matched
        self.containment: Floats = matched / length
        self.resemblance: Floats = matched / (size + length - matched)
        # Python's power: that of numpy need not give the same last bit.
        self.amplified: Floats = np.array([value**2 for value in self.resemblance.tolist()], dtype=np.float64)
        self.resembles = self.resemblance >= threshold
        self.resembles_rounded = _rounded(self.resemblance) >= threshold

    def of(self, chosen: NDArray[Any]) -> None:
        """Keep some of them, in this order."""
        for name, values in vars(self).items():
            setattr(self, name, values[chosen])

    def order(self) -> Ints:
        """Their places, best first: by rounded scores, then by scores, then by the higher id."""
        keys = (
            self.rids,
            self.matched,
            self.amplified,
            self.containment,
            self.resembles,
            _rounded(self.matched / 20),
            _rounded(self.amplified),
            _rounded(self.containment),
            self.resembles_rounded,
        )
        return np.lexsort(keys)[::-1]


class Ranking:
    """For one loaded ScanCode index: the candidates of a text among all rules that may match approximately."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._legalese = int(index.len_legalese)
        self._sets = _Rules(index.rules_by_rid, unique=True)
        self._multisets = _Rules(index.rules_by_rid, unique=False)
        rids = sorted(index.approx_matchable_rids)
        tokens = [np.fromiter(index.msets_by_rid[rid].keys(), dtype=np.int32) for rid in rids]
        counts = [np.fromiter(index.msets_by_rid[rid].values(), dtype=np.int32) for rid in rids]
        token = np.concatenate(tokens) if tokens else np.zeros(0, dtype=np.int32)
        count = np.concatenate(counts) if counts else np.zeros(0, dtype=np.int32)
        rid = np.repeat(np.array(rids, dtype=np.int32), [len(part) for part in tokens])
        present = count > 0
        token, count, rid = token[present], count[present], rid[present]
        order = np.argsort(token, kind="stable")
        self._rids, self._counts = rid[order], count[order]
        self._offsets = np.concatenate(([0], np.cumsum(np.bincount(token, minlength=1))))

    def candidates(
        self, token_ids: Iterable[int], top: int, high_resemblance: bool, threshold: float
    ) -> list[Any]:
        """What `compute_candidates` gives for the tokens of a query: best first, at most `top`."""
        tokens, numbers = np.unique(
            np.array([t for t in token_ids if t != -1], dtype=np.int64), return_counts=True
        )
        if not len(tokens):
            return []
        legalese = int(np.searchsorted(tokens, self._legalese))
        high, low = tokens[:legalese], tokens[legalese:]
        parts = [self._postings(high), self._postings(low)]
        shared = [self._sum(*part, None) for part in parts]
        passed = self._pass(shared, self._sets, len(tokens), threshold, high_resemblance)
        passed.of(passed.order()[: top * _FACTOR])
        if not len(passed.rids):
            return []
        shared = [
            self._sum(*part, some)
            for part, some in zip(parts, (numbers[:legalese], numbers[legalese:]), strict=True)
        ]
        ranked = self._pass(
            shared, self._multisets, int(numbers.sum()), threshold, high_resemblance, among=passed.rids
        )
        return self._in_own_types(ranked, tokens, top)

    def _postings(self, tokens: Ints) -> tuple[NDArray[np.int32], NDArray[np.int32], Ints]:
        """Rule ids and counts of all postings of the tokens, and how many each token has."""
        starts = self._offsets[np.minimum(tokens, len(self._offsets) - 1)]
        ends = self._offsets[np.minimum(tokens + 1, len(self._offsets) - 1)]
        pieces = [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        if not pieces:
            nothing = np.zeros(0, dtype=np.int32)
            return nothing, nothing, np.zeros(0, dtype=np.int64)
        rids = np.concatenate([self._rids[piece] for piece in pieces])
        counts = np.concatenate([self._counts[piece] for piece in pieces])
        return rids, counts, ends - starts

    def _sum(
        self,
        rids: NDArray[np.int32],
        counts: NDArray[np.int32],
        of_token: Ints,
        numbers: Ints | None,
    ) -> Ints:
        """By rule id, the shared tokens: distinct ones, or with `numbers` (the query's) as often as in both."""
        rules = len(self._sets.length)
        if numbers is None:
            return np.bincount(rids, minlength=rules)
        both = np.minimum(counts, np.repeat(numbers, of_token))
        # Weights are float64: exact for whole numbers of this size.
        return np.bincount(rids, weights=both, minlength=rules).astype(np.int64)

    @staticmethod
    def _pass(
        shared: list[Ints],
        rules: _Rules,
        size: int,
        threshold: float,
        high_resemblance: bool,
        *,
        among: Ints | None = None,
    ) -> _Passed:
        """The rules (`among` these, if given, in their order) that pass; `size`: tokens of the query."""
        high, low = shared
        matched = high + low
        fits = (high > 0) & (high >= rules.min_high) & (matched >= rules.min_matched)
        rids = np.flatnonzero(fits) if among is None else among[fits[among]]
        passed = _Passed(rids, matched[rids], rules.length[rids], size, threshold)
        keep = passed.containment >= rules.min_containment[rids]
        if high_resemblance:
            keep &= passed.resembles & passed.resembles_rounded
        passed.of(keep)
        return passed

    def _in_own_types(self, ranked: _Passed, tokens: Ints, top: int) -> list[Any]:
        from licensedcode.match_set import (
            ScoresVector,
            filter_dupes,
            high_tids_set_subset,
            tids_sets_intersector,
        )

        index = self._index
        rows = zip(
            ranked.rids.tolist(),
            ranked.matched.tolist(),
            ranked.containment.tolist(),
            ranked.amplified.tolist(),
            ranked.resembles.tolist(),
            ranked.resembles_rounded.tolist(),
            strict=True,
        )
        items = [
            (
                (
                    ScoresVector(rounded, round(containment, 1), round(amplified, 1), round(matched / 20, 1)),
                    ScoresVector(resembles, containment, amplified, matched),
                ),
                rid,
                index.rules_by_rid[rid],
                None,
            )
            for rid, matched, containment, amplified, resembles, rounded in rows
        ]
        best = sorted(filter_dupes(items), reverse=True, key=lambda item: item[:2])[:top]
        query = type(index.sets_by_rid[0])(tokens.tolist())
        return [
            (
                scores,
                rid,
                rule,
                high_tids_set_subset(tids_sets_intersector(query, index.sets_by_rid[rid]), self._legalese),
            )
            for scores, rid, rule, _ in best
        ]


def _rounded(values: Floats) -> Floats:
    """Python's `round(value, 1)` of each value."""
    scaled = values * 10
    rounded = np.rint(scaled) / 10
    # Beside the middle between two results the last bits decide: there Python does it.
    close = np.abs(scaled - np.floor(scaled) - 0.5) < 1e-6
    rounded[close] = [round(value, 1) for value in values[close].tolist()]
    return rounded


def _source_digest(module: Any) -> str:
    """SHA-256 of the functions whose result this module computes."""
    functions = (module.compute_candidates, module.compare_token_sets, module.filter_dupes,
                 module.multisets_intersector, module.high_multiset_subset, module.build_set_and_tids_mset)  # fmt: skip
    return hashlib.sha256("".join(inspect.getsource(one) for one in functions).encode()).hexdigest()


def ranked(module: Any, index: Any) -> Callable[..., Any]:
    """What to put in the place of `compute_candidates` of `licensedcode.match_set` (`module`): the same function for this
    index; itself if it is not the one that is known."""
    search: Callable[..., Any] = module.compute_candidates
    if _source_digest(module) != _KNOWN_SOURCES:
        return search
    ranking = Ranking(index)

    def compute_candidates(  # noqa: PLR0917 - the signature is ScanCode's
        query_run: Any,
        idx: Any,
        matchable_rids: Any,
        top: int = 50,
        high_resemblance: bool = False,
        high_resemblance_threshold: float = 0.8,
        _use_bigrams: bool = False,
    ) -> Any:
        if idx is index and matchable_rids is index.approx_matchable_rids and not _use_bigrams:
            return ranking.candidates(
                query_run.matchable_tokens(), top, high_resemblance, high_resemblance_threshold
            )
        return search(
            query_run,
            idx,
            matchable_rids,
            top=top,
            high_resemblance=high_resemblance,
            high_resemblance_threshold=high_resemblance_threshold,
            _use_bigrams=_use_bigrams,
        )

    return compute_candidates
