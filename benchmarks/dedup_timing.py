"""What is timed: signatures of all peers in turn, and the work of one process (whole, growth, pairs)."""

from __future__ import annotations

import random
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from dedup_corpus import Corpus, read_corpus, replicas
from dedup_peers import PEERS, Peer

BASE = "datasketch"  # the peer that the others are compared with


def signatures(texts: list[bytes], chunks: int, size: int) -> list[dict[str, Any]]:
    """Time every peer on random chunks of the documents, interleaved; a row for each, installed or not."""
    loaded: dict[str, Any] = {}
    rows: dict[str, dict[str, Any]] = {}
    for peer in PEERS:
        rows[peer.name] = {"name": peer.name, "version": peer.version() or "this tree"}
        try:
            loaded[peer.name] = peer.load()
            peer.sign(loaded[peer.name], peer.prepare(texts[:20]))  # compiled and warm
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is what its row says
            loaded.pop(peer.name, None)
            rows[peer.name]["error"] = f"{type(error).__name__}: {error}"[:120]
    draw = random.Random(0)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in loaded}
    for _ in range(chunks):
        chunk = draw.sample(texts, min(size, len(texts)))
        megabytes = sum(map(len, chunk)) / 1e6
        for peer in PEERS:
            if peer.name in loaded:
                spent = _signing(peer, loaded[peer.name], chunk)
                rates[peer.name].append((len(chunk) / spent, megabytes / spent))
    for peer in PEERS:
        if peer.name not in loaded:
            continue
        docs = statistics.median(docs for docs, _ in rates[peer.name])
        row = rows[peer.name]
        row.update({"docs/s": docs, "MB/s": statistics.median(rate for _, rate in rates[peer.name])})
        row.update({"same shingles": peer.same, "given": peer.given})
        row["ours is faster by"] = statistics.median(
            ours / theirs for (ours, _), (theirs, _) in zip(rates["ours"], rates[peer.name], strict=True)
        )
        base = rates.get(BASE)
        row["x datasketch"] = (
            statistics.median(
                own / other for (own, _), (other, _) in zip(rates[peer.name], base, strict=True)
            )
            if base
            else float("nan")
        )
    return list(rows.values())


def _signing(peer: Peer, library: Any, chunk: Sequence[bytes]) -> float:
    """CPU seconds of one chunk: the shortest work repeats until the clock's grain does not matter."""
    prepared = peer.prepare(chunk)
    times, start = 0, time.process_time()
    while True:
        peer.sign(library, prepared)
        times += 1
        spent = time.process_time() - start
        if spent > 0.02:
            return spent / times


def work(what: dict[str, Any]) -> dict[str, Any]:
    """Do one measurement, in a process of its own."""
    corpus = read_corpus([Path(what["file"])])
    return {"whole": _whole, "growth": _growth, "pairs": _pairs}[what["task"]](what, corpus)


def _measured(task: Callable[[], Any]) -> tuple[Any, float, float]:
    """Run it: its result, CPU seconds, and peak memory above that before, in MB."""
    _forget_peak()
    before = psutil.Process().memory_info().rss
    start = time.process_time()
    result = task()
    spent = time.process_time() - start
    return result, spent, max(0, _peak() - before) / 1e6


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: the high-water mark starts again


def _peak() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _whole(what: dict[str, Any], corpus: Corpus) -> dict[str, Any]:
    chosen = corpus.sample(what["count"])
    if what["tool"] == "ours":
        import dedup

        dedup.compile_kernels()
        array = chosen.array()
        table, spent, peak = _measured(lambda: dedup.near_duplicates(array))
        removed = table["kept"].to_pylist().count(False)
    else:
        import dedup_recall

        (low, high, _), spent, peak = _measured(lambda: dedup_recall.datasketch_pairs(chosen))
        start = time.process_time()
        removed = int(dedup_recall.components(len(chosen), low.tolist(), high.tolist()).sum())
        spent += time.process_time() - start
    return {
        "documents": len(chosen),
        "CPU s": spent,
        "docs/s": len(chosen) / spent,
        "MB/s": chosen.megabytes / spent,
        "peak MB": peak,
        "removed": removed,
    }


def _growth(what: dict[str, Any], corpus: Corpus) -> dict[str, Any]:
    import dedup

    dedup.compile_kernels()
    texts = replicas(corpus.sample(what["count"]).texts, what["times"])
    grown = Corpus(texts, [], "")
    array = grown.array()
    table, spent, peak = _measured(lambda: dedup.near_duplicates(array))
    start = time.process_time()
    sketches = dedup.sketch(array)
    sketched = time.process_time()
    keys = dedup.band_keys(sketches.signatures, sketches.counts)
    pairs = dedup.bucket_pairs(keys.keys, keys.index)
    paired = time.process_time()
    return {
        "documents": len(texts),
        "MB": grown.megabytes,
        "candidate pairs": len(pairs),
        "in a pair": len(np.unique(np.concatenate((pairs.low, pairs.high)))),
        "removed": table["kept"].to_pylist().count(False),
        "CPU s": spent,
        "sketch s": sketched - start,
        "candidates s": paired - sketched,
        "the rest s": max(0.0, spent - (paired - start)),
        "peak MB": peak,
    }


def _pairs(what: dict[str, Any], corpus: Corpus) -> dict[str, Any]:
    import dedup_join
    from dedup_recall import pack, ratio

    if what["peer"] == "ours, verified":
        found, peak = _ours_verified(corpus)
    else:
        peer = next(peer for peer in PEERS if peer.name == what["peer"])
        library = peer.load()
        prepared = peer.prepare(corpus.texts)
        peer.sign(library, peer.prepare(corpus.texts[:20]))
        signed, _, peak = _measured(lambda: peer.sign(library, prepared))
        found = peer.pairs(library, signed)
    true = dedup_join.similarity_join(dedup_join.shingle_sets(corpus.texts))
    truth = set(pack(true.low, true.high).tolist())
    hits = sum((low << 32 | high) in truth for low, high in found)
    return {
        "peak MB": peak,
        "true pairs": len(true),
        "pairs found": len(found),
        "recall": ratio(hits, len(true)),
        "precision": ratio(hits, len(found)),
    }


def _ours_verified(corpus: Corpus) -> tuple[set[tuple[int, int]], float]:
    """Pairs of the default bands at which the exact similarity reaches 0.7; memory is of the whole call."""
    import dedup

    array = corpus.array()
    dedup.compile_kernels()
    _, _, peak = _measured(lambda: dedup.near_duplicates(array))
    sketches = dedup.sketch(array)
    keys = dedup.band_keys(sketches.signatures, sketches.counts)
    pairs = dedup.bucket_pairs(keys.keys, keys.index)
    sets, limit = dedup.shingle_sets(array), dedup.Threshold.of("0.7")
    true = limit.reached(*dedup.intersections(sets, sets, pairs.low, pairs.high))
    return set(zip(pairs.low[true].tolist(), pairs.high[true].tolist(), strict=True)), peak
