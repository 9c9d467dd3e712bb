"""Wave W4, last part: which contents stay, and which one stands for each that goes."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from dedup.decide import decide
from pipeline.engine.stage import Task
from pipeline.tables import Reason


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
