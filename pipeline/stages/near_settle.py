"""Wave W4, last part: which contents stay, and which one stands for each that goes."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from dedup.decide import decide
from pipeline.engine.stage import Task
from pipeline.tables import ESTIMATED, Reason


def settle(task: Task) -> Mapping[str, pa.Table]:
    """Walk all compared pairs in rank order: what a kept content is near to is dropped in its favour."""
    replaced = walk(task, task.read_all("edges"))
    task.count("dropped.near_duplicate", replaced.num_rows)
    return {"replaced": replaced}


def walk(task: Task, edges: pa.Table) -> pa.Table:
    """The replaced contents (REPLACED) by these pairs (EDGES) alone, each given once."""
    decided = decide(
        *(edges[name].to_numpy() for name in ("low", "high", "inter", "union")),
        threshold=task.config["threshold"],
    )
    gone = pa.table(
        {"low": pa.array(decided.kept, pa.uint64()), "high": pa.array(decided.dropped, pa.uint64())}
    )
    return replaced_by(task, task.sql("select e.* from e join g using (low, high)", e=edges, g=gone))


def replaced_by(task: Task, pairs: pa.Table) -> pa.Table:
    """REPLACED rows: the worse-ranked end of each pair, which goes in favour of the other one."""
    return task.sql(
        f"""
        select high_sha256 as sha256, low_sha256 as stand_in, '{Reason.NEAR_DUPLICATE}' as reason,
            case when estimated then '{ESTIMATED}' else '' end || inter || '/' || "union" as similarity from t
        """,
        t=pairs,
    )
