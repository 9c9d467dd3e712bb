"""The tree walk side by side with DuckDB and polars: root directories -> the path of every file below them.

    python benchmarks/bench_walk.py [--rows 500000] [--scale 1 2 4 8] [--buckets 8] [--seed 0] [--json]

The input is made: `rows` directory entries of which one in eight is a directory, one root per 50 directories, parents
drawn so that trees are some 20 levels deep, and one directory in 50 with a second parent. With 2,000,000 rows, 5,000
roots and some 1.8 million paths.

Ours are the stages of the walk (reach and walk) over bucketed tables in a temporary work directory, one process, no
Ray. DuckDB joins level by level over tables in its memory, one thread; polars, if it is installed, the same. Each runs in
a process of its own, with one thread; CPU seconds are of the process, user and system, without making the input and
without what checks the result: number and digest (a sum of row hashes) of (root, path, target) must agree.

- join: inside the join alone (pipeline.stages.expand); for the peers all that they do.
- read, write, rest: of the stages walk.*; write is routing, packing and checksums. walk is the sum of the four, and
  engine the share of it that is not the join.
- reach: what finds the reachable part of the graph and its entries, once, before the walk, all included.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine import stage
from pipeline.engine.buckets import bucket_of
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Done, Runner, open_workdir
from pipeline.engine.stage import Output, Stage, Task
from pipeline.stages import walk as stages
from pipeline.tables import ENTRY_SCHEMAS, FRONTIER

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "ARROW", "POLARS")} | {
    "POLARS_MAX_THREADS": "1"
}
MAX_DEPTH, MAX_ENTRIES = 64, 1_000_000


# ------------------------------------------------------------------------------------------------------- the input


def ids(draw: np.random.Generator, count: int) -> pa.Array:
    """Distinct random ids of 40 hex digits, ascending."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    raw = np.frombuffer(draw.bytes(20 * count), np.uint8)
    text = np.empty(40 * count, np.uint8)
    text[0::2], text[1::2] = digits[raw >> 4], digits[raw & 15]
    offsets = np.arange(0, 40 * count + 1, 40, dtype=np.int32)
    found = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
    return found.take(pa.array(draw.permutation(count)))


def synthetic(rows: int, seed: int) -> tuple[pa.Table, pa.Array, pa.Array]:
    """Rows of `directory_entry`, sorted; the directories; and which of them are roots."""
    draw = np.random.default_rng(seed)
    directories = rows // 8
    roots = max(1, directories // 50)
    children = np.arange(roots, directories)
    parents = (children * np.sqrt(draw.random(len(children)))).astype(np.int64)
    shared = draw.choice(children, len(children) // 50, replace=False)
    second = (shared * draw.random(len(shared))).astype(np.int64)  # a smaller number: no cycle
    files = rows - len(children) - len(shared)
    holder = draw.integers(0, directories, files)
    names = ids(draw, directories)
    contents = ids(draw, max(1, files // 4))
    number = np.concatenate([children, shared, np.arange(files)])
    is_directory = np.arange(rows) < len(children) + len(shared)
    label = np.where(is_directory, "dir", "file")
    extension = np.where(is_directory, "", ".py")
    text = np.char.add(np.char.add(label, number.astype("U9")), extension)
    below = pa.concat_arrays([names.take(pa.array(number[is_directory])),
                              contents.take(pa.array(draw.integers(0, len(contents), files)))])  # fmt: skip
    table = pa.table(
        {
            "directory_id": names.take(pa.array(np.concatenate([parents, second, holder]))),
            "name": pa.array(text).cast(pa.binary()),
            "type": pa.array(label),
            "target": below,
            "perms": pa.array(np.where(is_directory, 0o040000, 0o100644), pa.int32()),
        }
    )
    table = table.sort_by([("directory_id", "ascending"), ("name", "ascending"), ("target", "ascending")])
    return table, names, names.slice(0, roots)


# ----------------------------------------------------------------------------------------------------- ours


def given(task: Task) -> Mapping[str, pa.Table]:
    """The rows of a local file that belong to the unit's bucket."""
    table = pq.read_table(task.extra["path"])
    mine = bucket_of(table[task.config["route"]], task.buckets) == task.bucket
    return {task.config["output"]: table.filter(pa.array(mine))}


def prepared(folder: Path, buckets: int) -> tuple[Runner, dict[str, Done], Done]:
    """The tables as the release has them before the walk."""
    store, _ = open_workdir(str(folder / "work"), buckets, default_buckets=buckets)
    runner = Runner(store, InProcess(), buckets, Progress(quiet=True))

    def table(name: str, output: str, schema: pa.Schema, column: str, route: str | None = None) -> Done:
        return runner.run(
            Stage(
                name=f"given.{name}",
                run=importlib.import_module("bench_walk").given,  # not of __main__: a stage names its module
                outputs={output: Output(schema=schema, order=tuple(schema.names), route=route)},
                config={"output": output, "route": column},
                extra={"path": str(folder / f"{name}.parquet")},
            )
        )

    graph = {
        "directory_entry": table("entries", "rows", ENTRY_SCHEMAS["directory_entry"], "directory_id"),
        "directory": table("directories", "rows", ENTRY_SCHEMAS["directory"], "id"),
    }
    return runner, graph, table("roots", "frontier", FRONTIER, "directory", "directory")


class Clock:
    """CPU seconds by what is being done; what is done inside something else counts there alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.doing, self.since = ["rest"], time.process_time()

    def switch(self, to: str | None) -> None:
        """Begin with `to`, or, with None, go back to what was done before."""
        now = time.process_time()
        self.spent[self.doing[-1]] += now - self.since
        self.since = now
        if to is None:
            self.doing.pop()
        else:
            self.doing.append(to)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with its CPU seconds counted as `name`."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.switch(name)
            try:
                return function(*arguments, **named)
            finally:
                self.switch(None)

        return wrapped

    def timed_rows(self, name: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The generator with the CPU seconds of its steps counted as `name`."""

        def wrapped(*arguments: Any, **named: Any) -> Iterator[Any]:
            rows = function(*arguments, **named)
            step = self.timed(name, lambda: next(rows, None))
            while (row := step()) is not None:
                yield row

        return wrapped


def ours(folder: Path, buckets: int) -> dict[str, Any]:
    runner, graph, roots = prepared(folder, buckets)
    clock = Clock()
    for name in ("write_routed", "write_part"):
        setattr(stage, name, clock.timed("write", getattr(stage, name)))
    stage.read_ref = clock.timed("read", stage.read_ref)
    stages.find, stages.pieces = clock.timed("read", stages.find), clock.timed_rows("read", stages.pieces)
    stages.expand = clock.timed_rows("join", stages.expand)
    reach_tree = stages.reach_tree

    def reach(*arguments: Any, **named: Any) -> Done:
        done = reach_tree(*arguments, **named)
        clock.switch("rest")
        reach_s.append(sum(clock.spent.values()))
        clock.spent.clear()
        return done

    reach_s: list[float] = []
    stages.reach_tree = reach
    found, _, _ = stages.walk(runner, graph, roots, max_depth=MAX_DEPTH, max_entries=MAX_ENTRIES)
    clock.switch("check")
    spent = dict(clock.spent)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    checks = [check(runner.table(ref, bucket=bucket)) for ref in found for bucket in range(buckets)]
    return {
        "paths": sum(one["paths"] for one in checks),
        "digest": sum(one["digest"] for one in checks) % 2**64,
        "walk_s": sum(spent.values()),
        "reach_s": reach_s[0],
        **{f"{name}_s": seconds for name, seconds in spent.items()},
        "peak_mb": peak / 1024,
    }


def check(paths: pa.Table) -> dict[str, int]:
    """Number of rows, and the sum of their hashes: the same whatever their order."""
    query = "select count(*), coalesce(sum(hash(root, path, target)), 0) from paths where target is not null"
    rows, digest = duckdb.sql(query).fetchall()[0]
    return {"paths": int(rows), "digest": int(digest) % 2**64}


# ---------------------------------------------------------------------------------------------------- the peers


def with_duckdb(folder: Path, _: int) -> dict[str, Any]:
    """One join per level over tables in memory."""
    db = duckdb.connect()
    db.execute("set threads=1")
    start = time.process_time()
    db.execute(
        f"create table entry as select directory_id, name, type, target from '{folder}/entries.parquet'"
    )
    db.execute(f"create table frontier as select root, path, directory from '{folder}/roots.parquet'")
    db.execute("create table paths (root varchar, path blob, target varchar)")
    while db.sql("from frontier limit 1").fetchall():
        db.execute(
            """
            create table found as
            select f.root, e.type, e.target,
                case when octet_length(f.path) = 0 then e.name else f.path || '/'::blob || e.name end as path
            from frontier f join entry e on e.directory_id = f.directory
            """
        )
        db.execute("insert into paths select root, path, target from found where type = 'file'")
        db.execute("create or replace table frontier as "
                   "select root, path, target as directory from found where type = 'dir'")  # fmt: skip
        db.execute("drop table found")
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**check(db.sql("from paths").to_arrow_table()), "join_s": seconds, "peak_mb": peak / 1024}


def with_polars(folder: Path, _: int) -> dict[str, Any]:
    """The same with data frames."""
    import polars as pl

    start = time.process_time()
    entry = pl.read_parquet(folder / "entries.parquet", columns=["directory_id", "name", "type", "target"])
    frontier = pl.read_parquet(folder / "roots.parquet", columns=["root", "path", "directory"])
    entry = entry.with_columns(
        pl.col("name").cast(pl.String)
    )  # polars joins no binary values; these are UTF-8
    frontier = frontier.with_columns(pl.col("path").cast(pl.String))
    paths = []
    while frontier.height:
        found = frontier.join(entry, left_on="directory", right_on="directory_id").with_columns(
            path=pl.when(pl.col("path") == "")
            .then(pl.col("name"))
            .otherwise(pl.concat_str("path", pl.lit("/"), "name"))
        )
        paths.append(found.filter(pl.col("type") == "file").select("root", "path", "target"))
        frontier = found.filter(pl.col("type") == "dir").select("root", "path", directory="target")
    whole = pl.concat(paths)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table = whole.to_arrow().cast(
        pa.schema([("root", pa.string()), ("path", pa.binary()), ("target", pa.string())])
    )
    return {**check(table), "join_s": seconds, "peak_mb": peak / 1024}


# ---------------------------------------------------------------------------------------------------- the runs


ENGINES: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "ours": ours,
    "duckdb": with_duckdb,
    "polars": with_polars,
}


def measure(rows: int, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """All engines on one input, each in a process of its own."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="bench-walk-") as name:
        for tool in ("input", *ENGINES):
            if tool == "polars" and importlib.util.find_spec("polars") is None:
                continue
            line = [sys.executable, __file__, "--rows", str(rows), "--seed", str(arguments.seed)]
            line += ["--buckets", str(arguments.buckets), "--only", tool, "--folder", name]
            done = subprocess.run(line, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE, check=True)
            if tool != "input":
                found[tool] = json.loads(done.stdout)
    return found


def make_input(folder: Path, rows: int, seed: int, buckets: int) -> None:
    entries, directories, roots = synthetic(rows, seed)
    pq.write_table(entries, folder / "entries.parquet", compression="zstd")
    pq.write_table(pa.table({"id": directories}), folder / "directories.parquet")
    paths = pa.array([b""] * len(roots), pa.binary())
    pq.write_table(pa.table({"root": roots, "path": paths, "directory": roots}), folder / "roots.parquet")
    prepared(folder, buckets)


def growth(rows: list[int], seconds: list[float]) -> float:
    """The exponent k of seconds ~ rows^k, by least squares on logarithms."""
    return float(np.polyfit(np.log(rows), np.log(seconds), 1)[0])


def show(results: dict[int, dict[str, dict[str, Any]]]) -> None:
    heads = (
        "rows",
        "tool",
        "paths",
        "join s",
        "M paths/s",
        "read s",
        "write s",
        "rest s",
        "walk s",
        "M paths/s",
    )
    print("".join(f"{head:>11}" for head in [*heads, "engine", "reach s", "peak MB"]))
    for rows, tools in results.items():
        for tool, one in tools.items():
            cells = [f"{rows:,}", tool, f"{one['paths']:,}", f"{one['join_s']:.2f}"]
            cells.append(f"{one['paths'] / one['join_s'] / 1e6:.2f}")
            if tool == "ours":
                cells += [f"{one[key]:.2f}" for key in ("read_s", "write_s", "rest_s", "walk_s")]
                cells.append(f"{one['paths'] / one['walk_s'] / 1e6:.2f}")
                cells += [f"{1 - one['join_s'] / one['walk_s']:.0%}", f"{one['reach_s']:.2f}"]
            else:
                cells += [""] * 7
            print("".join(f"{cell:>11}" for cell in [*cells, f"{one['peak_mb']:.0f}"]))
    if len(results) > 1:
        sizes = list(results)
        ours_grow = [f"{key[:-2]} {growth(sizes, [results[n]['ours'][key] for n in sizes]):.2f}"
                     for key in ("join_s", "walk_s", "reach_s")]  # fmt: skip
        peer = growth(sizes, [results[n]["duckdb"]["join_s"] for n in sizes])
        print(f"growth, k in rows^k: {', '.join(ours_grow)}; duckdb {peer:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=250_000, help="directory entries at 1x")
    parser.add_argument("--scale", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--buckets", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=("input", *ENGINES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only == "input":
        make_input(arguments.folder, arguments.rows, arguments.seed, arguments.buckets)
        return
    if arguments.only:
        print(json.dumps(ENGINES[arguments.only](arguments.folder, arguments.buckets)))
        return
    results = {}
    for scale in arguments.scale:
        results[arguments.rows * scale] = found = measure(arguments.rows * scale, arguments)
        if len({(one["paths"], one["digest"]) for one in found.values()}) != 1:
            raise SystemExit(
                f"the engines do not agree: { {tool: one['paths'] for tool, one in found.items()} }"
            )
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"{arguments.buckets} buckets, one thread each; CPU seconds; contents of all tools are the same")
    show(results)


if __name__ == "__main__":
    main()
