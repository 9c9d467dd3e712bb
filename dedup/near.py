"""Exact and near duplicates of a set of texts in memory, by the definition of a release, in one call.

    import pyarrow as pa
    from dedup import near_duplicates

    table = near_duplicates(pa.array(texts, pa.large_binary()))
    keep = table["index"].filter(table["kept"])

Everything is held in memory: the texts, 1 KB of sketch and 42 keys per text, and the candidate pairs. The
stages of a release go through the same steps in buckets.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.bands import BANDS, ROWS, band_keys
from dedup.candidates import BEST, CAP, Pairs, across_owners, bucket_pairs, merge_pairs
from dedup.decide import Decision, decide
from dedup.documents import Documents, as_documents
from dedup.errors import DedupError
from dedup.lazy import decide_lazily
from dedup.machine import I64s, U64s, are_cached
from dedup.rounds import one_round
from dedup.sketch import REPETITIVE, Method, Sketches, sketch
from dedup.verify import Shortcut, Threshold, intersections, shingle_sets

NEAR_SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False, metadata={"what": "position in texts"}),
        pa.field("kind", pa.string(), nullable=False, metadata={"what": "unique | exact | near"}),
        pa.field(
            "duplicate_of",
            pa.int64(),
            metadata={"what": "index of the text that stands for it; null for unique"},
        ),
        pa.field(
            "cluster", pa.int64(), nullable=False, metadata={"what": "index of the kept text of its group"}
        ),
        pa.field("kept", pa.bool_(), nullable=False, metadata={"what": "kind = unique"}),
        pa.field("inter", pa.int64(), metadata={"what": "shingles in common with duplicate_of; near only"}),
        pa.field("union", pa.int64(), metadata={"what": "shingles of either; near only"}),
        pa.field(
            "estimated",
            pa.bool_(),
            nullable=False,
            metadata={"what": "inter and union count values of the sketches (a shortcut was taken)"},
        ),
    ]
)
"""One row per text. `unique`: kept (its group may still hold others, see `cluster`). `exact`: the same bytes
as the better-ranked `duplicate_of`, which itself may be near. `near`: inter / union >= threshold with the
kept `duplicate_of`."""

USED = ("shingles", "sketch", "minhash", "bands", "candidates", "verify", "lazy", "decide", "rounds")
"""Modules with kernels that `compile_kernels` uses."""

KEYS_AT_ONCE = 1 << 25  # 512 MB of (key, ordinal); more documents are banded in groups of bands


def near_duplicates(
    texts: Any,
    *,
    ranks: npt.NDArray[np.integer] | None = None,
    threshold: Threshold | str | Fraction | Decimal | float = "0.7",
    bands: int = BANDS,
    rows: int = ROWS,
    cap: int = CAP,
    best: int = BEST,
    shortcut: tuple[Any, Any] | None = None,
    operators: bool = False,
    method: Method = "fast",
    groups: Any = None,
    owners: Any = None,
) -> pa.Table:
    """Find the duplicates of `texts` (as for `as_documents`): a table of `NEAR_SCHEMA`, one row per text.

    Of several duplicates the best-ranked is kept. `ranks`: distinct integers, lower is better; the position
    by default. Given ranks, the outcome per text does not depend on the order of texts. Texts under 5 tokens
    are compared by their bytes only. `operators`: punctuation counts as tokens, see `dedup.shingles`; `method`:
    how sketches are made, see `sketch`.

    `shortcut`: (accept, reject), two shares of equal values of the sketches around the threshold, for instance
    ("0.85", "0.55"). A pair at or above the first is taken for similar, one below the second is not, without
    comparing their texts: faster, and not exact.

    `groups`: a value per text, such as its language; only texts of one group are compared. `owners`: a value
    per text, such as its repository; texts of one owner are no near-duplicates of each other. Texts of equal
    bytes are exact duplicates all the same. Raises DedupError for arguments out of range.
    """
    documents = as_documents(texts)
    count = len(documents)
    limit = Threshold.of(threshold)
    guess = None if shortcut is None else Shortcut.of(*shortcut, limit)
    group, owner = _numbers("groups", groups, count), _numbers("owners", owners, count)
    by_rank = _by_rank(ranks, count)
    ranked = documents.take(by_rank)  # from here on a document's number is its rank

    first = _first_copies(ranked)
    elected = np.flatnonzero(first == np.arange(count)).astype(np.int64)
    found = similar_documents(
        ranked.take(elected),
        limit,
        bands=bands,
        rows=rows,
        cap=cap,
        best=best,
        shortcut=guess,
        operators=operators,
        method=method,
        groups=None if group is None else group[by_rank[elected]],
        owners=None if owner is None else owner[by_rank[elected]],
    )

    stands = first.copy()  # rank of what a document is a duplicate of, itself if of nothing
    stands[elected[found.dropped]] = elected[found.kept]
    similar = np.zeros(count, np.bool_)
    similar[elected[found.dropped]] = True
    inter, union = np.zeros(count, np.int64), np.zeros(count, np.int64)
    inter[elected[found.dropped]], union[elected[found.dropped]] = found.inter, found.union
    estimated = np.zeros(count, np.bool_)
    estimated[elected[found.dropped]] = found.estimated
    kept = stands == np.arange(count)
    cluster = stands[stands]  # exact -> its first copy -> the kept one; a kept one stands for itself

    back = np.empty(count, np.int64)  # position in texts -> rank
    back[by_rank] = np.arange(count)
    kind = np.where(kept, 0, np.where(similar, 2, 1)).astype(np.int8)
    columns = [
        pa.array(np.arange(count)),
        pa.DictionaryArray.from_arrays(pa.array(kind[back]), pa.array(["unique", "exact", "near"])).cast(
            pa.string()
        ),
        pa.array(by_rank[stands[back]], mask=kept[back]),
        pa.array(by_rank[cluster[back]]),
        pa.array(kept[back]),
        pa.array(inter[back], mask=~similar[back]),
        pa.array(union[back], mask=~similar[back]),
        pa.array(estimated[back]),
    ]
    return pa.Table.from_arrays(columns, schema=NEAR_SCHEMA)


def compile_kernels() -> None:
    """Use every kernel once, on a tiny input: processes started later find them compiled in numba's cache.

    Ten seconds of CPU where nothing is cached, half a second where all is.
    """
    words = [b"w%d" % i for i in range(100)]
    texts = [b" ".join(words[:length]) for length in (96, 97, 98, 99, 100)]
    near_duplicates(pa.array([*texts, b"x " * (REPETITIVE + 10)], pa.large_binary()))
    low, high = np.zeros(1, np.int64), np.ones(1, np.int64)
    sets = shingle_sets(pa.array(texts, pa.large_binary()))
    decide(low, high, *intersections(sets, sets, low, high), "0.7")
    one_round(high, np.zeros(1, np.int8), np.zeros(1, np.int8))
    sketch(pa.array(texts, pa.large_binary()), operators=True, method="minhash")


def kernels_are_cached() -> bool:
    """Whether `compile_kernels` has been called on this machine, as far as that can be seen at once."""
    return are_cached([f"dedup.{name}" for name in USED])


def similar_documents(
    texts: Any,
    threshold: Threshold | str | Fraction | Decimal | float = "0.7",
    *,
    bands: int = BANDS,
    rows: int = ROWS,
    cap: int = CAP,
    best: int = BEST,
    shortcut: Shortcut | None = None,
    operators: bool = False,
    method: Method = "fast",
    groups: U64s | None = None,
    owners: U64s | None = None,
) -> Decision:
    """Decide on near-duplicates only: `texts` are distinct and in rank order, best first; ordinals are
    positions. Pairs are compared only as far as the decision needs it. `groups` and `owners`: numbers for the
    values that `near_duplicates` has."""
    documents = as_documents(texts)
    limit = Threshold.of(threshold)
    sketches = sketch(documents, operators=operators, method=method)
    pairs = _pairs_of(sketches, bands=bands, rows=rows, cap=cap, best=best, groups=groups)
    if owners is not None:
        pairs = across_owners(pairs, owners)
    low, high = pairs.low.astype(np.int64), pairs.high.astype(np.int64)
    signatures = None if shortcut is None else sketches.signatures
    return decide_lazily(
        documents, low, high, limit, shortcut=shortcut, signatures=signatures, operators=operators
    )


def candidate_pairs(
    documents: Documents,
    *,
    bands: int = BANDS,
    rows: int = ROWS,
    cap: int = CAP,
    best: int = BEST,
    operators: bool = False,
    method: Method = "fast",
) -> Pairs:
    """Sketch the documents and pair those that share a band; ordinals are positions."""
    sketches = sketch(documents, operators=operators, method=method)
    return _pairs_of(sketches, bands=bands, rows=rows, cap=cap, best=best)


def _pairs_of(
    sketches: Sketches, *, bands: int, rows: int, cap: int, best: int, groups: U64s | None = None
) -> Pairs:
    group = max(1, min(bands, KEYS_AT_ONCE // max(1, len(sketches.counts))))
    parts: list[Pairs] = []
    for first in range(0, max(bands, 1), group):
        only = range(first, min(first + group, bands))
        keys = band_keys(sketches.signatures, sketches.counts, bands, rows, only=only, groups=groups)
        parts.append(bucket_pairs(keys.keys, keys.index, cap=cap, best=best))
        if len(parts) > 1 and len(parts[-1]) > len(parts[0]):
            parts = [merge_pairs(parts)]  # most pairs share several bands
    return merge_pairs(parts)


def _numbers(name: str, values: Any, count: int) -> U64s | None:
    """A number for each distinct one of `count` values."""
    if values is None:
        return None
    given = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    if len(given) != count:
        raise DedupError(f"{name} must be {count:,} values, one for each text, not {len(given):,}")
    encoded = pc.dictionary_encode(given, null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    numbers: U64s = encoded.indices.to_numpy().astype(np.uint64)
    return numbers


def _by_rank(ranks: npt.NDArray[np.integer] | None, count: int) -> I64s:
    """Return the positions of the texts, best-ranked first."""
    if ranks is None:
        return np.arange(count)
    given = np.asarray(ranks)
    if given.shape != (count,) or given.dtype.kind not in "iu":
        raise DedupError(f"ranks must be {count} integers, not {given.dtype}{list(given.shape)}")
    order = np.argsort(given, kind="stable").astype(np.int64)
    if (given[order][1:] == given[order][:-1]).any():
        raise DedupError("ranks must be distinct: a tie would leave the choice to chance")
    return order


def _first_copies(documents: Documents) -> I64s:
    """For each document the number of the first with the same bytes (by SHA-256)."""
    data = documents.data.data
    first: dict[bytes, int] = {}
    out = np.empty(len(documents), np.int64)
    spans = zip(documents.starts.tolist(), documents.stops.tolist(), strict=True)
    for i, (start, stop) in enumerate(spans):
        out[i] = first.setdefault(hashlib.sha256(data[start:stop]).digest(), i)
    return out
