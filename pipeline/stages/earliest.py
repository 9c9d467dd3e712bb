"""The earliest known occurrence of each content, over all occurrences: eligible, dropped or opted out.

Earliest: revision date (unknown last), then origin URL, then path, both as bytes: a strict order, since an origin has one
content at a path. Of the origins of a root the earliest stands for it, whether or not it may be released.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.tables import EARLIEST

_ORDER = "revision_date nulls last, encode(origin), path"


def places(task: Task) -> Mapping[str, pa.Table]:
    """The earliest occurrence of every content of the bucket's roots, on its way to the bucket of the content."""
    rows = task.sql(
        f"""
        with first as (
            select directory as root, origin, revision_date from o qualify row_number() over (
                partition by directory order by revision_date nulls last, encode(origin)) = 1)
        select f.sha1_git, f.sha256, r.revision_date, r.origin, f.path from f join first r using (root)
        where f.kind = 'file'
        qualify row_number() over (partition by f.sha1_git order by {_ORDER}, f.sha256) = 1
        """,
        f=task.read("files", ["root", "path", "kind", "sha1_git", "sha256"]),
        o=task.read("origins", ["directory", "origin", "revision_date"]),
    )
    return {"rows": rows}


def earliest(task: Task) -> Mapping[str, pa.Table]:
    """The earliest of the occurrences that the roots named."""
    rows = task.sql(
        f"select * from t qualify row_number() over (partition by sha1_git order by {_ORDER}, sha256) = 1",
        t=task.read("rows"),
    )
    return {"contents": rows}


def find_earliest(runner: Runner, files: Done, origins: Done) -> Done:
    """Run both steps over the files of all roots and the origin ledger. Returns the stage with the table `contents`."""
    found = runner.run(
        Stage(
            name="earliest.places",
            run=places,
            inputs={"files": files.ref("files"), "origins": origins.ref("by_root")},
            outputs={"rows": Output(schema=EARLIEST, order=("sha1_git", "origin", "path"), route="sha1_git")},
        )
    )
    return runner.run(
        Stage(
            name="earliest",
            run=earliest,
            inputs={"rows": found.ref("rows")},
            outputs={"contents": Output(schema=EARLIEST, order=("sha1_git",))},
        )
    )
