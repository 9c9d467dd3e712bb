"""Packing of a release's files: ours and TRL's, same lengths, one run.

    python benchmarks/packing.py releases/2.1 --length 2048 --length 8192 > packing.json

Every file of the release is tokenised with a tokenizer learnt from the release, and the documents are packed by each
contestant in turn, `--repeats` times, in one process and one thread. Measured is the CPU time (user + system) from the
flat tokens (ours) or the table of documents (TRL) to dense rows of ids, positions and labels, in batches of eight rows:

    ours      plan() and fill()
    TRL       pack_dataset(), then its DataCollatorForLanguageModeling, padding-free, with its lengths

`plan` is the part before the rows are filled. `lost` are tokens that come into no row, `cut` documents of which some
tokens are not in the same row as their first, `needless` those of them that would have fitted into a row. Each contestant
has a first call on a few documents before it is measured; what ours costs then (loading or compiling the kernels)
stands under `first_call_seconds`.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(
    0, str(Path(__file__).parent.parent)
)  # training.py beside this file has the name of the package

from training.corpus.sources import open_release
from training.tokens import packing
from training.tokens import tokenizer as tokenizers

BATCH = 8
OURS: dict[str, dict[str, Any]] = {
    "bfd": {},
    "bfd, window 1000": {"window": 1000},
    "concat": {"method": "concat"},
}
STRATEGIES = ("bfd_split", "bfd", "wrapped")
"""Of TRL; it packs windows of 1,000 documents, and "bfd" is its default."""


def tokens_of(release: Path, vocab_size: int, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """(flat ids uint16, tokens of each document with its end of text)."""
    texts: list[str] = []
    for batch in open_release(str(release)).batches(columns=["content"]):
        texts += [text for text in batch["content"].to_pylist() if text]
    if limit:
        texts = texts[:: max(1, len(texts) // limit)]
    some = texts[:: max(1, len(texts) // 1000)]
    tokenizer = tokenizers.train(some, vocab_size)
    documents: list[np.ndarray] = []
    end = np.array([tokenizer.control.end_of_text], dtype=np.uint16)
    for first in range(0, len(texts), 256):
        for ids in tokenizer.encode(texts[first : first + 256]):
            documents += [np.asarray(ids).astype(np.uint16), end]
    flat = np.concatenate(documents)
    ends = np.flatnonzero(flat == end[0])
    return flat, np.diff(np.concatenate(([-1], ends)))


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of `work`, and what it returned."""
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def ours(
    flat: np.ndarray, lengths: np.ndarray, capacity: int, how: dict[str, Any], repeats: int
) -> dict[str, Any]:
    """Figures of our packing with the settings `how`."""
    planning, filling = [], []
    for _ in range(repeats):
        seconds, plan = cpu(lambda: packing.plan(lengths, capacity, **how))
        planning.append(seconds)

        def fill(plan: packing.PackingPlan = plan) -> None:
            for first in range(0, plan.rows, BATCH):
                plan.fill(flat, np.arange(first, min(first + BATCH, plan.rows)), 1)

        filling.append(cpu(fill)[0])
    pieces = np.bincount(plan.document, minlength=len(lengths))
    cut = pieces > 1
    total = statistics.median(p + f for p, f in zip(planning, filling, strict=True))
    return {
        "rows": plan.rows,
        "filled": plan.filled,
        "lost": 1 - plan.tokens / len(flat),
        "cut": float(cut.mean()),
        "needless": float((cut & (lengths <= capacity)).mean()),
        "plan_seconds": statistics.median(planning),
        "seconds": total,
        "tokens_per_second": plan.tokens / total,
        "plan_bytes_per_document": plan.nbytes / len(lengths),
    }


def trl(flat: np.ndarray, lengths: np.ndarray, capacity: int, strategy: str, repeats: int) -> dict[str, Any]:
    """Figures of TRL's packing."""
    import datasets
    import pyarrow as pa
    from trl import pack_dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    datasets.disable_progress_bars()
    datasets.disable_caching()
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    numbered = pa.array(
        np.arange(len(flat), dtype=np.int32)
    )  # each token's place, to follow what becomes of it
    ids = pa.LargeListArray.from_arrays(pa.array(offsets), numbered)
    table = datasets.Dataset(pa.table({"input_ids": ids}))
    settings = {"map_kwargs": {"keep_in_memory": True, "load_from_cache_file": False}}
    collate = DataCollatorForLanguageModeling(pad_token_id=1, padding_free=True)
    planning, filling = [], []
    for _ in range(repeats):
        seconds, packed = cpu(lambda: pack_dataset(table, capacity, strategy, **settings))
        planning.append(seconds)

        def fill(packed: Any = packed) -> None:
            for first in range(0, len(packed), BATCH):
                collate([packed[i] for i in range(first, min(first + BATCH, len(packed)))])

        filling.append(cpu(fill)[0])
    kept = packed.with_format("arrow")[:]["input_ids"].combine_chunks()
    places = kept.flatten().to_numpy()
    row = np.repeat(np.arange(len(kept)), np.diff(kept.offsets.to_numpy()))
    owner = np.searchsorted(offsets, places, side="right") - 1
    least, most = np.full(len(lengths), len(kept)), np.full(len(lengths), -1)
    np.minimum.at(least, owner, row), np.maximum.at(most, owner, row)
    whole = np.bincount(owner, minlength=len(lengths)) == lengths
    cut = (most > least) | ~whole
    total = statistics.median(p + f for p, f in zip(planning, filling, strict=True))
    return {
        "rows": len(kept),
        "filled": len(places) / (len(kept) * capacity),
        "lost": 1 - len(places) / len(flat),
        "cut": float(cut.mean()),
        "needless": float((cut & (lengths <= capacity)).mean()),
        "plan_seconds": statistics.median(planning),
        "seconds": total,
        "tokens_per_second": len(places) / total,
    }


def main() -> None:
    """Read the arguments, measure, print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", type=Path)
    parser.add_argument("--length", type=int, action="append", help="row length; may be given several times")
    parser.add_argument("--vocab", type=int, default=16384)
    parser.add_argument("--documents", type=int, default=0, help="about so many documents; 0 is all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-trl", action="store_true")
    arguments = parser.parse_args()
    flat, lengths = tokens_of(arguments.release, arguments.vocab, arguments.documents)
    began = time.perf_counter()
    packing.plan(lengths[:3], 64).fill(flat, np.array([0]), 1)
    first = time.perf_counter() - began
    packing.plan(lengths[:3], 64, method="concat")
    rows: list[dict[str, Any]] = []
    for capacity in arguments.length or [2048]:
        for name, how in OURS.items():
            figures = ours(flat, lengths, capacity, how, arguments.repeats)
            rows.append({"length": capacity, "contestant": name, **figures})
        for strategy in () if arguments.no_trl else STRATEGIES:
            figures = trl(flat, lengths, capacity, strategy, max(1, arguments.repeats // 2))
            rows.append({"length": capacity, "contestant": f"TRL {strategy}", **figures})
    result = {
        "documents": len(lengths),
        "tokens": len(flat),
        "median": float(np.median(lengths)),
        "p90": float(np.percentile(lengths, 90)),
        "longest": int(lengths.max()),
        "python": platform.python_version(),
        "first_call_seconds": first,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "results": rows,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
