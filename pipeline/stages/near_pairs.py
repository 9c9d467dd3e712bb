"""Wave W4, first part: sketches -> band keys -> candidate pairs, one group of bands after the other.

    ranks, sketches ─▶ near.bands.N ─▶ near.pairs.N ─▶ near.merged ─▶ near.candidates      (N: a group of bands)
                       (key, content)  (first, second) (each once,    (both ends named)
                                                        second named)

A content is one number on its way: the place in the election order, and the first bits of its SHA-256, which route it. So a
key row has 16 bytes, and only the ends of pairs are looked up by name, each in its own bucket. Of a few contents
`near.pairs` reads all names, and its pairs are the candidates; those of two buckets of keys may be the same.

Memory of a unit, whatever the buckets and keys: `near.bands` holds keys of an eighth of `engine.task_memory`, some three times,
and a row group of sketches (64 MB); `near.pairs` as many keys (the next bits of the key split what is more, on disk), 90 bytes
for each that is shared, and a portion of pairs (32 MB, three times); `near.merged` pairs of an eighth of the memory, or
those of one content.

The keys of a group are removed when its pairs are there: only those of one group are on disk at once. A run that is killed
makes those of the group that it was at again, if they were gone; pairs of finished groups stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.bands import band_keys, by_leading_bits
from dedup.candidates import distinct_rows, make_buckets
from dedup.sketch import signatures_from_arrow
from pipeline.engine.annotations import require_all
from pipeline.engine.buckets import bucket_of
from pipeline.engine.lookup import parts
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Rows, Stage, Task
from pipeline.stages.sketches import SKETCH_OF
from pipeline.tables import BAND_KEYS, CANDIDATES, CONTENT_PAIRS, NAMED_PAIRS

U64s = npt.NDArray[np.uint64]

ROUTE_BITS = (
    20  # of the SHA-256 in a content's number: MAX_BUCKETS, and the parts that a bucket is spilled in
)
ORDINAL_BITS = 64 - ROUTE_BITS  # 17 trillion contents
_ROUTE, _ORDINAL = np.uint64(ROUTE_BITS), np.uint64(ORDINAL_BITS)

FEW = 1 << 15
"""Contents whose names every unit reads, 2 MB. Of more, two further stages cost less than names in every pair of every bucket:
51 ns of CPU time for a key against 127 (480,000 contents, 8 buckets, 5 % of the contents in families), 276 against 711 (50 %)."""

GROUP_BYTES = 1 << 38
"""Keys of a group of bands on disk, unless `band_groups` says how many groups there are: 256 GiB, the keys of 400 million
contents with 42 bands. All keys take 672 bytes for a content, its sketch 1,024, which every group reads again: few groups are
the cheaper way as long as the disk takes their keys."""


def numbers(sha256: pa.Array, ordinals: U64s) -> U64s:
    """The contents as they are compared: in rank order, the bits of the SHA-256 below."""
    assert not len(ordinals) or int(ordinals.max()) < 1 << ORDINAL_BITS
    return (ordinals << _ROUTE) | bucket_of(sha256, 1 << ROUTE_BITS).astype(np.uint64)


def routed(contents: U64s) -> U64s:
    """The same numbers with the bits of the SHA-256 leading, for a route."""
    return (contents << _ORDINAL) | (contents >> _ROUTE)


def ordinals_of(contents: U64s) -> U64s:
    """The ordinals of numbers in their routed form."""
    return contents & np.uint64((1 << ORDINAL_BITS) - 1)


def bands(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """The keys of the group's bands, for every ranked content that has shingles."""
    return bands_of(task, SKETCH_OF.open(task).pieces(["shingles", "sketch"]))


def bands_of(task: Task, sketches: Iterable[pa.Table]) -> Mapping[str, Iterator[pa.Table]]:
    """The same from any source of sketches: tables with `sha256`, `shingles` and `sketch`, as SKETCH has them.

    They may hold other contents, too, and one twice.
    """
    return {"keys": _keys(task, sketches)}


def _keys(task: Task, sketches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    ranks = task.read("ranks")
    ids = ranks["sha256"].combine_chunks()
    if not len(ids):
        return
    contents = numbers(ids, ranks["ordinal"].to_numpy())
    languages = _languages(task, ids) if "winners" in task.refs else None
    seen = np.zeros(len(ids), np.bool_)
    first, last = task.config["group"]
    held: list[tuple[U64s, U64s]] = []
    size = 0
    for piece in sketches:
        at = pc.index_in(piece["sha256"].combine_chunks(), value_set=ids)
        ranked = pc.is_valid(at).to_numpy(zero_copy_only=False)
        at = pc.fill_null(at, 0).to_numpy()
        ranked &= ~seen[at]  # annotated twice: once is enough
        seen[at[ranked]] = True
        made = band_keys(
            signatures_from_arrow(piece["sketch"]),
            np.where(ranked, piece["shingles"].to_numpy(), 0),
            task.config["bands"],
            task.config["rows"],
            only=range(first, last),
            groups=None if languages is None else languages[at],
        )
        held.append((made.keys, contents[at[made.index]]))
        size += 16 * len(made.keys)
        # The more rows a chunk has, the fewer segments each bucket is spread over.
        if size > task.memory_bytes // 8:
            yield _by_bucket(held, task.buckets)
            held, size = [], 0
    require_all("sketch", len(ids), int(seen.sum()))
    if held:
        yield _by_bucket(held, task.buckets)


def _by_bucket(held: list[tuple[U64s, U64s]], buckets: int) -> pa.Table:
    keys, contents = (np.concatenate(column) for column in zip(*held, strict=True))
    return pa.table(by_leading_bits(keys, contents, buckets.bit_length() - 1), names=BAND_KEYS.names)


def _languages(task: Task, ids: pa.Array) -> U64s:
    """A number for the language of each content; the name decides it, not which others there are."""
    winners = task.read("winners", ["sha256", "language"])
    at = pc.index_in(ids, value_set=winners["sha256"].combine_chunks())
    names = pc.fill_null(winners["language"], "").take(at).combine_chunks().dictionary_encode()
    hashes = [
        int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        for name in names.dictionary.to_pylist()
    ]
    return np.array(hashes, np.uint64)[names.indices.to_numpy()]


def pairs(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Pairs of the contents that share a key, on their way to the bucket of the second one by SHA-256."""
    return {"pairs": (pa.table(ends, schema=CONTENT_PAIRS) for ends in _pairs(task))}


def pairs_of_few(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Candidate pairs of the bucket's keys, on their way to the bucket of the first one by SHA-256."""
    names = _Names(task, task.read_all)
    return {
        "pairs": (
            _named(task, first, names.of(first), second, names.of(second)) for first, second in _pairs(task)
        )
    }


def _pairs(task: Task) -> Iterator[tuple[U64s, U64s]]:
    """First and second contents, in their routed form."""
    for part in parts(task, "keys", BAND_KEYS, "key"):
        found = make_buckets(
            part["key"].to_numpy(),
            part["content"].to_numpy(),
            cap=task.config["cap"],
            best=task.config["best"],
        )
        del part
        task.count("hot_buckets", found.stats.hot_buckets)
        task.count("hot_members", found.stats.hot_members)
        task.count("pairs_not_made", found.stats.skipped_pairs)
        for words in found.portions():
            low, high = (routed(end) for end in found.ends(words))
            yield np.minimum(low, high), np.maximum(low, high)


def merged(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """The pairs of all groups, each once, with the name of the second content; on their way to the bucket of the first."""
    return {"pairs": _merged(task)}


def _merged(task: Task) -> Iterator[pa.Table]:
    names: _Names | None = None
    for part in parts(task, "pairs", CONTENT_PAIRS, "second"):
        names = names or _Names(task, task.read)
        first, second = part["first"].to_numpy(), part["second"].to_numpy()
        second, first = distinct_rows(second, first)
        yield pa.table([first, second, *names.of(second)], schema=NAMED_PAIRS)


def candidates(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """The candidate pairs of the bucket, by the first content, each once."""
    return {"pairs": _candidates(task)}


def _candidates(task: Task) -> Iterator[pa.Table]:
    names: _Names | None = None
    for part in parts(task, "pairs", NAMED_PAIRS, "first"):
        names = names or _Names(task, task.read)
        first, second = part["first"].to_numpy(), part["second"].to_numpy()
        known = part["second_sha256"].combine_chunks(), part["second_origin"].combine_chunks()
        yield _named(task, first, names.of(first), second, known)


class _Names:
    """What contents are called: (SHA-256, origin where they are elected); no origin unless it is asked for."""

    def __init__(self, task: Task, read: Callable[..., pa.Table]) -> None:
        ranks = read("ranks")
        ranks = ranks.take(pc.sort_indices(ranks["ordinal"]))
        self._ordinals = ranks["ordinal"].to_numpy()
        self._sha256 = ranks["sha256"].combine_chunks()
        self._origin = pa.nulls(len(ranks), pa.string())
        if "winners" in task.refs:
            winners = read("winners", ["sha256", "origin"])
            at = pc.index_in(self._sha256, value_set=winners["sha256"].combine_chunks())
            self._origin = winners["origin"].combine_chunks().take(at)

    def of(self, contents: U64s) -> tuple[pa.Array, pa.Array]:
        """The names of contents in their routed form."""
        at = pa.array(np.searchsorted(self._ordinals, ordinals_of(contents)))
        return self._sha256.take(at), self._origin.take(at)


def _named(
    task: Task, first: U64s, one: tuple[pa.Array, pa.Array], second: U64s, two: tuple[pa.Array, pa.Array]
) -> pa.Table:
    """Candidates of pairs whose ends have names. Where only pairs across origins count, the others are left out."""
    low_first = pa.array(ordinals_of(first) < ordinals_of(second))
    rows = pa.table(
        [
            np.minimum(ordinals_of(first), ordinals_of(second)),
            np.maximum(ordinals_of(first), ordinals_of(second)),
            pc.if_else(low_first, one[0], two[0]),
            pc.if_else(low_first, two[0], one[0]),
            # Of two with the same first bits the whole SHA-256 tells which one is first.
            pc.min_element_wise(one[0], two[0]),
            pc.max_element_wise(one[0], two[0]),
        ],
        schema=CANDIDATES,
    )
    if "winners" not in task.refs:
        return rows
    apart = rows.filter(pc.not_equal(one[1], two[1]))
    task.count("pairs_of_one_origin", len(rows) - len(apart))
    return apart


def split(bands: int, contents: int, groups: int | None) -> list[tuple[int, int]]:
    """The groups of bands, as (first, last + 1): so many of them, or by what their keys take on disk."""
    if groups is None:
        groups = -(-16 * bands * contents // GROUP_BYTES)
    groups = min(bands, max(1, groups))
    return list(pairwise(bands * group // groups for group in range(groups + 1)))


def candidate_wave(
    runner: Runner,
    ranks: Ref,
    config: Mapping[str, Any],
    run_bands: Callable[[Task], Mapping[str, Rows]],
    bands_config: Mapping[str, Any],
    *,
    winners: Ref | None,
    libraries: tuple[str, ...],
    more: Mapping[str, Ref] | None = None,
) -> Done:
    """From ranks to candidate pairs: the stage whose table is `pairs`, by `first`. A pair may be in it more than once.

    `run_bands` makes the keys (`bands`) from `bands_config` and `more` tables. `winners` is read only where
    languages or origins limit what is compared.
    """
    elected = {} if winners is None else {"winners": winners}
    assert elected or (config["across_languages"] and not config["across_origins_only"])
    within = {} if config["across_languages"] else elected
    named = {"ranks": ranks, **(elected if config["across_origins_only"] else {})}
    contents = runner.rows(ranks)
    groups = split(config["bands"], contents, config["band_groups"])
    few = contents <= FEW and len(groups) == 1
    output = (
        Output(schema=CANDIDATES, order=("low", "high"), route="first")
        if few
        else Output(schema=CONTENT_PAIRS, order=(), route="second")
    )
    found = []
    for number, group in enumerate(groups):
        made = Stage(
            name=f"near.bands.{number:03d}",
            run=run_bands,
            inputs={"ranks": ranks, **within, **(more or {})},
            outputs={"keys": Output(schema=BAND_KEYS, order=(), route="key")},
            config={**bands_config, "bands": config["bands"], "rows": config["rows"], "group": list(group)},
            libraries=libraries,
        )
        paired = Stage(
            name=f"near.pairs.{number:03d}",
            run=pairs_of_few if few else pairs,
            inputs={"keys": made.ref("keys"), **(named if few else {})},
            outputs={"pairs": output},
            config={"cap": config["bucket_cap"], "best": config["bucket_best"]},
            libraries=libraries,
        )
        found.append(runner.run_both(made, paired))
    if few:
        return found[0]
    once = runner.run(
        Stage(
            name="near.merged",
            run=merged,
            inputs={"pairs": [one.ref("pairs") for one in found], **named},
            outputs={"pairs": Output(schema=NAMED_PAIRS, order=(), route="first")},
            libraries=libraries,
        )
    )
    return runner.run(
        Stage(
            name="near.candidates",
            run=candidates,
            inputs={"pairs": once.ref("pairs"), **named},
            outputs={"pairs": Output(schema=CANDIDATES, order=("low", "high"))},
            libraries=libraries,
        )
    )
