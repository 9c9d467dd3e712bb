"""What a run will cost: objects and bytes to fetch, requests, CPU time; before it, and with the same function after it.

CPU time of a stage = rate x a quantity of the input, plus a part for each of its units. The rates are those of the last
runs in the same work directory where there are any, else those of `pipeline.rates`, measured once on one machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from pipeline.engine.store import Store
from pipeline.errors import IntegrityError, SourceError
from pipeline.rates import CONDITIONS, RATES
from pipeline.sources.graph import GraphExport
from pipeline.stages.fetch import BODIES_OF

RUNS_LOOKED_AT = 20
"""Newest records of runs that rates are taken from."""
_SAMPLED_SEGMENTS = 16  # of the store of bodies, opened to learn how many bodies a byte of it holds
_NEW = ("annotate.", "fetch.")
_LEVEL = re.compile(r"(\.\d+)+(?=$|\.)")


def group(stage: str) -> str:
    """The name of a stage without the number of its level or hop."""
    return _LEVEL.sub("", stage)


def quantities(export: GraphExport, store: Store) -> dict[str, int]:
    """What the stages' costs follow: rows from the footers of the export, bytes estimated from the first lengths.

    `new_contents` and `new_bytes` are what the store of bodies lacks: an upper bound of what is fetched, since files that
    the graph or their license drops never are.
    """
    contents, units = export.rows("content"), export.units("content")
    mean = 0.0
    if contents:
        lengths = next(export.batches("content", units[0], ["length"]))["length"]
        mean = pc.mean(lengths).as_py() or 0.0
    new = max(0, contents - stored_bodies(store))
    return {
        "entries": export.rows("directory_entry"),
        "contents": contents,
        "bytes": round(contents * mean),
        "new_contents": new,
        "new_bytes": round(new * mean),
    }


def stored_bodies(store: Store) -> int:
    """Bodies in the work directory's store; estimated from a sample of its segments where there are many."""
    segments = [
        entry
        for entry in store.list(f"annotations/{BODIES_OF.name}/{BODIES_OF.key()}")
        if entry.key.endswith(".parquet")
    ]
    sample = segments[:: max(1, len(segments) // _SAMPLED_SEGMENTS)]
    rows = 0
    for entry in sample:
        with store.parquet(entry.key) as file:
            rows += file.metadata.num_rows
    size = sum(entry.size for entry in sample)
    return round(rows * sum(entry.size for entry in segments) / size) if size else 0


def records(store: Store, limit: int | None = None) -> list[dict[str, Any]]:
    """The records of the work directory's runs, newest first, each with its `run` id; broken ones are left out."""
    found = []
    for run in sorted(store.folders("runs"), reverse=True)[:limit]:
        try:
            record = json.loads(store.read(f"runs/{run}/run.json"))
        except (FileNotFoundError, ValueError):
            continue
        if isinstance(record, dict) and isinstance(record.get("stages"), list):
            found.append({**record, "run": run})
    return found


def measured_rates(earlier: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, float, str]]:
    """Stage -> (quantity, CPU seconds per unit of it, id of the run), from the newest run that did all of the stage."""
    found: dict[str, tuple[str, float, str]] = {}
    for record in earlier:
        known = record.get("quantities")
        if not isinstance(known, dict):
            continue
        sums: dict[str, float] = {}
        partly = set()
        for stage in record["stages"]:
            name = group(stage["stage"])
            if stage.get("skipped") or not stage.get("units"):
                partly.add(name)
            else:
                sums[name] = sums.get(name, 0.0) + stage.get("cpu_seconds", 0.0)
        for name, seconds in sums.items():
            quantity = _quantity(name)
            if name not in found and name not in partly and known.get(quantity):
                found[name] = quantity, seconds / known[quantity], str(record["run"])
    return found


def _quantity(name: str) -> str:
    return RATES[name][0] if name in RATES else "new_bytes" if name.startswith(_NEW) else "bytes"


def estimate(
    stages: Iterable[tuple[str, int]],
    amounts: Mapping[str, int],
    earlier: Sequence[Mapping[str, Any]],
    *,
    remote: bool,
) -> dict[str, Any]:
    """What it takes to run `stages` (name, units): keys `objects`, `bytes`, `requests`, `cpu_seconds`, `rates`, `runs`.

    `requests` are those for content objects (None where the archive is a folder); `rates` says where the rates are from:
    `runs` (then `runs` lists their ids), `table`, `both`, or `none` where nothing is to run; `cpu_by_stage` has the parts.
    """
    own = measured_rates(earlier)
    parts: dict[str, float] = {}
    used, unknown, from_table = set(), [], False
    todo: dict[str, int] = {}
    for name, units in stages:
        todo[group(name)] = todo.get(group(name), 0) + units
    for name, units in todo.items():
        if name in own:
            quantity, rate, run = own[name]
            parts[name] = rate * amounts[quantity]
            used.add(run)
        elif name in RATES:
            quantity, rate, unit = RATES[name]
            parts[name] = rate * 1e-6 * amounts[quantity] + unit * units
            from_table = True
        else:
            unknown.append(name)
    fetches = any(name.startswith("fetch.") for name in todo)
    source = {(True, True): "both", (True, False): "runs", (False, True): "table"}
    return {
        "objects": amounts["new_contents"] if fetches else 0,
        "bytes": amounts["new_bytes"] if fetches else 0,
        "requests": (amounts["new_contents"] if fetches else 0) if remote else None,
        "cpu_seconds": round(sum(parts.values()), 3),
        "cpu_by_stage": {name: round(seconds, 3) for name, seconds in sorted(parts.items())},
        "unknown_stages": sorted(unknown),
        "rates": source.get((bool(used), from_table), "none"),
        "runs": sorted(used),
        "conditions": CONDITIONS if from_table else None,
    }


def words(found: Mapping[str, Any]) -> list[str]:
    """The estimate in lines for a person."""
    if found["rates"] == "none" and not found["objects"]:
        return ["nothing: no stage is to run"]
    lines = [f"at most {found['objects']:,} objects to fetch, about {found['bytes'] / 1e6:,.1f} MB unpacked"]
    if found["requests"] is not None:
        lines.append(f"at most {found['requests']:,} requests for them")
    where = {
        "runs": f"by the rates of {len(found['runs'])} earlier runs here",
        "both": f"by the rates of {len(found['runs'])} earlier runs here, and of a table for other stages",
        "table": f"by a table measured elsewhere ({found['conditions']}); no run here has measured them",
        "none": "no rate is known",
    }[found["rates"]]
    lines.append(
        f"about {found['cpu_seconds'] / 3600:,.4f} core hours ({found['cpu_seconds']:,.1f} s), {where}"
    )
    if found["unknown_stages"]:
        lines.append(f"not estimated: {', '.join(found['unknown_stages'])}")
    return lines


def safe_quantities(export: GraphExport, store: Store) -> dict[str, int] | None:
    """`quantities`, or None where they cannot be had: a run never fails for the sake of its estimate."""
    try:
        return quantities(export, store)
    except (SourceError, IntegrityError, FileNotFoundError):
        return None
