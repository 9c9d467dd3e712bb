"""Wave W4: released texts travel to where they are compared, so that no unit looks into the store of another bucket.

    near.missing.NNN    pairs that were never compared, from the bucket of `first` to that of `second`
    near.texts.NNN      the text of each `second`, read once, to every bucket that compares something with it

A text that is near to a hundred thousand others is read once, and written once for each bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.annotations import require_all
from pipeline.engine.buckets import bucket_of
from pipeline.engine.runner import Runner
from pipeline.engine.stage import Output, Ref, Rows, Stage, Task
from pipeline.stages.near_verify import SIMILARITY_OF, pairs_to_compare
from pipeline.stages.reading import in_batches
from pipeline.stages.secrets import RELEASED_OF, released_texts

PAIR = pa.schema([("first", pa.string()), ("second", pa.string())])
SENT = pa.schema([("first", pa.string()), ("sha256", pa.string()), ("content", pa.large_binary())])
"""The text of a content, for the bucket of `first`."""


def missing(task: Task) -> Mapping[str, pa.Table]:
    """The pairs of the bucket that have to be compared."""
    _, wanted = pairs_to_compare(task)
    return {"missing": SIMILARITY_OF.open(task).missing(wanted.select(PAIR.names))}


def texts(task: Task) -> Mapping[str, Rows]:
    """The texts that the bucket has for others."""
    pairs = task.read("missing")
    pairs = pairs.append_column("bucket", pa.array(bucket_of(pairs["first"], task.buckets)))
    wanted = task.sql(
        'select min(first) as first, second as sha256 from t group by "bucket", second order by second, first',
        t=pairs,
    )
    return {"texts": _texts(task, wanted)}


def _texts(task: Task, wanted: pa.Table) -> Iterator[pa.Table]:
    """`wanted` (first, sha256; by sha256) with the texts, in pieces of bounded bytes, each text read once."""
    ids = pc.unique(wanted["sha256"])
    known = RELEASED_OF.open(task).read(["released_bytes"], wanted=pa.table({"sha256": ids}))
    require_all("released", len(ids), known.num_rows)
    for batch in in_batches(known.sort_by("sha256"), "released_bytes"):
        found = released_texts(task, batch.select(["sha256"]))
        task.count("texts_read", found.num_rows)
        content, have = found["content"].combine_chunks(), found["sha256"].combine_chunks()
        mine = wanted.filter(pc.is_in(wanted["sha256"], value_set=have))
        at = pc.index_in(mine["sha256"], value_set=have)
        sized = mine.append_column("at", at).append_column("bytes", pc.take(pc.binary_length(content), at))
        for piece in in_batches(sized, "bytes"):
            yield pa.table(
                [piece["first"], piece["sha256"], content.take(piece["at"].combine_chunks())], schema=SENT
            )


def send_texts(
    runner: Runner,
    name: str,
    pairs: Ref,
    *,
    config: Mapping[str, object],
    inputs: Mapping[str, Ref],
    libraries: tuple[str, ...],
) -> Ref:
    """Send what the comparison of `pairs` (CANDIDATES, by `first`) needs from other buckets; `config`, `inputs`: of `verify`.

    `name` ends the names of the stages. Returns the table of texts (SENT, by `first`).
    """
    found = runner.run(
        Stage(
            name=f"near.missing.{name}",
            run=missing,
            inputs={"pairs": pairs, **inputs},
            outputs={"missing": Output(schema=PAIR, order=("first", "second"), route="second")},
            config=config,
            libraries=libraries,
        )
    )
    sent = runner.run(
        Stage(
            name=f"near.texts.{name}",
            run=texts,
            inputs={"missing": found.ref("missing"), **inputs},
            outputs={"texts": Output(schema=SENT, order=("first", "sha256"), route="first")},
            config=config,
            libraries=libraries,
        )
    )
    return sent.ref("texts")
