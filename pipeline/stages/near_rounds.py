"""Wave W4, last part where there are many pairs: the decision in rounds over buckets (dedup.rounds).

    near.sides          candidate pairs, each once: to the bucket of the worse-ranked end, whose fate hangs on them, and
                        to that of the better-ranked one, which will tell it its own
    near.round.NNN      what can be decided is decided and told; pairs that are to be compared go to
    near.verify.NNN     the comparison, whose answers are there in the next round
    near.rest           what `MAX_ROUNDS` rounds left, in rank order, in one task
    near.settle         the replaced contents of all rounds

Comparing is lazy, as in one walk in rank order: a pair with a dropped content is not compared, nor one behind an edge to a
kept one. Waiting for every fate would take a hundred rounds, since candidates hang together in long chains, most of
which are no edges. So a content also looks ahead: in round r it compares its `AHEAD` ^ r best-ranked open pairs, up to the
first edge. From round `LAZY_ROUNDS` on all is compared that can still matter, and what follows is only passed on. Rounds
are in step over all buckets: what is compared, and in which round, does not depend on their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from dedup.rounds import DROPPED, EDGE, KEPT, NO_EDGE, UNHEARD, UNKNOWN, one_round
from dedup.verify import Threshold
from pipeline.engine.amounts import memory_bytes
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.errors import ConfigError
from pipeline.stages.near_pairs import CANDIDATES
from pipeline.stages.near_settle import replaced_by, walk
from pipeline.tables import EDGES, PAIRS, REPLACED

AHEAD = 4
LAZY_ROUNDS = 6
"""On 39,655 source files with 657,629 candidate pairs 48 % are compared, in 12 rounds, where one walk in rank order would
compare 26 %; looking ahead by powers of 2 means 39 % in 15 rounds, and more texts read."""
MAX_ROUNDS = 20
"""Rounds after which one task decides what is left: chains of more than as many contents that wait for one another."""
REST_ROW_BYTES = 800
"""Memory that one task holds for each pair of the rest: four copies of a row of two ids of 64 digits."""

_ANSWER = [("inter", pa.int64()), ("union", pa.int64()), ("estimated", pa.bool_())]
OPEN = pa.schema(
    [
        *PAIRS,
        ("heard", pa.int8()),  # of the better-ranked end: dedup.rounds.UNHEARD | KEPT
        ("known", pa.int8()),  # of the similarity: dedup.rounds.UNKNOWN | EDGE
        ("told", pa.bool_()),  # the worse-ranked end is dropped, and has told it
        *_ANSWER,  # null while not compared
    ]
)
"""Pairs that can still matter, in the bucket of their worse-ranked end."""

TOLD = pa.schema(
    [("low", pa.uint64()), ("high", pa.uint64()), ("high_sha256", pa.string()), ("fate", pa.int8())]
)
"""The fate of `low`: dedup.rounds.KEPT | DROPPED, for `high`."""

_BY_HIGH = ("high", "low")


def sides(task: Task) -> Mapping[str, pa.Table]:
    """Every candidate pair of the bucket once, for both of its ends."""
    found = task.sql(f"select distinct {', '.join(PAIRS.names)} from t", t=task.read("pairs"))
    task.count("candidates", found.num_rows)
    nothing = f"{UNHEARD}::tinyint as heard, {UNKNOWN}::tinyint as known, false as told"
    unanswered = 'null::bigint as inter, null::bigint as "union", null::boolean as estimated'
    return {
        "open": task.sql(f"select *, {nothing}, {unanswered} from t", t=found),
        "below": found,
    }


def play(task: Task) -> Mapping[str, pa.Table]:
    """One round of the bucket."""
    pairs = _informed(task, task.read)
    high, heard, known = (pairs[name].to_numpy() for name in ("high", "heard", "known"))
    done = one_round(high, heard, known, ahead=task.config["ahead"])
    new = (done.fates != UNHEARD) & ~pairs["told"].to_numpy()[done.rows]
    fates = pa.table({"low": pa.array(high[done.rows[new]]), "fate": pa.array(done.fates[new])})
    below = task.read("below")
    if task.config["first"]:  # nothing is ranked above them
        query = f"select distinct low, {KEPT}::tinyint as fate from b anti join p on p.high = b.low"
        fates = pa.concat_tables([fates, task.sql(query, b=below, p=pairs).cast(fates.schema)])
    told = task.sql("select b.low, b.high, b.high_sha256, f.fate from b join f using (low)", b=below, f=fates)
    gone = np.repeat(done.fates == DROPPED, np.diff(np.append(done.rows, len(high))))
    place = pairs.schema.get_field_index("told")
    still = pairs.set_column(place, "told", pa.array(gone)).filter(pa.array(done.open))
    ends = "least(low_sha256, high_sha256) as first, greatest(low_sha256, high_sha256) as second"
    return {
        "open": still,
        "below": task.sql("select b.* from b anti join f using (low)", b=below, f=fates),
        "told": told,
        "asked": task.sql(
            f"select *, {ends} from t", t=pairs.select(PAIRS.names).filter(pa.array(done.asked))
        ),
        "replaced": replaced_by(task, pairs.filter(pa.array(done.final))),
    }


def _informed(task: Task, read: Callable[[str], pa.Table]) -> pa.Table:
    """The open pairs with what the last round told and what was compared since, by (high, low)."""
    pairs = read("open")
    told = read("told") if task.refs["told"] else TOLD.empty_table()
    answers = read("answers") if task.refs["answers"] else EDGES.empty_table()
    limit = Threshold.of(task.config["threshold"])
    reached = limit.reached(answers["inter"].to_numpy(), answers["union"].to_numpy())
    codes = np.where(reached, EDGE, NO_EDGE).astype(np.int8)
    return task.sql(
        f"""
        select p.low, p.high, p.low_sha256, p.high_sha256, coalesce(t.fate, p.heard) as heard,
            coalesce(a.code, p.known) as known, p.told, coalesce(a.inter, p.inter) as inter,
            coalesce(a."union", p."union") as "union", coalesce(a.estimated, p.estimated) as estimated
        from p left join t using (low, high) left join a using (low, high) order by {", ".join(_BY_HIGH)}
        """,
        p=pairs,
        t=told.select(["low", "high", "fate"]),
        a=answers.select(["low", "high", *(name for name, _ in _ANSWER)]).append_column(
            "code", pa.array(codes)
        ),
    )


def rest(task: Task) -> Mapping[str, pa.Table]:
    """What the rounds left, of all buckets: every pair is compared, and its better-ranked end is not known to be dropped."""
    pairs = _informed(task, task.read_all)
    left = task.sql(f"select * from t where heard <> {DROPPED} and known = {EDGE}", t=pairs)
    return {"replaced": walk(task, left)}


def gather(task: Task) -> Mapping[str, pa.Table]:
    """The replaced contents of the bucket, whenever it was decided."""
    replaced = task.read("replaced") if task.refs["replaced"] else REPLACED.empty_table()
    task.count("dropped.near_duplicate", replaced.num_rows)
    return {"replaced": replaced}


def _ahead(number: int) -> int | None:
    """How many pairs a content looks ahead in a round. At first it has heard of nobody, and guesses nothing."""
    if number >= LAZY_ROUNDS:
        return None
    return AHEAD**number if number else 0


def decide_in_rounds(
    runner: Runner,
    pairs: Ref,
    compare: Callable[[str, Ref], Done],
    *,
    threshold: str,
    libraries: tuple[str, ...],
) -> tuple[Done, list[Ref]]:
    """Run the rounds over candidate pairs. Returns the last stage and the compared pairs of all rounds.

    `compare` runs the comparison of some pairs under a name: its output `edges`, by `high_sha256`.
    Raises ConfigError when more is left after `MAX_ROUNDS` than one task holds.
    """
    opened = Output(schema=OPEN, order=_BY_HIGH)
    listed = Output(schema=PAIRS, order=("low", "high"))
    replacing = Output(schema=REPLACED, order=("sha256",), route="sha256")
    by_high, by_low = (
        Output(schema=one.schema, order=one.order, route=route)
        for one, route in ((opened, "high_sha256"), (listed, "low_sha256"))
    )
    now = runner.run(
        Stage(
            name="near.sides",
            run=sides,
            inputs={"pairs": pairs},
            outputs={"open": by_high, "below": by_low},
            libraries=libraries,
        )
    )
    told, answers, compared, replaced = list[Ref](), list[Ref](), list[Ref](), list[Ref]()
    for number in range(MAX_ROUNDS):
        now = runner.run(
            Stage(
                name=f"near.round.{number:03d}",
                run=play,
                inputs={
                    "open": now.ref("open"),
                    "below": now.ref("below"),
                    "told": told,
                    "answers": answers,
                },
                outputs={
                    "open": opened,
                    "below": listed,
                    "told": Output(schema=TOLD, order=_BY_HIGH, route="high_sha256"),
                    "asked": Output(schema=CANDIDATES, order=("low", "high"), route="first"),
                    "replaced": replacing,
                },
                config={
                    "first": number == 0,
                    "ahead": _ahead(number),
                    "threshold": threshold,
                },
                libraries=libraries,
            )
        )
        told, answers = [now.ref("told")], []
        replaced += [now.ref("replaced")] if now.rows("replaced") else []
        if now.rows("asked"):
            answers = [compare(f"near.verify.{number:03d}", now.ref("asked")).ref("edges")]
            compared += answers
        if now.rows("open") == 0:
            break
    if left := now.rows("open"):
        most = memory_bytes(runner.task_memory) // REST_ROW_BYTES
        if left > most:
            raise ConfigError(
                f"near-duplicates: {left:,} pairs of similar files wait for one another after {MAX_ROUNDS} rounds, and one"
                f" task can hold {most:,}: raise engine.task_memory to {-(-left * REST_ROW_BYTES // 10**9)}GB and run again"
            )
        last = runner.run(
            Stage(
                name="near.rest",
                run=rest,
                inputs={"open": now.ref("open"), "told": told, "answers": answers},
                outputs={"replaced": replacing},
                units="one",
                config={"threshold": threshold},
                libraries=libraries,
            )
        )
        replaced.append(last.ref("replaced"))
    done = runner.run(
        Stage(
            name="near.settle",
            run=gather,
            inputs={"replaced": replaced},
            outputs={"replaced": replacing},
            libraries=libraries,
        )
    )
    return done, compared
