"""The fetch stage alone: objects made by number, wanted rows, a work directory, and what is in its store of bodies."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.annotations import AnnotationStore
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Done, Runner, open_workdir
from pipeline.engine.stage import Output, Stage, Task
from pipeline.engine.store import Store
from pipeline.stages.fetch import BODIES_OF, fetch
from pipeline.tables import BODIES

WANTED = pa.schema([("sha256", pa.string()), ("sha1", pa.string()), ("length", pa.int64())])
LIMITS = {"rate": 100_000, "in_flight": 16, "failures": 100, "incomplete": False}
SERVER = Path(__file__).parents[2] / "benchmarks" / "object_server.py"


def body(number: int) -> bytes:
    return b"print(%d)\n" % number * (1 + number % 40)


def write_objects(folder: Path, count: int) -> list[bytes]:
    """`count` objects below folder/content; returns their bodies."""
    (folder / "content").mkdir(parents=True, exist_ok=True)
    bodies = [body(number) for number in range(count)]
    for one in bodies:
        (folder / "content" / sha1(one)).write_bytes(gzip.compress(one, 1, mtime=0))
    return bodies


def sha1(one: bytes) -> str:
    return hashlib.sha1(one, usedforsecurity=False).hexdigest()


def sha256(one: bytes) -> str:
    return hashlib.sha256(one).hexdigest()


def write_rows(path: Path, bodies: list[bytes]) -> Path:
    columns = [[sha256(b) for b in bodies], [sha1(b) for b in bodies], [len(b) for b in bodies]]
    pq.write_table(pa.table(columns, schema=WANTED), path)
    return path


def give_wanted(task: Task) -> Mapping[str, pa.Table]:
    return {"wanted": pq.read_table(task.config["rows"], memory_map=False)}


def run_fetch(
    work: Path | str, rows: Path, content: str, *, buckets: int = 1, asked: int = 0, **limits: Any
) -> Done:
    """Run the stage over the rows of a file."""
    store, count = open_workdir(str(work), buckets, default_buckets=buckets)
    runner = Runner(store, InProcess(), count, Progress(quiet=True))
    output = {"wanted": Output(schema=WANTED, order=("sha256",), route="sha256")}
    wanted = runner.run(
        Stage(name="give", run=give_wanted, outputs=output, units="one", config={"rows": str(rows)})
    )
    source = {"content": content, "anonymous": True, **LIMITS, **limits}
    return fetch(runner, "test", wanted.ref("wanted"), source, asked=asked)


def bodies_in(work: Path | str, buckets: int = 1) -> dict[str, bytes]:
    """sha256 -> body of everything in the store of bodies; each is there once in what a reader sees."""
    tables = [
        AnnotationStore(Store(str(work)), "bodies", BODIES_OF.key(), bucket, ("sha256",), BODIES).read()
        for bucket in range(buckets)
    ]
    return {row["sha256"]: row["body"] for table in tables for row in table.to_pylist()}


def statuses_in(work: Path, done: Done) -> dict[str, str]:
    """sha256 -> status of the stage's table."""
    rows: dict[str, str] = {}
    for part in (work / done.stage.folder).glob("status-*.parquet"):
        table = pq.read_table(part)
        rows |= dict(zip(table["sha256"].to_pylist(), table["status"].to_pylist(), strict=True))
    return rows


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The objects of a folder behind a static server in a process of its own."""
    command = [sys.executable, str(SERVER), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        yield server.stdout.readline().strip()
        server.stdin.close()
