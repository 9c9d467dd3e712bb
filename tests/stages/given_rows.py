"""A stage whose rows are given in its configuration, as input for the stages under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task

SCHEMAS: dict[str, pa.Schema] = {}


def rows(task: Task) -> Mapping[str, pa.Table]:
    return {"rows": pa.Table.from_pylist(list(task.config["rows"]), schema=SCHEMAS[task.config["name"]])}


def given(runner: Runner, name: str, schema: pa.Schema, route: str, found: Sequence[dict[str, Any]]) -> Done:
    """Rows of plain values, in the buckets of the column `route`."""
    SCHEMAS[name] = schema
    output = Output(schema=schema, order=(route,), route=route)
    config = {"name": name, "rows": list(found)}
    return runner.run(
        Stage(name=f"given.{name}", run=rows, outputs={"rows": output}, units="one", config=config)
    )
