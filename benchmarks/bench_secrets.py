"""Secrets and personal data: our scan at every sensitivity against detect-secrets, same texts, one run.

    python benchmarks/bench_secrets.py [DIR] [--megabytes N] [--peer-megabytes N] [--rounds N]

Without DIR: the installed Python packages.  A random choice of text files (fixed seed) up to N megabytes is
read into memory, then each contestant scans it on one core; process CPU time, median of the rounds, without
start-up (given apart).  detect-secrets scans the first `--peer-megabytes` only, with its default plugins and
filters, through the entry point that it uses for files.  Memory is the peak of the process after each
contestant, in the order shown; subtract the one before.  One JSON object per contestant; no value is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from detect_secrets.core import scan as detect_secrets_scan
from detect_secrets.settings import default_settings

from pii import SENSITIVITIES, Settings, redact_batch, scan
from pii.detect_secrets_gate import NEUTRAL_NAME, gate
from pii.matcher import matcher_for


def texts(folder: Path, megabytes: float) -> list[bytes]:
    """Distinct UTF-8 files below 1 MB in an order that depends on their names only."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    random.Random(0).shuffle(files)
    out: dict[bytes, None] = {}
    size = 0
    for file in files:
        if size > megabytes * 1e6:
            break
        if not 0 < file.stat().st_size < 1_000_000:
            continue
        body = file.read_bytes()
        try:
            body.decode()
        except UnicodeDecodeError:
            continue
        if b"\0" not in body and body not in out:
            out[body] = None
            size += len(body)
    return list(out)


def batches(bodies: list[bytes]) -> list[pa.Array]:
    """Arrow arrays of about a thousand texts."""
    return [pa.array(bodies[i : i + 1000], pa.large_binary()) for i in range(0, len(bodies), 1000)]


def line_scan(body: bytes) -> Iterator[str]:
    """Types of what detect-secrets finds in one text."""
    lines = body.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    numbered = list(enumerate(lines, 1))
    for secret in detect_secrets_scan._process_line_based_plugins(numbered, NEUTRAL_NAME):
        yield secret.type


def measure(name: str, bodies: list[bytes], rounds: int, run: Callable[[], Counter[str]]) -> None:
    """Print the figures of one contestant."""
    seconds = []
    for _ in range(rounds):
        begin = time.process_time()
        found = run()
        seconds.append(time.process_time() - begin)
    megabytes = sum(map(len, bodies)) / 1e6
    print(
        json.dumps(
            {
                "contestant": name,
                "files": len(bodies),
                "megabytes": round(megabytes, 2),
                "megabytes_per_second": round(megabytes / statistics.median(seconds), 2),
                "rounds": rounds,
                "findings": found.total(),
                "findings_per_megabyte": round(found.total() / megabytes, 3),
                "by_kind": dict(sorted(found.items())),
                "peak_rss_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
            }
        ),
        flush=True,
    )


def main() -> None:
    """Run all contestants."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--peer-megabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    bodies = texts(args.folder, args.megabytes)
    if not bodies:
        sys.exit(f"no UTF-8 text files below {args.folder}")
    arrays = batches(bodies)

    begin = time.process_time()
    gate()
    for sensitivity in SENSITIVITIES:
        matcher_for(Settings(sensitivity=sensitivity).active_rules)
    print(json.dumps({"compile_seconds": round(time.process_time() - begin, 3)}), flush=True)

    for sensitivity in SENSITIVITIES:

        def ours(sensitivity: str = sensitivity) -> Counter[str]:
            kinds: Counter[str] = Counter()
            for array in arrays:
                kinds.update(scan(array, Settings(sensitivity=sensitivity))["kind"].to_pylist())
            return kinds

        measure(f"stackmill {sensitivity}", bodies, args.rounds, ours)

    def released() -> Counter[str]:
        for array in arrays:
            redact_batch(array, scan(array))
        return Counter()

    measure("stackmill scan and redact", bodies, args.rounds, released)

    part: list[bytes] = []
    for body in bodies:
        if sum(map(len, part)) > args.peer_megabytes * 1e6:
            break
        part.append(body)
    with default_settings():
        # Two rounds at most: it is slow, and the figure is steady.
        measure(
            "detect-secrets",
            part,
            min(args.rounds, 2),
            lambda: Counter(t for b in part for t in line_scan(b)),
        )
    measure(
        "stackmill gate alone",
        part,
        args.rounds,
        lambda: Counter(f.type for b in part for f in gate().findings(b.decode())),
    )


if __name__ == "__main__":
    main()
