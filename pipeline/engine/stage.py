"""What a stage is, and what its function sees while it works on one unit.

A stage is a module-level function `f(task: Task) -> Mapping[output name, pa.Table]`, run once per unit. Units are the
buckets, a list of work items (input files, shards), or one unit for the whole table where that is small by design.
Outputs are written sorted by their full key; an output with a `route` is split by target bucket, so that the next
stage reads it by that column's bucket. A function may give an iterator of tables for an output that it should not hold
at once: each table is sorted by itself. An output without rows is not written.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from pipeline.engine import inputs
from pipeline.engine.amounts import memory_bytes
from pipeline.engine.buckets import write_part
from pipeline.engine.keys import make_key
from pipeline.engine.measure import FUNCTION, Meter, drawn, phase
from pipeline.engine.shuffle import read_routed, write_routed
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError

FORMAT = 2  # of stage folders; part of every key


@dataclass(frozen=True, kw_only=True)
class Output:
    """One table of a stage: its schema, the full sort key of its rows, and the column that routes them (or None)."""

    schema: pa.Schema
    order: tuple[str, ...]
    route: str | None = None


@dataclass(frozen=True)
class Ref:
    """A table that an earlier stage wrote: the stage's folder in the work directory and the output's name."""

    folder: str
    output: str
    key: str


Rows = pa.Table | Iterable[pa.Table]
Units = Literal["buckets", "one"] | tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A step of the flow. `config` holds exactly what the function reads of the configuration (JSON values)."""

    name: str
    run: Callable[[Task], Mapping[str, Rows]]
    outputs: Mapping[str, Output]
    inputs: Mapping[str, Ref | Sequence[Ref]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)  # seen by the function, cannot change the bytes
    units: Units = "buckets"
    libraries: tuple[str, ...] = ("duckdb", "pyarrow")
    heavy: bool = False  # loads a big model: few at once, in processes that end with the stage

    @cached_property
    def key(self) -> str:
        """The stage's key; see pipeline.engine.keys."""
        inputs = {
            name: ref.key + "/" + ref.output
            if isinstance(ref, Ref)
            else [r.key + "/" + r.output for r in ref]
            for name, ref in self.inputs.items()
        }
        return make_key(
            self.name,
            config={
                **self.config,
                "format": FORMAT,
                "outputs": {n: _describe(o) for n, o in self.outputs.items()},
            },
            inputs=inputs,  # type: ignore[arg-type]
            modules=[self.run.__module__],
            libraries=self.libraries,
        )

    @property
    def folder(self) -> str:
        """Where the stage's output lies in the work directory."""
        return f"stages/{self.name}/{self.key}"

    def ref(self, output: str) -> Ref:
        """A handle on one of the outputs, for the inputs of later stages."""
        assert output in self.outputs, output
        return Ref(self.folder, output, self.key)


def _describe(output: Output) -> dict[str, Any]:
    return {
        "schema": output.schema.to_string(show_field_metadata=False),
        "order": list(output.order),
        "route": output.route,
    }


@lru_cache(maxsize=512)
def read_summary(store: Store, folder: str) -> dict[str, Any]:
    """The folded sidecar of a finished stage."""
    try:
        return json.loads(store.read(f"{folder}/stage.json"))
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{folder} is not finished: its stage.json is missing; run the release again"
        ) from error


@dataclass
class Task:
    """What a stage function sees: one unit of work."""

    store: Store
    unit: str
    bucket: int
    buckets: int
    item: Any
    config: Mapping[str, Any]
    extra: Mapping[str, Any]
    refs: Mapping[str, list[Ref]]
    scratch: Path
    memory: str
    folder: str
    rows_in: int = 0
    bytes_in: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of input `name` that belong to this unit's bucket."""
        return self.read_bucket(name, self.bucket, columns)

    def read_bucket(self, name: str, bucket: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of input `name` in `bucket`."""
        with phase("read"):
            return self._concat([read_ref(self.store, ref, bucket, columns) for ref in self.refs[name]])

    def read_all(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """All rows of input `name`, over all buckets; only where the table is small by design."""
        with phase("read"):
            return self._concat([read_ref(self.store, ref, None, columns) for ref in self.refs[name]])

    def _concat(self, tables: list[pa.Table]) -> pa.Table:
        table = pa.concat_tables(tables) if tables else pa.table({})
        self.rows_in += table.num_rows
        self.bytes_in += table.nbytes
        return table

    def kept(self, name: str) -> Path | None:
        """The user's file whose key `Runner.keep` gave to `extra[name]`: a copy in this unit's scratch folder."""
        key = self.extra[name]
        return None if key is None else inputs.kept(self.store, key, self.scratch)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter of the sidecar (rows dropped by reason, objects requested, ...)."""
        if amount:
            self.counts[name] = self.counts.get(name, 0) + int(amount)

    @property
    def memory_bytes(self) -> int:
        """What the unit may hold, `engine.task_memory`, in bytes."""
        return memory_bytes(self.memory)

    @cached_property
    def db(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the process's DuckDB."""
        return _database(self.memory).cursor()

    def sql(self, query: str, /, **tables: pa.Table) -> pa.Table:
        """The Arrow result of a query over the given tables."""
        for name, table in tables.items():
            self.db.register(name, table)
        try:
            return self.db.sql(query).to_arrow_table()
        finally:
            for name in tables:
                self.db.unregister(name)

    def commit_file(self, name: str, path: Path) -> None:
        """Store a finished local file beside the stage's tables, with its size and SHA-256 in the sidecar."""
        with phase("commit"):
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            size = path.stat().st_size
            with self.store.writing(f"{self.folder}/{name}") as target:
                shutil.move(path, target)  # scratch and work directory may be on two file systems
            self.files[name] = {"bytes": size, "sha256": sha256}


@cache
def _database(memory: str) -> duckdb.DuckDBPyConnection:
    """The process's DuckDB: one thread (so that bytes repeat), bounded memory, what exceeds it spills to disk.

    Opened once, since that takes 15 ms, half of what a small unit takes otherwise.
    """
    connection = duckdb.connect(":memory:")
    folder = Path(tempfile.gettempdir(), f"stackmill-duckdb-{os.getpid()}")  # made when something spills
    spill = str(folder).replace("'", "''")
    connection.execute(f"set threads=1; set memory_limit='{memory}'; set temp_directory='{spill}'")
    connection.execute("set global TimeZone='UTC'")
    return connection


def read_ref(store: Store, ref: Ref, bucket: int | None, columns: list[str] | None = None) -> pa.Table:
    """Rows of a table: those of one bucket, or all of them (`bucket=None`), in the order of the parts."""
    if tables := list(_parts_of(store, ref, bucket, columns)):
        return pa.concat_tables(tables)
    output = read_summary(store, ref.folder)["outputs"][ref.output]
    schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(output["schema"])))
    return schema.empty_table().select(columns) if columns is not None else schema.empty_table()


def _parts_of(
    store: Store, ref: Ref, bucket: int | None, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """The same, one part at a time: what one unit wrote."""
    summary = read_summary(store, ref.folder)
    routed = summary["outputs"][ref.output][
        "buckets"
    ]  # of a routed part; None: the part is its unit's bucket
    for unit, sidecar in sorted(summary["units"].items()):
        part = sidecar["outputs"][ref.output]
        elsewhere = routed is None and bucket is not None and sidecar["bucket"] != bucket
        if part["rows"] == 0 or elsewhere:
            continue
        if routed is None:
            with store.parquet(f"{ref.folder}/{part_name(ref.output, unit, routed=False)}") as file:
                yield file.read(columns=columns, use_threads=False)
        else:
            yield from read_routed(
                store,
                f"{ref.folder}/{part_name(ref.output, unit, routed=True)}",
                size=part["bytes"],
                chunks=part["chunks"],
                buckets=routed,
                bucket=bucket,
                columns=columns,
            )


def part_name(output: str, unit: str, *, routed: bool) -> str:
    """The object of a unit's part of an output, in the stage's folder: Parquet, or segments by target bucket."""
    return f"{output}-{unit}.{'segments' if routed else 'parquet'}"


def as_path(text: str | None) -> Path | None:
    """A path that travelled to a task as a string."""
    return None if text is None else Path(text)


def run_unit(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one unit and commit it: tables first, its sidecar last. Returns the sidecar, and `measured` beside it.

    What was measured goes to the run's record only: a sidecar is the same whenever and wherever the unit ran.
    """
    with Meter() as meter:
        sidecar = _run_unit(payload)
    parts = [part for part in (*sidecar["outputs"].values(), *sidecar["files"].values()) if part["bytes"]]
    measured = meter.figures(
        written_bytes=sum(part["bytes"] for part in parts), written_objects=len(parts) + 1
    )
    return {**sidecar, "measured": measured}


def _run_unit(payload: Mapping[str, Any]) -> dict[str, Any]:
    store = Store(payload["workdir"])
    function = getattr(importlib.import_module(payload["module"]), payload["function"])
    folder, unit = payload["folder"], payload["unit"]
    outputs: Mapping[str, Output] = payload["outputs"]
    # The driver's scratch folder, which it removes whatever becomes of its workers; on another machine there is none.
    base = payload["scratch"] if os.path.isdir(payload["scratch"] or "") else None  # noqa: PTH112
    with tempfile.TemporaryDirectory(prefix="stackmill-task-", dir=base) as scratch:
        task = Task(
            store=store,
            unit=unit,
            bucket=payload["bucket"],
            buckets=payload["buckets"],
            item=payload["item"],
            config=payload["config"],
            extra=payload["extra"],
            refs=payload["refs"],
            scratch=Path(scratch),
            memory=payload["memory"],
            folder=folder,
        )
        with phase(FUNCTION):
            tables = dict(function(task))
        assert set(tables) == set(outputs), (payload["function"], sorted(tables), sorted(outputs))
        written = {}
        for name, output in outputs.items():
            key = f"{folder}/{part_name(name, unit, routed=output.route is not None)}"
            written[name] = _write(store, key, tables.pop(name), output, payload["buckets"])
        if "db" in task.__dict__:
            task.db.close()
    sidecar = {
        "unit": unit,
        "bucket": payload["bucket"],
        "outputs": written,
        "rows_in": task.rows_in,
        "bytes_in": task.bytes_in,
        "counts": task.counts,
        "facts": task.facts,
        "files": task.files,
    }
    with phase("commit"):
        store.put(f"{folder}/{unit}.json", json.dumps(sidecar, sort_keys=True).encode())
    return sidecar


def _write(store: Store, key: str, made: Rows, output: Output, buckets: int) -> dict[str, Any]:
    given = [made] if isinstance(made, pa.Table) else made
    del made
    chunks = _filled(chunk.select(output.schema.names).cast(output.schema) for chunk in drawn(given))
    if (first := next(chunks, None)) is None:
        return {"rows": 0, "bytes": 0, "chunks": 0, "sha256": None}
    chunks = itertools.chain([first], chunks)
    del first
    with phase("commit"), store.writing(key) as path:
        with phase("write"):
            if output.route is not None:
                rows, count = write_routed(
                    path, chunks, order=output.order, route=output.route, buckets=buckets
                )
            else:
                rows, count = write_part(path, chunks, output.schema, order=output.order), 1
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size = path.stat().st_size
    return {"rows": rows, "bytes": size, "chunks": count, "sha256": sha256}


def _filled(chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    return (chunk for chunk in chunks if chunk.num_rows)
