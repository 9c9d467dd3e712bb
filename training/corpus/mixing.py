"""Which documents an epoch holds, and how often: a pure function of (seed, epoch, lengths, groups).

Without weights an epoch holds every document once, in the order of the cache. With weights of languages, of sources, or of
both, the documents of one source s and language l are a group; its n documents have L tokens, all groups T. Then

    share  of the epoch's tokens that the group should have
             weights of languages   w[l] / sum of w            x  L / tokens of language l
             weights of sources     w[s] / sum of w            x  L / tokens of source s
             both                   w[s] / sum of w            x  w[l] / sum of w over the languages of s
    Q      tokens of the group in an epoch: min(floor(share x T), floor(max_repeats x L)); exact fractions, no rounding
    cycle  the group's documents in `hashed_order(n, "mix|SEED|SOURCE|LANGUAGE")`, again and again without end: its document j
           is cycle[j mod n], and begins at token (j div n) x L + tokens of cycle[0 .. j mod n - 1]
    epoch  e holds the documents that begin in [e x Q, (e + 1) x Q): documents `first` to `stop` - 1 of the cycle

and the epoch is one group after the other (by source, then language), each in the order of its cycle. So, with lengths that
stay the same, a group's tokens in an epoch are within one document of Q, over any k epochs each of its documents comes
floor(a) or floor(a) + 1 times for some a, and none comes more than `max_repeats` (rounded up) times in an epoch. A group that
`max_repeats` holds back gets less than its share and the others, as they have as many tokens as before, more: what was achieved
is reported beside what was wanted.

Lengths that are used here are those of the first epoch for as long as the documents are the same ones: filling in the middle
changes a document's length by a few tokens from epoch to epoch, and must not make a cycle skip a document.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from training.config import TrainConfig
from training.errors import TrainingDataError


def hashed_order(count: int, name: str) -> np.ndarray:
    """A permutation of 0 .. count - 1 (int64) that is a function of `name`.

    Sorted by mix(mix(i) ^ key): mix is SplitMix64's output function (Steele et al. 2014), a bijection, so no two are equal; key
    is the first 8 bytes, big-endian, of the SHA-256 of `name`. Own arithmetic: generators of libraries may change.
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    mixed = _mix(_mix(np.arange(count, dtype=np.uint64)) ^ np.uint64(key))
    order: np.ndarray = np.argsort(mixed).astype(np.int64)
    return order


def _mix(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


@dataclass(frozen=True)
class Weights:
    """What an epoch should be made of; with neither, every document comes once.

    Attributes:
        sources: weight of each source by name; empty: as the data are.
        languages: weight of each language; empty: as the data are.
        max_repeats: times that an epoch shows a document at most.
    """

    sources: Mapping[str, float]
    languages: Mapping[str, float]
    max_repeats: float


def weights_of(config: TrainConfig) -> Weights:
    """The weights that a configuration gives."""
    sources = {source.name: source.weight for source in config.all_sources if source.weight is not None}
    return Weights(sources, config.data.mix.languages, config.data.mix.max_repeats)


@dataclass(frozen=True)
class Share:
    """One group in one epoch.

    Attributes:
        source, language: names.
        documents: of the group.
        tokens: of the group, each document once, in the epoch's own lengths.
        wanted: share of the epoch's tokens that the weights ask for; without weights what the data have.
        first, stop: the documents of the group's endless cycle that the epoch holds; `first` included, `stop` not.
        shown: tokens of these.
        held_back: `max_repeats` gives the group less than its share.
    """

    source: str
    language: str
    documents: int
    tokens: int
    wanted: float
    first: int
    stop: int
    shown: int
    held_back: bool = False

    @property
    def repeats(self) -> float:
        """Times that the epoch shows the group's tokens, on average."""
        return self.shown / self.tokens if self.tokens else 0.0


def window(starts: np.ndarray, total: int, quota: int, epoch: int) -> tuple[int, int]:
    """(first, stop) of the documents of an endless cycle that begin in [epoch x quota, (epoch + 1) x quota).

    Args:
        starts: where each document of one round begins (int64, rising from 0), in tokens.
        total: tokens of a round, >= 1.
        quota: tokens per epoch.
        epoch: from 0.
    """

    def beginning_before(token: int) -> int:
        rounds, inside = divmod(token, total)
        return rounds * len(starts) + int(np.searchsorted(starts, inside, side="left"))

    return beginning_before(epoch * quota), beginning_before((epoch + 1) * quota)


def wanted_shares(tokens: Mapping[tuple[str, str], int], weights: Weights) -> dict[tuple[str, str], Fraction]:
    """Share of each group (source, language) of the trained tokens; they add up to 1.

    Args:
        tokens: of the groups, each document once; all above 0.
        weights: of sources and languages. A source or language without a group must have none.
    """
    w_source = {s: Fraction(weights.sources.get(s, 0)) for s, _ in tokens}
    w_language = {x: Fraction(weights.languages.get(x, 0)) for _, x in tokens}
    of_source: Counter[str] = Counter()
    of_language: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for (source, language), count in tokens.items():
        of_source[source] += count
        of_language[language] += count
        inside[source] += w_language[language]  # type: ignore[assignment]
    sources, languages, total = sum(w_source.values()), sum(w_language.values()), sum(tokens.values())
    result = {}
    for (source, language), count in tokens.items():
        if sources and languages:
            share = w_source[source] / sources * w_language[language] / inside[source]
        elif sources:
            share = w_source[source] / sources * Fraction(count, of_source[source])
        elif languages:
            share = w_language[language] / languages * Fraction(count, of_language[language])
        else:
            share = Fraction(count, total)
        result[source, language] = share
    return result


def limited(
    available: Mapping[tuple[str, str], int], weights: Weights, limit: int
) -> dict[tuple[str, str], int]:
    """What to take of each group, such as bytes, so that all together are `limit` at most.

    Without weights this is `limit` times what the group has of all. With weights it is `limit` times its wanted share; a group
    that has less gives all that it has, and its rest goes to the others in proportion to their shares.

    Args:
        available: what each group has, above 0.
        weights: of sources and languages.
        limit: of all groups.
    """
    waiting, result, left = wanted_shares(available, weights), dict(available), Fraction(limit)
    while waiting:
        each = left / sum(waiting.values())
        whole = [name for name, share in waiting.items() if share * each >= available[name]]
        if not whole:
            return result | {name: int(share * each) for name, share in waiting.items()}
        for name in whole:
            left -= available[name]
            del waiting[name]
    return result


def mix(
    lengths: np.ndarray,
    groups: Sequence[tuple[str, str]],
    group: np.ndarray,
    weights: Weights,
    *,
    seed: int,
    epoch: int,
    own_lengths: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[Share, ...]]:
    """The documents of an epoch, in order and with repetitions (int64), and what was achieved.

    Args:
        lengths: tokens of each document, int64, >= 1: those that the cycle goes by.
        groups: (source, language) of each group number, in the order wanted in the epoch.
        group: number of each document's group (int64).
        weights: of sources and languages.
        seed, epoch: of the run; epochs count from 0.
        own_lengths: tokens of each document in this epoch, for the report; None: `lengths`.

    Raises:
        TrainingDataError: a source or language with a weight has no document to train on.
    """
    own = lengths if own_lengths is None else own_lengths
    totals = np.bincount(group, weights=lengths, minlength=len(groups)).astype(np.int64)
    tokens = {name: int(count) for name, count in zip(groups, totals, strict=True) if count}
    _check(tokens, weights)
    shares = wanted_shares(tokens, weights)
    epoch_tokens, once = sum(tokens.values()), not (weights.sources or weights.languages)
    result, report = [], []
    by_group = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=len(groups)))
    for name, documents in zip(groups, np.split(by_group, ends[:-1]), strict=True):
        if not len(documents):
            continue
        if once:
            first, stop = epoch * len(documents), (epoch + 1) * len(documents)
            shown, held_back = documents, False
        else:
            cycle = documents[hashed_order(len(documents), f"mix|{seed}|{name[0]}|{name[1]}")]
            quota, most = int(shares[name] * epoch_tokens), int(Fraction(weights.max_repeats) * tokens[name])
            quota, held_back = min(quota, most), quota > most
            starts = np.cumsum(lengths[cycle]) - lengths[cycle]
            first, stop = window(starts, tokens[name], quota, epoch)
            shown = cycle[np.arange(first, stop) % len(cycle)]
        result.append(shown)
        report.append(
            Share(
                *name,
                documents=len(documents),
                tokens=int(own[documents].sum()),
                wanted=float(shares[name]),
                first=first,
                stop=stop,
                shown=int(own[shown].sum()),
                held_back=held_back,
            )
        )
    order = np.concatenate(result) if result else np.zeros(0, dtype=np.int64)
    return (np.sort(order) if once else order), tuple(report)


def _check(tokens: Mapping[tuple[str, str], int], weights: Weights) -> None:
    for kind, given, have in (
        ("source", weights.sources, {source for source, _ in tokens}),
        ("language", weights.languages, {language for _, language in tokens}),
    ):
        absent = sorted(set(given) - have) if given else []
        if absent:
            raise TrainingDataError(
                f"{kind} {absent[0]!r} has a weight and no document to train on: all of its rows are held out or left "
                "out; take the weight away, or change what does that (evaluation.fraction, data.max_train_bytes, ...)"
            )


def summary(shares: Sequence[Share]) -> dict[str, dict[str, dict[str, Any]]]:
    """By source and by language: wanted and achieved share, tokens shown, and repeats, for JSON."""
    shown, tables = sum(share.shown for share in shares), {}
    for kind in ("source", "language"):
        table = {}
        for name in dict.fromkeys(getattr(share, kind) for share in shares):
            mine = [share for share in shares if getattr(share, kind) == name]
            count = sum(share.shown for share in mine)
            table[name] = {
                "wanted": sum(share.wanted for share in mine),
                "achieved": count / shown if shown else 0.0,
                "tokens": count,
                "repeats": count / sum(share.tokens for share in mine),
            }
        tables[f"{kind}s"] = table
    return tables


def lines(shares: Sequence[Share], epoch: int, most: int = 8) -> Iterator[str]:
    """What the user is told: shares of tokens, wanted in brackets, and how often the documents come."""
    for kind, table in summary(shares).items():
        if len(table) > 1:
            ordered = sorted(table.items(), key=lambda item: -item[1]["achieved"])
            each = ", ".join(
                f"{name} {of['achieved']:.1%} ({of['wanted']:.1%}) x{of['repeats']:.2f}"
                for name, of in ordered[:most]
            )
            rest = f", and {len(ordered) - most} more" if len(ordered) > most else ""
            yield f"mix of epoch {epoch}, {kind}, achieved (wanted) and repeats: {each}{rest}"
    held_back = sorted({f"{share.source} {share.language}" for share in shares if share.held_back})
    if held_back:
        yield (
            f"mix of epoch {epoch}: data.mix.max_repeats gives {', '.join(held_back[:most])} less than wanted; raise it, "
            "or lower their weights"
        )
