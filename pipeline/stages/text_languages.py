"""The language of every (content, name class), by which step it was told, and whether a tool wrote it."""

from __future__ import annotations

import pyarrow as pa

from pipeline.content.generated import is_generated
from pipeline.content.languages import decide
from pipeline.engine.annotations import Annotator
from pipeline.engine.stage import Task
from pipeline.stages.reading import Bodies, Reader

HEAD_BYTES = 51_200  # what the language and generated rules look at, as Linguist does

LANGUAGE_OF = Annotator(
    name="language",
    ids=("sha256", "name_class"),
    schema=pa.schema(
        [
            ("sha256", pa.string()),
            ("name_class", pa.binary()),
            ("language", pa.string()),
            ("by", pa.string()),  # the step that decided: one of pipeline.content.languages.BY
            ("is_generated", pa.bool_()),
        ]
    ),
    modules=("pipeline.content.decode", "pipeline.content.languages", "pipeline.content.generated"),
    functions=("pipeline.stages.text_languages:_languages",),
    libraries=("charset-normalizer",),
)


def _languages(_task: Task, rows: pa.Table, bodies: Bodies) -> pa.Table:
    classes = rows["name_class"].combine_chunks().cast(pa.binary())
    language, by = decide(classes, bodies.text)
    columns = [rows["sha256"], classes, language, by, is_generated(classes, bodies.text)]
    return pa.table(columns, schema=LANGUAGE_OF.schema)


LANGUAGE = Reader(annotator=LANGUAGE_OF, measure=_languages, head=HEAD_BYTES)
