"""Wave W2: one body per remaining content -> encoding, true hashes, license header, language, signals.

Annotations are kept per content, of languages per (content, name class); `judge` decides anew in every release from them,
so another threshold recomputes no annotation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.annotations import Annotator
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Ref, Stage, Task
from pipeline.stages.fetch import BODIES_OF
from pipeline.stages.header_notices import ask_about_headers
from pipeline.stages.reading import Bodies, Reader, read_bodies
from pipeline.stages.text_contamination import CONTAMINATION, Benchmarks
from pipeline.stages.text_headers import FULL, HEADER, header_key
from pipeline.stages.text_languages import HEAD_BYTES, LANGUAGE
from pipeline.stages.text_signals import SIGNALS

TEXT_OF = Annotator(
    name="text",
    ids=("sha256",),
    schema=pa.schema(
        [
            ("sha256", pa.string()),
            # Of the bytes: a graph may claim others, and the SWHID is made of the first.
            ("true_sha1_git", pa.string()),
            ("true_blake2s256", pa.string()),
            ("encoding", pa.string()),
            ("undecoded", pa.string()),  # binary | undecodable | null
        ]
    ),
    modules=("pipeline.content.decode",),
    functions=("pipeline.stages.texts:_text",),
    libraries=("charset-normalizer",),
)


def _text(_task: Task, rows: pa.Table, bodies: Bodies) -> pa.Table:
    columns = [rows["sha256"], *_hashes(bodies.body), bodies.encoding, bodies.undecoded]
    return pa.table(columns, schema=TEXT_OF.schema)


def _hashes(bodies: pa.LargeBinaryArray) -> list[pa.Array]:
    views = [memoryview(body.as_buffer()) for body in bodies]
    blobs = (hashlib.sha1(b"blob %d\0" % view.nbytes, usedforsecurity=False) for view in views)
    sha1_git = []
    for state, view in zip(blobs, views, strict=True):
        state.update(view)
        sha1_git.append(state.hexdigest())
    return [
        pa.array(sha1_git, pa.string()),
        pa.array([hashlib.blake2s(v).hexdigest() for v in views], pa.string()),
    ]


READERS = (Reader(annotator=TEXT_OF, measure=_text), HEADER, LANGUAGE, SIGNALS)


def annotate_text(task: Task) -> Mapping[str, pa.Table]:
    """Decode and measure every content of the bucket that was not seen before."""
    wanted = task.read("survivors", columns=["sha256", "name_class", "length"])
    status = task.read("status")
    fetched = status.filter(pc.equal(status["status"], "ok"))
    named = task.sql(
        "select distinct w.* from w semi join f using (sha256) order by all", w=wanted, f=fetched
    )
    contents = task.sql(
        "select sha256, min(length) as length from n group by sha256 order by sha256", n=named
    )
    by_ids = {("sha256",): contents, ("sha256", "name_class"): named}
    readers = (*READERS, CONTAMINATION) if CONTAMINATION.annotator.name in task.config["stores"] else READERS
    read_bodies(task, readers, {one.annotator.name: by_ids[one.annotator.ids] for one in readers})
    return {}


def text_stores(rules: Mapping[str, Any]) -> dict[str, str]:
    """Keys of the stores that this wave fills and `judge` reads.

    `rules`: `headers`, what is read of license headers (pipeline.stages.text_headers), and `notebooks`, the form of
    notebooks (pipeline.content.text).
    """
    return {
        "bodies": BODIES_OF.key(),
        "text": TEXT_OF.key(),
        "header": header_key(rules["headers"]),
        "language": LANGUAGE.annotator.key(head=HEAD_BYTES),
        "signals": SIGNALS.annotator.key(notebooks=rules["notebooks"]),
    }


def text_wave(
    runner: Runner,
    wave: Done,
    fetched: Done,
    rules: Mapping[str, Any],
    benchmarks: Benchmarks | None = None,
    *,
    processes: int,
) -> dict[str, Ref]:
    """Annotate the survivors of a wave; returns the inputs of `judge`.

    `rules`: as of `text_stores`; `benchmarks`: whose texts are looked for; `processes`: of ScanCode on a machine.
    """
    inputs = {"survivors": wave.ref("survivors"), "status": fetched.ref("status")}
    runner.run(
        Stage(
            name="annotate.text",
            run=annotate_text,
            inputs=inputs,
            outputs={},
            config={
                "headers": rules["headers"],
                "notebooks": rules["notebooks"],
                "stores": text_stores(rules) | (benchmarks.stores(rules["notebooks"]) if benchmarks else {}),
            },
            extra={"benchmarks": benchmarks.keep(runner)} if benchmarks else {},
        )
    )
    if rules["headers"] != FULL:
        return inputs
    return {**inputs, **ask_about_headers(runner, inputs, text_stores(rules), processes)}
