"""`signals.parquet`: what is told of kept rows beside the rows themselves, where the configuration asks for it.

    kept ─▶ in which bigger row it lies, how much of it is repeated ─▶ by row id ─▶ one file

Nothing here decides anything: the rows and shards of a release are the same with and without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.names import SIGNALS_FILE
from manifests.signals import SIGNALS, write_signals
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.row_ids import ROW_ID_SQL
from pipeline.stages.secrets import TextForm
from pipeline.stages.signals_contained import BEST, Contained, contained_wave
from pipeline.stages.signals_repeated import MOST, SHARES, Repeated, find_most_repeated, most


def signals(task: Task) -> Mapping[str, pa.Table]:
    """Everything that is told of the kept contents of the bucket, under the ids of their rows."""
    asked = bool(task.refs["repeated"])
    table = task.sql(
        f"""
        select {ROW_ID_SQL.format(sha256="k.sha256")} as row_id,
            case when c.contained_in is not null then {ROW_ID_SQL.format(sha256="c.contained_in")} end as contained_in,
            c.inter as shared_shingles, c.shingles, c.inter::double / c.shingles as containment,
            {"coalesce(r.repeated_bytes, 0)" if asked else "null"} as repeated_bytes,
            {"coalesce(r.repeated_bytes::double / r.line_bytes, 0)" if asked else "null"} as repeated_share
        from k left join c using (sha256) left join r using (sha256)
        where c.sha256 is not null or r.sha256 is not null
        """,
        k=task.read("kept", ["sha256"]),
        c=task.read("contained") if task.refs["contained"] else BEST.empty_table(),
        r=task.read("repeated") if asked else SHARES.empty_table(),
    )
    return {"rows": table.cast(SIGNALS)}


def file(task: Task) -> Mapping[str, pa.Table]:
    """The file, and the most repeated blocks of all. Buckets are in the order of the row ids."""
    target = Path(task.scratch, SIGNALS_FILE)
    rows = (task.read_bucket("rows", bucket).sort_by("row_id") for bucket in range(task.buckets))
    task.facts["rows"] = write_signals((table.cast(SIGNALS) for table in rows), target)
    task.commit_file(SIGNALS_FILE, target)
    return {"most": most(task, task.read_all("most")) if task.refs["most"] else MOST.empty_table()}


@dataclass(frozen=True)
class Signals:
    """The finished stages; `contained` and `repeated` are None where they were not asked for."""

    file: Done
    contained: Contained | None
    repeated: Repeated | None


def signals_wave(
    runner: Runner,
    kept: Done,
    repeated: Repeated | None,
    config: Mapping[str, Any],
    *,
    text_form: TextForm,
) -> Signals | None:
    """Write the signals of the stage `kept`; None where none are asked for. `config`: pipeline.config.NearDuplicates."""
    asked = config["containment"]
    if asked is None and repeated is None:
        return None
    contained, best = None, None
    if asked is not None:
        contained = contained_wave(
            runner, kept, least=asked["least"], similar=config["threshold"], text_form=text_form
        )
    if repeated is not None:
        best = find_most_repeated(runner, kept, repeated, config["repeated"]["lines"])
    rows = runner.run(
        Stage(
            name="signals",
            run=signals,
            inputs={
                "kept": kept.ref("kept"),
                "contained": [contained.done.ref("contained")] if contained else [],
                "repeated": [repeated.shares.ref("shares")] if repeated else [],
            },
            outputs={"rows": Output(schema=SIGNALS, order=("row_id",), route="row_id")},
        )
    )
    written = runner.run(
        Stage(
            name="signals.file",
            run=file,
            inputs={"rows": rows.ref("rows"), "most": [best.ref("most")] if best else []},
            outputs={"most": Output(schema=MOST, order=("block",))},
            units="one",
            libraries=("duckdb", "pyarrow"),
        )
    )
    return Signals(written, contained, repeated)
