"""One id, one object: the rows of a table, or of an annotation store, that belong to a single id.

For tables that stay in the buckets of their first sort column. No summary is read, which grows with the number of buckets:
where a bucket's object lies follows from the id. It is sorted, and Parquet knows the first and last id of each row group.
"""

from __future__ import annotations

import struct

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.engine.stage import Ref, part_name, read_summary
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError


def bucket_of_id(identity: str, buckets: int) -> int:
    """The bucket of a hex id; as `pipeline.engine.buckets.bucket_of` does it for many."""
    return int(identity[:3], 16) >> (12 - (buckets.bit_length() - 1))


def rows_of(
    store: Store, ref: Ref, column: str, identity: str, *, buckets: int, columns: list[str] | None = None
) -> pa.Table:
    """The rows whose `column`, by which the table is bucketed and sorted first, is `identity`."""
    unit = f"{bucket_of_id(identity, buckets):04x}"
    key = f"{ref.folder}/{part_name(ref.output, unit, routed=False)}"
    try:
        return _matching(store, key, column, identity, columns)
    except FileNotFoundError:
        return nothing(store, ref, unit, columns)


def nothing(store: Store, ref: Ref, unit: str, columns: list[str] | None = None) -> pa.Table:
    """What an object that was never written holds. Raises IntegrityError when it was."""
    summary = read_summary(store, ref.folder)
    written = summary["units"].get(unit, {}).get("outputs", {}).get(ref.output, {"rows": 0})
    if written["rows"]:
        raise IntegrityError(
            f"{store.uri}/{ref.folder}: {ref.output}-{unit}.parquet is missing; run the release again"
        )
    schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(summary["outputs"][ref.output]["schema"])))
    empty = pa.Table.from_batches([], schema)  # `empty_table` would load pandas, which takes 150 ms
    return empty if columns is None else empty.select(columns)


def annotations_of(
    store: Store, folder: str, column: str, identity: str, *, buckets: int, columns: list[str] | None = None
) -> pa.Table:
    """The rows of an annotation store, `annotations/<name>/<key>`, whose first id `column` is `identity`; each may be there
    more than once. Empty when there are none."""
    prefix = f"{folder}/{bucket_of_id(identity, buckets):04x}"
    keys = [entry.key for entry in store.list(prefix) if entry.key.endswith(".parquet")]
    tables = [_matching(store, key, column, identity, columns) for key in keys]
    return pa.concat_tables(tables) if tables else pa.table({})


def scalar(value: str | bytes) -> pa.Scalar:
    """A text or bytes for comparisons; `pa.scalar` would load pandas, where it is installed, which takes 150 ms."""
    kind, data = (
        (pa.string(), value.encode(errors="surrogateescape"))
        if isinstance(value, str)
        else (pa.binary(), value)
    )
    buffers = [None, pa.py_buffer(struct.pack("<ii", 0, len(data))), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, 1, buffers)[0]


def _matching(store: Store, key: str, column: str, identity: str, columns: list[str] | None) -> pa.Table:
    names = None if columns is None else list(dict.fromkeys([column, *columns]))
    with store.parquet(key) as file:
        groups = [
            n for n in range(file.num_row_groups) if may_hold(file.metadata.row_group(n), column, identity)
        ]
        if not groups:
            empty = pa.Table.from_batches([], file.schema_arrow)
            return empty if names is None else empty.select(names)
        table = file.read_row_groups(groups, columns=names, use_threads=False)
    return table.filter(pc.equal(table[column], scalar(identity)))


def may_hold(group: pq.RowGroupMetaData, column: str, value: str) -> bool:
    """Whether the statistics of a row group admit a value in a column."""
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema == column:
            known = chunk.statistics
            return known is None or not known.has_min_max or bool(known.min <= value <= known.max)
    return True
