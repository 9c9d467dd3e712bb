"""Runs stages over a work directory: what is done is skipped, what is not is run, and every commit is atomic.

<workdir>/workdir.json                      format and bucket count, fixed when the directory is made
<workdir>/stages/<stage>/<key>/...          outputs, one sidecar per unit, folded into stage.json at the end
<workdir>/annotations/<name>/<key>/...      see annotations.py
<workdir>/inputs/<sha256>                   the user's files that stages read; see inputs.py
<workdir>/releases/<version>-<id>.json      what was released, from what, and all that it uses of the two above
<workdir>/runs/<id>/                        timings and memory of each run; never part of a release
<workdir>/lock                              who uses the directory, see lock.py
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.engine import inputs
from pipeline.engine.buckets import check_buckets
from pipeline.engine.executor import Executor
from pipeline.engine.progress import Progress
from pipeline.engine.stage import Ref, Stage, part_name, read_ref, read_summary
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError

WORKDIR_FORMAT = 1
DEFAULT_TASK_MEMORY = "1GB"


@dataclass
class Done:
    """A finished stage: its counters and facts, summed or listed over its units."""

    stage: Stage
    summary: Mapping[str, Any]

    def ref(self, output: str) -> Ref:
        """A handle on one of the outputs."""
        return self.stage.ref(output)

    @property
    def planned(self) -> bool:
        """Whether this is only a plan: the stage has not run, so it has no rows, counters or facts."""
        return not self.summary["units"]

    def rows(self, output: str) -> int:
        """Rows of one output over all units."""
        return sum(unit["outputs"][output]["rows"] for unit in self.summary["units"].values())

    @property
    def counts(self) -> Counter[str]:
        """The counters of all units, added up."""
        total: Counter[str] = Counter()
        for unit in self.summary["units"].values():
            total.update(unit["counts"])
        return total

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What the units left for the driver, in unit order."""
        return [unit["facts"] for _, unit in sorted(self.summary["units"].items())]


@dataclass
class Runner:
    """Runs stages one after the other on an executor, and plans them without running when `dry` is set."""

    store: Store
    executor: Executor
    buckets: int
    progress: Progress
    task_memory: str = DEFAULT_TASK_MEMORY
    ran_units: int = 0
    skipped_units: int = 0
    dry: bool = False
    plan: list[tuple[str, int, bool]] = field(default_factory=list)
    # What this run has used, done before or not: stage folders, and annotation stores as `annotations/<name>/<key>`.
    used: set[str] = field(default_factory=set)
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # name of a stage -> its counters
    before_stage: Callable[[], None] = lambda: None  # a stage is about to run
    before_commit: Callable[[], None] = lambda: None  # raises when this run may not commit any more

    def run(self, stage: Stage) -> Done:
        """The finished stage; units whose sidecar is there are not run again."""
        finished = self.is_done(stage)
        stores: Mapping[str, str] = stage.config.get("stores", {})
        self.used |= {stage.folder, *(f"annotations/{name}/{key}" for name, key in stores.items())}
        self.plan.append((stage.name, len(self._units(stage)), finished))
        if self.dry and not finished:
            return Done(stage, {"units": {}, "outputs": {}})
        if finished:
            summary = read_summary(self.store, stage.folder)
            self.skipped_units += len(summary["units"])
            self.progress.skipped(stage.name)
            return self._counted(Done(stage, summary))
        self.before_stage()
        units = self._units(stage)
        names = {unit[0] for unit in units}
        # Units of another split of the same stage (another number of processes) do not count.
        done = {unit: sidecar for unit, sidecar in self._sidecars(stage).items() if unit in names}
        todo = [unit for unit in units if unit[0] not in done]
        self.skipped_units += len(done)
        self.progress.begin(stage.name, len(units), len(done))
        with tempfile.TemporaryDirectory(prefix="stackmill-") as scratch:
            payloads = (self._payload(stage, *unit, scratch) for unit in todo)
            heavy = int(stage.extra.get("processes", 1)) if stage.heavy else None
            for sidecar in self.executor.run(payloads, heavy=heavy):
                self.ran_units += 1
                self.progress.unit(sidecar, sidecar.pop("measured"))
                done[sidecar["unit"]] = sidecar
        return self._counted(Done(stage, self._fold(stage, done)))

    def _counted(self, done: Done) -> Done:
        self.counts[done.stage.name] = done.counts
        return done

    def run_both(self, stage: Stage, reader: Stage) -> Done:
        """The finished `reader`, which is all that reads `stage`: that is run before, and its output removed after it.

        So `stage` is done when `reader` is. What a run that was killed in between has left is removed by the next one.
        """
        if self.is_done(reader):
            units = len(self._units(stage))
            self.plan.append((stage.name, units, True))
            self.skipped_units += units
            self.progress.skipped(stage.name)
        else:
            self.run(stage)
        done = self.run(reader)
        if not self.dry and self.store.list(stage.folder):
            self.before_commit()
            # First: what is half removed must not look finished.
            self.store.delete(f"{stage.folder}/stage.json")
            self.store.delete_all(stage.folder)
            read_summary.cache_clear()
        self.used.discard(stage.folder)
        return done

    def rows(self, ref: Ref) -> int:
        """Rows of a finished stage's table; 0 where the stage is only planned."""
        if self.dry and self.store.stat(f"{ref.folder}/stage.json") is None:
            return 0
        units = read_summary(self.store, ref.folder)["units"]
        return sum(unit["outputs"][ref.output]["rows"] for unit in units.values())

    def keep(self, path: str | None) -> str | None:
        """Keep a user's file in the work directory for the tasks; its key is for `extra`, see Task.kept."""
        return None if path is None or self.dry else inputs.keep(self.store, Path(path))

    def is_done(self, stage: Stage) -> bool:
        """Whether the stage's folded sidecar is there."""
        return self.store.stat(f"{stage.folder}/stage.json") is not None

    def _units(self, stage: Stage) -> list[tuple[str, int, Any]]:
        if stage.units == "buckets":
            return [(f"{bucket:04x}", bucket, None) for bucket in range(self.buckets)]
        if stage.units == "one":
            return [("all", 0, None)]
        named = [(item.get("unit") if isinstance(item, dict) else None, item) for item in stage.units]
        return [(name or f"{number:06d}", 0, item) for number, (name, item) in enumerate(named)]

    def _payload(self, stage: Stage, unit: str, bucket: int, item: Any, scratch: str) -> dict[str, Any]:
        return {
            "workdir": self.store.address,
            "stage": stage.name,
            "module": stage.run.__module__,
            "function": stage.run.__name__,
            "folder": stage.folder,
            "outputs": dict(stage.outputs),
            "unit": unit,
            "bucket": bucket,
            "buckets": self.buckets,
            "item": item,
            "config": dict(stage.config),
            "extra": dict(stage.extra),
            "refs": {n: [r] if isinstance(r, Ref) else list(r) for n, r in stage.inputs.items()},
            "scratch": scratch or None,
            "memory": self.task_memory,
        }

    def _sidecars(self, stage: Stage) -> dict[str, dict[str, Any]]:
        """Sidecars of finished units, checked against the sizes of what they describe."""
        sizes = {entry.key.rsplit("/", 1)[-1]: entry.size for entry in self.store.list(stage.folder)}
        done = {}
        for name in sizes:
            if not name.endswith(".json"):
                continue
            try:
                sidecar = json.loads(self.store.read(f"{stage.folder}/{name}"))
                unit = sidecar["unit"]
            except (ValueError, KeyError):
                continue  # a machine that lost power can leave such a file: the unit is run again
            whole = all(
                sizes.get(part_name(name, unit, routed=stage.outputs[name].route is not None))
                == part["bytes"]
                for name, part in sidecar["outputs"].items()
                if part["rows"]
            )
            if whole and all(sizes.get(n) == f["bytes"] for n, f in sidecar["files"].items()):
                done[unit] = sidecar
        return done

    def _fold(self, stage: Stage, done: dict[str, dict[str, Any]]) -> Mapping[str, Any]:
        summary = {
            "stage": stage.name,
            "key": stage.key,
            "outputs": {
                name: {
                    "buckets": None if output.route is None else self.buckets,
                    "schema": output.schema.serialize().to_pybytes().hex(),
                }
                for name, output in stage.outputs.items()
            },
            "units": done,
        }
        self.before_commit()
        self.store.put(f"{stage.folder}/stage.json", json.dumps(summary, sort_keys=True).encode())
        self.store.delete(*(f"{stage.folder}/{unit}.json" for unit in done))
        self.progress.end()
        return summary

    def table(self, ref: Ref, columns: Sequence[str] | None = None, bucket: int | None = None) -> pa.Table:
        """Rows of a small table in the driver; flows never pass here."""
        return read_ref(self.store, ref, bucket, list(columns) if columns is not None else None)


def workdir_id(store: Store) -> str:
    """What tells a work directory from every other one; its address where it was made without an id."""
    return str(json.loads(store.read("workdir.json")).get("id", store.uri))


def open_workdir(
    uri: str, buckets: int | None, *, default_buckets: int | Callable[[], int], dry: bool = False
) -> tuple[Store, int]:
    """The store of a work directory and its bucket count; makes the directory when it is new (not when `dry`).

    A callable `default_buckets` is asked when the directory is new and `buckets` is None.

    Raises ConfigError when another bucket count is asked for than the directory was made with.
    """
    store = Store(uri)
    read_summary.cache_clear()  # the directory may have been deleted and made anew since this process saw it
    new = store.stat("workdir.json") is None
    if new:
        default = default_buckets() if buckets is None and callable(default_buckets) else default_buckets
        wanted = check_buckets(buckets if buckets is not None else default)  # type: ignore[arg-type]
        if dry:
            return store, wanted
        made = {"format": WORKDIR_FORMAT, "buckets": wanted, "id": uuid.uuid4().hex}
        store.put_new("workdir.json", json.dumps(made).encode())
    try:
        found = json.loads(store.read("workdir.json"))
        count, version = int(found["buckets"]), int(found["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{uri}/workdir.json is not readable: {error}") from error
    if version != WORKDIR_FORMAT:
        raise ConfigError(
            f"{uri} was made by another version (format {version}, this is {WORKDIR_FORMAT}); use a new --workdir"
        )
    if buckets is not None and buckets != count:
        raise ConfigError(
            f"{uri} was made with {count} buckets, the configuration says {buckets};"
            " remove engine.buckets, or use a new --workdir"
        )
    return store, count
