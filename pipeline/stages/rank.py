"""The place of every elected content in the election order: 0 is the best. The ordinals are dense.

An ordinal is the number of better-ranked contents: a function of the set, whatever the buckets. A few contents are sorted by
one task. Many are sorted by range, in memory that the buckets bound:

    winners ─▶ rank.samples ─▶ rank.splitters ─▶ rank.ranges ─▶ rank.places ─▶ rank
               (some keys)     (one task: the    (rows to       (sorted in     (place + rows of
                               ends of ranges)   their range)   the range)     the ranges before)

A range holds what lies between two splitters, whoever owns it: the whole key is compared, up to path and SHA-256, so that
one origin with all files, or dates that are all unknown, split as well as anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import pyarrow as pa

from dedup.election import ELECTION_ORDER, order_by_sql
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.tables import RANKS

AT_ONCE = 1 << 20
"""Contents that one task sorts: 150 MB of their columns. Each stage by range costs some 20 ms for every bucket."""

SAMPLED = 64
"""Rows of a bucket that the splitters are chosen from. With as many ranges as buckets, the largest of 4,096 ranges is about
1.5 times the mean (64 random points are in a range, give or take their root times sqrt(2 ln 4096))."""

COLUMNS = ["sha256", *(key.column for key in ELECTION_ORDER)]

SORT_KEYS = pa.schema([("sort_key", pa.binary())])
RANGED = pa.schema([("range", pa.uint64()), ("sort_key", pa.binary()), ("sha256", pa.string())])
"""`range`: the number of the range in the leading bits, as the route wants it."""

PLACES = pa.schema([("sha256", pa.string()), ("range", pa.int64()), ("place", pa.uint64())])
"""Where a content stands in its range."""


def sort_key_sql(alias: str) -> str:
    """The election key and the SHA-256 as one BLOB, whose bytes compare as they do."""
    terms = [
        f"{key.sql.format(column=f'{alias}.{key.column}')}, '{key.direction} NULLS {key.nulls}'"
        for key in ELECTION_ORDER
    ]
    return f"create_sort_key({', '.join(terms)}, {alias}.sha256, 'ASC NULLS LAST')"


def rank(task: Task) -> Mapping[str, pa.Table]:
    """One sort over all contents."""
    ranks = task.sql(
        f"select sha256, (row_number() over (order by {order_by_sql('t', then=('sha256',))}) - 1)::ubigint as ordinal from t",
        t=task.read_all("winners", columns=COLUMNS),
    )
    return {"ranks": ranks}


def samples(task: Task) -> Mapping[str, pa.Table]:
    """The keys of the first contents of the bucket by SHA-256: a uniform sample."""
    some = task.sql(
        f"select * from t order by sha256 limit {SAMPLED}", t=task.read("winners", columns=COLUMNS)
    )
    return {"samples": task.sql(f"select {sort_key_sql('t')} as sort_key from t", t=some)}


def splitters(task: Task) -> Mapping[str, pa.Table]:
    """The first keys of all ranges but the first one, at equal distances in the samples."""
    ranges = task.buckets  # how many there are moves no ordinal
    rows = task.sql(
        f"""
        with s as (select sort_key, row_number() over (order by sort_key) - 1 as place, count(*) over () as n from t)
        select distinct sort_key from s, range(1, {ranges}) as r(number) where place = (n * r.number) // {ranges}
        """,
        t=task.read_all("samples"),
    )
    return {"splitters": rows}


def ranges(task: Task) -> Mapping[str, pa.Table]:
    """Every content on its way to its range."""
    bits = task.buckets.bit_length() - 1
    ends = task.sql(
        "select sort_key, row_number() over (order by sort_key) as number from t",
        t=task.read_all("splitters"),
    )
    rows = task.sql(
        f"""
        with k as (select sha256, {sort_key_sql("t")} as sort_key from t)
        select k.*, coalesce(s.number, 0)::ubigint << {(64 - bits) % 64} as range
        from k asof left join s on k.sort_key >= s.sort_key
        """,
        t=task.read("winners", columns=COLUMNS),
        s=ends,
    )
    return {"ranged": rows}


def places(task: Task) -> Mapping[str, pa.Table]:
    """The contents of a range, sorted."""
    rows = task.sql(
        f"select sha256, {task.bucket} as range, (row_number() over (order by sort_key) - 1)::ubigint as place from t",
        t=task.read("ranged", columns=["sort_key", "sha256"]),
    )
    return {"places": rows}


def ordinals(task: Task) -> Mapping[str, pa.Table]:
    """The place in the range, and all that is in the ranges before."""
    before = pa.table(
        {"range": pa.array(range(task.buckets)), "rows": pa.array(task.extra["before"], pa.uint64())}
    )
    ranks = task.sql(
        "select sha256, (place + rows)::ubigint as ordinal from p join b using (range)",
        p=task.read("places"),
        b=before,
    )
    return {"ranks": ranks}


def rank_wave(runner: Runner, winners: Ref, contents: int) -> Done:
    """Rank `contents` rows of `winners`. Returns the stage `rank`, whose table is `ranks`."""
    ranked = {"ranks": Output(schema=RANKS, order=("sha256",), route="sha256")}
    if contents <= AT_ONCE:
        return runner.run(
            Stage(name="rank", run=rank, inputs={"winners": winners}, outputs=ranked, units="one")
        )
    sampled = runner.run(
        Stage(
            name="rank.samples",
            run=samples,
            inputs={"winners": winners},
            outputs={"samples": Output(schema=SORT_KEYS, order=("sort_key",))},
        )
    )
    split = runner.run(
        Stage(
            name="rank.splitters",
            run=splitters,
            inputs={"samples": sampled.ref("samples")},
            outputs={"splitters": Output(schema=SORT_KEYS, order=("sort_key",))},
            units="one",
        )
    )
    ranged = runner.run(
        Stage(
            name="rank.ranges",
            run=ranges,
            inputs={"winners": winners, "splitters": split.ref("splitters")},
            outputs={"ranged": Output(schema=RANGED, order=(), route="range")},
        )
    )
    placed = runner.run(
        Stage(
            name="rank.places",
            run=places,
            inputs={"ranged": ranged.ref("ranged")},
            outputs={"places": Output(schema=PLACES, order=("sha256",), route="sha256")},
        )
    )
    sizes = [unit["outputs"]["places"]["rows"] for _, unit in sorted(placed.summary["units"].items())]
    return runner.run(
        Stage(
            name="rank",
            run=ordinals,
            inputs={"places": placed.ref("places")},
            outputs={"ranks": Output(schema=RANKS, order=("sha256",))},
            extra={"before": [0, *accumulate(sizes)][: len(sizes)]},  # told by the rows of the input
        )
    )
