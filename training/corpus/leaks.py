"""Held-out rows that are near-duplicates of training rows: they would measure memory, so they are left out.

Two rows are near when their sketches (`dedup.sketch`: 256 values, equal in a slot with probability = Jaccard similarity of
the 5-word shingles) agree in at least `near` of the slots. The search is exact: it gives what comparing every held-out row
with every training row gives. Two sketches with `least` or more equal slots agree in at least one of any 257 - `least` slots
(the pigeonhole principle; bands of one row each), so a training row of which so many slots meet no held-out value is done
with; of the others, the equal slots are counted per held-out row.

Held in memory are `PORTION` held-out rows (a sketch of 1 KiB and an index of 7 to 13 KiB each) and one batch of texts; training
rows stream past, once for each portion. A row of fewer than five words has no shingle, and is near nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from training.corpus.sources import Report, silent
from training.errors import OutputError

if TYPE_CHECKING:
    from training.corpus.select import Corpus

SLOTS = 256

PORTION = 1 << 16
"""Held-out rows that are looked for at once: 0.5 to 0.9 GB."""


@njit(nogil=True, cache=True)
def _home(slot: int, value: int, mask: int) -> np.int64:
    """Where the search for (slot, value) begins in the table."""
    word = (np.uint64(slot) << np.uint64(32)) | np.uint64(value)
    return np.int64(((word * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & np.uint64(mask))


@njit(nogil=True, cache=True)
def _build(signatures: np.ndarray, keys: np.ndarray, first: np.ndarray, following: np.ndarray) -> None:
    """Chain the rows of each (slot, value): `first` by place in the table, `following[row, slot]` after that."""
    mask = keys.shape[0] - 1
    for row in range(signatures.shape[0]):
        for slot in range(signatures.shape[1]):
            value = signatures[row, slot]
            word = (np.uint64(slot + 1) << np.uint64(32)) | np.uint64(
                value
            )  # never 0, which marks a free place
            at = _home(slot, value, mask)
            while keys[at] != word and keys[at] != np.uint64(0):
                at = (at + 1) & mask
            if keys[at] == word:
                following[row, slot] = first[at]
            keys[at] = word
            first[at] = row


@njit(nogil=True, cache=True)
def _mark(  # noqa: PLR0917 - called by position
    signatures: np.ndarray,
    keys: np.ndarray,
    first: np.ndarray,
    following: np.ndarray,
    least: int,
    near: np.ndarray,
) -> None:
    """Mark in `near` the indexed rows that agree with one of `signatures` in `least` slots or more."""
    mask = keys.shape[0] - 1
    slots = signatures.shape[1]
    heads = np.empty(slots, np.int32)
    equal = np.zeros(near.shape[0], np.int32)
    touched = np.empty(near.shape[0], np.int32)
    for row in range(signatures.shape[0]):
        missed, looked = 0, 0
        while looked < slots and missed <= slots - least:
            value = signatures[row, looked]
            word = (np.uint64(looked + 1) << np.uint64(32)) | np.uint64(value)
            at = _home(looked, value, mask)
            while keys[at] != word and keys[at] != np.uint64(0):
                at = (at + 1) & mask
            heads[looked] = first[at] if keys[at] == word else -1
            missed += heads[looked] < 0
            looked += 1
        if missed > slots - least:
            continue
        count = 0
        for slot in range(slots):
            other = heads[slot]
            while other >= 0:
                if not near[other]:
                    if equal[other] == 0:
                        touched[count] = other
                        count += 1
                    equal[other] += 1
                other = following[other, slot]
        for k in range(count):
            other = touched[k]
            near[other] |= equal[other] >= least
            equal[other] = 0


class HeldOutIndex:
    """Sketches to which others are compared.

    Args:
        signatures: uint32[n, 256].
        near: share of equal slots from which on two are near, in (0, 1].
    """

    def __init__(self, signatures: np.ndarray, near: float) -> None:
        self.least = max(1, math.ceil(near * SLOTS))
        size = 1 << max(4, int(2 * signatures.size).bit_length())
        self._keys, self._first = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
        self._following = np.full(signatures.shape, -1, np.int32)
        self.near = np.zeros(len(signatures), dtype=bool)
        """Of each sketch: whether one that it was compared with is near."""
        _build(signatures, self._keys, self._first, self._following)

    def compare(self, signatures: np.ndarray) -> None:
        """Compare with these sketches, uint32[m, 256]."""
        _mark(signatures, self._keys, self._first, self._following, self.least, self.near)


def _sketches(corpus: Corpus, chosen: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray, int]]:
    """(rows that have shingles, their sketches, bytes of the batch) of the chosen rows."""
    from dedup.sketch import sketch

    for rows, batch in corpus.texts(chosen, ["content"]):
        made = sketch(batch["content"])
        some = made.counts > 0
        yield rows[some], made.signatures[some], batch["content"].nbytes


def near_training(
    corpus: Corpus, near: float, cache: Path | None = None, report: Report = silent
) -> np.ndarray:
    """Held-out rows whose sketch agrees with that of any training row: bool per row.

    Args:
        corpus: its `train` and `held_out` rows are compared.
        near: share of equal slots from which on two rows are near, in (0, 1].
        cache: folder that keeps the answer, named by a digest of all that it depends on; None keeps nothing.
        report: takes a line for the user when it was computed.

    Raises:
        OutputError: the cache cannot be written.
    """
    file = None if cache is None else cache / f"near-{_key(corpus, near)[:24]}.npy"
    if file is not None and file.exists():
        try:
            known: np.ndarray = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            known = np.empty(0)
        if (
            known.dtype == np.bool_
            and known.shape == corpus.train.shape
            and not (known & ~corpus.held_out).any()
        ):
            return known
    begun, size = time.perf_counter(), 0
    result = np.zeros(len(corpus.train), dtype=bool)
    held_out = np.flatnonzero(corpus.held_out)
    for at in range(0, len(held_out), PORTION):
        portion = np.zeros_like(result)
        portion[held_out[at : at + PORTION]] = True
        found = list(_sketches(corpus, portion))
        index = HeldOutIndex(np.concatenate([made for _, made, _ in found]), near)
        size += sum(count for _, _, count in found)
        for _, made, count in _sketches(corpus, corpus.train):
            index.compare(made)
            size += count
        result[np.concatenate([rows for rows, _, _ in found])] = index.near
    seconds = time.perf_counter() - begun
    report(
        f"held out: {int(result.sum())} of {int(corpus.held_out.sum())} rows are near training rows (sketches agree "
        f">= {near:g}) and are left out; {size / 1e6:.1f} MB compared in {seconds:.1f} s"
    )
    if file is not None:
        temporary = file.with_name(f"{file.name}.tmp-{socket.gethostname()}-{os.getpid()}")
        try:
            with temporary.open("wb") as stream:
                np.save(stream, result)
            temporary.replace(file)
        except OSError as error:
            raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from error
    return result


def _key(corpus: Corpus, near: float) -> str:
    """Digest of the rows on both sides, the threshold, and the sources that sketch and compare."""
    import dedup

    parts = [
        corpus.rows_digest(corpus.train),
        corpus.rows_digest(corpus.held_out),
        str(math.ceil(near * SLOTS)),
    ]
    folder = Path(dedup.__file__).parent
    for name in (
        folder / "documents.py",
        folder / "machine.py",
        folder / "shingles.py",
        folder / "sketch.py",
        Path(__file__),
    ):
        parts.append(hashlib.sha256(name.read_bytes()).hexdigest())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
