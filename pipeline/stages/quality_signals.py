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
from pipeline.content.signal_schema import KNOWN
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.row_ids import ROW_ID_SQL
from pipeline.stages.text_code import CODE_OF, code_stores
from pipeline.stages.text_signals import SIGNALS_OF

PUBLISHED = quality_signals_schema(pa.field(name, kind) for name, kind in KNOWN.items())
"""Those that need a parser, or the language, are null where that is not at hand."""


def quality_signals(task: Task) -> Mapping[str, pa.Table]:
    """The signals of the kept contents of the bucket, under the ids of their rows."""
    kept = task.read("kept", ["sha256", "language"])
    measured = SIGNALS_OF.open(task).read(wanted=kept)
    require_all("signals", kept.num_rows, measured.num_rows)
    table = task.sql(
        f"""
        select {ROW_ID_SQL.format(sha256="sha256")} as row_id, k.language, q.* exclude (sha256), c.* exclude (sha256, language)
        from k join q using (sha256) left join c using (sha256, language)
        """,
        k=kept,
        q=measured,
        c=CODE_OF.open(task).read(wanted=kept),
    )
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
            config={"stores": {one.name: stores[one.name] for one in (SIGNALS_OF, CODE_OF)}},
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
