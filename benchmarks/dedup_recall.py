"""What is found and what goes, held against the exact join: recall by stratum, bands x rows, wrong removals.

Words used in the figures:

- true pair: exact Jaccard >= 0.7 by the join of dedup_join.py.
- banded: a band brings the pair together. candidate: it is then paired (a bucket above the cap pairs its
  members with its best-ranked ones only). Recall is of true pairs.
- wrongly removed: a file that goes although no file that stays is a true pair with it.
- left over: a file that stays although a better-ranked file that stays is a true pair with it.
- unverified: every candidate pair is taken for true, and each connected component keeps its first file: what
  tools without verification do.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dedup_join
import numpy as np
import numpy.typing as npt
from dedup_corpus import Corpus

from dedup import band_keys, bucket_pairs, near_duplicates, similar_documents, sketch

I64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
SETTINGS = ((25, 10), (32, 8), (36, 7), (42, 6), (51, 5), (64, 4))
SIMILARITY = (0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 1.0)
SIZES = (0, 64, 256, 1024)


class Truth:
    """The true pairs of a corpus and the sizes of its shingle sets, with what the join took."""

    def __init__(self, pairs: dedup_join.TruePairs, sizes: I64s, cost: dict[str, float]) -> None:
        self.pairs, self.sizes, self.cost = pairs, sizes, cost
        self.packed = pack(pairs.low, pairs.high)

    def holds(self, low: I64s, high: I64s) -> Bools:
        """Mark the pairs that are true ones."""
        return np.isin(pack(low, high), self.packed)


def pack(low: Any, high: Any) -> npt.NDArray[np.uint64]:
    return (np.asarray(low, np.uint64) << np.uint64(32)) | np.asarray(high, np.uint64)


def truth_of(corpus: Corpus, saved: Path | None = None) -> Truth:
    """Join the corpus; with `saved`, read the outcome from that file if it is of this corpus, else write it."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in corpus.texts)).hexdigest()
    if saved is not None and saved.exists():
        with np.load(saved) as held:
            if str(held["digest"]) == digest:
                cost = dict(zip(held["cost_names"].tolist(), held["cost"].tolist(), strict=True))
                return Truth(dedup_join.TruePairs(*held["pairs"]), held["sizes"], cost)
    start = time.process_time()
    sets = dedup_join.shingle_sets(corpus.texts)
    numbered = time.process_time()
    pairs = dedup_join.similarity_join(sets)
    cost = {
        "numbering_cpu_s": numbered - start,
        "join_cpu_s": time.process_time() - numbered,
        "shingles": float(len(sets.values)),
        "distinct_shingles": float(len(sets.documents)),
    }
    if saved is not None:
        np.savez(
            saved,
            digest=digest,
            pairs=np.stack((pairs.low, pairs.high, pairs.inter, pairs.union)),
            sizes=sets.sizes,
            cost_names=list(cost),
            cost=list(cost.values()),
        )
    return Truth(pairs, sets.sizes, cost)


def components(count: int, low: Sequence[int], high: Sequence[int]) -> Bools:
    """Mark what goes if each connected component of the pairs keeps its lowest number only."""
    return groups(count, low, high) != np.arange(count)


def groups(count: int, low: Sequence[int], high: Sequence[int]) -> I64s:
    """Number of each file's connected component: the lowest number of a file in it."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in zip(low, high, strict=True):
        x, y = root(int(a)), root(int(b))
        parent[max(x, y)] = min(x, y)
    return np.asarray([root(i) for i in range(count)], np.int64)


def wrongly_removed(removed: Bools, truth: Truth) -> dict[str, int]:
    """Count removed files without a true pair among the kept ones; `alone`: without any true pair at all."""
    low, high = truth.pairs.low, truth.pairs.high
    stands, any_pair = np.zeros(len(removed), np.bool_), np.zeros(len(removed), np.bool_)
    for one, other in ((low, high), (high, low)):
        stands[one[~removed[other]]] = True
        any_pair[one] = True
    return {"wrong": int((removed & ~stands).sum()), "alone": int((removed & ~any_pair).sum())}


def left_over(removed: Bools, truth: Truth) -> int:
    """Count the kept files that have a true pair with a better-ranked kept one."""
    both = ~removed[truth.pairs.low] & ~removed[truth.pairs.high]
    return len(np.unique(truth.pairs.high[both]))


def bands_table(
    corpus: Corpus, truth: Truth, settings: Sequence[tuple[int, int]] = SETTINGS
) -> list[dict[str, Any]]:
    """One row per bands x rows, on the same sketches; CPU seconds are without the sketch."""
    array = corpus.array()
    sketches = sketch(array)
    least = truth.pairs.similarity < SIMILARITY[1]
    rows = []
    for bands, per_band in settings:
        start = time.process_time()
        keys = band_keys(sketches.signatures, sketches.counts, bands, per_band)
        pairs = bucket_pairs(keys.keys, keys.index)
        candidates_cpu = time.process_time() - start
        low, high = pairs.low.astype(np.int64), pairs.high.astype(np.int64)
        candidate = np.isin(truth.packed, pack(low, high))
        shared = banded(keys.keys.reshape(-1, bands), keys.index[::bands], truth)
        unverified = components(len(corpus), low.tolist(), high.tolist())
        start = time.process_time()
        decided = similar_documents(array, bands=bands, rows=per_band)
        whole_cpu = time.process_time() - start
        removed = np.zeros(len(corpus), np.bool_)
        removed[decided.dropped] = True
        rows.append(
            {
                "bands": bands,
                "rows": per_band,
                "recall": ratio(shared.sum(), len(shared)),
                "recall_070_075": ratio(shared[least].sum(), least.sum()),
                "recall_candidates": ratio(candidate.sum(), len(candidate)),
                "candidates": len(pairs),
                "precision": ratio(truth.holds(low, high).sum(), len(pairs)),
                "hot_buckets": pairs.stats.hot_buckets,
                "candidates_cpu_s": candidates_cpu,
                "whole_cpu_s": whole_cpu,
                "removed": int(removed.sum()),
                "left_over": left_over(removed, truth),
                "wrong": wrongly_removed(removed, truth)["wrong"],
                "unverified_removed": int(unverified.sum()),
                **{f"unverified_{name}": n for name, n in wrongly_removed(unverified, truth).items()},
            }
        )
    return rows


def banded(keys: npt.NDArray[np.uint64], documents: I64s, truth: Truth) -> Bools:
    """Mark the true pairs that share the key of a band; keys[i] are those of documents[i]."""
    row = np.full(len(truth.sizes), -1, np.int64)
    row[documents] = np.arange(len(documents))
    low, high = row[truth.pairs.low], row[truth.pairs.high]
    found = np.zeros(len(low), np.bool_)
    for first in range(0, len(low), 1 << 18):  # 42 keys of two documents each: 176 MB
        part = slice(first, first + (1 << 18))
        found[part] = (keys[low[part]] == keys[high[part]]).any(axis=1)
    return found & (low >= 0) & (high >= 0)


def ours(corpus: Corpus, truth: Truth) -> dict[str, Any]:
    """Run the default setting and check its outcome against the definition, and its recall by stratum."""
    array = corpus.array()
    table = near_duplicates(array)
    removed = ~table["kept"].to_numpy()
    near = np.flatnonzero(table["kind"].to_numpy(zero_copy_only=False) == "near")
    stands = table["duplicate_of"].fill_null(-1).to_numpy()[near]
    low, high = np.minimum(near, stands), np.maximum(near, stands)
    true = truth.holds(low, high)
    at = np.searchsorted(truth.packed, pack(low, high)[true])
    same = (truth.pairs.inter[at] == table["inter"].fill_null(0).to_numpy()[near][true]) & (
        truth.pairs.union[at] == table["union"].fill_null(0).to_numpy()[near][true]
    )
    sketches = sketch(array)
    keys = band_keys(sketches.signatures, sketches.counts)
    pairs = bucket_pairs(keys.keys, keys.index)
    candidate = np.isin(truth.packed, pack(pairs.low, pairs.high))
    shared = banded(
        keys.keys.reshape(len(sketches.counts[sketches.counts > 0]), -1),
        np.flatnonzero(sketches.counts),
        truth,
    )
    group = groups(len(corpus), truth.pairs.low.tolist(), truth.pairs.high.tolist())
    largest = np.bincount(group).argmax()
    outside = group[truth.pairs.low] != largest
    kept_pair = ~removed[truth.pairs.low] & ~removed[truth.pairs.high]
    return {
        "removed": int(removed.sum()),
        "removed_not_true": int((~true).sum()),
        "removed_for_a_removed_file": int(removed[stands].sum()),
        "similarity_differs_from_join": int((~same).sum()),
        **wrongly_removed(removed, truth),
        "candidate_pairs": len(pairs),
        "verified_pairs": int(candidate.sum()),
        "true_pairs": len(truth.pairs),
        "kept_true_pairs_that_were_candidates": int((kept_pair & candidate).sum()),
        "kept_true_pairs_in_a_full_bucket": int((kept_pair & shared & ~candidate).sum()),
        "kept_true_pairs_that_no_band_joined": int((kept_pair & ~shared).sum()),
        "left_over": left_over(removed, truth),
        "largest_group_files": int((group == largest).sum()),
        "pairs_outside_the_largest_group": int(outside.sum()),
        "recall_outside_the_largest_group": ratio(shared[outside].sum(), outside.sum()),
        "recall_candidates_outside_the_largest_group": ratio(candidate[outside].sum(), outside.sum()),
        "by_similarity": _by(truth.pairs.similarity, SIMILARITY, shared, candidate),
        "by_shingles_of_the_smaller": _by(
            np.minimum(truth.sizes[truth.pairs.low], truth.sizes[truth.pairs.high]), SIZES, shared, candidate
        ),
    }


def _by(values: Any, borders: Sequence[float], shared: Bools, candidate: Bools) -> list[dict[str, Any]]:
    stratum = np.searchsorted(np.asarray(borders), values, side="right") - 1
    out = []
    for number, border in enumerate(borders):
        inside = stratum == number
        out.append(
            {
                "from": border,
                "pairs": int(inside.sum()),
                "recall": ratio(shared[inside].sum(), inside.sum()),
                "recall_candidates": ratio(candidate[inside].sum(), inside.sum()),
            }
        )
    return out


def datasketch_pairs(corpus: Corpus) -> tuple[I64s, I64s, float]:
    """Pairs that datasketch's LSH at 0.7 finds, with its own bands; and the CPU seconds."""
    import datasketch
    from dedup_peers import shingle_sets

    start = time.process_time()
    index = datasketch.MinHashLSH(threshold=0.7, num_perm=256)
    found: list[tuple[int, int]] = []
    for number, text in enumerate(corpus.texts):
        shingles = shingle_sets([text])[0]
        if not shingles:
            continue
        minhash = datasketch.MinHash(num_perm=256)
        minhash.update_batch(shingles)
        found.extend((other, number) for other in index.query(minhash))
        index.insert(number, minhash, check_duplication=False)
    columns = np.asarray(found, np.int64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1], time.process_time() - start


def peer(corpus: Corpus, truth: Truth, low: I64s, high: I64s) -> dict[str, Any]:
    """Judge another tool's pairs: taken for true, components keep their first file."""
    removed = components(len(corpus), low.tolist(), high.tolist())
    return {
        "pairs": len(low),
        "recall": ratio(np.isin(truth.packed, pack(low, high)).sum(), len(truth.pairs)),
        "precision": ratio(truth.holds(low, high).sum(), len(low)),
        "removed": int(removed.sum()),
        "left_over": left_over(removed, truth),
        **wrongly_removed(removed, truth),
    }


def outcome(found: dict[str, Any]) -> dict[str, Any]:
    """The figures of `ours` under the names of `peer`. Its pairs are the verified ones: every one is true."""
    return {
        "pairs": found["verified_pairs"],
        "recall": ratio(found["verified_pairs"], found["true_pairs"]),
        "precision": 1.0,
        **{name: found[name] for name in ("removed", "wrong", "alone", "left_over")},
    }


def ratio(part: Any, whole: Any) -> float:
    """Return part / whole; 1 of nothing."""
    return float(part) / float(whole) if whole else 1.0
