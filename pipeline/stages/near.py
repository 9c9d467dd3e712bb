"""Wave W4: near-duplicates, exactly as DESIGN 3 defines them.

Sketches give band keys; equal keys make candidate pairs; every candidate is verified by the exact Jaccard of its shingle
sets, whatever the threshold; the decision walks the contents in rank order over the edges that reach the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.bands import band_keys
from dedup.candidates import bucket_pairs
from dedup.decide import decide
from dedup.sketch import signatures_from_arrow
from dedup.verify import ShingleSets, intersections, shingle_sets
from pipeline.engine.buckets import bucket_of
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.stages.judge import in_batches
from pipeline.stages.secrets import RELEASED, RELEASED_OF, released_stores, released_texts
from pipeline.tables import BAND_KEYS, EDGES, PAIRS, REPLACED, Reason

_PAIRS_AT_ONCE = 8_192  # pairs whose shingle sets are held together


def bands(task: Task) -> Mapping[str, pa.Table]:
    """The band keys of every ranked content that has shingles."""
    ranks = task.read("ranks")
    known = RELEASED_OF.open(task).read(columns=["shingles", "sketch"], wanted=ranks)
    rows = task.sql(
        "select r.sha256, r.ordinal, k.shingles, k.sketch from r join k using (sha256) where k.shingles > 0 order by r.ordinal",
        r=ranks,
        k=known,
    )
    made = band_keys(
        signatures_from_arrow(rows["sketch"].cast(RELEASED.field("sketch").type)),
        rows["shingles"].to_numpy(),
        bands=task.config["bands"],
        rows=task.config["rows"],
    )
    positions = pa.array(made.index)
    return {
        "keys": pa.table(
            [pa.array(made.keys), rows["ordinal"].take(positions), rows["sha256"].take(positions)],
            schema=BAND_KEYS,
        )
    }


def pairs(task: Task) -> Mapping[str, pa.Table]:
    """Candidate pairs of the bucket's equal keys, each once."""
    keys = task.read("keys")
    found = bucket_pairs(
        keys["key"].to_numpy(), keys["ordinal"].to_numpy(), cap=task.config["cap"], best=task.config["best"]
    )
    task.count("hot_buckets", found.stats.hot_buckets)
    task.count("hot_members", found.stats.hot_members)
    task.count("pairs_not_made", found.stats.skipped_pairs)
    names = task.sql("select distinct ordinal, sha256 from t order by ordinal", t=keys)
    ordinals, sha256 = names["ordinal"].to_numpy(), names["sha256"].combine_chunks()
    low, high = (sha256.take(pa.array(np.searchsorted(ordinals, side))) for side in (found.low, found.high))
    return {"pairs": pa.table([pa.array(found.low), pa.array(found.high), low, high], schema=PAIRS)}


def verify(task: Task) -> Mapping[str, pa.Table]:
    """Exact intersections and unions of the shingle sets of every candidate pair.

    The better side lives in this bucket and is read once, in blocks of bounded bytes; the other sides are read bucket by
    bucket, in pieces of bounded bytes.
    """
    wanted = task.sql("select distinct * from t order by low, high", t=task.read("pairs"))
    task.count("verified", wanted.num_rows)
    return {"edges": pa.concat_tables([EDGES.empty_table(), *_edges(task, wanted)])}


def _edges(task: Task, wanted: pa.Table) -> Iterator[pa.Table]:
    for block in _blocks(task, wanted, "low_sha256", task.bucket):
        left, of_left = _sets(task, block["low_sha256"], task.bucket)
        other = bucket_of(block["high_sha256"], task.buckets)
        placed = block.append_column("left", pa.array(of_left))
        for bucket in np.unique(other):
            mine = placed.take(pa.array(np.flatnonzero(other == bucket))).sort_by("high_sha256")
            for piece in _blocks(task, mine, "high_sha256", int(bucket)):
                right, right_at = _sets(task, piece["high_sha256"], int(bucket))
                inter, union = intersections(left, right, piece["left"].to_numpy(), right_at)
                columns = piece.select(wanted.column_names).columns
                yield pa.table(
                    [*columns, pa.array(inter, pa.int64()), pa.array(union, pa.int64())], schema=EDGES
                )


def _blocks(task: Task, rows: pa.Table, name: str, bucket: int) -> Iterator[pa.Table]:
    """Runs of `rows`, in which those of one text lie together: texts of BATCH_BYTES at most, and some thousand pairs."""
    ids = pc.unique(rows[name])
    sizes = RELEASED_OF.open(task, bucket).read(["released_bytes"], wanted=pa.table({"sha256": ids}))
    at = pc.index_in(ids, value_set=sizes["sha256"].combine_chunks())
    known = pa.table(
        {"bytes": pc.fill_null(sizes["released_bytes"].take(at), 0)}
    )  # what is missing is told later
    numbers = pc.index_in(
        rows[name].combine_chunks(), value_set=ids
    ).to_numpy()  # ascends: ids are as they come
    first = 0
    for batch in in_batches(known, "bytes"):
        start, end = np.searchsorted(numbers, [first, first + batch.num_rows])
        for place in range(int(start), int(end), _PAIRS_AT_ONCE):
            yield rows.slice(place, min(_PAIRS_AT_ONCE, int(end) - place))
        first += batch.num_rows


def _sets(task: Task, ids: pa.ChunkedArray, bucket: int) -> tuple[ShingleSets, npt.NDArray[np.int64]]:
    """Shingle sets of the distinct contents among `ids`, and the position of each id in them."""
    distinct = pa.table({"sha256": pc.unique(ids)})
    texts = released_texts(task, distinct, bucket)
    at = pc.index_in(ids.combine_chunks(), value_set=texts["sha256"].combine_chunks())
    return shingle_sets(texts["content"].combine_chunks()), at.to_numpy().astype(np.int64)


def settle(task: Task) -> Mapping[str, pa.Table]:
    """Walk the verified graph in rank order: what a kept content is near to is dropped in its favour."""
    edges = task.read_all("edges")
    decided = decide(
        *(edges[name].to_numpy() for name in ("low", "high", "inter", "union")),
        threshold=task.config["threshold"],
    )
    names = task.sql(
        """
        select distinct ordinal, sha256
        from (select low as ordinal, low_sha256 as sha256 from t union all select high, high_sha256 from t)
        """,
        t=edges,
    )
    gone = pa.table(
        {
            "ordinal": pa.array(decided.dropped, pa.uint64()),
            "kept": pa.array(decided.kept, pa.uint64()),
            "inter": pa.array(decided.inter, pa.int64()),
            "union": pa.array(decided.union, pa.int64()),
        }
    )
    replaced = task.sql(
        f"""
        select n.sha256, k.sha256 as stand_in, '{Reason.NEAR_DUPLICATE}' as reason, g.inter || '/' || g.union as similarity
        from g join n on n.ordinal = g.ordinal join n as k on k.ordinal = g.kept
        """,
        g=gone,
        n=names,
    )
    task.count("dropped.near_duplicate", replaced.num_rows)
    return {"replaced": replaced}


def near_wave(
    runner: Runner, ranks: Done, config: Mapping[str, object], *, sensitivity: str
) -> tuple[Done, Ref]:
    """Run wave W4. Returns the last stage, whose table lists the replaced contents, and the verified pairs."""
    shared = {"stores": released_stores(sensitivity)}
    keys = runner.run(
        Stage(
            name="near.bands",
            run=bands,
            inputs={"ranks": ranks.ref("ranks")},
            outputs={"keys": Output(schema=BAND_KEYS, order=("key", "ordinal"), route="key")},
            config={**shared, "bands": config["bands"], "rows": config["rows"]},
            libraries=("duckdb", "pyarrow", "numpy", "numba"),
        )
    )
    candidates = runner.run(
        Stage(
            name="near.pairs",
            run=pairs,
            inputs={"keys": keys.ref("keys")},
            outputs={"pairs": Output(schema=PAIRS, order=("low", "high"), route="low_sha256")},
            config={"cap": config["bucket_cap"], "best": config["bucket_best"]},
            libraries=("duckdb", "pyarrow", "numpy", "numba"),
        )
    )
    verified = runner.run(
        Stage(
            name="near.verify",
            run=verify,
            inputs={"pairs": candidates.ref("pairs")},
            outputs={"edges": Output(schema=EDGES, order=("low", "high"))},
            config=shared,
            libraries=("duckdb", "pyarrow", "numpy", "numba"),
        )
    )
    done = runner.run(
        Stage(
            name="near.settle",
            run=settle,
            inputs={"edges": verified.ref("edges")},
            outputs={"replaced": Output(schema=REPLACED, order=("sha256",), route="sha256")},
            units="one",
            config={"threshold": config["threshold"]},
            libraries=("duckdb", "pyarrow", "numpy", "numba"),
        )
    )
    return done, verified.ref("edges")
