"""Exact similarity of candidate pairs: sorted shingle sets, their intersections, and an integer threshold.

Jaccard similarity = intersection / union of the two SETS of shingles. Comparing with the threshold is done in
integers, so no rounding decides about a file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from dedup.documents import as_documents
from dedup.errors import DedupError, ThresholdError
from dedup.machine import U64, Bools, I64s, U64s, kernel, read_only
from dedup.shingles import shingle_blocks

LARGEST_DENOMINATOR = 1_000_000  # keeps threshold * set size far inside 64 bits
STRIDE = 32  # merge steps between two looks at whether the threshold can still be reached
FREE = U64(0xFFFFFFFFFFFFFFFF)  # of a slot of the table that sorts
SPARE = 64  # slots after the last one that a hash can name: none of them wraps around
LARGEST_TABLE = 1 << 23  # slots, 64 MB; sets of longer documents are sorted


@dataclass(frozen=True, slots=True)
class Threshold:
    """The least similarity of duplicates, as an exact fraction in (0, 1]."""

    numerator: int
    denominator: int

    @classmethod
    def of(cls, value: Threshold | str | Fraction | Decimal | float) -> Threshold:
        """Read "0.7", "7/10", Fraction(7, 10) or 0.7 (taken as it prints, so as 7/10).

        Raises ThresholdError if it is no number in (0, 1], or finer than six decimals.
        """
        if isinstance(value, Threshold):
            return value
        try:
            # a length limit: "1e999999999" would be expanded
            text = value if isinstance(value, str | Fraction | Decimal) else repr(value)
            if isinstance(text, str) and not re.fullmatch(r"[0-9./]{1,20}", text):
                raise ValueError(text)
            fraction = Fraction(text)
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise ThresholdError(f"threshold {value!r} is not a number: write for instance '0.7'") from error
        if not 0 < fraction <= 1:
            raise ThresholdError(f"threshold {value} must be above 0 and at most 1")
        if fraction.denominator > LARGEST_DENOMINATOR:
            raise ThresholdError(f"threshold {value} is too fine: use at most six decimals")
        return cls(fraction.numerator, fraction.denominator)

    def reached(self, inter: I64s, union: I64s) -> Bools:
        """Whether inter / union >= threshold, in integers; an empty union reaches nothing."""
        return (self.denominator * inter >= self.numerator * union) & (union > 0)

    def least_intersection(self, total: I64s) -> I64s:
        """Give the smallest intersection with which two sets of `total` elements together reach it."""
        # inter / (total - inter) >= n / d  <=>  inter >= n * total / (n + d), rounded up
        return -((-self.numerator * total) // (self.numerator + self.denominator))

    def possible(self, sizes_a: I64s, sizes_b: I64s) -> Bools:
        """Whether sets of these sizes can reach it at all: min / max >= threshold."""
        return self.reached(np.minimum(sizes_a, sizes_b), np.maximum(sizes_a, sizes_b))


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Let the sketches settle pairs that are far from the threshold, without comparing the texts.

    A pair of which at least the share `accept` of the sketch's values is equal is an edge, one with less than
    `reject` is none. The decision is then not exact: the share estimates the similarity with a standard error
    of about 0.02 (256 values). Make it with `of`.
    """

    accept: Fraction
    reject: Fraction

    @classmethod
    def of(cls, accept: Any, reject: Any, threshold: Threshold) -> Shortcut:
        """Read the two shares as `Threshold.of` does.

        Raises ThresholdError unless reject <= threshold <= accept.
        """
        upper, lower = Threshold.of(accept), Threshold.of(reject)
        made = cls(Fraction(upper.numerator, upper.denominator), Fraction(lower.numerator, lower.denominator))
        if not made.reject <= Fraction(threshold.numerator, threshold.denominator) <= made.accept:
            raise ThresholdError(
                f"reject {reject} must not be above the threshold {threshold.numerator}/{threshold.denominator}, "
                f"nor that above accept {accept}"
            )
        return made

    def counts(self, slots: int) -> tuple[int, int]:
        """Give the number of equal values, of `slots`, from which on a pair is an edge, and below which it is
        none."""
        return math.ceil(self.accept * slots), math.ceil(self.reject * slots)


@dataclass(frozen=True, slots=True)
class ShingleSets:
    """The distinct shingle hashes of document i, ascending: values[offsets[i] : offsets[i + 1]]."""

    values: U64s
    offsets: I64s

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> I64s:
        """Distinct shingles of each document."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Edges:
    """Of each document that was dropped, by rank ascending, the kept one that stands for it and their
    similarity: inter / union of the shingles, or, where `estimated`, of the values of the sketches.
    `compared`: pairs of which the sets were compared; `guessed`: those that the sketches settled."""

    dropped: I64s
    kept: I64s
    inter: I64s
    union: I64s
    estimated: Bools
    compared: int
    guessed: int


def shingle_sets(texts: Any, *, operators: bool = False) -> ShingleSets:
    """Make the shingle set of each document. `texts`: as for `as_documents`; `operators`: as for
    `shingle_blocks`.

    Linear time for texts that do not repeat themselves much, n log n else. Memory: 8 bytes per distinct
    shingle, twice while the parts are joined.
    """
    documents = as_documents(texts)
    sizes = np.zeros(len(documents) + 1, np.int64)
    parts: list[U64s] = []
    table = np.empty(0, np.uint64)
    for block in shingle_blocks(documents, operators=operators):
        longest = int(np.diff(block.borders).max())
        wanted = min(1 << _table_bits(longest), LARGEST_TABLE) + SPARE
        if len(table) < wanted:
            table = np.full(wanted, FREE)
        values, distinct = sorted_distinct(block.values, block.borders, table)
        sizes[block.first + 1 : block.last + 1] = distinct
        parts.append(values.copy())
    values = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    return ShingleSets(values, np.cumsum(sizes))


def sorted_distinct(values: U64s, borders: I64s, table: U64s) -> tuple[U64s, I64s]:
    """The distinct hashes of each document, ascending, one document after the other; and how many each has.

    Those of document i are values[borders[i] : borders[i + 1]]. `table`: scratch memory, all FREE before and after.
    """
    out = np.empty(int(borders[-1]) + 1, np.uint64)
    distinct = np.zeros(len(borders) - 1, np.int64)
    used, done = 0, 0
    while done < len(distinct):
        used, done = _sort_block(values, borders, done, used, table, out, distinct)
        if done < len(distinct):  # too long for the table, or its hashes crowd
            found = np.sort(values[borders[done] : borders[done + 1]])
            found = found[np.concatenate(([True], found[1:] != found[:-1]))]
            out[used : used + len(found)] = found
            distinct[done] = len(found)
            used, done = used + len(found), done + 1
    return out[:used], distinct


def intersections(
    a: ShingleSets, b: ShingleSets, ia: I64s, ib: I64s, *, threshold: Threshold | None = None
) -> tuple[I64s, I64s]:
    """Sizes of intersection and union of the sets a[ia[i]] and b[ib[i]]: (int64[m], int64[m]), exact.

    With a `threshold` they are exact for the pairs that reach it; a pair that does not may be given up early,
    its intersection then too small (and the union as much too large), so that it still does not reach it.
    Raises DedupError if an index is outside its sets.
    """
    ia, ib = np.asarray(ia, np.int64), np.asarray(ib, np.int64)
    if ia.shape != ib.shape or ia.ndim != 1:
        raise DedupError(f"ia and ib must be of one length, not {ia.shape} and {ib.shape}")
    for name, indices, sets in (("ia", ia, a), ("ib", ib, b)):
        if len(indices) and (indices.min() < 0 or indices.max() >= len(sets)):
            raise DedupError(f"{name} points outside the {len(sets)} shingle sets")
    total = a.sizes[ia] + b.sizes[ib]
    least = np.zeros(len(ia), np.int64) if threshold is None else threshold.least_intersection(total)
    inter = np.empty(len(ia), np.int64)
    _intersections(
        read_only(a.values),
        read_only(a.offsets),
        read_only(b.values),
        read_only(b.offsets),
        read_only(ia),
        read_only(ib),
        read_only(least),
        inter,
    )
    return inter, total - inter


def first_edges(
    sets: ShingleSets,
    number: I64s,
    low: I64s,
    high: I64s,
    dropped: Bools,
    *,
    threshold: Threshold,
    shortcut: tuple[I64s, int, int, int] | None = None,
) -> Edges:
    """Compare each document with its better-ranked candidates until it has an edge to one that is kept.

    Pairs ascend by (high, low), the ranks of the worse and the better one; `dropped[rank]` is what came out
    so far, and is written. `number[rank]` is the document's place in `sets`. `shortcut`: how many values of
    the sketches of each pair are equal, of how many, and the numbers from which on a pair is an edge, and
    below which it is none, without comparing the sets. A pair of which either is dropped is passed over, and
    so is one that is repeated.
    """
    chosen, estimated = np.zeros((2, len(low)), np.bool_)
    inter, union = np.zeros((2, len(low)), np.int64)
    equal, slots, accept, reject = shortcut or (np.empty(0, np.int64), 0, 0, 0)
    compared, guessed = _first_edges(
        read_only(sets.values),
        read_only(sets.offsets),
        read_only(number),
        read_only(low),
        read_only(high),
        threshold.numerator,
        threshold.denominator,
        read_only(equal),
        slots,
        accept,
        reject,
        dropped,
        chosen,
        inter,
        union,
        estimated,
    )
    at = np.flatnonzero(chosen)
    return Edges(high[at], low[at], inter[at], union[at], estimated[at], compared, guessed)


@kernel
def _table_bits(count: int) -> int:
    """Bits of a slot's number in a table for `count` hashes: half of the slots or more stay free."""
    bits = 1
    while (1 << bits) < 2 * count:
        bits += 1
    return bits


@kernel
def _sort_block(  # noqa: PLR0917 - called by position
    values: U64s, borders: I64s, done: int, used: int, table: U64s, out: U64s, distinct: I64s
) -> tuple[int, int]:
    """Append sorted distinct hashes from document `done` on to out[:used]; stop early at one that does not fit.

    `table` is all FREE before and after. out[used:] takes all shingles of the documents and one more.
    """
    room = table.shape[0] - SPARE
    for d in range(done, distinct.shape[0]):
        first, last = borders[d], borders[d + 1]
        n = last - first
        if n == 0:
            continue
        bits = _table_bits(n)
        slots, shift = 1 << bits, U64(64 - bits)
        if slots > room:
            return used, d
        # Hashes are uniform: the top bits name a slot near which the hash belongs in the order. Whoever is larger
        # than what comes moves one slot on, so the table is sorted at any time, and equal ones meet.
        end = slots + SPARE - 1  # stays free
        steps, allowed = np.int64(0), 16 * n + 1024  # linear work, however hashes were chosen
        fits, highest = True, False
        for i in range(first, last):
            h = values[i]
            home = at = np.int64(h >> shift)
            while table[at] < h:
                at += 1
            moved = table[at]
            if moved != h:
                table[at] = h
                while moved != FREE:
                    at += 1
                    moved, table[at] = table[at], moved
            else:
                highest |= h == FREE  # as good as never: the hash that marks free slots
            steps += at - home + 1
            if at >= end or steps > allowed:
                fits = False
                break
        size = 0
        for i in range(slots + SPARE):
            out[used + size] = table[i]
            size += table[i] != FREE
            table[i] = FREE
        if not fits:
            return used, d
        if highest:
            out[used + size] = FREE
            size += 1
        distinct[d] = size
        used += size
    return used, distinct.shape[0]


@kernel
def _intersections(  # noqa: PLR0917 - called by position
    a: U64s, a_offsets: I64s, b: U64s, b_offsets: I64s, ia: I64s, ib: I64s, least: I64s, inter: I64s
) -> None:
    for p in range(ia.shape[0]):
        u, v = ia[p], ib[p]
        inter[p] = _common(a, a_offsets[u], a_offsets[u + 1], b, b_offsets[v], b_offsets[v + 1], least[p])


@kernel
def _common(a: U64s, u: int, u_end: int, b: U64s, v: int, v_end: int, least: int) -> int:  # noqa: PLR0917
    """Elements that a[u:u_end] and b[v:v_end] share; fewer once they cannot be `least` any more."""
    common = 0
    # Branch-free steps: which side advances is not predictable. After each run: can it still reach?
    while u + STRIDE <= u_end and v + STRIDE <= v_end:
        for _ in range(STRIDE):
            x = a[u]
            y = b[v]
            common += x == y
            u += x <= y
            v += y <= x
        if common + min(u_end - u, v_end - v) < least:
            return common
    while u < u_end and v < v_end:
        x = a[u]
        y = b[v]
        common += x == y
        u += x <= y
        v += y <= x
    return common


@kernel
def _first_edges(  # noqa: PLR0917 - called by position
    values: U64s,
    offsets: I64s,
    number: I64s,
    low: I64s,
    high: I64s,
    numerator: int,
    denominator: int,
    equal: I64s,
    slots: int,
    accept: int,
    reject: int,
    dropped: Bools,
    chosen: Bools,
    inter: I64s,
    union: I64s,
    estimated: Bools,
) -> tuple[int, int]:
    compared, guessed = 0, 0
    for p in range(low.shape[0]):
        i, j = low[p], high[p]
        if dropped[j] or dropped[i] or (p > 0 and i == low[p - 1] and j == high[p - 1]):
            continue
        if slots > 0 and (equal[p] >= accept or equal[p] < reject):
            guessed += 1
            if equal[p] >= accept:
                dropped[j], chosen[p], estimated[p] = True, True, True
                inter[p], union[p] = equal[p], slots
            continue
        u, v = number[i], number[j]
        size_u, size_v = offsets[u + 1] - offsets[u], offsets[v + 1] - offsets[v]
        total = size_u + size_v
        compared += 1
        if denominator * min(size_u, size_v) < numerator * max(size_u, size_v):
            continue  # too different in size to reach it
        least = (numerator * total + numerator + denominator - 1) // (numerator + denominator)
        common = _common(values, offsets[u], offsets[u + 1], values, offsets[v], offsets[v + 1], least)
        if denominator * common >= numerator * (total - common) and total > 0:
            dropped[j], chosen[p] = True, True
            inter[p], union[p] = common, total - common
    return compared, guessed
