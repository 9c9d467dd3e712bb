"""Quality signals: MB/s of a core for all of them together, by kernel, and beside others, in turn, on the same texts.

    python benchmarks/signals.py                            # texts of the default release's input
    python benchmarks/signals.py FOLDER ... [--peers DIR]   # other texts; DIR: a folder of site-packages with datatrove and spacy

Every contender gets the same random chunks one after the other; given are medians of the time of this process, and medians of the
ratios within a chunk. What the others compute is less: it is said in the table.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import pyarrow as pa
from dedup_corpus import read_corpus

from pipeline.content.buffers import buffers
from pipeline.content.generated import marked_generated
from pipeline.content.signal_schema import SCHEMA
from pipeline.content.signals import signals
from pipeline.content.signals_characters import count_characters
from pipeline.content.signals_encoded import find_encoded
from pipeline.content.signals_forms import has_xml_head, is_lfs_pointer
from pipeline.content.signals_lines import measure_lines
from pipeline.content.signals_phrases import count_phrases
from pipeline.content.signals_repetition import count_repeated
from pipeline.content.signals_runs import measure_runs

BASE64 = r"[a-zA-Z0-9+/\n=]{64,}"
HEX = r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}"
ESCAPES = r"(?:\\u[0-9a-fA-F]{4}){8,}"
PATTERNS = [re.compile(one, re.ASCII) for one in (BASE64, HEX, ESCAPES)]

KERNELS: dict[str, Callable[[np.ndarray, np.ndarray, pa.Array], Any]] = {
    "lines, indentation, brackets": lambda data, offsets, _: measure_lines(data, offsets),
    "characters, entropy": lambda data, offsets, _: count_characters(data, offsets),
    "words, repeated lines": lambda data, offsets, _: count_repeated(data, offsets),
    "encoded data": lambda data, offsets, _: find_encoded(data, offsets),
    "pieces, lists of numbers": lambda data, offsets, _: measure_runs(data, offsets),
    "phrases": lambda data, offsets, _: count_phrases(data, offsets),
    "generated, LFS, XML": lambda _d, _o, texts: (
        marked_generated(texts),
        is_lfs_pointer(texts),
        has_xml_head(texts),
    ),
}


def ours(texts: pa.Array) -> Any:
    return signals(texts)


def plain_python(texts: Sequence[str]) -> Any:
    """The published statistics of The Stack v2, as a loop over files takes them."""
    found = []
    for text in texts:
        lengths = [len(line) for line in text.splitlines()] or [0]
        inside = [len(match.group()) for pattern in PATTERNS for match in pattern.finditer(text)]
        size = len(text) or 1
        found.append(
            (
                len(lengths),
                sum(lengths) / len(lengths),
                max(lengths),
                sum(map(str.isalpha, text)) / size,
                sum(map(str.isalnum, text)) / size,
                sum(inside) / size,
                max(inside, default=0),
            )
        )
    return found


def polars_expressions(frame: Any) -> Any:
    """The same in expressions of polars (Rust), on one thread."""
    import polars

    text, lines = (
        polars.col("text"),
        polars.col("text").str.split("\n").list.eval(polars.element().str.len_chars()),
    )
    inside = [
        text.str.extract_all(one).list.eval(polars.element().str.len_chars())
        for one in (BASE64, HEX.replace("\\b", "(?-u:\\b)"), ESCAPES)
    ]
    size = text.str.len_chars()
    return frame.select(
        lines.list.len().alias("num_lines"),
        lines.list.mean().alias("avg"),
        lines.list.max().alias("max"),
        (text.str.count_matches(r"\pL") / size).alias("alpha"),
        (text.str.count_matches(r"[\pL\pN]") / size).alias("alphanum"),
        (sum(one.list.sum() for one in inside) / size).alias("encoded"),
        polars.max_horizontal([one.list.max() for one in inside]).alias("longest"),
    )  # fmt: skip


def datatrove_filters(state: Any) -> Any:
    documents, filters = state
    return [one.filter(document) for document in documents for one in filters]


def contenders(
    texts: Sequence[bytes],
) -> dict[str, tuple[str, Callable[[Any], Any], Callable[[Sequence[bytes]], Any]]]:
    """Name -> what it computes, the function, and what makes its argument (not timed)."""

    def strings(chunk: Sequence[bytes]) -> list[str]:
        return [text.decode() for text in chunk]

    found: dict[str, Any] = {
        "ours": (f"{len(SCHEMA)} signals", ours, lambda chunk: pa.array(chunk, pa.large_binary())),
        "plain Python": ("7 of them: lines, letters, encoded data", plain_python, strings),
    }
    try:
        import polars

        found[f"polars {polars.__version__}"] = (
            "the same 7, lines by line feeds only",
            polars_expressions,
            lambda chunk: polars.DataFrame({"text": strings(chunk)}),
        )
    except ImportError:
        print("polars is not installed: left out", file=sys.stderr)
    try:
        import datatrove
        from datatrove.data import Document
        from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

        # Bounds that nothing reaches, so that all is computed; n-grams, which we have not, are left out.
        filters = [
            GopherRepetitionFilter(2, 2, 2, 2, (), ()),
            GopherQualityFilter(0, 10**9, 0, 10**9, 10, 10, 10, 0, 0),
        ]
        filters[0].filter(Document(text="a b", id="0"))
        found["datatrove"] = (
            "GopherRepetition (lines, paragraphs; no n-grams) and GopherQuality: 11 statistics",
            datatrove_filters,
            lambda chunk: ([Document(text=text, id="0") for text in strings(chunk)], filters),
        )
        del datatrove
    except Exception as error:  # noqa: BLE001 - whatever keeps it from running is said
        print(f"datatrove: left out: {type(error).__name__}: {error}"[:200], file=sys.stderr)
    return found


def resident(name: str, *, forget_peak: bool = False) -> float:
    """Memory of this process in MB, by a name of /proc/self/status: now, or at most since the peak was forgotten."""
    if forget_peak:
        pa.default_memory_pool().release_unused()
        ctypes.CDLL(None).malloc_trim(0)  # else what is free already would be used first
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return float("nan") if found is None else int(found[1]) / 1024


def rate(function: Callable[[], Any], megabytes: float) -> float:
    started = time.process_time()
    function()
    return megabytes / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--chunks", type=int, default=7)
    parser.add_argument("--chunk-files", type=int, default=600)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.peers is not None:
        sys.path.append(str(options.peers))
    corpus = read_corpus(options.places)
    whole = corpus.array()
    _, offsets, data = buffers(whole)
    signals(whole[:200])  # compiled
    before = resident("VmRSS", forget_peak=True)
    all_rates = [rate(lambda: signals(whole), corpus.megabytes) for _ in range(5)]
    peak = resident("VmHWM") - before
    kernels = {
        name: statistics.median(rate(lambda f=f: f(data, offsets, whole), corpus.megabytes) for _ in range(5))
        for name, f in KERNELS.items()
    }
    kernels["(reading the bytes once)"] = statistics.median(
        rate(lambda: data[: len(data) // 8 * 8].view(np.uint64).sum(), corpus.megabytes) for _ in range(5)
    )
    found = contenders(corpus.texts)
    rates: dict[str, list[float]] = {name: [] for name in found}
    draw = random.Random(0)
    for _ in range(options.chunks):
        chunk = draw.sample(corpus.texts, min(options.chunk_files, len(corpus)))
        megabytes = sum(map(len, chunk)) / 1e6
        for name, (_, function, prepare) in found.items():
            given = prepare(chunk)
            rates[name].append(rate(lambda given=given, function=function: function(given), megabytes))
    result = {
        "texts": len(corpus),
        "megabytes": round(corpus.megabytes, 1),
        "source": corpus.source,
        "all signals, MB/s": round(statistics.median(all_rates), 1),
        "peak memory above the texts, MB": round(peak, 1),
        "kernels, MB/s": {name: round(value) for name, value in kernels.items()},
        "contenders": {
            name: {
                "computes": what,
                "MB/s": round(statistics.median(rates[name]), 2),
                "ours is faster by": round(
                    statistics.median(a / b for a, b in zip(rates["ours"], rates[name], strict=True)), 1
                ),
            }
            for name, (what, _, _) in found.items()
        },
    }
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{len(corpus):,} texts, {corpus.megabytes:,.1f} MB: {corpus.source}")
    peak_words = f"{result['peak memory above the texts, MB']} MB of memory above the texts"
    print(f"all {len(SCHEMA)} signals: {result['all signals, MB/s']} MB/s, {peak_words}")
    for name, value in kernels.items():
        print(f"  {value:10,.0f} MB/s  {name}")
    for name, row in result["contenders"].items():
        print(
            f"{name:<16} {row['MB/s']:8.2f} MB/s  ours is {row['ours is faster by']:6.1f}x  {row['computes']}"
        )


if __name__ == "__main__":
    main()
