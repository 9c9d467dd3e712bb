"""What an update costs: a release after 2 of its origins changed, beside the same release made from nothing.

    python benchmarks/bench_incremental.py [--files 60000] [--workers 2] [--buckets N] [--no-scancode] [--rounds 1]
                                           [--in-process] [--dir PATH ...] [--folder DIR] [--json]

The input is real code: the installed distributions and the standard library, as `pipeline archive --installed` takes them (at
most `--files` files, each distribution an origin), the folders given by `--dir` (each an origin), and two origins more, of
files of the standard library. In the second archive these two have one file more, one file less and one edited. Each round:

1. first:       a release of the first archive in an empty work directory, what an update builds upon;
2. update:      a release of the second archive in that work directory;
3. from nothing: a release of the second archive in an empty work directory.

All are the command `pipeline release` in a process of its own, start of Python and Ray included. 2 and 3 must have one digest.
Reported are medians over the rounds: wall seconds, CPU seconds of driver and units, peak of summed PSS, units run, and
how many shards of the update are files of the first release, and how many of them were not written again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

NAMES = ("https://example.org/one/changed", "https://example.org/two/changed")


def write_sources(folder: Path) -> None:
    """Two folders of standard library files, before and after their change."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    for number, name in enumerate(("one", "two")):
        chosen = files[number:80:2]
        for when, members in (("before", chosen), ("after", [*chosen[1:], files[90 + number]])):
            target = folder / when / name
            target.mkdir(parents=True)
            (target / "LICENSE").write_text("SPDX-License-Identifier: MIT\n")
            for file in members:
                shutil.copy(file, target / file.name)
        edited = folder / "after" / name / chosen[3].name
        edited.write_bytes(edited.read_bytes() + b"\n\ndef added(values):\n    return sorted(values)[-1]\n")


def build(folder: Path, when: str, files: int, more: list[Path]) -> Path:
    """The archive of the installed code and of the two origins as they were `when`."""
    line = [sys.executable, "-m", "pipeline.cli.main", "archive", "--installed", "--max-files", str(files)]
    line += ["--max-bytes", str(4 << 30), "--out", str(folder / when / "archive")]
    for number, path in enumerate(more):
        line += ["--dir", f"https://example.org/more/{number}={path}"]
    for url, name in zip(NAMES, ("one", "two"), strict=True):
        line += ["--dir", f"{url}={folder / when / name}"]
    subprocess.run(line, check=True, capture_output=True)
    return folder / when / "archive"


def release(
    archive: Path, folder: Path, version: str, workdir: str, options: argparse.Namespace
) -> dict[str, Any]:
    """One run of the command, and what it and its record say."""
    settings = {
        "name": "incremental",
        "archive": {"uri": str(archive)},
        "licenses": {"scancode": options.scancode},
        "emit": {"shard_bytes": options.shard_bytes},
        "engine": {"buckets": options.buckets},
    }
    (folder / "release.yaml").write_text(yaml.safe_dump(settings))
    line = [sys.executable, "-m", "pipeline.cli.main", "release", "--config", str(folder / "release.yaml")]
    line += [
        "--version",
        version,
        "--out",
        str(folder / f"out-{workdir}"),
        "--workdir",
        str(folder / workdir),
    ]
    line += ["--in-process"] if options.in_process else ["--workers", str(options.workers)]
    line += ["--json", "--quiet"]
    before = set((folder / workdir / "runs").glob("*"))
    started = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    outcome = json.loads(done.stdout)
    (run,) = set((folder / workdir / "runs").glob("*")) - before
    record = json.loads((run / "run.json").read_bytes())
    return {
        "seconds": seconds,
        "cpu_seconds": record["driver_cpu_seconds"] + sum(stage["cpu_seconds"] for stage in record["stages"]),
        "peak_pss_bytes": outcome["peak_pss_bytes"],
        "units_run": outcome["units_run"],
        "kept": outcome["totals"]["kept"],
        "found": outcome["totals"]["found"],
        "digest": outcome["digest"],
        "directory": outcome["directory"],
        "stages": {stage["stage"]: round(stage["seconds"], 2) for stage in record["stages"]},
    }


def shards(directory: str) -> dict[str, tuple[str, int]]:
    """Path -> SHA-256 and inode of each shard."""
    root = Path(directory)
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_ino)
        for path in root.glob("data/*/*.parquet")
    }


def measure(archives: tuple[Path, ...], options: argparse.Namespace) -> dict[str, Any]:
    """One round."""
    folder = Path(tempfile.mkdtemp(prefix="stackmill-incremental-", dir=options.folder))
    try:
        first = release(archives[0], folder, "1.0", "work", options)
        update = release(archives[1], folder, "1.1", "work", options)
        scratch = release(archives[1], folder, "1.1", "empty", options)
        assert update["digest"] == scratch["digest"], "an update has other bytes than a release from nothing"
        old, new = shards(first["directory"]), shards(update["directory"])
        same = [path for path, (digest, _) in new.items() if path in old and old[path][0] == digest]
        return {
            "first": first,
            "update": update,
            "from_nothing": scratch,
            "shards": len(new),
            "shards_same": len(same),
            "shards_same_file": sum(old[path][1] == new[path][1] for path in same),
        }
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=60_000, help="most files of the installed code")
    parser.add_argument(
        "--dir", type=Path, action="append", default=[], help="a folder of code, an origin more; repeatable"
    )
    parser.add_argument("--shard-bytes", type=int, default=2 << 20, help="text at which a shard is split")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--in-process", action="store_true", help="without Ray, whose start is 3 to 4 s of each run"
    )
    parser.add_argument(
        "--buckets", type=int, default=None, help="of the work directories; by default as the input is"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--scancode", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to work; the temporary folder otherwise"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sources = Path(tempfile.mkdtemp(prefix="stackmill-incremental-sources-", dir=options.folder))
    try:
        write_sources(sources)
        archives = tuple(build(sources, when, options.files, options.dir) for when in ("before", "after"))
        rounds = [measure(archives, options) for _ in range(options.rounds)]
    finally:
        shutil.rmtree(sources)
    if options.json:
        print(json.dumps(rounds, indent=1))
        return
    last = rounds[-1]
    print(
        f"{last['update']['found']:,} occurrences found, {last['update']['kept']:,} kept; medians of {len(rounds)} rounds"
    )
    for name in ("first", "update", "from_nothing"):
        figures = {
            key: statistics.median(one[name][key] for one in rounds)
            for key in ("seconds", "cpu_seconds", "peak_pss_bytes")
        }
        print(
            f"{name:<13} {figures['seconds']:8.1f} s wall {figures['cpu_seconds']:8.1f} s CPU"
            f" {figures['peak_pss_bytes'] / (1 << 30):6.2f} GiB peak {last[name]['units_run']:6,} units"
        )
    for kind in ("seconds", "cpu_seconds"):
        ratio = statistics.median(one["update"][kind] / one["from_nothing"][kind] for one in rounds)
        print(f"update : from nothing, {kind.replace('_', ' '):<12} {100 * ratio:5.1f} %")
    print(
        f"shards {last['shards']}: {last['shards_same']} are those of the first release"
        f" ({100 * last['shards_same'] / last['shards']:.0f} %), {last['shards_same_file']} the same file on disk"
    )
    slowest = sorted(last["update"]["stages"].items(), key=lambda item: -item[1])[:12]
    print(
        "slowest stages of the update: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in slowest)
    )


if __name__ == "__main__":
    main()
