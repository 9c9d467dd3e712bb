"""The license that a source file states of itself, in its first lines: tags and known notices.

What these do not explain is kept with them, as a notice that is the same for all files that have it;
`pipeline.stages.header_notices` asks ScanCode for it, and puts both together.
"""

from __future__ import annotations

import pyarrow as pa

from licensing.headers import HEADER_BYTES, HEADERS, header_batch
from licensing.known import KnownTexts
from pipeline.engine.annotations import Annotator
from pipeline.engine.stage import Task
from pipeline.stages.reading import Bodies, Reader

TAGS, KNOWN, FULL = "tags", "known", "full"
"""What is read of a header (`licenses.headers`): tags; known notices, too; and ScanCode's answers for the rest."""

HEADER_OF = Annotator(
    name="header",
    ids=("sha256",),
    schema=pa.schema([("sha256", pa.string()), *HEADERS]),
    modules=("licensing.headers", "licensing.known"),
    functions=("pipeline.stages.text_headers:_headers",),
    libraries=("license-expression",),
)


def header_key(mode: str) -> str:
    """The key of the store of headers: what is known decides, not whether ScanCode is asked for the rest."""
    return HEADER_OF.key(known=None if mode == TAGS else KnownTexts.load().version)


def _headers(task: Task, rows: pa.Table, bodies: Bodies) -> pa.Table:
    known = None if task.config["headers"] == TAGS else KnownTexts.load()
    return pa.table([rows["sha256"], *header_batch(bodies.text, known).columns], schema=HEADER_OF.schema)


HEADER = Reader(annotator=HEADER_OF, measure=_headers, head=HEADER_BYTES)
