"""What a run took, from its record in the work directory: by stage, in sum, and beside what was estimated.

`<workdir>/runs/<id>/run.json` is written when a run has ended well; a run that was killed or failed has none, and what it
did is on no account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.estimate import records
from pipeline.prices import Prices, priced

RUN_STATS_VERSION = 1
"""Version of the keys that `run_stats` returns."""

_SUMS = ("cpu_seconds", "read_bytes", "written_bytes", "written_objects", "received_bytes", "sent_bytes")


def find_run(workdir: str, run: str | None) -> dict[str, Any]:
    """The record of a run, by its id or the beginning of it; the newest without one. Raises ConfigError."""
    store = Store(workdir)
    found = records(store)
    if not found:
        raise ConfigError(
            f"{workdir} has no record of a finished run; give the --workdir of a release that was made"
        )
    if run is None:
        return found[0]
    named = [record for record in found if record["run"].startswith(run)]
    if len(named) != 1:
        known = ", ".join(record["run"] for record in found[:5])
        what = "no run" if not named else f"{len(named)} runs"
        raise ConfigError(
            f"{workdir} has {what} whose id begins with {ascii(run)[:80]}; the newest are {known}"
        )
    return named[0]


def run_stats(record: Mapping[str, Any], prices: Prices | None = None) -> dict[str, Any]:
    """The figures of a run: `stages` in their order, `totals`, `estimate`, `price`. Amounts are bytes, seconds, counts.

    Stages that were done before are in `skipped_stages` only. Rates are of the stage's wall time. `totals.core_hours` is CPU
    time; `reserved_core_hours` is the wall time times the units at once, None where their number is not known.
    """
    stages = [_stage(one) for one in record["stages"] if not _skipped(one)]
    sums: Counter[str] = Counter()
    asked: Counter[str] = Counter(_traffic(record)["requests"])
    for stage in stages:
        sums.update({name: stage[name] for name in _SUMS})
        asked.update(stage["requests"])
    driver = float(record.get("driver_cpu_seconds", 0.0))
    # Where units ran in the driver's process, its CPU time has theirs already.
    cpu = max(driver, sums["cpu_seconds"]) if record.get("in_process") else driver + sums["cpu_seconds"]
    seconds, at_once = float(record.get("seconds", 0.0)), record.get("at_once")
    totals = {
        "seconds": seconds,
        "cpu_seconds": round(cpu, 3),
        "core_hours": round(cpu / 3600, 6),
        "reserved_core_hours": round(seconds * at_once / 3600, 6) if at_once else None,
        "units": sum(stage["units"] - stage["units_done_before"] for stage in stages),
        "peak_pss_bytes": record.get("peak_pss_bytes", 0),
        "driver_peak_pss_bytes": record.get("driver_peak_pss_bytes", 0),
        "driver_cpu_seconds": driver,
        "read_bytes": sums["read_bytes"],
        "written_bytes": sums["written_bytes"],
        "written_objects": sums["written_objects"],
        "requests": dict(sorted(asked.items())),
        "received_bytes": sums["received_bytes"] + _traffic(record)["received_bytes"],
        "sent_bytes": sums["sent_bytes"] + _traffic(record)["sent_bytes"],
    }
    return {
        "run_stats_version": RUN_STATS_VERSION,
        "run": record["run"],
        "version": record.get("version"),
        "digest": record.get("digest"),
        "state": record.get("state"),
        "at_once": at_once,
        "quantities": record.get("quantities"),
        "stages": stages,
        "skipped_stages": [one["stage"] for one in record["stages"] if _skipped(one)],
        "totals": totals,
        "estimate": _compared(record, stages, cpu),
        "price": None if prices is None else priced(prices, totals),
    }


def _skipped(stage: Mapping[str, Any]) -> bool:
    return stage.get("skipped") is True  # a number: units that were done before


def _traffic(figures: Mapping[str, Any]) -> dict[str, Any]:
    found = figures.get("driver_traffic", figures)
    return {
        "requests": found.get("requests", {}),
        "received_bytes": found.get("received_bytes", 0),
        "sent_bytes": found.get("sent_bytes", 0),
    }


def _stage(one: Mapping[str, Any]) -> dict[str, Any]:
    seconds = max(1e-9, one["seconds"])
    return {
        "stage": one["stage"],
        "units": one["units"],
        "units_done_before": one["skipped"],
        "seconds": one["seconds"],
        "rows": one["rows"],
        "bytes": one["bytes"],
        "rows_per_second": round(one["rows"] / seconds, 1),
        "mb_per_second": round(one["bytes"] / seconds / 1e6, 3),
        **{name: one.get(name, 0) for name in _SUMS},
        "function_cpu_seconds": one.get("function_cpu_seconds", 0.0),
        "peak_pss_bytes": one.get("max_peak_pss_bytes", 0),
        "requests": one.get("requests", {}),
        "counts": one.get("counts", {}),
    }


def _asked_for_contents(stage: Mapping[str, Any]) -> int:
    """Without what the stage reads of the work directory, which may lie on an object store, too."""
    return sum(stage["counts"].get(name, 0) for name in ("objects.requested", "requests.repeated"))


def _compared(record: Mapping[str, Any], stages: list[dict[str, Any]], cpu: float) -> dict[str, Any] | None:
    """What was expected beside what came; None for runs of versions that kept no estimate."""
    expected = record.get("estimate")
    if not isinstance(expected, dict):
        return None
    fetched = [stage for stage in stages if stage["stage"].startswith("fetch.")]
    return {
        **{key: expected[key] for key in ("rates", "runs", "conditions", "unknown_stages")},
        "cpu_seconds": {"estimate": expected["cpu_seconds"], "actual": round(cpu, 3)},
        "bytes": {"estimate": expected["bytes"], "actual": sum(stage["bytes"] for stage in fetched)},
        "requests": {
            "estimate": expected["requests"],
            "actual": None if expected["requests"] is None else sum(map(_asked_for_contents, fetched)),
        },
        "cpu_by_stage": expected["cpu_by_stage"],
    }
