"""Stage functions for the engine's tests. Each writes down its calls in the file `extra["calls"]`."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.engine.lookup import Kept, find
from pipeline.engine.stage import Output, Stage, Task
from pipeline.errors import SourceError, TransientError

ROWS = pa.schema([("id", pa.string()), ("number", pa.int64())])
BY_ID = Output(schema=ROWS, order=("id",), route="id")


def called(task: Task) -> int:
    """Write down this call; returns how often this unit was called before."""
    path = Path(task.extra["calls"])
    before = path.read_text().split().count(task.unit)
    with path.open("a") as stream:
        stream.write(f"{task.unit}\n")
    return before


def identifier(number: int) -> str:
    return hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest()


def make(task: Task) -> Mapping[str, pa.Table]:
    """Rows of one item: the numbers of a range."""
    called(task)
    numbers = range(*task.item["range"])
    task.count("made", len(numbers))
    return {"rows": pa.table([[identifier(n) for n in numbers], list(numbers)], schema=ROWS)}


def double(task: Task) -> Mapping[str, pa.Table]:
    """The rows of the bucket, each number times `factor`."""
    called(task)
    return {
        "rows": task.sql(f"select id, number * {task.config['factor']} as number from t", t=task.read("rows"))
    }


def flaky(task: Task) -> Mapping[str, pa.Table]:
    """Fails transiently the first `failures` times."""
    if called(task) < task.config["failures"]:
        raise TransientError("the store is busy")
    return double_quietly(task)


def double_quietly(task: Task) -> Mapping[str, pa.Table]:
    return {"rows": task.read("rows")}


def refuse(task: Task) -> Mapping[str, pa.Table]:
    """A source that cannot be used."""
    called(task)
    raise SourceError("s3://bucket/object: access denied; check the credentials")


def absent(task: Task) -> Mapping[str, pa.Table]:
    """An object that is not there any more."""
    called(task)
    task.store.read("no/such/object")
    return {}


def crash(task: Task) -> Mapping[str, pa.Table]:
    """A defect of ours."""
    called(task)
    raise RuntimeError("a defect")


def die_once(task: Task) -> Mapping[str, pa.Table]:
    """The worker process is killed in the middle of the first call, after it wrote a part."""
    if called(task) == 0:
        with task.store.writing(f"{task.folder}/rows-{task.unit}.parquet") as path:
            path.write_bytes(b"half a file")
            os.kill(os.getpid(), signal.SIGKILL)
    return double_quietly(task)


def die_always(task: Task) -> Mapping[str, pa.Table]:
    """The worker process is killed every time."""
    called(task)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def no_room(task: Task) -> Mapping[str, pa.Table]:
    """The disk of the task's scratch folder is full."""
    called(task)
    raise OSError(28, "No space left on device")


def no_memory(task: Task) -> Mapping[str, pa.Table]:
    """A join that needs more than the task may have, and may not spill."""
    called(task)
    # The limit is the process's, so a database of its own: the tests after this one need theirs.
    task.__dict__["db"] = duckdb.connect(config={"threads": 1, "memory_limit": "2MB", "temp_directory": ""})
    task.sql("select list(range) as all_of_them from range(10000000)")
    return {}


def made(calls: Path, parts: int = 3, rows: int = 100) -> Stage:
    """A first stage: `rows` rows in `parts` units."""
    step = -(-rows // parts)
    return Stage(
        name="make",
        run=make,
        outputs={"rows": BY_ID},
        units=tuple({"range": [start, min(start + step, rows)]} for start in range(0, rows, step)),
        extra={"calls": str(calls)},
        config={"rows": rows},
    )


def then(run: Any, before: Any, calls: Path, **config: Any) -> Stage:
    """A stage over the buckets of another one's rows."""
    return Stage(
        name=run.__name__,
        run=run,
        inputs={"rows": before.ref("rows")},
        outputs={"rows": BY_ID},
        config=config,
        extra={"calls": str(calls)},
    )


def look_up(task: Task) -> Mapping[str, pa.Table]:
    """In one unit: the rows of given ids; `item` names them, and how often they are asked for."""
    kept = Kept() if task.item["kept"] else None
    ids = pa.array(sorted(task.item["ids"]), pa.string())
    for _ in range(task.item["times"]):
        found = find(task, "rows", ids, column="id", columns=["number", "id"], kept=kept)
    return {"rows": found}
