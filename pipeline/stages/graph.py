"""Convert the graph tables once: shuffled into buckets, duplicates removed, sorted by their full key.

A unit of the shuffle reads its parts of files one after the other and writes what it has read in chunks
of an eighth of `engine.task_memory`, so its memory does not grow with the export. There are at most UNITS_PER_BUCKET
units for each bucket, whatever the number of files. A bucket that does not fit is made unique in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.buckets import bucket_of
from pipeline.engine.lookup import parts
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.engine.store import Store
from pipeline.sources.graph import OPTIONAL, REQUIRED, GraphExport
from pipeline.stages.graph_rows import hex_or_null, is_hex, sort_unique, take
from pipeline.tables import ENTRY_SCHEMAS

UNITS_PER_BUCKET = 2
LARGEST_CHUNK = 1 << 30  # bytes: a column of text in one piece has at most 2 GiB

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

COLUMNS = {
    "origin": ("url",),
    "origin_visit_status": ("origin", "visit", "date", "status", "snapshot"),
    "snapshot_branch": ("snapshot_id", "name", "target", "target_type"),
    "release": ("id", "target", "target_type"),
    "revision": ("id", "date", "committer_date", "directory"),
    "directory": ("id",),
    "directory_entry": ("directory_id", "name", "type", "target", "perms"),
    "content": ("sha1", "sha1_git", "sha256", "blake2s256", "length", "status"),
    "skipped_content": ("sha1_git", "length", "reason"),
}
"""Table -> the columns that are read. Messages are most of the bytes of revisions; nothing here needs them."""

ORDERS = {
    "origin_visit_status": ("origin_id", "snapshot", "visit", "date", "status"),
    "snapshot_branch": ("snapshot_id", "target", "name", "target_type"),
    "directory_entry": ("directory_id", "target", "name", "type", "perms"),
}
"""Table -> the order of its rows, where that is not the order of its columns: ids first, which differ early."""

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Year 1 to 9999, what every reader of a timestamp can show; git stores any 64-bit number of seconds."""


# ------------------------------------------------------------------------- what becomes of the rows of each table


def _origin(task: Task, t: pa.Table) -> pa.Table:
    # The id of an origin is the sha1 of its URL; visits only carry the URL.
    return task.sql("select sha1(url) as id, url from t where url is not null", t=t)


def _visits(task: Task, t: pa.Table) -> pa.Table:
    # An id that is none points nowhere: it is null.
    t = t.set_column(t.column_names.index("snapshot"), "snapshot", hex_or_null(t["snapshot"]))
    return task.sql(
        f"""select sha1(origin) as origin_id, visit, status, snapshot,
        case when epoch_us(date) between {_FIRST_SECOND}000000 and {_LAST_SECOND}999999 then date end as date
        from t where origin is not null""",
        t=t,
    )


def _branches(_: Task, t: pa.Table) -> pa.Table:
    t = t.filter(t["name"].is_valid())
    alias = pc.fill_null(pc.equal(t["target_type"], "alias"), False)  # its target is a name, left as it is
    return _with(t, target=pc.if_else(alias, t["target"], hex_or_null(t["target"])))


def _releases(_: Task, t: pa.Table) -> pa.Table:
    return _with(t, target=hex_or_null(t["target"]))


def _revisions(_: Task, t: pa.Table) -> pa.Table:
    return _with(
        t,
        directory=hex_or_null(t["directory"]),
        date=_microseconds(t["date"]),
        committer_date=_microseconds(t["committer_date"]),
    )


def _entries(task: Task, t: pa.Table) -> pa.Table:
    t = t.filter(t["name"].is_valid()) if t["name"].null_count else t
    target = hex_or_null(t["target"])
    if target.null_count:
        # An entry is an occurrence whatever it points to: a target that is no id becomes one that nothing has.
        named = task.sql(
            "select sha1('no id: ' || coalesce(target, '')) as id from t", t=t.select(["target"])
        )
        target = pc.coalesce(target, named["id"].cast(pa.string()))
    return _with(t, target=target)


def _contents(_: Task, t: pa.Table) -> pa.Table:
    # Object names come from here: nothing but hex digits may reach the object store as a key.
    good = is_hex(t["sha1"]) & is_hex(t["sha256"], 64)
    good &= np.asarray(pc.fill_null(pc.greater_equal(t["length"], 0), False))
    t = t if good.all() else t.filter(pa.array(good))
    return _with(t, status=pc.fill_null(t["status"], "visible"))


def _as_it_is(_: Task, t: pa.Table) -> pa.Table:
    return t


_ROWS: dict[str, Callable[[Task, pa.Table], pa.Table]] = {
    "origin": _origin,
    "origin_visit_status": _visits,
    "snapshot_branch": _branches,
    "release": _releases,
    "revision": _revisions,
    "directory": _as_it_is,
    "directory_entry": _entries,
    "content": _contents,
    "skipped_content": _as_it_is,
}


def _with(t: pa.Table, **columns: pa.Array | pa.ChunkedArray) -> pa.Table:
    for name, values in columns.items():
        t = t.set_column(t.column_names.index(name), name, values)
    return t


def _microseconds(dates: pa.ChunkedArray) -> pa.Array:
    """Microseconds since the epoch, null outside of the calendar."""
    whole = dates.combine_chunks()
    seconds, micro = pc.struct_field(whole, "seconds"), pc.struct_field(whole, "microseconds")
    shown = pc.and_(pc.greater_equal(seconds, _FIRST_SECOND), pc.less_equal(seconds, _LAST_SECOND))
    seconds = pc.if_else(shown, seconds, pa.scalar(None, pa.int64()))  # null where the date is
    micro = pc.min_element_wise(micro.cast(pa.int64()), 999_999)
    return pc.add(pc.multiply(seconds, 1_000_000), micro)


# ------------------------------------------------------------------------------------------------------- stages


def shuffle(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Some parts of a table's files -> rows routed by the table's key; malformed ids are dropped and counted."""
    return {"rows": _routed(task, task.config["table"])}


def _routed(task: Task, table: str) -> Iterator[pa.Table]:
    export = GraphExport(Store(task.extra["uri"], task.extra["anonymous"]), "")
    schema, route = ENTRY_SCHEMAS[table], ROUTES[table]
    held: list[pa.Table] = []
    size = 0
    for data in export.batches(table, task.item, COLUMNS[table]):
        task.rows_in += data.num_rows
        task.bytes_in += data.nbytes
        rows = _ROWS[table](task, data).select(schema.names).cast(schema)
        good = is_hex(rows[route])
        rows = rows if good.all() else rows.filter(pa.array(good))
        task.count(f"malformed.{table}", data.num_rows - rows.num_rows)
        if rows.num_rows:
            held.append(rows)
            size += rows.nbytes
        # The more rows a chunk has, the fewer segments each bucket is spread over.
        if size > min(task.memory_bytes // 8, LARGEST_CHUNK):
            yield _by_bucket(held, route, task.buckets)
            held, size = [], 0
    if held:
        yield _by_bucket(held, route, task.buckets)


def _by_bucket(held: list[pa.Table], route: str, buckets: int) -> pa.Table:
    """By bucket only: the next stage sorts, and rows that came together are packed best together."""
    rows = pa.concat_tables(held)
    return take(rows, np.argsort(bucket_of(rows[route], buckets).astype(np.uint16), kind="stable"))


def unique(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Rows of one bucket, each once: exports repeat rows where they were merged."""
    table = task.config["table"]
    schema = ENTRY_SCHEMAS[table]
    # Sorting and comparing hold up to four copies.
    rows = parts(task, "rows", schema, ROUTES[table], share=4)
    return {"rows": (sort_unique(part, ORDERS.get(table, tuple(schema.names))) for part in rows)}


def convert(runner: Runner, export: GraphExport) -> dict[str, Done]:
    """All tables that the flow reads, bucketed. Absent optional tables are empty."""
    extra = {"uri": export.store.address, "anonymous": export.store.anonymous}
    done = {}
    for table in (*REQUIRED, *OPTIONAL):
        schema = ENTRY_SCHEMAS[table]
        moved = runner.run(
            Stage(
                name=f"shuffle.{table}",
                run=shuffle,
                outputs={"rows": Output(schema=schema, order=(), route=ROUTES[table])},
                config={"table": table, "fingerprint": export.fingerprint(table)},
                extra=extra,
                units=export.units(table, UNITS_PER_BUCKET * runner.buckets),
                libraries=("duckdb", "numpy", "pyarrow", "pyorc"),
            )
        )
        done[table] = runner.run(
            Stage(
                name=f"graph.{table}",
                run=unique,
                outputs={"rows": Output(schema=schema, order=())},  # sorted already, by all columns
                inputs={"rows": moved.ref("rows")},
                config={"table": table},
                libraries=("numpy", "pyarrow"),
            )
        )
    return done


def warn_of_mixed_tables(reasons: Mapping[str, int]) -> str | None:
    """A warning when most of what resolved origins name is not in the tables; `reasons`: the origin ledger's, with counts.

    Every file of an export has an id of its own and none names its export, so tables of two exports show in this only.
    """
    absent = {
        "empty_repository": "snapshot_branch",
        "release_not_archived": "release",
        "revision_not_archived": "revision",
    }
    total = sum(amount for reason, amount in reasons.items() if reason != "no_full_visit")
    for reason, table in absent.items():
        missing = reasons.get(reason, 0)
        if 2 * missing > total:
            return (
                f"{missing:,} of {total:,} visited origins name something that the table {table!r} does not have:"
                " are these tables of one and the same export?"
            )
    return None


def reasons_of(facts: list[dict[str, Any]]) -> dict[str, int]:
    """Reason -> origins, over the units of the origin ledger."""
    total: dict[str, int] = {}
    for fact in facts:
        for reason, amount in fact.get("input", ()):
            total[reason] = total.get(reason, 0) + amount
    return total
