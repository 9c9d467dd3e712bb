"""Sketches of released texts, in a store of their own: other settings of the sketch scan nothing again."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from dedup.sketch import SLOTS, signatures_to_arrow, sketch
from pipeline.engine.stage import Task
from pipeline.stages.scopes import ScopedAnnotator

SKETCH = pa.schema(
    [
        ("sha256", pa.string()),
        ("shingles", pa.int64()),
        ("sketch", pa.binary(4 * SLOTS)),  # 256 little-endian 32-bit values; says nothing where shingles = 0
    ]
)
SKETCH_OF = ScopedAnnotator(
    name="sketch",
    ids=("sha256", "scope"),
    schema=pa.schema([*SKETCH, ("scope", pa.string())]),
    modules=("dedup.sketch",),
    functions=("pipeline.stages.sketches:append_sketches",),
)


def sketch_settings(near: Mapping[str, object]) -> dict[str, object]:
    """Of the section near_duplicates: what a sketch is a function of, beside the text."""
    return {"operators": near["operators"], "method": near["sketch"]}


def sketch_stores(texts: Mapping[str, str], settings: Mapping[str, object]) -> dict[str, str]:
    """The key of the store of sketches of the texts that come from the store `released` of `texts`."""
    return {"sketch": SKETCH_OF.key(texts=texts["released"], **settings)}


def append_sketches(task: Task, sha256: pa.ChunkedArray, texts: pa.Array) -> None:
    """Sketch some texts of the task's bucket, by its configuration's `sketch`."""
    made = sketch(texts, **task.config["sketch"])
    columns = [sha256, pa.array(made.counts), signatures_to_arrow(made.signatures)]
    SKETCH_OF.open(task).append(pa.table(columns, names=SKETCH.names))
