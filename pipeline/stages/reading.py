"""Reading bodies once for all who look at them: decode a piece of a bucket, let every reader annotate what it has not seen.

A `Reader` is an annotator and the pure function that makes its rows from texts. `read_bodies` asks each reader's store
what is missing, reads and decodes each of these bodies once, in pieces of bounded size, and appends what the functions say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.decode import decode_batch
from pipeline.content.text import convert
from pipeline.engine.annotations import Annotator
from pipeline.engine.stage import Task
from pipeline.stages.fetch import BODIES_OF

BATCH_BYTES = 32 << 20  # bodies in memory at once


@dataclass(frozen=True)
class Bodies:
    """Some bodies, one per row: all arrays are aligned, none but `encoding` and `undecoded` has nulls."""

    body: pa.LargeBinaryArray
    text: pa.LargeBinaryArray
    """Decoded: UTF-8; empty for what is no text."""
    converted: pa.LargeBinaryArray
    """The text in the form that is released, before secrets are taken out: `text` but for notebooks."""
    encoding: pa.StringArray
    """Of the body; null for what is no text."""
    undecoded: pa.StringArray
    """`binary` or `undecodable`; null for text."""

    def take(self, rows: pa.Array) -> Bodies:
        """The bodies of some rows."""
        return Bodies(*(column.take(rows) for column in vars(self).values()))


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Someone who looks at texts. `measure(task, rows, bodies)` gives rows in the annotator's schema, ids included.

    `rows` has the id columns of the annotator and what else was wanted, one row per row of `bodies`. `head`: at most so
    many bytes of body and text are given.
    """

    annotator: Annotator
    measure: Callable[[Task, pa.Table, Bodies], pa.Table]
    head: int | None = None


def in_batches(table: pa.Table, column: str, size: int = BATCH_BYTES) -> Iterator[pa.Table]:
    """Slices of a table whose `column` (lengths in bytes) sums to at most `size`, at least one row each."""
    start, held = 0, 0
    for row, length in enumerate(table[column].to_pylist()):
        if row > start and held + length > size:
            yield table.slice(start, row - start)
            start, held = row, 0
        held += length
    if start < table.num_rows:
        yield table.slice(start)


def read_bodies(task: Task, readers: Sequence[Reader], wanted: Mapping[str, pa.Table]) -> None:
    """Annotate what `wanted` (by the annotator's name: its id columns, `sha256` among them, and `length`) names.

    `notebooks` of the task's configuration is the form of `Bodies.converted`; who looks at
    that has it in its key. Counts `annotated.<name>`. The bodies must be in their store.
    """
    stores = {reader.annotator.name: reader.annotator.open(task) for reader in readers}
    missing = {name: store.missing(wanted[name]) for name, store in stores.items()}
    for name, rows in missing.items():
        task.count(f"annotated.{name}", rows.num_rows)
    lengths = pa.concat_tables([rows.select(["sha256", "length"]) for rows in missing.values()])
    all_of_them = task.sql(
        "select sha256, min(length) as length from t group by sha256 order by sha256", t=lengths
    )
    bodies = BODIES_OF.open(task)
    for piece in in_batches(all_of_them, "length"):
        rows = task.sql("select sha256, body from b order by sha256", b=bodies.read(wanted=piece))
        ids = rows["sha256"].combine_chunks()
        held = _decoded(task, rows["body"].combine_chunks().cast(pa.large_binary()))
        for reader in readers:
            name = reader.annotator.name
            here = missing[name].filter(pc.is_in(missing[name]["sha256"], value_set=ids))
            if here.num_rows == 0:
                continue
            here = here.sort_by([(column, "ascending") for column in reader.annotator.ids]).combine_chunks()
            stores[name].append(reader.measure(task, here, _of(held, ids, here["sha256"], reader.head)))
    for store in stores.values():
        store.compact()


def _decoded(task: Task, body: pa.LargeBinaryArray) -> Bodies:
    task.bytes_in += pc.sum(pc.binary_length(body)).as_py() or 0
    decoded = decode_batch(body)
    text, converted = (
        pc.fill_null(one["text"].combine_chunks(), pa.scalar(b"", pa.large_binary()))
        for one in (decoded, convert(decoded, task.config["notebooks"]))
    )
    return Bodies(
        body, text, converted, decoded["encoding"].combine_chunks(), decoded["reason"].combine_chunks()
    )


def _of(held: Bodies, ids: pa.Array, wanted: pa.ChunkedArray, head: int | None) -> Bodies:
    if head is not None:
        held = Bodies(
            pc.binary_slice(held.body, 0, head),
            pc.binary_slice(held.text, 0, head),
            pc.binary_slice(held.converted, 0, head),
            held.encoding,
            held.undecoded,
        )
    rows = pc.index_in(wanted, value_set=ids).combine_chunks()
    if len(rows) == len(ids) and np.array_equal(rows.to_numpy(zero_copy_only=False), np.arange(len(ids))):
        return held  # nothing is copied where a reader wants all of them
    return held.take(rows)
