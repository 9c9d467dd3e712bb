"""The distinct texts of a `Deduplicator`: a number each, and their band keys, in blocks that never move.

A number is free again when the last row of its text is forgotten, and goes to the next new text.
"""

from __future__ import annotations

from array import array

import numpy as np

from dedup.bands import band_keys
from dedup.candidates import Pairs, bucket_pairs, merge_pairs
from dedup.machine import Bools, I64s, U64s
from dedup.sketch import Sketches

BLOCK = 1 << 16  # texts whose keys lie in one array
KEYS_AT_ONCE = 1 << 24  # keys that are paired at once: 256 MB with their ordinals; more go in groups of bands


class Contents:
    """About 0.5 KB a text, of which the band keys are 8 bytes a band."""

    def __init__(self, bands: int, rows: int, cap: int, best: int) -> None:
        self._bands, self._rows, self._cap, self._best = bands, rows, cap, best
        self._number_of: dict[bytes, int] = {}  # by SHA-256
        self._digests: list[bytes | None] = []  # by number; None where it is free
        self._lengths = array("q")
        self._holders = array("q")  # rows that have this text
        self._shingled = bytearray()
        self._blocks: list[U64s] = []  # [bands, BLOCK]
        self._free: list[int] = []

    def __len__(self) -> int:
        """Numbers given out so far, free ones included."""
        return len(self._digests)

    def find(self, digest: bytes) -> int | None:
        """The number of the text with this SHA-256."""
        return self._number_of.get(digest)

    def digest(self, number: int) -> bytes | None:
        """SHA-256 of a text; None if there is none of this number."""
        return self._digests[number]

    @property
    def lengths(self) -> I64s:
        """Bytes of each text."""
        return np.array(self._lengths, np.int64)

    def keys_of(self, sketches: Sketches) -> U64s:
        """Band keys, uint64[those with shingles, bands]."""
        made = band_keys(sketches.signatures, sketches.counts, self._bands, self._rows)
        return made.keys.reshape(-1, self._bands)

    def add(self, digests: list[bytes], lengths: I64s, shingled: Bools, keys: U64s) -> I64s:
        """Take new texts, and give their numbers. `keys`: of those that have shingles."""
        numbers = np.empty(len(digests), np.int64)
        for i, (digest, length, has) in enumerate(
            zip(digests, lengths.tolist(), shingled.tolist(), strict=True)
        ):
            if self._free:
                number = self._free.pop()
                self._digests[number], self._lengths[number] = digest, length
                self._holders[number], self._shingled[number] = 0, has
            else:
                number = len(self._digests)
                self._digests.append(digest)
                self._lengths.append(length)
                self._holders.append(0)
                self._shingled.append(has)
            self._number_of[digest] = number
            numbers[i] = number
        while len(self._blocks) * BLOCK < len(self._digests):
            self._blocks.append(np.empty((self._bands, BLOCK), np.uint64))
        filled = numbers[shingled]
        for block in np.unique(filled // BLOCK).tolist():
            here = filled // BLOCK == block
            self._blocks[block][:, filled[here] % BLOCK] = keys[here].T
        return numbers

    def hold(self, numbers: I64s) -> None:
        """One row more for each of these texts."""
        for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
            self._holders[number] += int(count)

    def release(self, number: int) -> bool:
        """One row less; whether it was the last one, with which all that is known of the text is gone."""
        self._holders[number] -= 1
        if self._holders[number]:
            return False
        digest = self._digests[number]
        assert digest is not None
        del self._number_of[digest]
        self._digests[number] = None
        self._shingled[number] = False
        self._blocks[number // BLOCK][:, number % BLOCK] = 0
        self._free.append(number)
        return True

    def candidates(self, by_rank: I64s) -> Pairs:
        """Pairs of texts that share a band, by their places in `by_rank`, the numbers of all texts, best first."""
        ordinals = np.full(len(self._blocks) * BLOCK, -1, np.int64)
        with_keys = self._with_keys(by_rank)
        ordinals[by_rank[with_keys]] = np.flatnonzero(with_keys)
        there = [np.flatnonzero(part >= 0) for part in np.split(ordinals, max(1, len(self._blocks)))]
        ordinals = ordinals[ordinals >= 0]
        group = max(1, min(self._bands, KEYS_AT_ONCE // max(1, len(ordinals))))
        repeated = np.tile(ordinals, group)
        parts: list[Pairs] = []
        for band in range(0, self._bands, group):
            last = min(band + group, self._bands)
            keys = self._keys(there, band, last).reshape(-1)
            parts.append(bucket_pairs(keys, repeated[: len(keys)], cap=self._cap, best=self._best))
            if len(parts) > 1 and len(parts[-1]) > len(parts[0]):
                parts = [merge_pairs(parts)]  # most pairs share several bands
        return merge_pairs(parts)

    def index(self, by_rank: I64s) -> KeyIndex:
        """The keys of all texts, to look others up; ordinals are places in `by_rank`. 16 bytes a key."""
        numbers = by_rank[self._with_keys(by_rank)]
        blocks = [numbers[numbers // BLOCK == block] % BLOCK for block in range(len(self._blocks))]
        in_blocks = np.argsort(numbers // BLOCK, kind="stable")  # as `_keys` puts them
        ordinals = np.flatnonzero(self._with_keys(by_rank))[in_blocks]
        keys = self._keys(blocks, 0, self._bands).reshape(-1)
        return KeyIndex(keys, np.tile(ordinals, self._bands), self._bands, self._cap, self._best)

    def _with_keys(self, numbers: I64s) -> Bools:
        return np.frombuffer(bytes(self._shingled), np.bool_)[numbers]

    def _keys(self, there: list[I64s], band: int, last: int) -> U64s:
        """Keys of some bands, uint64[bands, texts], of the texts that are `there` in each block."""
        keys = np.empty((last - band, sum(map(len, there))), np.uint64)
        at = 0
        for block, columns in zip(self._blocks, there, strict=False):  # no text, no block
            keys[:, at : at + len(columns)] = block[band:last, columns]
            at += len(columns)
        return keys


class KeyIndex:
    """Which texts hold a key: all of them up to `cap`, else the `best` best-ranked."""

    def __init__(self, keys: U64s, ordinals: I64s, bands: int, cap: int, best: int) -> None:
        order = np.lexsort((ordinals, keys))
        self._keys, self._ordinals = keys[order], ordinals[order]
        self._bands, self._cap, self._best = bands, cap, best

    def find(self, keys: U64s) -> tuple[I64s, I64s]:
        """For uint64[n, bands]: distinct pairs of a row of `keys` and an ordinal, by row, best-ranked first."""
        flat = keys.reshape(-1)
        first = np.searchsorted(self._keys, flat)
        count = np.searchsorted(self._keys, flat, side="right") - first
        count[count > self._cap] = self._best
        which = np.repeat(np.arange(len(flat)), count)
        within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        ordinals = self._ordinals[first[which] + within].astype(np.uint64)
        packed = np.unique((which // self._bands).astype(np.uint64) << np.uint64(32) | ordinals)
        return (packed >> np.uint64(32)).astype(np.int64), (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
