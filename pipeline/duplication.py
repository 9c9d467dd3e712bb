"""What `stats.json` says of duplicates beyond what rows tell: the search, equal repositories, and the signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.content.names import escape_paths
from pipeline.row_ids import row_id
from pipeline.stages.signals import Signals

_SEARCH = ("threshold", "shortcut", "bands", "rows", "bucket_cap", "bucket_best")
_COUNTED = ("candidates", "hot_buckets", "hot_members", "pairs_not_made")


def duplication(
    config: Mapping[str, Any],
    counted: Mapping[str, Any],
    search: Mapping[str, int] | None,
    signals: Signals | None,
    most: pa.Table | None,
) -> dict[str, Any]:
    """The value of `duplication`. `config`: `near_duplicates` of the resolved configuration; `counted`: of the stage
    `figures`; `search`: its counters, None where it is off; `most`: the most repeated blocks, by the stage `signals.file`.
    """
    told: dict[str, Any] = {"search": None, **counted["repositories"], "containment": None, "repeated": None}
    if search is not None:
        shape = {name: config[name] for name in _SEARCH}
        told["search"] = {**shape, **{name: search.get(name, 0) for name in _COUNTED}}
    if signals is not None and signals.contained is not None:
        counts, hot = signals.contained.done.counts, signals.contained.pairs.counts
        told["containment"] = {
            **config["containment"],
            **{name: counts[name] for name in ("contained", "candidates", "compared")},
            **{name: hot[name] for name in ("hot_hashes", "hot_holders")},
        }
    if signals is not None and signals.repeated is not None and most is not None:
        counts = signals.repeated.shares.counts
        told["repeated"] = {
            **config["repeated"],
            "frequent_blocks": signals.repeated.frequent.counts["frequent_blocks"],
            **{name: counts[name] for name in ("files", "repeated_bytes", "line_bytes")},
            "most": _blocks(most),
        }
    return told


def _blocks(most: pa.Table) -> list[dict[str, Any]]:
    """The most repeated blocks, each by a row that holds it."""
    ranked = most.sort_by(
        [
            ("contents", "descending"),
            ("origins", "descending"),
            ("lines", "descending"),
            ("block", "ascending"),
        ]
    )
    paths = escape_paths(ranked["path"].combine_chunks().cast(pa.binary())).to_pylist()
    return [
        {
            "row_id": row_id(one["sha256"]),
            "path": path,
            **{name: one[name] for name in ("language", "origin", "line", "lines", "contents", "origins")},
        }
        for one, path in zip(ranked.to_pylist(), paths, strict=True)
    ]
