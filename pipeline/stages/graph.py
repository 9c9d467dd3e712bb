"""Convert the graph tables once: shuffled into buckets, duplicates removed, sorted by their full key."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.engine.store import Store
from pipeline.sources.graph import OPTIONAL, REQUIRED, GraphExport
from pipeline.tables import ENTRY_SCHEMAS

ROUTES = {
    "origin": "id",
    "origin_visit_status": "origin_id",
    "snapshot_branch": "snapshot_id",
    "release": "id",
    "revision": "id",
    "directory": "id",
    "directory_entry": "directory_id",
    "content": "sha1_git",
    "skipped_content": "sha1_git",
}
"""Table -> the column whose digest decides the bucket."""

_SELECT = {
    # The id of an origin is the sha1 of its URL; visits only carry the URL.
    "origin": "select sha1(url) as id, url from t where url is not null",
    "origin_visit_status": "select sha1(origin) as origin_id, visit, date, status, snapshot from t where origin is not null",
    "snapshot_branch": "select snapshot_id, name, target, target_type from t where snapshot_id is not null and name is not null",
    "release": "select id, target, target_type from t where id is not null",
    # Microseconds since the epoch as integers: commit dates of year 1 and 9999 occur. Git stores any 64-bit number of
    # seconds: one beyond 32,000 years is no date.
    "revision": """select id, directory,
        case when abs(date.seconds) < 1000000000000 then date.seconds * 1000000 + date.microseconds end as date,
        case when abs(committer_date.seconds) < 1000000000000
             then committer_date.seconds * 1000000 + committer_date.microseconds end as committer_date
        from t where id is not null and directory is not null""",
    "directory": "select id from t where id is not null",
    "directory_entry": """select directory_id, name, type, target, perms from t
        where directory_id is not null and name is not null and target is not null""",
    "content": """select sha1_git, sha1, sha256, blake2s256, length, coalesce(status, 'visible') as status from t
        where sha1_git is not null and sha1 is not null and sha256 is not null and length >= 0""",
    "skipped_content": "select sha1_git, length, reason from t where sha1_git is not null",
}


def shuffle(task: Task) -> Mapping[str, pa.Table]:
    """One range of row groups of one file -> rows routed by the table's key; malformed ids are dropped and counted."""
    table = task.config["table"]
    export = GraphExport(Store(task.extra["uri"], task.extra["anonymous"]), "")
    data = export.read(table, task.item)
    task.rows_in += data.num_rows
    task.bytes_in += data.nbytes
    rows = task.sql(_SELECT[table], t=data)
    route = ROUTES[table]
    good = task.sql(f"select * from t where regexp_full_match({route}, '[0-9a-f]{{40}}')", t=rows)
    task.count(f"malformed.{table}", data.num_rows - good.num_rows)
    return {"rows": good}


def unique(task: Task) -> Mapping[str, pa.Table]:
    """Rows of one bucket, each once: exports repeat rows where they were merged."""
    data = task.read("rows")
    return {"rows": task.sql("select distinct * from t", t=data)}


def convert(runner: Runner, export: GraphExport) -> dict[str, Done]:
    """All tables that the flow reads, bucketed. Absent optional tables are empty."""
    done = {}
    for table in (*REQUIRED, *OPTIONAL):
        schema, route = ENTRY_SCHEMAS[table], ROUTES[table]
        output = Output(schema=schema, order=tuple(schema.names), route=route)
        moved = runner.run(
            Stage(
                name=f"shuffle.{table}",
                run=shuffle,
                outputs={"rows": output},
                config={"table": table, "fingerprint": export.fingerprint(table)},
                extra={"uri": export.store.uri, "anonymous": export.store.anonymous},
                units=export.units(table),
            )
        )
        done[table] = runner.run(
            Stage(
                name=f"graph.{table}",
                run=unique,
                outputs={"rows": Output(schema=schema, order=tuple(schema.names))},
                inputs={"rows": moved.ref("rows")},
            )
        )
    return done
