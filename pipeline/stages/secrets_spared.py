"""`secrets-spared.parquet`: what the allow-list and pragmas leave in kept rows, where the configuration may leave anything.

kept, findings that are spared ─▶ by row id ─▶ one file
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from manifests.names import SECRETS_SPARED_FILE
from manifests.secrets_spared import SECRETS_SPARED, write_secrets_spared
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.row_ids import ROW_ID_SQL
from pipeline.stages.secrets import RELEASED_OF, TextForm, released_stores

_ORDER = ("row_id", "start", "end", "kind", "rule", "why")


def spared(task: Task) -> Mapping[str, pa.Table]:
    """What is spared in the kept contents of the bucket, under the ids of their rows."""
    kept = task.read("kept", ["sha256"])
    found = RELEASED_OF.open(task).read(["spared"], wanted=kept)
    require_all(RELEASED_OF.name, kept.num_rows, found.num_rows)
    rows = task.sql(
        f"""
        select {ROW_ID_SQL.format(sha256="sha256")} as row_id, unnest(spared, recursive := true) from t
        """,
        t=found,
    )
    return {"rows": rows.select(SECRETS_SPARED.names).cast(SECRETS_SPARED)}


def file(task: Task) -> Mapping[str, pa.Table]:
    """The file. Buckets are in the order of the row ids."""
    target = Path(task.scratch, SECRETS_SPARED_FILE)
    order = [(name, "ascending") for name in _ORDER]
    rows = (task.read_bucket("rows", bucket).sort_by(order) for bucket in range(task.buckets))
    task.facts["rows"] = write_secrets_spared((table.cast(SECRETS_SPARED) for table in rows), target)
    task.commit_file(SECRETS_SPARED_FILE, target)
    return {}


def may_spare(text_form: TextForm) -> bool:
    """Whether anything that is found may be left: then a release has the file."""
    policy = text_form.policy
    return bool(policy.allow or policy.base.allow or policy.base.obey_pragmas)


def spared_wave(runner: Runner, kept: Done, text_form: TextForm) -> tuple[Done, Done] | None:
    """Write what is spared in the stage `kept`: the stages of its table `rows` and of the file; None where nothing may be."""
    if not may_spare(text_form):
        return None
    rows = runner.run(
        Stage(
            name="secrets.spared",
            run=spared,
            inputs={"kept": kept.ref("kept"), **text_form.inputs},
            outputs={"rows": Output(schema=SECRETS_SPARED, order=_ORDER, route="row_id")},
            config={"stores": released_stores(text_form)},
        )
    )
    written = runner.run(
        Stage(
            name="secrets.spared.file",
            run=file,
            inputs={"rows": rows.ref("rows")},
            outputs={},
            units="one",
            libraries=("pyarrow",),
        )
    )
    return rows, written
