"""Signals of every (content, language): what can be measured only when the language is known.

A stage of its own behind `annotate.text`: it reads a body again, once for each language that one of its names gave it.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.code_schema import SCHEMA
from pipeline.content.code_signals import MEASURED, code_signals
from pipeline.content.syntax import DISTRIBUTIONS
from pipeline.engine.annotations import Annotator
from pipeline.engine.runner import Runner
from pipeline.engine.stage import Ref, Stage, Task
from pipeline.stages.reading import Bodies, Reader, read_bodies
from pipeline.stages.text_languages import LANGUAGE_OF
from pipeline.stages.texts import TEXT_OF, text_stores

CODE_OF = Annotator(
    name="code",
    ids=("sha256", "language"),
    schema=pa.schema([("sha256", pa.string()), ("language", pa.string()), *SCHEMA]),
    modules=("pipeline.content.text", "pipeline.content.code_signals"),
    functions=("pipeline.stages.text_code:_code",),
    libraries=("charset-normalizer", *DISTRIBUTIONS),
)


def _code(task: Task, rows: pa.Table, bodies: Bodies) -> pa.Table:
    languages = rows["language"].combine_chunks()
    measured = code_signals(languages, bodies.converted, parsers=task.config["parsers"])
    return pa.table([rows["sha256"], languages, *measured.columns], schema=CODE_OF.schema)


CODE = Reader(annotator=CODE_OF, measure=_code)


def measured_languages(task: Task, wanted: pa.Table) -> pa.Table:
    """The distinct (sha256, language) of some contents of a bucket that have signals: of texts, in a language known here."""
    return task.sql(
        "select distinct l.sha256, l.language from l semi join t using (sha256) order by all",
        l=_known(LANGUAGE_OF.open(task).read(["language"], wanted=wanted)),
        t=_texts(TEXT_OF.open(task).read(["undecoded"], wanted=wanted)),
    )


def _known(languages: pa.Table) -> pa.Table:
    return languages.filter(pc.is_in(languages["language"], value_set=pa.array(sorted(MEASURED))))


def _texts(texts: pa.Table) -> pa.Table:
    return texts.filter(pc.is_null(texts["undecoded"]))


def annotate_code(task: Task) -> Mapping[str, pa.Table]:
    """Measure every content of the bucket that was not seen before in this language."""
    survivors = task.read("survivors", columns=["sha256", "name_class", "length"])
    wanted = task.sql(
        "select m.*, min(length) as length from m join s using (sha256) group by all order by all",
        m=measured_languages(task, survivors),
        s=survivors,
    )
    read_bodies(task, (CODE,), {CODE_OF.name: wanted})
    return {}


def code_stores(notebooks: str, *, parsers: bool) -> dict[str, str]:
    """Keys of the stores that `annotate_code` reads and fills."""
    return {**text_stores(notebooks), CODE_OF.name: CODE_OF.key(notebooks=notebooks, parsers=parsers)}


def code_wave(
    runner: Runner, texts: Mapping[str, Ref], notebooks: str, *, parsers: bool
) -> Mapping[str, Ref]:
    """Measure what `text_wave` annotated (its result is `texts`); returns the same, the inputs of `judge`."""
    config = {"notebooks": notebooks, "parsers": parsers, "stores": code_stores(notebooks, parsers=parsers)}
    runner.run(Stage(name="annotate.code", run=annotate_code, inputs=texts, outputs={}, config=config))
    return texts
