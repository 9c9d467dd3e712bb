"""The license that a source file states of itself, in its first lines."""

from __future__ import annotations

import pyarrow as pa

from licensing.evidence import HEADER_BYTES, header_batch
from pipeline.engine.annotations import Annotator
from pipeline.engine.stage import Task
from pipeline.stages.reading import Bodies, Reader

HEADER_OF = Annotator(
    name="header",
    ids=("sha256",),
    schema=pa.schema(
        [
            ("sha256", pa.string()),
            ("header", pa.string()),  # SPDX expression of the file's own tag, null without one
        ]
    ),
    modules=("licensing.evidence",),
    functions=("pipeline.stages.text_headers:_headers",),
    libraries=("license-expression",),
)


def _headers(_task: Task, rows: pa.Table, bodies: Bodies) -> pa.Table:
    return pa.table([rows["sha256"], header_batch(bodies.text)["expression"]], schema=HEADER_OF.schema)


HEADER = Reader(annotator=HEADER_OF, measure=_headers, head=HEADER_BYTES)
