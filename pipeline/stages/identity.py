"""What the input was: a digest over origins, snapshots and roots, which by Merkle construction pin every file.

The origin ledger is hashed in the order of origin ids, one digest for each of the 4,096 prefixes of three hex digits, and
then one over these: so the digest depends neither on how the export's rows are laid out in files nor on the number of
buckets, and no task reads more than its bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.buckets import MAX_BUCKETS
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task

DIGESTS = pa.schema(
    [("prefix", pa.string()), ("digest", pa.string()), ("origins", pa.int64()), ("newest_visit", pa.timestamp("us"))]
)  # fmt: skip
_PREFIX_DIGITS = 3
assert 16**_PREFIX_DIGITS >= MAX_BUCKETS  # a prefix lies in one bucket

_COLUMNS = ("origin", "snapshot", "revision", "directory", "reason")
_LINE = " || ' ' || ".join(
    f"case when {name} is null then '-' else strlen({name}) || ':' || {name} end" for name in _COLUMNS
)
"""A row as text: each value behind its length in bytes, so that no two rows read the same."""


def digests(task: Task) -> Mapping[str, pa.Table]:
    """One digest for each prefix of the bucket's origin ids."""
    rows = task.sql(
        f"""
        select left(origin_id, {_PREFIX_DIGITS}) as prefix, {_LINE} || chr(10) as line, visit_date
        from t order by origin_id
        """,
        t=task.read("origins", columns=["origin_id", "visit_date", *_COLUMNS]),
    )
    if rows.num_rows == 0:
        return {"digests": DIGESTS.empty_table()}
    prefixes = rows["prefix"].combine_chunks()
    changes = np.flatnonzero(pc.not_equal(prefixes[1:], prefixes[:-1]).to_numpy(zero_copy_only=False)) + 1
    found = []
    for first, last in pairwise([0, *changes.tolist(), rows.num_rows]):
        piece = rows.slice(first, last - first)
        state = hashlib.sha256()
        for chunk in piece["line"].chunks:
            state.update(_bytes_of(chunk))
        found.append(
            (prefixes[first].as_py(), state.hexdigest(), last - first, pc.max(piece["visit_date"]).as_py())
        )
    return {"digests": pa.table([list(column) for column in zip(*found, strict=True)], schema=DIGESTS)}


def _bytes_of(text: pa.Array) -> memoryview:
    """The bytes of all values of an array without nulls, one after the other, uncopied."""
    text = text.cast(pa.large_string())
    _, offsets, data = text.buffers()
    ends = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]


def identity(task: Task) -> Mapping[str, pa.Table]:
    """The digest over the digests, at most 4,096 of them."""
    table = task.read_all("digests").sort_by("prefix")
    state = hashlib.sha256()
    for prefix, digest in zip(table["prefix"].to_pylist(), table["digest"].to_pylist(), strict=True):
        state.update(f"{prefix} {digest}\n".encode())
    newest = pc.max(table["newest_visit"]).as_py()
    task.facts.update(
        origins=pc.sum(table["origins"]).as_py() or 0,
        origins_digest=state.hexdigest(),
        newest_visit=newest.isoformat() if newest is not None else None,
    )
    return {}


def identify(runner: Runner, origins: Done) -> Done:
    """Run the stages; the last one's facts go into the manifest's `inputs`."""
    parts = runner.run(
        Stage(
            name="identity.digests",
            run=digests,
            inputs={"origins": origins.ref("ledger")},
            outputs={"digests": Output(schema=DIGESTS, order=("prefix",))},
        )
    )
    return runner.run(
        Stage(
            name="identity", run=identity, inputs={"digests": parts.ref("digests")}, outputs={}, units="one"
        )
    )
