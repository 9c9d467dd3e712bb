"""Wave W4 alone, over many millions of sketches: ranks, band keys, candidates, comparison, rounds, decision.

    python benchmarks/near_scale.py [--documents 20000000] [--workers 2] [--buckets 64] [--task-memory 1GB] [--rounds]
                                    [--folder DIR] [--json FILE] [--markdown FILE]

The stages are those of a release, run by Ray (`--in-process`: without). Two things are stood in for, because twenty million
texts would be 100 GB: sketches are drawn from a seed (benchmarks/near_synthetic.py), and **a pair is verified by the
agreement of its sketches instead of the exact similarity of its texts**. CPU seconds and bytes of the stages are as the
units measured themselves; memory is the summed PSS of all processes, sampled.

`--check` decides again in this process, over all documents at once, from the same sketches, and compares. It is for up to
a million documents or so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).parent))  # near_synthetic lies beside this file
sys.path.insert(0, str(Path(__file__).parents[1]))  # else `training` would be benchmarks/training.py

import near_synthetic as synthetic

from dedup.bands import band_keys
from dedup.candidates import bucket_pairs
from dedup.decide import decide
from dedup.sketch import SLOTS, agreement, signatures_to_arrow
from pipeline.engine.executor import Executor, InProcess
from pipeline.engine.on_ray import OnRay
from pipeline.engine.progress import MemoryWatch, Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.stage import Output, Stage, Task
from pipeline.stages.near import Step, find_near
from pipeline.stages.near_pairs import bands_of
from pipeline.stages.rank import rank_wave
from pipeline.tables import EDGES, ELECTION_COLUMNS

WINNERS = pa.schema([("sha256", pa.string()), *ELECTION_COLUMNS, ("path", pa.binary())])
NEAR = {
    "threshold": "0.7", "bands": 42, "rows": 6, "bucket_cap": 64, "bucket_best": 16, "across_languages": True,
    "across_origins_only": False, "band_groups": None,
}  # fmt: skip
AT_ONCE = 65_536  # documents whose sketches are held together: 64 MB
BEGIN, END = "<!-- begin: benchmarks/near_scale.py -->", "<!-- end: benchmarks/near_scale.py -->"


# ------------------------------------------------------------------------------------------------ what stands in


def _mine(task: Task) -> np.ndarray:
    width = synthetic.SLICES // task.buckets
    return synthetic.numbers_of(task.bucket * width, (task.bucket + 1) * width, task.config["documents"])


def winners(task: Task) -> Mapping[str, pa.Table]:
    """The elected contents of a bucket: one in a hundred is a fork, stars are few, origins hold 100 files each."""
    numbers = _mine(task)
    own = numbers * np.uint64(0x9E3779B97F4A7C15)
    origins = pa.array(own >> np.uint64(40)).cast(pa.string())
    return {
        "winners": pa.table(
            [
                synthetic.ids(numbers),
                pa.array(own % np.uint64(100) == 0),
                pa.array((own >> np.uint64(8)) % np.uint64(50), pa.int64()),
                pa.array((own >> np.uint64(16)) % np.uint64(10), pa.int64()),
                pa.array((own >> np.uint64(24)) % np.uint64(1 << 20), pa.int64()),
                pa.array(own % np.uint64(7) + np.uint64(1), pa.int32()),
                pc.binary_join_element_wise("https://forge.example/", origins, ""),
                pa.array(numbers).cast(pa.string()).cast(pa.binary()),
            ],
            schema=WINNERS,
        )
    }


def drawn_bands(task: Task) -> Mapping[str, Any]:
    """What `near_pairs.bands` does, from sketches that are drawn where a release reads them."""
    numbers = _mine(task)

    def drawn(some: np.ndarray) -> pa.Table:
        values = signatures_to_arrow(synthetic.sketches(some, task.config["documents"]))
        columns = {"sha256": synthetic.ids(some), "shingles": np.full(len(some), SLOTS), "sketch": values}
        return pa.table(columns)

    return bands_of(task, (drawn(numbers[i : i + AT_ONCE]) for i in range(0, len(numbers), AT_ONCE)))


def agreeing(task: Task) -> Mapping[str, pa.Table]:
    """Stands in for verification: how many of 256 values two sketches share."""
    pairs = task.sql(
        "select distinct low, high, low_sha256, high_sha256 from t order by low, high", t=task.read("pairs")
    )
    task.count("verified", pairs.num_rows)
    a, b = (synthetic.numbers_from(pairs[name]) for name in ("low_sha256", "high_sha256"))
    found = _agreement(a, b, task.config["documents"])
    columns = {
        **{name: pairs[name] for name in pairs.column_names},
        "inter": pa.array(found),
        "union": pa.array(np.full(len(found), SLOTS)),
        "estimated": pa.array(np.ones(len(found), np.bool_)),
    }
    return {"edges": pa.table([columns[name] for name in EDGES.names], schema=EDGES)}


def _agreement(a: np.ndarray, b: np.ndarray, documents: int) -> np.ndarray:
    parts = [np.empty(0, np.int64)]
    for i in range(0, len(a), AT_ONCE // 2):
        one, other = a[i : i + AT_ONCE // 2], b[i : i + AT_ONCE // 2]
        values = synthetic.sketches(np.concatenate((one, other)), documents)
        parts.append(agreement(values, np.arange(len(one)), len(one) + np.arange(len(one))))
    return np.concatenate(parts)


# --------------------------------------------------------------------------------------------------------- the run


def search(runner: Runner, documents: int, **more: Any) -> tuple[Any, Any, Any]:
    """Run the stages; returns the finished ones that hold winners, ranks and what is replaced."""
    drawn = runner.run(
        Stage(
            name="synthetic",
            run=winners,
            outputs={"winners": Output(schema=WINNERS, order=("sha256",))},
            config={"documents": documents},
        )
    )
    ranks = rank_wave(runner, drawn.ref("winners"), documents)
    done, _ = find_near(
        runner,
        ranks.ref("ranks"),
        NEAR,
        bands=Step(run=drawn_bands, config={"documents": documents}),
        compare=Step(run=agreeing, config={"documents": documents}),
        **more,
    )
    return drawn, ranks, done


def read_all(runner: Runner, done: Any, name: str) -> pa.Table:
    """A table of a finished stage, whole."""
    task = Task(
        store=runner.store, unit="all", bucket=0, buckets=runner.buckets, item=None, config={}, extra={},
        refs={"t": [done.ref(name)]}, scratch=Path(tempfile.gettempdir()), memory="1GB", folder="",
    )  # fmt: skip
    return task.read_all("t")


def decided_here(ranks: pa.Table, documents: int) -> dict[str, str]:
    """The same question answered over all documents in memory: dropped id -> the id that stands for it."""
    ranks = ranks.sort_by("ordinal")
    numbers = synthetic.numbers_from(ranks["sha256"])
    values = synthetic.sketches(numbers, documents)
    keys = band_keys(values, np.ones(len(numbers), np.int64))
    pairs = bucket_pairs(keys.keys, keys.index)
    inter = agreement(values, pairs.low, pairs.high)
    found = decide(pairs.low, pairs.high, inter, np.full(len(inter), SLOTS), NEAR["threshold"])
    names = ranks["sha256"].to_pylist()
    return {names[a]: names[b] for a, b in zip(found.dropped.tolist(), found.kept.tolist(), strict=True)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run once in a work directory of its own, and return the figures."""
    folder = Path(tempfile.mkdtemp(prefix="stackmill-near-", dir=options.folder))
    beside = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (beside, os.environ.get("PYTHONPATH"))))
    executor: Executor = InProcess() if options.in_process else OnRay(workers=options.workers)
    try:
        store, buckets = open_workdir(str(folder), options.buckets, default_buckets=options.buckets)
        progress = Progress(quiet=not options.progress)
        runner = Runner(store, executor, buckets, progress, options.task_memory)
        started = time.perf_counter()
        with MemoryWatch() as memory:
            _, ranks, done = search(
                runner, options.documents, **({"pairs_in_one": 0} if options.rounds else {})
            )
        seconds = time.perf_counter() - started
        replaced = read_all(runner, done, "replaced")
        result = {
            "documents": options.documents,
            "buckets": buckets,
            "workers": 0 if options.in_process else options.workers,
            "task_memory": options.task_memory,
            "verification": "agreement of sketches, no texts",
            "dropped": replaced.num_rows,
            "wall_seconds": round(seconds, 1),
            "peak_pss_bytes": memory.peak_bytes,
            "driver_peak_pss_bytes": memory.driver_peak_bytes,
            "workdir_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            "stages": grouped(progress.stages),
            "machine": f"Python {platform.python_version()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d', time.gmtime())}, "
            f"load average {os.getloadavg()[0]:.1f} at the end",
        }
        if options.check:
            expected = decided_here(read_all(runner, ranks, "ranks"), options.documents)
            found = dict(zip(replaced["sha256"].to_pylist(), replaced["stand_in"].to_pylist(), strict=True))
            if found != expected:
                raise SystemExit(f"decisions differ: {len(found.items() ^ expected.items())} entries")
            result["checked"] = True
        return result
    finally:
        close = getattr(executor, "close", None)
        if close:
            close()
        shutil.rmtree(folder)


def grouped(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of stages in the order they ran, rounds added up under one name."""
    rows: dict[str, dict[str, Any]] = {}
    for stage in stages:
        if not stage.get("measured_units"):
            continue
        row = rows.setdefault(
            re.sub(r"(\.\d+)+$", "", stage["stage"]),
            {"stages": 0, "units": 0, "cpu": 0.0, "function_cpu": 0.0, "read_bytes": 0, "written_bytes": 0, "peak_pss_bytes": 0},
        )  # fmt: skip
        row["stages"] += 1
        row["units"] += stage["units"]
        row["cpu"] += stage["cpu_seconds"]
        row["function_cpu"] += stage["function_cpu_seconds"]
        row["read_bytes"] += stage["read_bytes"]
        row["written_bytes"] += stage["written_bytes"]
        row["peak_pss_bytes"] = max(row["peak_pss_bytes"], stage["max_peak_pss_bytes"])
        for name in ("rows_out", "counts"):
            if name in stage:
                row[name] = stage[name]
    return [{"stage": name, **row} for name, row in rows.items()]


def to_markdown(figures: dict[str, Any]) -> str:
    """The table of docs/scale.md."""
    lines = [
        f"{figures['documents']:,} documents without texts (a pair counts as verified when 0.7 of its two sketches agree), "
        f"{figures['workers']} workers, {figures['buckets']} buckets, task_memory {figures['task_memory']}; "
        f"{figures['machine']}: "
        f"**{figures['wall_seconds']:,.0f} s, {figures['peak_pss_bytes'] / 1e9:.1f} GB PSS** over all processes at most; "
        f"{figures['dropped']:,} documents dropped; work directory {figures['workdir_bytes'] / 1e9:.1f} GB at the end.",
        "",
        "| stage | stages | units | CPU s | of it function | read MB | written MB | peak PSS of a worker MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in figures["stages"]:
        lines.append(
            f"| {row['stage']} | {row['stages']} | {row['units']} | {row['cpu']:.1f} | {row['function_cpu']:.1f} |"
            f" {row['read_bytes'] / 1e6:,.0f} | {row['written_bytes'] / 1e6:,.0f} | {row['peak_pss_bytes'] / 1e6:,.0f} |"
        )
    return "\n".join(lines)


TARGET = 3_000_000_000  # files of the training part of The Stack v3 and a little more (2.80 G, published)
TARGET_BUCKETS = 4096


def arithmetic(figures: dict[str, Any]) -> str:
    """What the measured rates come to for `TARGET` documents: a rule of three, and so for growth that is linear."""
    times = TARGET / figures["documents"]
    lines = [
        f"| {TARGET:,} documents | core hours | written TB | GB in one of {TARGET_BUCKETS:,} buckets |",
        "|---|---:|---:|---:|",
    ]
    total_cpu, total_bytes = 0.0, 0
    for row in figures["stages"]:
        if row["stage"] == "synthetic":
            continue
        cpu, written = row["cpu"] * times / 3600, row["written_bytes"] * times
        total_cpu, total_bytes = total_cpu + cpu, total_bytes + written
        lines.append(
            f"| {row['stage']} | {cpu:,.1f} | {written / 1e12:,.2f} | {written / TARGET_BUCKETS / 1e9:,.2f} |"
        )
    lines.append(f"| all | {total_cpu:,.1f} | {total_bytes / 1e12:,.2f} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=20_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--buckets", type=int, default=64, help="a power of two, at most 256")
    parser.add_argument("--task-memory", default="1GB")
    parser.add_argument("--rounds", action="store_true", help="decide in rounds whatever the number of pairs")
    parser.add_argument("--in-process", action="store_true", help="without Ray")
    parser.add_argument("--check", action="store_true", help="decide again in memory and compare")
    parser.add_argument("--folder", type=Path, help="where the work directory is made; removed at the end")
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from", dest="earlier", type=Path, help="figures of an earlier run")
    parser.add_argument("--markdown", type=Path, help="replace what stands between the marks in FILE")
    options = parser.parse_args()
    figures = json.loads(options.earlier.read_text()) if options.earlier else measure(options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    text = f"{to_markdown(figures)}\n\n{arithmetic(figures)}"
    if options.markdown:
        page = options.markdown.read_text()
        before, rest = page.split(BEGIN, 1)
        options.markdown.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END, 1)[1]}")
    else:
        print(text)
        print({name: value for name, value in figures.items() if name != "stages"})


if __name__ == "__main__":
    # As a module of its own name: the stages' functions have to be found by the workers.
    import near_scale

    near_scale.main()
