"""Near-duplicate removal side by side with datasketch, in one run on one core.

    python benchmarks/bench_dedup.py [DIR] [--signature-chunks 9] [--chunk 200] [--whole 4000] [--rounds 3] [--json]

DIR: any folder with source code, the installed packages by default; UTF-8 files of 1 B to 1 MiB without NUL are
taken. Two tables:

- signature: text -> 256-value sketch. Random chunks of documents; both tools on each chunk in turn, medians
  over chunks.
- whole: text -> duplicates, of a random subset. Each tool in a process of its own, in turns; medians over
  rounds, and the peak memory above that before the work. Ours is sha256, sketch, 42 x 6 bands, exact
  verification and decision; datasketch's is signatures, LSH at threshold 0.7 (its own choice of bands) and
  union-find, without verification, so its count of removed documents is another.

datasketch gets the same tokens and shingles as ours, made by a regular expression (its users write such a
step), and its default hash and scheme. Times are process CPU time; JIT compilation is done before the clock
starts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import datasketch
import psutil
import pyarrow as pa

from dedup import near_duplicates, sketch

LARGEST = 1 << 20
SLOTS = 256
TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "POLARS")}


def documents(directory: Path) -> Iterator[bytes]:
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file() or not 0 < path.stat().st_size <= LARGEST:
                continue
            body = path.read_bytes()
            try:
                body.decode()
            except UnicodeDecodeError:
                continue
            if b"\0" not in body:
                yield body


def peer_signature(text: bytes) -> datasketch.MinHash | None:
    tokens = TOKEN.findall(text)
    if len(tokens) < 5:
        return None
    minhash = datasketch.MinHash(num_perm=SLOTS)
    minhash.update_batch({b" ".join(tokens[i : i + 5]) for i in range(len(tokens) - 4)})
    return minhash


def peer_whole(texts: list[bytes]) -> int:
    """How many documents go: signatures, LSH, connected components."""
    index = datasketch.MinHashLSH(threshold=0.7, num_perm=SLOTS)
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, text in enumerate(texts):
        minhash = peer_signature(text)
        if minhash is None:
            continue
        for j in index.query(minhash):
            a, b = root(i), root(j)
            parent[max(a, b)] = min(a, b)
        index.insert(i, minhash, check_duplication=False)
    return sum(parent[i] != i for i in range(len(texts)))


def our_whole(texts: pa.Array) -> int:
    return near_duplicates(texts)["kept"].to_pylist().count(False)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def signature_stage(texts: list[bytes], chunks: int, size: int) -> dict[str, dict[str, float]]:
    draw = random.Random(0)
    rates: dict[str, list[tuple[float, float]]] = {"ours": [], "datasketch": []}
    sketch(pa.array(texts[:50], pa.large_binary()))
    for _ in range(chunks):
        chunk = draw.sample(texts, min(size, len(texts)))
        array = pa.array(chunk, pa.large_binary())
        megabytes = sum(map(len, chunk)) / 1e6
        for name, work in (
            ("ours", lambda array=array: sketch(array)),
            ("datasketch", lambda chunk=chunk: [peer_signature(text) for text in chunk]),
        ):
            spent = seconds(work)
            rates[name].append((len(chunk) / spent, megabytes / spent))
    return {
        name: {
            "docs_per_s": statistics.median(docs for docs, _ in found),
            "mb_per_s": statistics.median(megabytes for _, megabytes in found),
        }
        for name, found in rates.items()
    }


def whole_once(tool: str, texts: list[bytes]) -> dict[str, float]:
    """One whole run in this process."""
    near_duplicates(pa.array(texts[:50], pa.large_binary()))
    array = pa.array(texts, pa.large_binary())
    megabytes = sum(map(len, texts)) / 1e6
    before = psutil.Process().memory_info().rss
    removed: list[int] = []
    spent = seconds(lambda: removed.append(our_whole(array) if tool == "ours" else peer_whole(texts)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "docs_per_s": len(texts) / spent,
        "mb_per_s": megabytes / spent,
        "peak_mb": max(0, peak - before) / 1e6,
        "removed": removed[0],
    }


def whole_pipeline(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "datasketch": []}
    for _ in range(arguments.rounds):
        for tool, found in runs.items():
            command = [sys.executable, __file__, str(arguments.directory), "--whole", str(arguments.whole)]
            done = subprocess.run(
                [*command, "--only", tool],
                env={**os.environ, **ONE_THREAD},
                stdout=subprocess.PIPE,
                check=True,
            )
            found.append(json.loads(done.stdout))
    return {
        tool: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for tool, found in runs.items()
    }


def subset(texts: list[bytes], count: int) -> list[bytes]:
    return random.Random(1).sample(texts, min(count, len(texts))) if count else texts


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}")
    columns = list(next(iter(rows.values())))
    print(f"{'':12}" + "".join(f"{column:>14}" for column in columns))
    for name, row in rows.items():
        print(f"{name:12}" + "".join(f"{row[column]:14,.1f}" for column in columns))
    print(f"ours / datasketch: {rows['ours']['docs_per_s'] / rows['datasketch']['docs_per_s']:.1f} x docs/s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--signature-chunks", type=int, default=9)
    parser.add_argument("--chunk", type=int, default=200, help="documents per chunk")
    parser.add_argument("--whole", type=int, default=4000, help="documents of the whole run; 0: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=("ours", "datasketch"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    texts = list(documents(arguments.directory))
    if not texts:
        parser.error(f"no text files of at most {LARGEST} bytes under {arguments.directory}")
    chosen = subset(texts, arguments.whole)
    if arguments.only:
        print(json.dumps(whole_once(arguments.only, chosen)))
        return
    result = {
        "corpus": {"docs": len(texts), "mb": sum(map(len, texts)) / 1e6},
        "signature": signature_stage(texts, arguments.signature_chunks, arguments.chunk),
        "whole": whole_pipeline(arguments),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{result['corpus']['docs']:,} text files, {result['corpus']['mb']:,.1f} MB; one core, CPU time")
    show(f"signature ({arguments.signature_chunks} x {arguments.chunk} documents)", result["signature"])
    show(f"whole ({len(chosen):,} documents, {arguments.rounds} rounds)", result["whole"])


if __name__ == "__main__":
    main()
