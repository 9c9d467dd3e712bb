"""What the input was: a digest over origins, snapshots and roots, which by Merkle construction pin every file.

The origin ledger is read in the order of origin ids, so the digest depends neither on how the export's rows are laid out
in files nor on the number of buckets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pyarrow as pa

from pipeline.engine.keys import canonical
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Stage, Task

_COLUMNS = ["origin", "snapshot", "revision", "directory", "reason"]


def identity(task: Task) -> Mapping[str, pa.Table]:
    """Hash the ledger, one line per origin."""
    state = hashlib.sha256()
    newest = None
    count = 0
    for bucket in range(task.buckets):
        table = task.read_bucket("origins", bucket, columns=["origin_id", "visit_date", *_COLUMNS])
        table = task.sql("select * from t order by origin_id", t=table)
        for row in table.select(_COLUMNS).to_pylist():
            state.update(canonical([row[name] for name in _COLUMNS]) + b"\n")
        dates = [date for date in table["visit_date"].to_pylist() if date is not None]
        newest = max([*dates, newest] if newest is not None else dates, default=None)
        count += table.num_rows
    task.facts.update(
        origins=count,
        origins_digest=state.hexdigest(),
        newest_visit=newest.isoformat() if newest is not None else None,
    )
    return {}


def identify(runner: Runner, origins: Done) -> Done:
    """Run the stage; its facts go into the manifest's `inputs`."""
    return runner.run(
        Stage(
            name="identity", run=identity, inputs={"origins": origins.ref("ledger")}, outputs={}, units="one"
        )
    )
