"""Quality signals of every content, of the text that is released of it before secrets are taken out: numbers that
a filter profile turns into reasons (`judge`)."""

from __future__ import annotations

import pyarrow as pa

from pipeline.content.signal_schema import SCHEMA
from pipeline.content.signals import signals
from pipeline.engine.annotations import Annotator
from pipeline.engine.stage import Task
from pipeline.stages.reading import Bodies, Reader

SIGNALS_OF = Annotator(
    name="signals",
    ids=("sha256",),
    schema=pa.schema([("sha256", pa.string()), *SCHEMA]),
    modules=("pipeline.content.text", "pipeline.content.signals"),
    functions=("pipeline.stages.text_signals:_signals",),
    libraries=("charset-normalizer",),
)


def _signals(_task: Task, rows: pa.Table, bodies: Bodies) -> pa.Table:
    return pa.table([rows["sha256"], *signals(bodies.converted).columns], schema=SIGNALS_OF.schema)


SIGNALS = Reader(annotator=SIGNALS_OF, measure=_signals)
