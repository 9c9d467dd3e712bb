"""The independent count (pipeline.audit) as a stage: it runs in a worker, once per input, and is kept."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.audit import census
from pipeline.audit_origins import Asked
from pipeline.config import Files, Origins
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Stage, Task
from pipeline.engine.store import Store
from pipeline.sources.graph import REQUIRED, GraphExport
from pipeline.stages.selections import Chosen

_OPTIONAL = ("release", "directory")


def count(task: Task) -> Mapping[str, pa.Table]:
    """Walk the raw tables; the figures are facts of the stage."""
    counted = census(
        GraphExport(Store(task.extra["uri"], task.extra["anonymous"]), ""),
        prefixes=task.config["prefixes"],
        limit=task.config["limit"],
        max_depth=task.config["max_depth"],
        max_entries=task.config["max_entries"],
        asked=Asked(forges=task.config["forges"], as_of=task.config["as_of"], files=task.extra["selections"]),
    )
    task.facts.update(vars(counted))
    return {}


def take_census(
    runner: Runner, export: GraphExport, origins: Origins, files: Files, chosen: Mapping[str, Chosen]
) -> Done:
    """Run the stage; its facts are `origins`, `resolved` and `found`."""
    selections = {name: one.selection for name, one in chosen.items()}
    return runner.run(
        Stage(
            name="census",
            run=count,
            outputs={},
            units="one",
            config={
                "tables": {table: export.fingerprint(table) for table in (*REQUIRED, *_OPTIONAL)},
                "prefixes": list(origins.prefixes),
                "forges": list(origins.forges),
                "limit": origins.limit,
                "as_of": origins.as_of,
                "selections": {name: selection.digest for name, selection in selections.items()},
                "max_depth": files.max_depth,
                "max_entries": files.max_entries,
            },
            extra={
                "uri": export.store.address,
                "anonymous": export.store.anonymous,
                "selections": {name: selection.extra["files"] for name, selection in selections.items()},
            },
            libraries=("pyarrow",),
        )
    )
