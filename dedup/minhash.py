"""Classic MinHash: the least value of the shingle hashes under each of 256 permutations.

Broder: "On the resemblance and containment of documents" (SEQUENCES 1997). The permutations are the affine ones
of 32-bit words, x -> a x + b mod 2^32 with odd a, after one pass of the MurmurHash3 finalizer: the scheme
"affine32" of datasketch 2, whose MinHash has the same values, bit for bit, given the same 32-bit hashes and
permutations (a test holds the two together). They are not min-wise independent as the proof wants it; on hashes
that are as good as random the error is that of the proof all the same (tested).

It is the reference beside Fast Similarity Sketching (`dedup.sketch`): every shingle costs 256 products, 8 ns in
vectors of 16, whatever the document. Of a shingle hash 32 bits enter: two of a set's n shingles coincide about
n^2 / 2^33 times, which is 0.01 % of a set of a million.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from dedup.machine import BASE, U32, I64s, U32s, U64s, inlined, kernel, read_only

_WORD = (1 << 64) - 1


@cache
def permutations(count: int) -> tuple[U32s, U32s]:
    """Give the factors (odd) and summands of the first `count` permutations: uint32[count] each.

    Drawn by SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
    """
    drawn = np.array([_split_mix(i) for i in range(1, count + 1)], np.uint64)
    return read_only((drawn >> np.uint64(32)).astype(np.uint32) | U32(1)), read_only(drawn.astype(np.uint32))


def _split_mix(number: int) -> int:
    """Return the number-th word of the sequence that starts at 0."""
    word = number * int(BASE) & _WORD
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _WORD
    return word ^ (word >> 31)


@inlined
def _mixed(value: Any) -> Any:
    """The low 32 bits of a hash through MurmurHash3's finalizer, a bijection (Appleby, public domain)."""
    x = U32(value)
    x = U32(U32(x ^ (x >> U32(16))) * U32(0x85EBCA6B))
    x = U32(U32(x ^ (x >> U32(13))) * U32(0xC2B2AE35))
    return U32(x ^ (x >> U32(16)))


@kernel
def minhash_block(values: U64s, borders: I64s, a: U32s, b: U32s, rows: U32s) -> None:
    """Write the signature of document d, with the shingle hashes values[borders[d] : borders[d + 1]], to rows[d].

    One value per permutation (a[j], b[j]); all of them 0xFFFFFFFF where there is no shingle.
    """
    for d in range(rows.shape[0]):
        row = rows[d]
        row[:] = U32(0xFFFFFFFF)
        last = borders[d + 1] - 1
        for i in range(borders[d], last + 1, 4):  # one load and store of the row for four shingles
            x0, x1 = _mixed(values[i]), _mixed(values[min(i + 1, last)])
            x2, x3 = _mixed(values[min(i + 2, last)]), _mixed(values[min(i + 3, last)])
            for j in range(a.shape[0]):
                u = min(U32(a[j] * x0 + b[j]), U32(a[j] * x1 + b[j]))
                v = min(U32(a[j] * x2 + b[j]), U32(a[j] * x3 + b[j]))
                row[j] = min(row[j], u, v)
