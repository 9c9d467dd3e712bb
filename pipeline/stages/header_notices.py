"""What of license headers no table knows is asked of ScanCode, once for each notice, however many files have it.

    headers.notices    the notices of the survivors, each to the bucket of its digest
    headers.ask        what ScanCode says of those that it was never asked (few processes; it loads for seconds)
    headers.answers    its answers, back to the files

`headers_of` is what a file says in the end. Where ScanCode finds nothing in words that state a license, or is not asked,
the header is undetermined: the license of the directory holds, and it is counted and told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from licensing.detection import DETECTION, Detection
from licensing.headers import answered, ask, from_row, table_of
from licensing.scancode import ScanCode
from pipeline.engine.annotations import Annotator, require_all
from pipeline.engine.runner import Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.stages.licenses import groups
from pipeline.stages.text_headers import HEADER_OF

NOTICES_OF = Annotator(
    name="header_notices",
    ids=("notice",),
    schema=pa.schema([("notice", pa.string()), ("detections", pa.list_(DETECTION))]),
    modules=("licensing.headers", "licensing.scancode"),
    functions=("pipeline.stages.header_notices:ask_scancode",),
    libraries=("scancode-toolkit-mini", "license-expression"),
)
"""By the SHA-256 of a notice's text."""

TEXTS = pa.schema([("notice", pa.string()), ("text", pa.string())])
PLACES = pa.schema([("notice", pa.string()), ("sha256", pa.string())])
ANSWERS = pa.schema([("sha256", pa.string()), ("detections", pa.list_(DETECTION))])
"""What ScanCode found in the notices of contents."""
SAID = pa.schema(
    [
        ("sha256", pa.string()),
        ("header", pa.string()),  # SPDX expression; null: the file says nothing of its license
        ("header_detections", pa.list_(DETECTION)),
        ("header_open", pa.string()),  # what is said and nobody understood: the header is undetermined
    ]
)
"""What the headers of contents say, after all who were asked."""

_WORTH_A_PROCESS = 500  # notices that take as long as the index takes to load
_SEGMENT = 256  # notices per segment: about 15 ms each


def notices(task: Task) -> Mapping[str, pa.Table]:
    """The open notices of the survivors of the bucket."""
    survivors = task.read("survivors", columns=["sha256"])
    found = HEADER_OF.open(task).read(columns=["notice"], wanted=survivors)
    found = found.filter(pc.is_valid(found["notice"]))
    encoded = found["notice"].combine_chunks().dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    digests = pa.array([hashlib.sha256(text.encode()).hexdigest() for text in texts], pa.string())
    return {
        "texts": pa.table([digests, encoded.dictionary.cast(pa.string())], schema=TEXTS),
        "places": pa.table([digests.take(encoded.indices), found["sha256"]], schema=PLACES),
    }


def ask_scancode(task: Task) -> Mapping[str, pa.Table]:
    """ScanCode's detections in the notices of some buckets that the store has no answer for."""
    scancode = None
    for bucket in task.item["buckets"]:
        store = NOTICES_OF.open(task, bucket)
        texts = task.sql(
            "select notice, min(text) as text from t group by notice order by notice",
            t=task.read_bucket("texts", bucket),
        )
        missing = store.missing(texts).sort_by("notice")
        task.count("detected", missing.num_rows)
        for start in range(0, missing.num_rows, _SEGMENT):
            scancode = scancode or ScanCode()
            piece = missing.slice(start, _SEGMENT)
            found = [[asdict(d) for d in one] for one in ask(piece["text"].to_pylist(), scancode)]
            store.append(pa.table([piece["notice"], found], schema=NOTICES_OF.schema))
        store.compact()
    return {}


def answers(task: Task) -> Mapping[str, pa.Table]:
    """The answers to the notices of the bucket, for each content that has one."""
    places = task.read("places")
    found = task.sql(
        "select p.sha256, n.detections from p join n using (notice)",
        p=places,
        n=NOTICES_OF.open(task).read(wanted=places),
    )
    require_all("header_notices", places.num_rows, found.num_rows)
    return {"answers": found}


def headers_of(task: Task, survivors: pa.Table) -> pa.Table:
    """What the survivors' headers say in the end, by sha256: a table in the schema SAID."""
    found = HEADER_OF.open(task).read(wanted=survivors)
    is_open = pc.is_valid(found["notice"])
    closed, left = found.filter(pc.invert(is_open)), found.filter(is_open)
    headers = [from_row(row) for row in left.to_pylist()]
    if "answers" in task.refs:
        told = task.read("answers")
        told = told.filter(pc.is_in(told["sha256"], value_set=left["sha256"].combine_chunks()))
        answer = dict(zip(told["sha256"].to_pylist(), told["detections"].to_pylist(), strict=True))
        require_all("header_notices", left.num_rows, len(answer))
        headers = [
            answered(header, [Detection(**d) for d in answer[sha256]])
            for sha256, header in zip(left["sha256"].to_pylist(), headers, strict=True)
        ]
    ended = table_of(headers)
    rows = pa.concat_tables([closed, pa.table([left["sha256"], *ended.columns], schema=found.schema)])
    return rows.select(["sha256", "expression", "detections", "notice"]).rename_columns(SAID.names).cast(SAID)


def ask_about_headers(
    runner: Runner, texts: Mapping[str, Ref], stores: Mapping[str, str], processes: int
) -> dict[str, Ref]:
    """Ask ScanCode what the survivors' headers leave open. Returns the input of `headers_of`; none where nothing is open."""
    notices_of = {NOTICES_OF.name: NOTICES_OF.key()}
    found = runner.run(
        Stage(
            name="headers.notices",
            run=notices,
            inputs={"survivors": texts["survivors"]},
            outputs={
                "texts": Output(schema=TEXTS, order=("notice",), route="notice"),
                "places": Output(schema=PLACES, order=("notice", "sha256"), route="notice"),
            },
            config={"stores": {"header": stores["header"]}},
        )
    )
    if not found.planned and found.rows("texts") == 0:
        return {}
    # A few notices are not worth the seconds that each process loads. They spread evenly: by digest.
    each = _WORTH_A_PROCESS if found.planned else -(-found.rows("texts") // runner.buckets)
    of_units = groups(dict.fromkeys(range(runner.buckets), each), processes, _WORTH_A_PROCESS)
    runner.run(
        Stage(
            name="headers.ask",
            run=ask_scancode,
            inputs={"texts": found.ref("texts")},
            outputs={},
            units=tuple({"unit": f"{g[0]:04x}-{g[-1]:04x}", "buckets": g} for g in of_units),
            config={"stores": notices_of},
            extra={"processes": processes},
            libraries=NOTICES_OF.libraries,
            heavy=True,
        )
    )
    done = runner.run(
        Stage(
            name="headers.answers",
            run=answers,
            inputs={"places": found.ref("places")},
            outputs={"answers": Output(schema=ANSWERS, order=("sha256",), route="sha256")},
            config={"stores": notices_of},
        )
    )
    return {"answers": done.ref("answers")}
