"""Similarities that were verified once, by pair: what makes the next decision cheap."""

from __future__ import annotations

import numpy as np

from dedup.machine import U64, Bools, I64s, U64s

_LOW = U64(0xFFFFFFFF)


class Similarities:
    """Intersection and union of pairs of contents, each a number below 2^32. 24 bytes a pair."""

    def __init__(self) -> None:
        self._pairs: U64s = np.empty(0, np.uint64)  # smaller number << 32 | larger one, ascending
        self._inter: I64s = np.empty(0, np.int64)
        self._union: I64s = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._pairs)

    def find(self, a: I64s, b: I64s) -> tuple[Bools, I64s, I64s]:
        """For pairs in either direction: whether known, intersection, union (0 and 0 where not)."""
        wanted = _packed(a, b)
        at = np.searchsorted(self._pairs, wanted)
        at[at == len(self._pairs)] = 0
        known = self._pairs[at] == wanted if len(self._pairs) else np.zeros(len(wanted), np.bool_)
        inter, union = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.int64)
        inter[known], union[known] = self._inter[at[known]], self._union[at[known]]
        return known, inter, union

    def add(self, a: I64s, b: I64s, inter: I64s, union: I64s) -> None:
        """Remember pairs that are not known yet, each once."""
        if not len(a):
            return
        pairs = np.concatenate((self._pairs, _packed(a, b)))
        order = np.argsort(pairs, kind="stable")
        self._pairs = pairs[order]
        self._inter = np.concatenate((self._inter, inter))[order]
        self._union = np.concatenate((self._union, union))[order]

    def forget(self, gone: Bools) -> None:
        """Forget every pair of a content that is marked: bool[number of contents]."""
        a, b = (self._pairs >> U64(32)).astype(np.int64), (self._pairs & _LOW).astype(np.int64)
        stays = ~(gone[a] | gone[b])
        self._pairs, self._inter, self._union = self._pairs[stays], self._inter[stays], self._union[stays]


def _packed(a: I64s, b: I64s) -> U64s:
    low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
    return (low << U64(32)) | high
