"""From measured rates to archives that were not run: core hours, bytes, objects, requests, cost, and what breaks.

    python benchmarks/extrapolate.py FIGURES.json

A stage's CPU seconds, and its bytes, are taken as linear in ONE quantity of the input (`DRIVER`): the marginal rate
between the smallest and the largest measured size, so that what a unit costs whatever it holds is not multiplied. The
second figure of core hours multiplies by log(n) / log(n measured), as a stage grows that sorts.

Everything that is assumed and not measured is a field of `Target` or `Prices`, with its source; change them and run again.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.engine.buckets import MAX_BUCKETS
from pipeline.sizing import ROW_BYTES
from pipeline.stages.graph import LARGEST_CHUNK, UNITS_PER_BUCKET

ROWS_PER_UNIT = 1_000_000  # least rows that a conversion task reads, pipeline.sources.graph
ENTRY_BYTES = 130  # of a row of the widest raw tables in Arrow
SUMMARY_BYTES = 400  # of one unit in a folded summary: 370 on average over 480 units of a release


@dataclass(frozen=True, kw_only=True)
class Target:
    """An archive, in the quantities that drive the stages."""

    name: str
    origins: float
    entries: float  # rows of directory_entry
    directories: float
    all_contents: float  # rows of content
    revisions: float
    occurrences: float  # files below the current roots, forks with the same root once
    contents: float  # distinct contents below the current roots
    fetched: float  # distinct contents that survive the license wave
    fetched_bytes: float  # unpacked
    task_memory: float = 1e9  # bytes: engine.task_memory of the run that is estimated


_NODES, _EDGES = 58.7e9, 1.10e12  # the export of 2026-06-04, published
_FILES_PER_REPOSITORY = 43.9e9 / 224e6  # file entries and repositories of The Stack v3, published
_BYTES_PER_FILE = 15_852_930_678_426 / 2_801_821_353  # bytes and files of its training part, published
_EDGES_PER_NODE_OF_TEASERS = 1_221_283_907 / 45_691_499  # of 2021-03-23-popular-3k-python, published
_CONTENTS, _DIRECTORIES, _REVISIONS = 0.43, 0.38, 0.10
"""Shares of the nodes. Published for 2018: 5 G contents and 1.1 G revisions of 11.7 G nodes; the rest is assumed to be
directories but for 9 % of releases, snapshots and origins."""
_ENTRIES_PER_EDGE = 0.95  # assumed: all edges but parents of revisions, branches and visits
_PERMITTED = 0.30  # assumed share of the contents that a permissive policy lets through
_DISTINCT = 0.40  # assumed share of distinct contents among occurrences: forks and copies of libraries

TARGETS = (
    Target(
        name="popular-500-python (60 M nodes)",
        origins=500,
        entries=60e6 * _EDGES_PER_NODE_OF_TEASERS * _ENTRIES_PER_EDGE,
        directories=60e6 * _DIRECTORIES,
        all_contents=60e6 * _CONTENTS,
        revisions=60e6 * _REVISIONS,
        occurrences=500 * 2_000,  # assumed: a popular repository has ten times the files of an average one
        contents=500 * 2_000 * 0.9,
        fetched=500 * 2_000 * 0.9 * 0.8,  # assumed: most popular projects are under permissive licenses
        fetched_bytes=500 * 2_000 * 0.9 * 0.8 * _BYTES_PER_FILE,
    ),
    Target(
        name="popular-1k (328 M nodes)",
        origins=1_000,
        entries=328e6 * _EDGES_PER_NODE_OF_TEASERS * _ENTRIES_PER_EDGE,
        directories=328e6 * _DIRECTORIES,
        all_contents=328e6 * _CONTENTS,
        revisions=328e6 * _REVISIONS,
        occurrences=1_000 * 5_000,
        contents=1_000 * 5_000 * 0.9,
        fetched=1_000 * 5_000 * 0.9 * 0.6,
        fetched_bytes=1_000 * 5_000 * 0.9 * 0.6 * _BYTES_PER_FILE,
    ),
    Target(
        name="full archive 2026-06-04 (58.7 G nodes)",
        origins=400e6,
        entries=_EDGES * _ENTRIES_PER_EDGE,
        directories=_NODES * _DIRECTORIES,
        all_contents=_NODES * _CONTENTS,
        revisions=_NODES * _REVISIONS,
        occurrences=400e6 * _FILES_PER_REPOSITORY,
        contents=min(_NODES * _CONTENTS, 400e6 * _FILES_PER_REPOSITORY * _DISTINCT),
        fetched=min(_NODES * _CONTENTS, 400e6 * _FILES_PER_REPOSITORY * _DISTINCT) * _PERMITTED,
        fetched_bytes=min(_NODES * _CONTENTS, 400e6 * _FILES_PER_REPOSITORY * _DISTINCT) * _PERMITTED * _BYTES_PER_FILE,
        task_memory=20e9,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Prices:
    """US dollars: list prices of one large provider's us-east-1 region, on demand, as remembered in 2026; not looked up."""

    core_hour: float = 0.0504  # a general-purpose machine of 4 virtual cores and 16 GiB at 0.2016 an hour
    get: float = 0.0004 / 1_000
    put: float = 0.005 / 1_000
    gigabyte_month: float = 0.023


DRIVER = {
    "shuffle.directory_entry": "entries", "graph.directory_entry": "entries", "census.entries": "entries",
    "census.tree": "entries", "census.reach": "occurrences", "census.count": "directories", "census.known": "directories",
    "census.roots": "origins", "census": "entries",
    "shuffle.directory": "directories", "graph.directory": "directories",
    "shuffle.content": "all_contents", "graph.content": "all_contents",
    "shuffle.revision": "revisions", "graph.revision": "revisions",
    "shuffle.origin": "origins", "graph.origin": "origins", "shuffle.origin_visit_status": "origins",
    "graph.origin_visit_status": "origins", "shuffle.snapshot_branch": "origins", "graph.snapshot_branch": "origins",
    "origins": "origins", "roots": "origins", "identity": "origins",
    "walk": "occurrences", "listed": "occurrences", "files": "occurrences", "ledger": "occurrences",
    "licenses.attribute": "occurrences", "licenses.doubts": "occurrences",
    "annotate.text": "fetched_bytes", "annotate.secrets": "fetched_bytes", "fetch.bodies": "fetched_bytes",
    "near.verify": "fetched_bytes", "emit.texts": "fetched_bytes", "emit.shards": "fetched_bytes",
}  # fmt: skip
"""What a stage's cost follows; by the first part of a name where the whole is not here, and `fetched` where neither is."""

MEASURED = {
    "origins": "origins", "entries": "directory_entries", "directories": "directories", "all_contents": "contents",
    "revisions": "revisions", "occurrences": "found", "contents": "contents", "fetched": "contents",
    "fetched_bytes": "unpacked_bytes",
}  # fmt: skip
"""Quantity -> the figure of a measured run that stands for it."""


def driver(stage: str) -> str:
    """The quantity that a stage's cost follows."""
    return (
        DRIVER.get(stage)
        or DRIVER.get(stage.split(".", maxsplit=1)[0])
        or _PREFIXES.get(stage.split(".", maxsplit=1)[0], "fetched")
    )


_PREFIXES = {
    "resolve": "origins",
    "walk": "occurrences",
    "census": "entries",
    "shuffle": "entries",
    "graph": "entries",
}


def marginal(result: dict[str, Any], stage: str, figure: str) -> tuple[float, float]:
    """(rate per unit of the stage's driver, the driver's largest measured amount); a rate is never below zero."""
    first, last = result["runs"][0], result["runs"][-1]
    name = MEASURED[driver(stage)]
    amount = last[name] - first[name]
    low, high = (run["stages"].get(stage, {}).get(figure, 0.0) for run in (first, last))
    if amount <= 0:  # a single size: the average
        return (high / last[name] if last[name] else 0.0), last[name]
    return max(0.0, (high - low) / amount), last[name]


@dataclass(frozen=True)
class Estimate:
    """What a release of a target takes; `hours` linear, `hours_sorted` with the factor of n log n."""

    hours: float
    hours_sorted: float
    written: float  # bytes that stages write
    by_stage: dict[str, float]  # core hours, linear
    buckets_wanted: int
    units: float  # of the largest stage
    gets: float
    puts: float
    objects_fetched: float
    dollars: dict[str, float]
    bytes_per_bucket: float  # of the largest table that a task holds by bucket, with its copies


def estimate(
    result: dict[str, Any],
    target: Target,
    prices: Prices | None = None,
) -> Estimate:
    """Extrapolate the measured rates to a target."""
    prices = prices or Prices()
    hours, grown, written = {}, 0.0, 0.0
    names = result["runs"][-1]["stages"]
    for stage in names:
        amount = getattr(target, driver(stage))
        rate, measured = marginal(result, stage, "cpu")
        hours[stage] = rate * amount / 3600
        grown += hours[stage] * max(1.0, math.log(max(amount, 2)) / math.log(max(measured, 2)))
        written += marginal(result, stage, "written_bytes")[0] * amount
    held = max(
        target.entries * ROW_BYTES["directory_entry"], target.all_contents * ROW_BYTES["content"]
    )  # as pipeline.sizing plans it
    wanted = 1 << max(3, math.ceil(math.log2(max(1.0, held / target.task_memory))))
    buckets = min(wanted, MAX_BUCKETS)
    stages = sum(row["stages"] for row in names.values())
    most = UNITS_PER_BUCKET * buckets
    units = min(most, max(target.entries / ROWS_PER_UNIT, buckets))
    tables = (
        2 * target.entries,
        target.all_contents,
        2 * target.directories,
        target.revisions,
        target.origins,
    )  # fmt: skip  (entries and directories twice: the independent count reads them again)
    maps = sum(min(most, max(1.0, rows / ROWS_PER_UNIT)) for rows in tables)
    # A reducer asks each part of a routed table for its rows of the table of segments, and for a segment of each chunk.
    chunk = min(target.task_memory / 8, LARGEST_CHUNK)
    chunks = maps + sum(rows * ENTRY_BYTES / chunk for rows in tables)
    routed = 0.4 * stages * buckets  # about two in five stages read a routed table that buckets wrote
    gets = buckets * (maps + chunks + 2 * routed) + stages * buckets * 2 + target.fetched
    puts = 4 * buckets * stages + maps
    return Estimate(
        hours=sum(hours.values()),
        hours_sorted=grown,
        written=written,
        by_stage=hours,
        buckets_wanted=wanted,
        units=units,
        gets=gets,
        puts=puts,
        objects_fetched=target.fetched,
        dollars={
            "cores": sum(hours.values()) * prices.core_hour,
            "requests": gets * prices.get + puts * prices.put,
            "storage": written / 1e9 * prices.gigabyte_month,
        },
        bytes_per_bucket=held / buckets,
    )


def markdown(result: dict[str, Any]) -> str:
    """The extrapolation as tables."""
    estimates = [(target, estimate(result, target)) for target in TARGETS]
    head = "| | " + " | ".join(target.name for target, _ in estimates) + " |"
    rows = [
        ("rows of directory_entry", [f"{_short(t.entries)}" for t, _ in estimates]),
        ("occurrences below current roots", [_short(t.occurrences) for t, _ in estimates]),
        ("contents fetched", [_short(t.fetched) for t, _ in estimates]),
        ("bytes fetched, unpacked", [_short(t.fetched_bytes) + "B" for t, _ in estimates]),
        ("core hours, linear", [_short(e.hours) for _, e in estimates]),
        ("core hours, n log n", [_short(e.hours_sorted) for _, e in estimates]),
        ("days on 1,000 cores, linear", [f"{e.hours / 24_000:.2g}" for _, e in estimates]),
        ("bytes that stages write", [_short(e.written) + "B" for _, e in estimates]),
        ("engine.task_memory", [_short(t.task_memory) + "B" for t, _ in estimates]),
        ("buckets wanted for it", [f"{e.buckets_wanted:,}" for _, e in estimates]),
        (
            "memory of a bucket, 4,096 or fewer",
            [_short(e.bytes_per_bucket) + "B" for _, e in estimates],
        ),
        ("units of the largest stage", [_short(e.units) for _, e in estimates]),
        ("its folded summary", [_short(e.units * SUMMARY_BYTES) + "B" for _, e in estimates]),
        ("GET requests", [_short(e.gets) for _, e in estimates]),
        ("of them for contents", [_short(e.objects_fetched) for _, e in estimates]),
        ("PUT requests", [_short(e.puts) for _, e in estimates]),
        ("USD: cores", [f"{e.dollars['cores']:,.0f}" for _, e in estimates]),
        ("USD: requests", [f"{e.dollars['requests']:,.0f}" for _, e in estimates]),
        ("USD: a month of the work directory", [f"{e.dollars['storage']:,.0f}" for _, e in estimates]),
        ("most core hours", [_most(e) for _, e in estimates]),
    ]
    lines = [
        "Extrapolated from the marginal rates above (benchmarks/extrapolate.py):",
        "",
        head,
        "|---|" + "---:|" * len(estimates),
    ]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows]
    return "\n".join(lines)


def _most(estimate: Estimate) -> str:
    total = sum(estimate.by_stage.values()) or 1.0
    ranked = sorted(estimate.by_stage.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {100 * hours / total:.0f} %" for name, hours in ranked)


def _short(value: float) -> str:
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="what `benchmarks/scale.py --json` wrote")
    print(markdown(json.loads(parser.parse_args().figures.read_bytes())))


if __name__ == "__main__":
    main()
