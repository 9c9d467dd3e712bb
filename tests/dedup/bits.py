"""Digests of all that is computed from a fixed set of texts; run as a script by test_bits.py, on machines of less."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import sys

import numpy as np
import pyarrow as pa

from dedup import band_keys, bucket_pairs, shingle_sets, sketch

WORDS = (b"v", "été".encode(), b"a_long_identifier_of_more_bytes_than_16_")
FIRST = [
    b" ".join(b"%s%d" % (word, i * i % m) for i in range(n))
    for n in (0, 4, 5, 30, 700, 9000)
    for m in (3, 97, 10007)
    for word in WORDS
]
PIECES = (b"if", "変数".encode(), "😀".encode(), b"x1", b"\xff\xfe\xe5", b"_", b"A" * 17, b"B" * 40, b"9")
GAPS = (b" ", b"(", b") += ", b"\n\t", b"\0", b";", b"->", b"\x7f", b"]})")
SECOND = [
    b"".join(PIECES[i * k % 9] + b"%d" % (i * i % m) + GAPS[i * i % 9] for i in range(n))
    for n in (1, 5, 33, 260, 1300, 6000)
    for m in (2, 1009)
    for k in (1, 2, 4)
] + [b"+" * n for n in (4, 5, 70_000)] + [b"\0" * 99, b"x " * 40_000]  # fmt: skip


def digest(*arrays: np.ndarray) -> str:
    h = hashlib.sha256()
    for array in arrays:
        h.update(array.tobytes())
    return h.hexdigest()


def digests() -> dict[str, str]:
    """What was computed -> its digest."""
    array = pa.array(FIRST, pa.large_binary())
    made, sets = sketch(array), shingle_sets(array)
    keys = band_keys(made.signatures, made.counts)
    pairs = bucket_pairs(keys.keys, keys.index)
    parts = [
        made.signatures,
        made.counts,
        sets.values,
        sets.offsets,
        keys.keys,
        keys.index,
        pairs.low,
        pairs.high,
    ]
    found = {"first": digest(*parts)}
    array = pa.array(SECOND, pa.large_binary())
    for operators in (False, True):
        name = "operators" if operators else "words"
        sets = shingle_sets(array, operators=operators)
        found[f"{name} sets"] = digest(sets.values, sets.offsets)
        for method in ("fast", "minhash"):
            made = sketch(array, operators=operators, method=method)
            keys = band_keys(made.signatures, made.counts)
            found[f"{name} {method}"] = digest(made.signatures, made.counts)
            found[f"{name} {method} keys"] = digest(keys.keys, keys.index)
    return found


def registers() -> str:
    """The widest vector registers in the code of the kernels, where it was compiled just now: x, y or z."""
    code = [
        text
        for module, name in (("shingles", "_word_edges"), ("minhash", "minhash_block"))
        for text in getattr(importlib.import_module(f"dedup.{module}"), name).inspect_asm().values()
    ]
    return max(re.findall(r"%([xyz])mm\d", "".join(code)), default="")


if __name__ == "__main__":
    json.dump({"digests": digests(), "registers": registers()}, sys.stdout)
