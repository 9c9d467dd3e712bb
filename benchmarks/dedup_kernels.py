"""What the kernels of `dedup` cost: ns per token by stage, documents per second, and what hostile texts cost.

    python benchmarks/dedup_kernels.py [DIR] [--documents 20000] [--rounds 7] [--json]

DIR: any folder with source code, the installed packages by default; of its distinct UTF-8 files of 1 B to 1 MiB
without NUL a random sample is taken. Process CPU time on one thread, compilation excluded, the least of the rounds
(other work on the machine only adds); each setting is a process of its own, whose peak memory is given above that of
the process before the work, the texts themselves not counted.

- stages: edges of tokens -> token hashes -> shingle hashes (a rolling polynomial) -> sketch. Each is the difference
  between running the stages up to it and those before it.
- hostile: texts of one form, in ns per byte beside the sample's. Nothing here may cost more than a small multiple.
- first use: a process that finds nothing compiled, and one that finds all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from dedup import sketch
from dedup.documents import as_documents
from dedup.shingles import (
    BITS_AT_ONCE,
    WINDOW_BYTES,
    _run_end,
    _shingle_hashes,
    _token_hashes,
    _word_and_operator_edges,
    _word_edges,
    shingle_blocks,
)

LARGEST = 1 << 20
STAGES = ("edges", "token hashes", "shingle hashes")
SETTINGS = [(operators, method) for operators in (False, True) for method in ("fast", "minhash")]


def documents(directory: Path) -> Iterator[bytes]:
    seen = set()
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file() or not 0 < path.stat().st_size <= LARGEST:
                continue
            body = path.read_bytes()
            digest = hashlib.sha256(body).digest()
            if digest in seen or b"\0" in body:
                continue
            seen.add(digest)
            try:
                body.decode()
            except UnicodeDecodeError:
                continue
            yield body


def hostile() -> dict[str, list[bytes]]:
    """Texts that an algorithm of another shape would be slow on."""
    draw = random.Random(1)
    names = [f"{draw.choice('abcdefgh')}{draw.randrange(10 ** draw.randrange(1, 4))}" for _ in range(5000)]
    line = "".join(f"function {draw.choice(names)}({draw.choice(names)}){{return {draw.choice(names)}}};"
                   for _ in range(60_000))  # fmt: skip
    han = [chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(3000)]
    return {
        "one token 10,000,000 times": [b"x " * 10_000_000],
        "one line of 50 MB": [(line * (1 + 50_000_000 // len(line))).encode()[:50_000_000]],
        "100,000 files of 5 to 30 tokens": [
            " ".join(draw.choices(names, k=draw.randrange(5, 31))).encode() for _ in range(100_000)
        ],
        "2,000 files of one line 500 times": [
            (" ".join(draw.choices(names, k=8)) + "\n").encode() * 500 for _ in range(2_000)
        ],
        "Chinese, words of 1 to 4 letters": [
            " ".join("".join(draw.choices(han, k=draw.randrange(1, 5))) for _ in range(2_000)).encode()
            for _ in range(1_000)
        ],
        "Chinese without any gap, 20 MB": ["".join(draw.choices(han, k=7_000_000)).encode()],
        "punctuation, 20 MB": ["".join(draw.choices("+-*/()[]{};:,.<>=!&|^%~", k=20_000_000)).encode()],
    }


@njit(nogil=True)
def stages(  # noqa: PLR0917 - called by position
    data: Any, starts: Any, stops: Any, operators: bool, last: int, edges: Any, tokens: Any, values: Any
) -> int:
    """The stages of dedup.shingles up to number `last`; returns how many tokens there are."""
    total = 0
    for d in range(starts.shape[0]):
        at, stop = starts[d], stops[d]
        while at < stop:
            end = min(at + WINDOW_BYTES, stop)
            if end < stop:
                end = _run_end(data, end, stop)
            found = (
                _word_and_operator_edges(data, at, end, edges)
                if operators
                else _word_edges(data, at, end, edges)
            )
            if last > 0:
                _token_hashes(data, at, found, edges, tokens, 0)
            if last > 1:
                _shingle_hashes(tokens, found, values, 0)
            total += found
            at = end
    return total


def least(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10  # KiB on Linux


def measure(texts: list[bytes], operators: bool, method: str, rounds: int) -> dict[str, Any]:
    """One setting, in this process."""
    array = pa.array(texts, pa.large_binary())
    size = sum(map(len, texts))
    sketch(array[:50], operators=operators, method=method)
    before = peak()
    made = sketch(array, operators=operators, method=method)
    above = peak() - before
    whole = least(lambda: sketch(array, operators=operators, method=method), rounds)
    shingles = least(lambda: [block.last for block in shingle_blocks(array, operators=operators)], rounds)

    given = as_documents(array)
    most = WINDOW_BYTES + LARGEST
    scratch = (
        np.empty(2 * (most + BITS_AT_ONCE), np.int32),
        np.empty(most, np.uint64),
        np.empty(most, np.uint64),
    )
    run = lambda last: stages(given.data, given.starts, given.stops, operators, last, *scratch)  # noqa: E731
    tokens = run(2)
    ends = [least(lambda last=last: run(last), rounds) for last in range(len(STAGES))]
    costs = dict(zip(STAGES, np.diff([0.0, *ends]).tolist(), strict=True))
    costs["sketch"] = whole - shingles
    return {
        "operators": operators,
        "method": method,
        "documents": len(texts),
        "bytes": size,
        "tokens": tokens,
        "shingles": int(made.counts.sum()),
        "ns_per_token": {name: 1e9 * cost / tokens for name, cost in costs.items()},
        "documents_per_s": len(texts) / whole,
        "mb_per_s": size / 1e6 / whole,
        "ns_per_byte": 1e9 * whole / size,
        "result_bytes": made.signatures.nbytes + made.counts.nbytes,
        "peak_bytes_above_start": above,
    }


def measure_hostile(rounds: int) -> dict[str, dict[str, float]]:
    """Form of text -> ns per byte of each mode."""
    found = {}
    for name, texts in hostile().items():
        array, size = pa.array(texts, pa.large_binary()), sum(map(len, texts))
        found[name] = {
            f"{'operators' if operators else 'words'} {method}": 1e9
            / size
            * least(
                lambda o=operators, m=method, a=array: sketch(a, operators=o, method=m), max(2, rounds // 3)
            )
            for operators, method in SETTINGS
        }
    return found


FIRST_USE = """
import time
before = time.process_time()
import dedup
imported = time.process_time()
dedup.compile_kernels()
print(imported - before, time.process_time() - imported)
"""


def first_use() -> dict[str, float]:
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("nothing compiled", "all compiled"):
            said = subprocess.run(
                [sys.executable, "-c", FIRST_USE],
                env={**os.environ, "NUMBA_CACHE_DIR": cache},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            found["import"], found[name] = float(said[0]), float(said[1])
    return found


def child(arguments: argparse.Namespace, only: str) -> Any:
    command = [sys.executable, __file__, str(arguments.directory), "--only", only]
    command += ["--documents", str(arguments.documents), "--rounds", str(arguments.rounds)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def sample(arguments: argparse.Namespace) -> list[bytes]:
    found = list(documents(arguments.directory))
    random.Random(0).shuffle(found)
    return found[: arguments.documents]


def show(measured: list[dict[str, Any]], texts: dict[str, dict[str, float]], first: dict[str, float]) -> None:
    one = measured[0]
    lengths = f"{one['documents']:,} documents, {one['bytes'] / 1e6:.0f} MB, {one['bytes'] / one['documents']:,.0f} B each"
    print(
        f"{lengths}\n\n{'ns per token':<22}" + "".join(f"{name:>16}" for name in (*STAGES, "sketch", "sum"))
    )
    for row in measured:
        costs = row["ns_per_token"]
        name = f"{'operators' if row['operators'] else 'words'} {row['method']}"
        print(f"{name:<22}" + "".join(f"{costs[key]:>16.2f}" for key in (*STAGES, "sketch"))
              + f"{sum(costs.values()):>16.2f}")  # fmt: skip
    print(
        f"\n{'whole':<22}{'documents/s':>16}{'MB/s':>16}{'B per token':>16}{'peak, MB':>16}{'result, MB':>16}"
    )
    for row in measured:
        name = f"{'operators' if row['operators'] else 'words'} {row['method']}"
        print(f"{name:<22}{row['documents_per_s']:>16,.0f}{row['mb_per_s']:>16,.0f}"
              f"{row['bytes'] / row['tokens']:>16.1f}{row['peak_bytes_above_start'] / 1e6:>16.0f}"
              f"{row['result_bytes'] / 1e6:>16.0f}")  # fmt: skip
    names = list(next(iter(texts.values())))
    print(f"\n{'ns per byte':<36}" + "".join(f"{name:>19}" for name in names))
    sampled = [row["ns_per_byte"] for row in measured]
    for name, costs in {"the sample": dict(zip(names, sampled, strict=True)), **texts}.items():
        print(f"{name:<36}" + "".join(f"{costs[key]:>19.2f}" for key in names))
    print("\nfirst use, CPU s: " + ", ".join(f"{name} {cost:.2f}" for name, cost in first.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only == "hostile":
        print(json.dumps(measure_hostile(arguments.rounds)))
    elif arguments.only:
        operators, method = SETTINGS[int(arguments.only)]
        print(json.dumps(measure(sample(arguments), operators, method, arguments.rounds)))
    else:
        measured = [child(arguments, str(number)) for number in range(len(SETTINGS))]
        texts, first = child(arguments, "hostile"), first_use()
        if arguments.json:
            print(json.dumps({"sample": measured, "hostile": texts, "first_use": first}))
        else:
            show(measured, texts, first)


if __name__ == "__main__":
    main()
