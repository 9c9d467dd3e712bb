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

_ID = "[0-9a-f]{40}"
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Year 1 to 9999, what every reader of a timestamp can show; git stores any 64-bit number of seconds."""


def _id(column: str) -> str:
    return f"case when regexp_full_match({column}, '{_ID}') then {column} end"


def _microseconds(column: str) -> str:
    return (
        f"case when {column}.seconds between {_FIRST_SECOND} and {_LAST_SECOND}"
        f" then {column}.seconds * 1000000 + least({column}.microseconds, 999999) end"
    )


_SELECT = {
    # The id of an origin is the sha1 of its URL; visits only carry the URL.
    "origin": "select sha1(url) as id, url from t where url is not null",
    # An id that is none points nowhere: it is null, and for an alias, whose target is a name, left as it is.
    "origin_visit_status": f"""select sha1(origin) as origin_id, visit, status, {_id("snapshot")} as snapshot,
        case when epoch_us(date) between {_FIRST_SECOND}000000 and {_LAST_SECOND}999999 then date end as date
        from t where origin is not null""",
    "snapshot_branch": f"""select snapshot_id, name, target_type,
        case when target_type = 'alias' then target else {_id("target")} end as target
        from t where snapshot_id is not null and name is not null""",
    "release": f"select id, {_id('target')} as target, target_type from t where id is not null",
    # Microseconds since the epoch as integers.
    "revision": f"""select id, {_id("directory")} as directory, {_microseconds("date")} as date,
        {_microseconds("committer_date")} as committer_date from t where id is not null""",
    "directory": "select id from t where id is not null",
    # An entry is an occurrence whatever it points to: a target that is no id becomes one that nothing has.
    "directory_entry": f"""select directory_id, name, type, perms,
        coalesce({_id("target")}, sha1('no id: ' || coalesce(target, ''))) as target
        from t where directory_id is not null and name is not null""",
    # Object names come from here: nothing but hex digits may reach the object store as a key.
    "content": f"""select sha1_git, sha1, sha256, blake2s256, length, coalesce(status, 'visible') as status from t
        where sha1_git is not null and length >= 0
            and regexp_full_match(sha1, '{_ID}') and regexp_full_match(sha256, '[0-9a-f]{{64}}')""",
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
    good = task.sql(f"select * from t where regexp_full_match({route}, '{_ID}')", t=rows)
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
                extra={"uri": export.store.address, "anonymous": export.store.anonymous},
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
