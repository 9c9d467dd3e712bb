"""The program behind benchmarks/dedup.py: its parts, and the tables that it prints.

One core: the process and its children are bound to one CPU, thread variables are 1, and times are CPU seconds
of the process, user and system. JIT compilation and imports come before the clock starts.

- signature: text -> 256-value signature. Random chunks of documents; every peer on each chunk in turn; medians
  over chunks.
- pairs: the signatures of each peer, in a process of its own, on documents of which half have a true duplicate:
  peak memory above the start, and recall and precision of the pairs that agree on one of 25 bands of 10 values
  against the exact join; the last row is ours with its own bands and verification.
- whole: text -> duplicates, a process for each tool and round, in turns; medians. Ours: exact and near, exact
  verification. datasketch: signatures and LSH at 0.7 with its own choice of bands, no verification.
- growth: the whole of ours on 1, 2, 4 and 8 times the documents, the others being edited copies.
- recall: every removal and every kept pair of ours held against the exact join; what datasketch's pairs do.
- bands: a table of bands x rows.

Without `--corpus` the documents are those of the default archive (configs/release-local.yaml).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PARTS = ("signature", "pairs", "whole", "growth", "recall", "bands")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON")} | {
    "POLARS_MAX_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
DUPLICATES_SHARE = 2  # of the documents of `pairs`, one in two has a true duplicate
MOST_OF_A_GROUP = 10  # documents of `pairs` from one group of near-duplicates: no group decides the recall


def arguments_of(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/dedup.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument(
        "--corpus", nargs="+", type=Path, default=[], metavar="PLACE", help="folders, Parquet files"
    )
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="paths to pass over")
    parser.add_argument("--chunks", type=int, default=9, help="signature: chunks")
    parser.add_argument("--chunk", type=int, default=200, help="signature: documents per chunk")
    parser.add_argument("--pairs", type=int, default=2000, help="pairs: documents")
    parser.add_argument("--whole", type=int, default=4000, help="whole: documents; 0: all")
    parser.add_argument("--rounds", type=int, default=3, help="whole, growth: rounds")
    parser.add_argument("--growth", type=int, default=6000, help="growth: documents of 1x")
    parser.add_argument("--truth", type=Path, metavar="FILE.npz", help="where the exact join is kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = parser.parse_args(given)
    unknown = sorted(set(chosen.parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    chosen.parts = chosen.parts or list(PARTS)
    return chosen


def main(given: Sequence[str] | None = None) -> None:
    arguments = arguments_of(given)
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ.update(ONE_THREAD)  # read when the libraries are loaded: begin again
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if arguments.worker:
        from dedup_timing import work

        print(json.dumps(work(json.loads(arguments.worker))))
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from dedup_corpus import read_corpus

    corpus = read_corpus(arguments.corpus, arguments.exclude)
    if not len(corpus):
        sys.exit("benchmarks/dedup.py: no text files of 1 B to 1 MiB there")
    result: dict[str, Any] = {
        "corpus": {"source": corpus.source, "documents": len(corpus), "mb": corpus.megabytes},
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    print(f"{corpus.source}: {len(corpus):,} distinct files, {corpus.megabytes:,.1f} MB; {result['date']}")
    print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as scratch:
        held = Path(scratch, "corpus.parquet")
        corpus.write(held)
        for part in arguments.parts:
            result[part] = RUN[part](arguments, corpus, held)
            if arguments.json:
                arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    from dedup_peers import PEERS

    names = [
        "numpy",
        "numba",
        "pyarrow",
        *dict.fromkeys(peer.distribution for peer in PEERS if peer.distribution),
    ]
    found = {"Python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def worker(what: dict[str, Any]) -> dict[str, Any]:
    """Run one measurement in a process of its own, on one core; an error of the peer is its result."""
    command = [sys.executable, str(Path(__file__).parent / "dedup.py"), "--worker", json.dumps(what)]
    done = subprocess.run(
        command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[dict[str, Any]]) -> None:
    """Print a Markdown table; `columns`: (key, format). A row with an `error` shows it in its second cell."""
    print(f"\n{title}\n")
    print("| " + " | ".join(key for key, _ in columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        if "error" in row:
            print(f"| {row[columns[0][0]]} | not run: {row['error']} |" + " |" * (len(columns) - 2))
        else:
            print("| " + " | ".join(format(row[key], spec) for key, spec in columns) + " |", flush=True)


def signature_part(arguments: argparse.Namespace, corpus: Any, _: Path) -> list[dict[str, Any]]:
    from dedup_timing import signatures

    rows = signatures(corpus.texts, arguments.chunks, arguments.chunk)
    table(
        f"signature: {arguments.chunks} chunks of {arguments.chunk} documents, medians",
        (
            ("name", ""),
            ("version", ""),
            ("docs/s", ",.0f"),
            ("MB/s", ",.1f"),
            ("x datasketch", ".2f"),
            ("ours is faster by", ".1f"),
            ("same shingles", ""),
            ("given", ""),
        ),
        rows,
    )
    return rows


def pairs_part(arguments: argparse.Namespace, corpus: Any, _: Path) -> list[dict[str, Any]]:
    from dedup_corpus import Corpus
    from dedup_peers import PEERS
    from dedup_recall import groups, truth_of

    truth = truth_of(corpus, arguments.truth)
    group = groups(len(corpus), truth.pairs.low.tolist(), truth.pairs.high.tolist())
    chosen = with_duplicates(group, truth.pairs, arguments.pairs)
    part = Corpus([corpus.texts[i] for i in chosen], [corpus.paths[i] for i in chosen], corpus.source)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as scratch:
        held = Path(scratch, "pairs.parquet")
        part.write(held)
        for name in [peer.name for peer in PEERS] + ["ours, verified"]:
            found = worker({"task": "pairs", "peer": name, "file": str(held)})
            rows.append({"name": name, **found})
    table(
        f"pairs: {len(part):,} documents, {part.megabytes:,.1f} MB; 25 x 10 bands",
        (
            ("name", ""),
            ("peak MB", ",.0f"),
            ("true pairs", ",d"),
            ("pairs found", ",d"),
            ("recall", ".3f"),
            ("precision", ".3f"),
        ),
        rows,
    )
    return rows


def with_duplicates(group: Any, pairs: Any, wanted: int) -> list[int]:
    """Choose documents, half of them (as far as there are any) ends of true pairs, each with its partner.

    `group`: the number of each document's group of near-duplicates; about ten documents of one are taken.
    """
    import random

    draw = random.Random(3)
    chosen: set[int] = set()
    order = list(range(len(pairs)))
    draw.shuffle(order)
    taken: Counter[int] = Counter()
    for i in order:
        if taken[int(group[pairs.low[i]])] >= MOST_OF_A_GROUP:
            continue
        if len(chosen) + 2 > wanted // DUPLICATES_SHARE:
            break
        ends = {int(pairs.low[i]), int(pairs.high[i])}
        taken[int(group[pairs.low[i]])] += len(ends - chosen)
        chosen |= ends
    others = [i for i in range(len(group)) if i not in chosen]
    draw.shuffle(others)
    return sorted(chosen | set(others[: max(0, wanted - len(chosen))]))


def whole_part(arguments: argparse.Namespace, corpus: Any, held: Path) -> list[dict[str, Any]]:
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "datasketch": []}
    for _ in range(arguments.rounds):
        for name, found in runs.items():
            found.append(worker({"task": "whole", "tool": name, "file": str(held), "count": arguments.whole}))
    rows = [{"name": name, **medians(found)} for name, found in runs.items()]
    table(
        f"whole: medians of {arguments.rounds} rounds",
        (
            ("name", ""),
            ("documents", ",.0f"),
            ("CPU s", ",.2f"),
            ("docs/s", ",.0f"),
            ("MB/s", ",.1f"),
            ("peak MB", ",.0f"),
            ("removed", ",.0f"),
        ),
        rows,
    )
    if all("docs/s" in row for row in rows):
        print(f"\nours / datasketch: {rows[0]['docs/s'] / rows[1]['docs/s']:.1f} x docs/s")
    return rows


def growth_part(arguments: argparse.Namespace, corpus: Any, held: Path) -> list[dict[str, Any]]:
    times = (1, 2, 4, 8)
    runs: dict[int, list[dict[str, Any]]] = {n: [] for n in times}
    for _ in range(arguments.rounds):
        for n, found in runs.items():
            found.append(worker({"task": "growth", "times": n, "file": str(held), "count": arguments.growth}))
    rows = [{"times": f"{n}x", **medians(found)} for n, found in runs.items()]
    for row in rows:
        if "error" not in row and "error" not in rows[0]:
            row["CPU x"] = row["CPU s"] / rows[0]["CPU s"]
            row["pairs x"] = row["candidate pairs"] / rows[0]["candidate pairs"]
    table(
        f"growth: medians of {arguments.rounds} rounds",
        (
            ("times", ""),
            ("documents", ",.0f"),
            ("MB", ",.0f"),
            ("candidate pairs", ",.0f"),
            ("in a pair", ",.0f"),
            ("removed", ",.0f"),
            ("CPU s", ",.2f"),
            ("sketch s", ",.2f"),
            ("candidates s", ",.2f"),
            ("the rest s", ",.2f"),
            ("peak MB", ",.0f"),
            ("CPU x", ".1f"),
            ("pairs x", ".1f"),
        ),
        rows,
    )
    return rows


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    import statistics

    failed = [run for run in runs if "error" in run]
    return failed[0] if failed else {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def recall_part(arguments: argparse.Namespace, corpus: Any, _: Path) -> dict[str, Any]:
    import dedup_recall as recall

    truth = recall.truth_of(corpus, arguments.truth)
    found = recall.ours(corpus, truth)
    cost = truth.cost
    print(
        f"\nrecall: exact join of {len(corpus):,} files, {cost['shingles']:,.0f} shingles, "
        f"{cost['distinct_shingles']:,.0f} distinct: {len(truth.pairs):,} pairs; "
        f"{cost['numbering_cpu_s'] + cost['join_cpu_s']:,.0f} CPU s\n"
    )
    for name, value in found.items():
        if not isinstance(value, list):
            print(f"- {name.replace('_', ' ')}: {value:,}")
    columns = (("from", ""), ("pairs", ",d"), ("recall", ".5f"), ("recall_candidates", ".3f"))
    table("true pairs by similarity", columns, found["by_similarity"])
    table("true pairs by shingles of the smaller file", columns, found["by_shingles_of_the_smaller"])
    rows = [{"name": "ours", **recall.outcome(found)}]
    try:
        low, high, spent = recall.datasketch_pairs(corpus)
        rows.append(
            {"name": "datasketch, LSH at 0.7", "CPU s": spent, **recall.peer(corpus, truth, low, high)}
        )
    except ImportError as error:
        rows.append({"name": "datasketch, LSH at 0.7", "error": str(error)})
    table(
        "removal, held against the join",
        (
            ("name", ""),
            ("pairs", ",d"),
            ("recall", ".4f"),
            ("precision", ".3f"),
            ("removed", ",d"),
            ("wrong", ",d"),
            ("alone", ",d"),
            ("left_over", ",d"),
        ),
        rows,
    )
    return {"join": cost, "ours": found, "removal": rows}


def bands_part(arguments: argparse.Namespace, corpus: Any, _: Path) -> list[dict[str, Any]]:
    import dedup_recall as recall

    rows = recall.bands_table(corpus, recall.truth_of(corpus, arguments.truth))
    table(
        "bands x rows, on the same sketches",
        (
            ("bands", "d"),
            ("rows", "d"),
            ("recall", ".4f"),
            ("recall_070_075", ".4f"),
            ("recall_candidates", ".3f"),
            ("candidates", ",d"),
            ("precision", ".3f"),
            ("hot_buckets", ",d"),
            ("candidates_cpu_s", ".2f"),
            ("whole_cpu_s", ".2f"),
            ("removed", ",d"),
            ("wrong", ",d"),
            ("left_over", ",d"),
            ("unverified_removed", ",d"),
            ("unverified_wrong", ",d"),
            ("unverified_alone", ",d"),
        ),
        rows,
    )
    return rows


RUN: dict[str, Callable[[argparse.Namespace, Any, Path], Any]] = {
    "signature": signature_part,
    "pairs": pairs_part,
    "whole": whole_part,
    "growth": growth_part,
    "recall": recall_part,
    "bands": bands_part,
}
