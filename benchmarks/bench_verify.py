"""Verification against coreutils: `sha256sum`, our checksums, and the whole of `verify_release`, same files, one run.

    python benchmarks/bench_verify.py [DIR] [--megabytes N] [--shards N] [--rounds N] [--threads N]

Without DIR a release of N megabytes of text-like shards is made in a temporary folder (it compresses hardly, as bytes
that nobody has seen before do). All files are read once before the first round, so the disk is not measured. The
contestants take turns in each round; each is a process or a call with `--threads` files at a time: `xargs -P` for
sha256sum, threads for ours. Wall seconds, median of the rounds; the ratio is that to sha256sum of the same round.
Peak memory is that of this process, in MiB, after the checksums and after all of it; the release is made in another
process. One JSON object per contestant.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manifests.checksums import sha256_files
from manifests.reader import Release
from manifests.verify import verify_release

FACTORY = Path(__file__).parent.parent / "tests/manifests/release_factory.py"


def make(folder: Path, megabytes: int, shards: int) -> Path:
    """A release with a language per shard, of texts of 16 kB of hexadecimal noise."""
    spec = importlib.util.spec_from_file_location("release_factory", FACTORY)
    assert spec is not None and spec.loader is not None
    factory: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = factory
    spec.loader.exec_module(factory)
    rng = random.Random(0)
    per_shard = max(1, megabytes * 1_000_000 // (shards * 16_000))
    texts = {
        f"Language {number}": [rng.randbytes(8_000).hex() for _ in range(per_shard)]
        for number in range(shards)
    }
    return factory.make_release(folder, texts=texts, split=1 << 30)


def coreutils(release: Path, names: list[str], threads: int) -> None:
    subprocess.run(
        ["xargs", "-0", "-n", "1", "-P", str(threads), "sha256sum"],
        input="\0".join(names).encode(),
        cwd=release,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as scratch:
        release = args.folder
        if release is None:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                release = pool.apply(make, (Path(scratch), args.megabytes, args.shards))
        facts = Release.open(release).manifest.listed()
        names = list(facts)
        size = sum(entry.bytes for entry in facts.values())

        def ours() -> None:
            found = sha256_files(release, names, threads=args.threads)
            assert all(found[name] == (facts[name].sha256, facts[name].bytes) for name in names)

        def everything() -> None:
            report = verify_release(release, threads=args.threads)
            assert report.ok, report.faults[:3]

        contestants: dict[str, Callable[[], None]] = {
            "sha256sum": lambda: coreutils(release, names, args.threads),
            "stackmill checksums": ours,
            "stackmill verify": everything,
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        coreutils(release, names, args.threads)  # into the page cache
        ours()
        after_checksums = peak()
        for _ in range(args.rounds):
            for name, run in contestants.items():
                begin = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - begin)
    for name, found in seconds.items():
        ratios = [mine / theirs for mine, theirs in zip(found, seconds["sha256sum"], strict=True)]
        print(
            json.dumps(
                {
                    "contestant": name,
                    "files": len(names),
                    "megabytes": round(size / 1e6, 1),
                    "threads": args.threads,
                    "rounds": args.rounds,
                    "seconds": round(statistics.median(found), 3),
                    "megabytes_per_second": round(size / 1e6 / statistics.median(found), 1),
                    "ratio_to_sha256sum": round(statistics.median(ratios), 2),
                }
            )
        )
    print(json.dumps({"peak_rss_mib_checksums": after_checksums, "peak_rss_mib_verify": peak()}))


if __name__ == "__main__":
    main()
