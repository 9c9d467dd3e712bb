"""What comparing lazily spares, and what the shortcut by sketches changes, on the text files of some folders.

    python benchmarks/bench_lazy.py /usr/lib/python3 /usr/include --files 40000

Two corpora: the distinct files as they are, and `--copies` of them with up to twelve edited copies each (0.2 to 2 % of the
words). For each: pairs compared eagerly, in one walk in rank order, and in rounds by how far they look ahead; CPU seconds of
both forms of the library; and the decisions that differ with the shortcut at several widths. Median of three.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dedup import (
    Decision,
    Shortcut,
    Threshold,
    band_keys,
    bucket_pairs,
    decide,
    decide_lazily,
    intersections,
    shingle_sets,
    sketch,
)
from dedup.documents import Documents, as_documents
from dedup.rounds import DROPPED, EDGE, KEPT, NO_EDGE, UNHEARD, one_round

LIMIT = Threshold.of("0.7")
WIDTHS = (("0.85", "0.55"), ("0.8", "0.6"), ("0.78", "0.62"), ("0.75", "0.65"), ("0.7", "0.7"))
SUFFIXES = frozenset(
    ".c .cpp .css .h .hpp .html .js .json .md .py .pyi .rst .ts .txt .yaml".split()  # noqa: SIM905
)


def files_of(folders: list[Path], most: int) -> list[bytes]:
    """Distinct text files below 256 KiB, in a fixed random order."""
    found: dict[bytes, bytes] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink():
                body = path.read_bytes()
                if 0 < len(body) < 1 << 18 and b"\0" not in body:
                    found.setdefault(hashlib.sha256(body).digest(), body)
    bodies = list(found.values())
    random.Random(1).shuffle(bodies)
    return bodies[:most]


def copied(bodies: list[bytes], seed: int = 3) -> list[bytes]:
    """The files with edited copies of themselves."""
    draw = random.Random(seed)
    made = list(bodies)
    for body in bodies:
        words = body.split(b" ")
        if len(words) < 20:
            continue
        for _ in range(draw.randint(0, 12)):
            share = draw.choice((0.002, 0.005, 0.01, 0.02))
            edited = (b"z%d" % draw.randrange(10**6) if draw.random() < share else word for word in words)
            made.append(b" ".join(edited))
    draw.shuffle(made)
    return made


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and the median of three CPU times."""
    times = []
    for _ in range(3):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return result, sorted(times)[1]


def in_rounds(
    low: np.ndarray, high: np.ndarray, edge: np.ndarray, ahead: Callable[[int], int | None]
) -> tuple[list[int], int]:
    """Pairs compared in each round, and how many texts the rounds read together (each end once in a round)."""
    order = np.lexsort((low, high))
    low, high, edge = low[order], high[order], edge[order]
    fates = np.full(int(high.max()) + 1, KEPT, np.int8)
    fates[high] = UNHEARD
    heard, known = np.zeros(len(low), np.int8), np.zeros(len(low), np.int8)
    compared, texts = [], 0
    while len(low):
        done = one_round(high, heard, known, ahead=ahead(len(compared)))
        told = fates.copy()
        told[high[done.rows]] = done.fates
        texts += len(np.unique(np.concatenate((low[done.asked], high[done.asked]))))
        compared.append(int(done.asked.sum()))
        known = np.where(done.asked, np.where(edge, EDGE, NO_EDGE), known).astype(np.int8)
        low, high, edge, known = low[done.open], high[done.open], edge[done.open], known[done.open]
        fates, heard = told, told[low]
    assert set(np.unique(fates)) <= {KEPT, DROPPED}
    return compared, texts


def measure(name: str, bodies: list[bytes]) -> Iterator[str]:
    """Lines of figures."""
    documents = as_documents(pa.array(bodies, pa.large_binary()))
    sketches = sketch(documents)
    keys = band_keys(sketches.signatures, sketches.counts)
    pairs = bucket_pairs(keys.keys, keys.index)
    low, high = pairs.low.astype(np.int64), pairs.high.astype(np.int64)
    eager, seconds = timed(lambda: compare_all(documents, low, high))
    lazy, lazy_seconds = timed(lambda: decide_lazily(documents, low, high, LIMIT))
    assert replaced(eager) == replaced(lazy)
    yield f"{name}: {len(bodies):,} files, {documents.lengths.sum() / 1e6:,.0f} MB, {len(lazy):,} dropped"
    yield f"  all {len(low):,} pairs {seconds:.2f} s; lazily {lazy.compared:,} {lazy_seconds:.2f} s"
    sets = shingle_sets(documents)
    edge = LIMIT.reached(*intersections(sets, sets, low, high))
    plans: dict[str, Callable[[int], int | None]] = {
        "all at once": lambda _: None,
        "4, 16, 64, ...; all from round 6": lambda n: None if n >= 6 else 4**n if n else 0,
        "1, 2, 4, ...; all from round 8": lambda n: None if n >= 8 else 2 ** (n - 1) if n else 0,
        "nothing ahead": lambda _: 0,
    }
    for plan, ahead in plans.items():
        compared, texts = in_rounds(low, high, edge, ahead)
        yield f"  ahead {plan}: {sum(compared):,} pairs, {len(compared)} rounds, {texts:,} texts"
    for accept, reject in WIDTHS:
        shortcut = Shortcut.of(accept, reject, LIMIT)
        quick, seconds = timed(
            lambda shortcut=shortcut: decide_lazily(
                documents, low, high, LIMIT, shortcut=shortcut, signatures=sketches.signatures
            )
        )
        exact, other = replaced(lazy), replaced(quick)
        moved = sum(exact[one] != other[one] for one in exact.keys() & other.keys())
        yield (
            f"  shortcut {accept}/{reject}: {quick.compared:,} pairs, {seconds:.2f} s; dropped wrongly"
            f" {len(other.keys() - exact.keys())}, kept wrongly {len(exact.keys() - other.keys())}, other stand-in {moved}"
        )


def compare_all(documents: Documents, low: np.ndarray, high: np.ndarray) -> Decision:
    """The decision over all pairs, each compared."""
    needed = np.unique(np.concatenate((low, high)))
    number = np.zeros(len(documents), np.int64)
    number[needed] = np.arange(len(needed))
    sets = shingle_sets(documents.take(needed))
    return decide(low, high, *intersections(sets, sets, number[low], number[high], threshold=LIMIT), LIMIT)


def replaced(decision: Decision) -> dict[int, int]:
    """Dropped -> kept."""
    return dict(zip(decision.dropped.tolist(), decision.kept.tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=40_000, help="files at most")
    parser.add_argument(
        "--copies", type=int, default=3_000, help="files of the second corpus that get copies"
    )
    arguments = parser.parse_args()
    bodies = files_of(arguments.folders, arguments.files)
    for name, corpus in (("as they are", bodies), ("with copies", copied(bodies[: arguments.copies]))):
        print("\n".join(measure(name, corpus)), flush=True)


if __name__ == "__main__":
    main()
