"""A stage whose table is given, with any bytes in it, as input for the stages under test."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task


def table(task: Task) -> Mapping[str, pa.Table]:
    with pa.ipc.open_stream(base64.b64decode(task.config["table"])) as reader:
        return {"rows": reader.read_all()}


def given_table(runner: Runner, name: str, rows: pa.Table, route: str) -> Done:
    """`rows` in the buckets of the column `route`."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return runner.run(
        Stage(
            name=f"given.{name}",
            run=table,
            outputs={"rows": Output(schema=rows.schema, order=(route,), route=route)},
            units="one",
            config={"table": base64.b64encode(sink.getvalue()).decode()},
        )
    )
