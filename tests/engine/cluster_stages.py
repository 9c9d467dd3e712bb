"""Stage functions for the tests on a Ray cluster. They meet through the work directory: nodes share nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.engine.stage import Output, Stage, Task

ROWS = pa.schema([("id", pa.string()), ("text", pa.string())])
WAIT_SECONDS = 180  # for a marker of another process, which comes or the test fails


def await_marker(task: Task, name: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while task.store.stat(f"markers/{name}") is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"nobody wrote {name}")
        time.sleep(0.05)


def mark(task: Task, name: str) -> None:
    task.store.put(f"markers/{name}", b"")


def node() -> str:
    """The address of the node that this process runs on."""
    import ray

    return str(ray.util.get_node_ip_address())


def _rows(task: Task, text: str) -> Mapping[str, pa.Table]:
    return {"rows": pa.table([[f"{int(task.unit):040x}"], [text]], schema=ROWS)}


def meet(task: Task) -> Mapping[str, pa.Table]:
    """Ends when the other unit has begun: so both run at once, and the nodes have one CPU each."""
    mark(task, f"{task.config['round']}-{task.unit}")
    await_marker(task, f"{task.config['round']}-{1 - int(task.unit):06d}")
    task.facts.update(
        node=node(),
        cwd=str(Path.cwd()),
        driver_sees=Path(task.extra["driver_file"]).exists(),
        secret="AWS_SECRET_ACCESS_KEY" in os.environ,
        endpoint="AWS_ENDPOINT_URL" in os.environ,
    )
    kept = task.kept("file")
    assert kept is not None
    return _rows(task, kept.read_text())


def outlive(task: Task) -> Mapping[str, pa.Table]:
    """Says where it runs, and ends when it may."""
    mark(task, f"started-{task.unit}-{node()}")
    await_marker(task, "go")
    return _rows(task, task.unit)


def wait_for_ever(task: Task) -> Mapping[str, pa.Table]:
    """Ends by an interruption only."""
    mark(task, f"started-{task.unit}")
    try:
        await_marker(task, "never")
    finally:
        mark(task, f"ended-{task.unit}")
    return _rows(task, "")


def stage(run: Any, *, extra: Mapping[str, Any], heavy: bool = False, **config: Any) -> Stage:
    """Two units of one row each."""
    return Stage(
        name=run.__name__,
        run=run,
        outputs={"rows": Output(schema=ROWS, order=("id",), route="id")},
        units=({"number": 0}, {"number": 1}),
        extra=extra,
        config=config,
        heavy=heavy,
    )
