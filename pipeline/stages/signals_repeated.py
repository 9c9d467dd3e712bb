"""Repeated blocks of lines: which share of each kept content is text that many contents hold.

    kept ─▶ blocks of lines (annotation) ─▶ by block: how many contents and origins ─▶ by content: what frequent blocks cover

The count is exact: every block of every content goes to the bucket of its hash, and back to its content where it is frequent.
So memory is bounded by the bucket, and nobody holds the set of all frequent blocks. Counted are the contents that
near-duplicate removal kept, each with the origin of its elected occurrence; a content that goes for what is found here still
counts. A released text is never cut: a content is signalled, or dropped as a whole (`repeated`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedup.repeated import LineBlocks, bytes_per_document, line_blocks, repeated_lines
from dedup.verify import Threshold
from pipeline.engine.annotations import require_all
from pipeline.engine.lookup import parts
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.stages.ledger import FINAL
from pipeline.stages.reading import in_batches
from pipeline.stages.scopes import ScopedAnnotator
from pipeline.stages.secrets import TextForm, released_stores, released_texts
from pipeline.tables import DROPPED, Reason

BLOCKS = pa.schema(
    [
        ("sha256", pa.string()),
        ("blocks", pa.list_(pa.uint64())),  # of each line: dedup.repeated.LineBlocks
        ("lengths", pa.list_(pa.int32())),
        ("numbers", pa.list_(pa.int32())),
    ]
)
BLOCKS_OF = ScopedAnnotator(
    name="blocks",
    ids=("sha256", "scope"),
    schema=pa.schema([*BLOCKS, ("scope", pa.string())]),
    modules=("dedup.repeated",),
    functions=("pipeline.stages.signals_repeated:annotate_blocks",),
)

HOLDERS = pa.schema(
    [
        ("block", pa.uint64()),
        ("content", pa.uint64()),  # the first 64 bits of its sha256, whose bucket is the content's
        ("origin", pa.uint64()),  # the first 64 bits of the sha256 of its origin
    ]
)
FREQUENT = pa.schema(
    [("block", pa.uint64()), ("content", pa.uint64()), ("contents", pa.int64()), ("origins", pa.int64())]
)
SHARES = pa.schema(
    [
        ("sha256", pa.string()),
        ("repeated_bytes", pa.int64()),  # of the lines that frequent blocks cover
        ("line_bytes", pa.int64()),  # of all lines
    ]
)
"""Contents with a frequent block."""

MOST = pa.schema(
    [
        ("block", pa.uint64()),
        ("contents", pa.int64()),
        ("origins", pa.int64()),
        ("lines", pa.int64()),
        ("sha256", pa.string()),  # a content that holds it
        ("language", pa.string()),
        ("origin", pa.string()),
        ("path", pa.binary()),
        ("line", pa.int64()),  # at which it begins there, from 1
    ]
)
"""Runs of frequent blocks, each in one content that holds it."""

TOP_BLOCKS = 20
_LIBRARIES = ("duckdb", "pyarrow", "numpy", "numba")
_BATCH_BYTES = 32 << 20  # of text whose blocks are held at once: 16 bytes for a line of some 40


def annotate_blocks(task: Task) -> Mapping[str, pa.Table]:
    """Hash the blocks of every kept content of the bucket that was not seen before."""
    kept = task.sql("select sha256, released_bytes from t order by sha256", t=task.read("kept"))
    store = BLOCKS_OF.open(task)
    missing = store.missing(kept)
    task.count("annotated.blocks", missing.num_rows)
    for piece in in_batches(missing, "released_bytes", _BATCH_BYTES):
        texts = released_texts(task, piece)
        task.bytes_in += texts.nbytes
        found = line_blocks(
            texts["content"].combine_chunks(), lines=task.config["lines"], least_bytes=task.config["bytes"]
        )
        offsets = pa.array(found.offsets.astype(np.int32))
        lists = [
            pa.ListArray.from_arrays(offsets, pa.array(values))
            for values in (found.blocks, found.lengths, found.numbers)
        ]
        store.append(pa.table([texts["sha256"], *lists], schema=BLOCKS))
    store.compact()
    return {}


def _blocks_of(task: Task, kept: pa.Table) -> Iterator[tuple[pa.Table, LineBlocks]]:
    """The kept contents in batches, by sha256, each with its blocks."""
    store = BLOCKS_OF.open(task)
    for piece in in_batches(kept.sort_by("sha256"), "released_bytes", _BATCH_BYTES):
        rows = store.read(wanted=piece.select(["sha256"])).sort_by("sha256")
        require_all(BLOCKS_OF.name, piece.num_rows, rows.num_rows)
        lists = [rows[name].combine_chunks() for name in ("blocks", "lengths", "numbers")]
        offsets = lists[0].offsets.to_numpy().astype(np.int64)
        values = [one.flatten().to_numpy() for one in lists]
        yield piece, LineBlocks(*values, offsets - offsets[0])


def holders(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """One row per distinct block of a content."""
    return {"holders": _holders(task)}


def _holders(task: Task) -> Iterator[pa.Table]:
    kept = task.sql(
        f"""
        select sha256, released_bytes, {_word("sha256")} as content, {_word("sha256(origin)")} as origin from t
        """,
        t=task.read("kept", ["sha256", "released_bytes", "origin"]),
    )
    for piece, found in _blocks_of(task, kept):
        row = np.repeat(np.arange(len(found)), np.diff(found.offsets))[found.blocks != 0]
        pairs = pa.table({"block": found.blocks[found.blocks != 0], "row": row})
        names = piece.select(["content", "origin"]).append_column("row", pa.array(np.arange(piece.num_rows)))
        yield task.sql("select distinct block, content, origin from p join n using (row)", p=pairs, n=names)


def _word(digest: str) -> str:
    return f"('0x' || left({digest}, 16))::ubigint"


def frequent(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """The blocks of the bucket that enough contents and origins hold, once for each content that holds one."""
    return {"frequent": _frequent(task)}


def _frequent(task: Task) -> Iterator[pa.Table]:
    enough = f"contents >= {task.config['contents']} and origins >= {task.config['origins']}"
    for part in parts(task, "holders", HOLDERS, "block"):
        rows = task.sql(
            f"""
            with counted as (
                select block, count(*) as contents, count(distinct origin) as origins from t group by block having {enough})
            select block, content, contents, origins from t join counted using (block)
            """,
            t=part,
        )
        task.count("frequent_blocks", len(rows["block"].unique()))
        yield rows


def shares(task: Task) -> Mapping[str, pa.Table]:
    """What frequent blocks cover of each content of the bucket."""
    known = _known(task)["block"].to_numpy()
    lines = task.config["lines"]
    found = [SHARES.empty_table()]
    for piece, blocks in _blocks_of(task, task.read("kept", ["sha256", "released_bytes"])):
        whole = bytes_per_document(blocks)
        covered = bytes_per_document(blocks, repeated_lines(blocks, _find(blocks, known) >= 0, lines=lines))
        task.count("line_bytes", int(whole.sum()))
        task.count("repeated_bytes", int(covered.sum()))
        table = pa.table([piece["sha256"], pa.array(covered), pa.array(whole)], schema=SHARES)
        found.append(table.filter(pa.array(covered > 0)))
    held = pa.concat_tables(found)
    task.count("files", held.num_rows)
    return {"shares": held}


def _known(task: Task) -> pa.Table:
    """The frequent blocks that contents of the bucket hold. A block is frequent wherever it is: one that came here because
    two contents have the same number is of no consequence.
    """
    query = "select distinct block, contents, origins from t order by block"
    return task.sql(query, t=task.read("frequent", ["block", "contents", "origins"]))


def _find(blocks: LineBlocks, known: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The place of each line's block in `known`, which ascends; -1 where it is not there."""
    if len(known) == 0:
        return np.full(len(blocks.blocks), -1)
    at = np.minimum(np.searchsorted(known, blocks.blocks), len(known) - 1)
    return np.where(known[at] == blocks.blocks, at, -1)


def most_repeated(task: Task) -> Mapping[str, pa.Table]:
    """The runs of frequent blocks that most contents hold, of those in the bucket's contents."""
    known, best = _known(task), MOST.empty_table()
    kept = task.read("kept", ["sha256", "released_bytes", "language", "origin", "path"])
    for piece, blocks in _blocks_of(task, kept):
        runs = _runs(piece, blocks, known, _find(blocks, known["block"].to_numpy()), task.config["lines"])
        best = most(task, pa.concat_tables([best, runs]))
    return {"most": best}


def _runs(
    piece: pa.Table, blocks: LineBlocks, known: pa.Table, at: npt.NDArray[np.int64], lines: int
) -> pa.Table:
    """Of each stretch of frequent blocks in a content, the run that most contents hold: successive blocks, equally many.

    What stands before and after a notice differs from file to file, so each form would be told by itself otherwise.
    """
    places = np.flatnonzero(at >= 0)
    row = np.repeat(np.arange(len(blocks)), np.diff(blocks.offsets))[places]
    contents, origins = (known[name].to_numpy()[at[places]] for name in ("contents", "origins"))
    apart = np.ones(len(places), np.bool_)  # from the block before
    apart[1:] = (places[1:] != places[:-1] + 1) | (row[1:] != row[:-1])
    differs = apart.copy()
    differs[1:] |= (contents[1:] != contents[:-1]) | (origins[1:] != origins[:-1])
    starts = np.flatnonzero(differs)
    lengths = np.diff(np.concatenate((starts, [len(places)]))) + lines - 1
    stretch = np.cumsum(apart)[starts]
    order = np.lexsort((starts, -contents[starts], stretch))
    best = order[np.concatenate(([True], stretch[1:] != stretch[:-1]))] if len(order) else order
    first = starts[best]
    of = pa.array(row[first])
    return pa.table(
        [
            pa.array(blocks.blocks[places[first]]), pa.array(contents[first]), pa.array(origins[first]),
            pa.array(lengths[best]), *(piece[name].take(of) for name in ("sha256", "language", "origin", "path")),
            pa.array(blocks.numbers[places[first]].astype(np.int64)),
        ],
        schema=MOST,
    )  # fmt: skip


def most(task: Task, runs: pa.Table) -> pa.Table:
    """The runs that most contents hold, each once: where it goes on longest, of those in the first content by SHA-256."""
    return task.sql(
        f"""
        select * from t qualify row_number() over (partition by block order by lines desc, sha256, line) = 1
        order by contents desc, origins desc, lines desc, block limit {TOP_BLOCKS}
        """,
        t=runs,
    ).cast(MOST)


def drop(task: Task) -> Mapping[str, pa.Table]:
    """Of the kept contents of the bucket, those with no larger share of repeated lines; and the places of the others."""
    limit = Threshold.of(task.config["drop_above"])
    rows = task.sql(
        f"""
        select k.*, s.repeated_bytes, s.line_bytes,
            coalesce({limit.denominator} * s.repeated_bytes > {limit.numerator} * s.line_bytes, false) as over
        from k left join s using (sha256)
        """,
        k=task.read("kept"),
        s=task.read("shares"),
    )
    dropped = task.sql(
        f"""
        select root, path, sha1_git, '{Reason.REPEATED}' as reason,
            repeated_bytes || ' of ' || line_bytes || ' bytes' as detail,
            null::varchar as stand_in, null::varchar as similarity, language from t where over
        """,
        t=rows,
    )
    task.count("dropped.repeated", dropped.num_rows)
    kept = task.sql("select * exclude (repeated_bytes, line_bytes, over) from t where not over", t=rows)
    return {"kept": kept, "by_root": kept, "dropped": dropped}


@dataclass(frozen=True)
class Repeated:
    """The finished stages `signals.frequent` and `signals.repeated`, and where the blocks of contents are."""

    frequent: Done
    shares: Done
    stores: Mapping[str, str]
    inputs: Mapping[str, Ref]  # as of `TextForm`


def repeated_wave(runner: Runner, kept: Done, config: Mapping[str, Any], *, text_form: TextForm) -> Repeated:
    """Measure the contents of the stage `kept`. `config`: pipeline.config_signals.Repeated."""
    texts = released_stores(text_form)
    form = {"lines": config["lines"], "bytes": config["bytes"]}
    stores = {**texts, BLOCKS_OF.name: BLOCKS_OF.key(texts=texts["released"], **form)}
    runner.run(
        Stage(
            name="annotate.blocks",
            run=annotate_blocks,
            inputs={"kept": kept.ref("kept"), **text_form.inputs},
            outputs={},
            config={"stores": stores, **form},
            libraries=_LIBRARIES,
        )
    )
    held = runner.run(
        Stage(
            name="signals.blocks",
            run=holders,
            inputs={"kept": kept.ref("kept"), **text_form.inputs},
            outputs={"holders": Output(schema=HOLDERS, order=("block", "content"), route="block")},
            config={"stores": stores},
            libraries=_LIBRARIES,
        )
    )
    counted = runner.run(
        Stage(
            name="signals.frequent",
            run=frequent,
            inputs={"holders": held.ref("holders")},
            outputs={"frequent": Output(schema=FREQUENT, order=("content", "block"), route="content")},
            config={"contents": config["contents"], "origins": config["origins"]},
            libraries=_LIBRARIES,
        )
    )
    measured = runner.run(
        Stage(
            name="signals.repeated",
            run=shares,
            inputs={"kept": kept.ref("kept"), "frequent": counted.ref("frequent"), **text_form.inputs},
            outputs={"shares": Output(schema=SHARES, order=("sha256",))},
            config={"stores": stores, "lines": config["lines"]},
            libraries=_LIBRARIES,
        )
    )
    return Repeated(counted, measured, stores, text_form.inputs)


def find_most_repeated(runner: Runner, kept: Done, repeated: Repeated, lines: int) -> Done:
    """The stage whose table `most` names the most repeated runs in contents of the stage `kept`, some of each bucket."""
    return runner.run(
        Stage(
            name="signals.most",
            run=most_repeated,
            inputs={
                "kept": kept.ref("kept"),
                "frequent": repeated.frequent.ref("frequent"),
                **repeated.inputs,
            },
            outputs={"most": Output(schema=MOST, order=("block",))},
            config={"stores": dict(repeated.stores), "lines": lines},
            libraries=_LIBRARIES,
        )
    )


def drop_repeated(runner: Runner, kept: Done, repeated: Repeated, drop_above: str) -> Done:
    """Drop what consists of repeated lines. Returns a stage shaped as `kept`, with `dropped`."""
    return runner.run(
        Stage(
            name="signals.drop",
            run=drop,
            inputs={"kept": kept.ref("kept"), "shares": repeated.shares.ref("shares")},
            outputs={
                "kept": Output(schema=FINAL, order=("sha256",)),
                "by_root": Output(schema=FINAL, order=("root", "path", "sha256"), route="root"),
                "dropped": Output(schema=DROPPED, order=("root", "path", "sha1_git"), route="root"),
            },
            config={"drop_above": drop_above},
        )
    )
