"""`quality-signals.parquet`: the quality signals of every kept row, for thresholds other than those of this release.

    kept, what the annotators measured ─▶ by row id ─▶ one file

Nothing here decides anything: the rows and shards of a release are the same with and without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.names import QUALITY_SIGNALS_FILE
from manifests.quality_signals import quality_signals_schema, write_quality_signals
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.row_ids import ROW_ID_SQL
from pipeline.stages.text_code import CODE_OF, code_stores
from pipeline.stages.text_signals import SIGNALS_OF

MEASURED = (SIGNALS_OF, CODE_OF)
"""Annotators whose columns are published, all but their ids; an id is a column of the kept contents."""

PUBLISHED = quality_signals_schema(
    field for annotator in MEASURED for field in annotator.schema if field.name not in annotator.ids
)


def quality_signals(task: Task) -> Mapping[str, pa.Table]:
    """The signals of the kept contents of the bucket, under the ids of their rows."""
    kept = task.read("kept", ["sha256", "language"])
    table = task.sql(f"select *, {ROW_ID_SQL.format(sha256='sha256')} as row_id from k", k=kept)
    for annotator in MEASURED:
        found = annotator.open(task).read(wanted=kept)
        if annotator is SIGNALS_OF:  # signals of the language are there for some languages only
            require_all(annotator.name, kept.num_rows, found.num_rows)
        table = task.sql(f"select * from t left join f using ({', '.join(annotator.ids)})", t=table, f=found)
    return {"rows": table.select(PUBLISHED.names).cast(PUBLISHED)}


def file(task: Task) -> Mapping[str, pa.Table]:
    """The file. Buckets are in the order of the row ids."""
    target = Path(task.scratch, QUALITY_SIGNALS_FILE)
    rows = (task.read_bucket("rows", bucket).sort_by("row_id") for bucket in range(task.buckets))
    task.facts["rows"] = write_quality_signals((table.cast(PUBLISHED) for table in rows), target, PUBLISHED)
    task.commit_file(QUALITY_SIGNALS_FILE, target)
    return {}


def quality_signals_wave(runner: Runner, kept: Done, rules: Mapping[str, Any]) -> Done:
    """Write the signals of the stage `kept`; returns the stage whose folder has the file. `rules`: as of `code_stores`."""
    stores = code_stores(rules)
    rows = runner.run(
        Stage(
            name="quality-signals",
            run=quality_signals,
            inputs={"kept": kept.ref("kept")},
            outputs={"rows": Output(schema=PUBLISHED, order=("row_id",), route="row_id")},
            config={"stores": {one.name: stores[one.name] for one in MEASURED}},
        )
    )
    return runner.run(
        Stage(
            name="quality-signals.file",
            run=file,
            inputs={"rows": rows.ref("rows")},
            outputs={},
            units="one",
            libraries=("pyarrow",),
        )
    )
