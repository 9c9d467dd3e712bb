"""How a release grows with its input: CPU time, memory, bytes and objects of every stage at several sizes.

    python benchmarks/scale.py [--sizes 1,2,4,8] [--workers 2] [--in-process] [--json FILE] [--markdown FILE]
    python benchmarks/scale.py --from FILE --markdown docs/scale.md

For each size an archive is drawn (benchmarks/synthetic_archive.py) and `pipeline release` makes a release of it, each in
a process and a work directory of its own; what is reported was measured in the units (pipeline/engine/measure.py) and
read from the run's record. CPU seconds are user and system time; wall times are given for the whole run only, since
they say little on a shared machine. ScanCode is off (`--scancode` puts it on): its cost is per distinct license text.

`--markdown FILE` replaces what stands between the two marks in FILE by the tables and the extrapolation of
benchmarks/extrapolate.py; `--from` takes the figures of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parent))  # the generator and the extrapolation lie beside this file
sys.path.insert(0, str(Path(__file__).parents[1]))  # else `training` would be benchmarks/training.py

import extrapolate
import synthetic_archive

BEGIN, END = "<!-- begin: benchmarks/scale.py --markdown -->", "<!-- end: benchmarks/scale.py --markdown -->"


def measure(size: float, options: argparse.Namespace) -> dict[str, Any]:
    """Draw the archive, make the release, and return what the run's record says."""
    folder = Path(tempfile.mkdtemp(prefix=f"stackmill-scale-{size:g}-", dir=options.folder))
    try:
        drawn = synthetic_archive.generate(folder / "archive", size)
        settings = {
            "name": "scale",
            "archive": {"uri": str(folder / "archive")},
            "licenses": {"scancode": options.scancode},
            "emit": {"shard_bytes": 8 << 20},
            "engine": {"task_memory": options.task_memory, "buckets": options.buckets},
        }
        (folder / "release.yaml").write_text(yaml.safe_dump(settings))
        line = [sys.executable, "-m", "pipeline.cli.main", "release", "--config", str(folder / "release.yaml"),
                "--version", "1.0", "--out", str(folder / "out"), "--workdir", str(folder / "work"), "--json",
                *(["--in-process"] if options.in_process else ["--workers", str(options.workers)])]  # fmt: skip
        started = time.perf_counter()
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        seconds = time.perf_counter() - started
        record = json.loads(next((folder / "work" / "runs").glob("*/run.json")).read_bytes())
        kept = json.loads(done.stdout)["totals"]
        return {
            **drawn,
            "found": kept["found"],
            "kept": kept["kept"],
            "buckets": json.loads((folder / "work" / "workdir.json").read_bytes())["buckets"],
            "shards": sum(1 for _ in (folder / "out").rglob("train-*.parquet")),
            "objects": _objects(folder / "work"),
            "wall_seconds": round(seconds, 1),
            "driver_cpu_seconds": record["driver_cpu_seconds"],
            "driver_peak_pss_bytes": record["driver_peak_pss_bytes"],
            "stages": _grouped(record["stages"]),
        }
    finally:
        shutil.rmtree(folder)


def _objects(workdir: Path) -> dict[str, int]:
    found = [path for path in workdir.rglob("*") if path.is_file()]
    return {
        "stages": sum(path.is_relative_to(workdir / "stages") for path in found),
        "annotations": sum(path.is_relative_to(workdir / "annotations") for path in found),
        "bytes": sum(path.stat().st_size for path in found),
    }


def group(stage: str) -> str:
    """The stage's name without the number of its level or hop: all levels of a walk are one row of the table."""
    return re.sub(r"(\.\d+)+$", "", stage)


def _grouped(stages: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for stage in stages:
        if not stage.get("measured_units"):  # it was done before, or ran in the driver
            continue
        row = rows.setdefault(
            group(stage["stage"]),
            {"stages": 0, "units": 0, "cpu": 0.0, "function_cpu": 0.0, "read_bytes": 0, "written_bytes": 0,
             "written_objects": 0, "peak_pss_bytes": 0, "max_unit_cpu": 0.0},
        )  # fmt: skip
        row["stages"] += 1
        row["units"] += stage["units"]
        row["cpu"] += stage["cpu_seconds"]
        row["function_cpu"] += stage["function_cpu_seconds"]
        row["peak_pss_bytes"] = max(row["peak_pss_bytes"], stage["max_peak_pss_bytes"])
        row["max_unit_cpu"] = max(row["max_unit_cpu"], stage["max_unit_cpu_seconds"])
        for name in ("read_bytes", "written_bytes", "written_objects"):
            row[name] += stage[name]
    return rows


# ------------------------------------------------------------------------------------------------------ the figures


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """p of the least-squares fit value = c * size ** p; None where fewer than two values are above zero."""
    points = [(math.log(s), math.log(v)) for s, v in zip(sizes, values, strict=True) if v > 0]
    if len(points) < 2:
        return None
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0])


def against_n_log_n(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """How many times more than n log n the value has grown from the smallest size to the largest; 1 is n log n."""
    if len(sizes) < 2 or values[0] <= 0:
        return None
    expected = sizes[-1] * math.log(sizes[-1]) / (sizes[0] * math.log(sizes[0]))
    return values[-1] / values[0] / expected


def object_bound(run: dict[str, Any]) -> int:
    """The most objects that a release may write: 4 x buckets x stages + shards."""
    stages = sum(row["stages"] for row in run["stages"].values())
    return int(4 * run["buckets"] * stages + run["shards"])


def tables(result: dict[str, Any]) -> str:
    """The figures of all sizes, in Markdown."""
    runs = result["runs"]
    sizes = [run["found"] for run in runs]
    last = runs[-1]
    lines = [
        f"Measured with {result['conditions']}.",
        "",
        "| size | origins | occurrences | contents | unpacked MB | kept | CPU s | wall s | driver CPU s | driver PSS MB"
        " | worker PSS MB | objects | bound | work directory MB |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run in runs:
        cpu = sum(row["cpu"] for row in run["stages"].values())
        peak = max(row["peak_pss_bytes"] for row in run["stages"].values())
        lines.append(
            f"| {run['size']:g}x | {run['origins']:,} | {run['found']:,} | {run['contents']:,} |"
            f" {run['unpacked_bytes'] / 1e6:,.0f} | {run['kept']:,} | {cpu:,.0f} | {run['wall_seconds']:,.0f} |"
            f" {run['driver_cpu_seconds']:,.1f} | {run['driver_peak_pss_bytes'] / 1e6:,.0f} | {peak / 1e6:,.0f} |"
            f" {run['objects']['stages'] + run['objects']['annotations'] + run['shards']:,} | {object_bound(run):,} |"
            f" {run['objects']['bytes'] / 1e6:,.0f} |"
        )
    lines += [
        "",
        f"By stage, at {last['size']:g}x (levels and hops added up; exponent: of the CPU seconds over all sizes; n log n: growth"
        " from the smallest size to the largest over that of n log n):",
        "",
        "| stage | units | CPU s | engine % | peak PSS MB | read MB | written MB | objects | exponent | n log n |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in sorted(last["stages"].items(), key=lambda item: -item[1]["cpu"]):
        series = [run["stages"].get(name, {}).get("cpu", 0.0) for run in runs]
        grown, ratio = exponent(sizes, series), against_n_log_n(sizes, series)
        engine = 100 * (1 - row["function_cpu"] / row["cpu"]) if row["cpu"] else 0.0
        lines.append(
            f"| {name} | {row['units']} | {row['cpu']:.2f} | {engine:.0f} | {row['peak_pss_bytes'] / 1e6:,.0f} |"
            f" {row['read_bytes'] / 1e6:,.1f} | {row['written_bytes'] / 1e6:,.1f} | {row['written_objects']} |"
            f" {'' if grown is None else f'{grown:.2f}'} | {'' if ratio is None else f'{ratio:.2f}'} |"
        )
    whole = [sum(row["cpu"] for row in run["stages"].values()) for run in runs]
    function = sum(row["function_cpu"] for row in last["stages"].values())
    grown = exponent(sizes, whole)
    units = sum(row["units"] for row in last["stages"].values())
    lines.append(
        f"| all | {units} | {whole[-1]:.2f} | {100 * (1 - function / whole[-1]):.0f} |"
        f" {max(row['peak_pss_bytes'] for row in last['stages'].values()) / 1e6:,.0f} |"
        f" {sum(row['read_bytes'] for row in last['stages'].values()) / 1e6:,.1f} |"
        f" {sum(row['written_bytes'] for row in last['stages'].values()) / 1e6:,.1f} |"
        f" {sum(row['written_objects'] for row in last['stages'].values())} | {'' if grown is None else f'{grown:.2f}'} |"
        f" {'' if len(runs) < 2 else f'{against_n_log_n(sizes, whole):.2f}'} |"
    )
    return "\n".join(lines)


def write_between(path: Path, text: str) -> None:
    """Replace what stands between the two marks of a file."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _conditions(options: argparse.Namespace) -> str:
    how = "in one process" if options.in_process else f"on Ray with {options.workers} workers"
    return (
        f"Python {platform.python_version()} {how}, {os.cpu_count()} cores, task_memory {options.task_memory}, ScanCode"
        f" {'on' if options.scancode else 'off'}, folder as work directory, {time.strftime('%Y-%m-%d', time.gmtime())},"
        f" load average {os.getloadavg()[0]:.1f} at the end"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1,2,4,8", help="1 is about 32,000 occurrences")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--in-process", action="store_true", help="without Ray: the driver is the worker")
    parser.add_argument("--scancode", action="store_true")
    parser.add_argument("--buckets", type=int, default=None, help="default: as the product chooses")
    parser.add_argument("--task-memory", default="1GB")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where archives and work directories are made and removed"
    )
    parser.add_argument("--json", type=Path, default=None, help="write the figures there")
    parser.add_argument("--from", dest="source", type=Path, default=None, help="take the figures from there")
    parser.add_argument("--markdown", type=Path, default=None, help="document whose marked part is replaced")
    options = parser.parse_args()
    if options.source is not None:
        result = json.loads(options.source.read_bytes())
    else:
        runs = []
        for size in sorted(float(part) for part in options.sizes.split(",")):
            print(f"size {size:g} ...", file=sys.stderr, flush=True)
            runs.append(measure(size, options))
        result = {"conditions": _conditions(options), "runs": runs}
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    text = tables(result) + "\n\n" + extrapolate.markdown(result)
    print(text)
    if options.markdown is not None:
        write_between(options.markdown, text)


if __name__ == "__main__":
    main()
