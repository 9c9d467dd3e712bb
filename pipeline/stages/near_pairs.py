"""Wave W4, first part: sketches -> band keys -> candidate pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.bands import band_keys
from dedup.candidates import bucket_pairs
from dedup.sketch import signatures_from_arrow
from pipeline.engine.stage import Task
from pipeline.stages.secrets import RELEASED, RELEASED_OF
from pipeline.tables import BAND_KEYS, PAIRS

CANDIDATES = pa.schema([*PAIRS, ("first", pa.string()), ("second", pa.string())])


def bands(task: Task) -> Mapping[str, pa.Table]:
    """The band keys of every ranked content that has shingles."""
    ranks = task.read("ranks")
    return bands_of(task, ranks, RELEASED_OF.open(task).read(columns=["shingles", "sketch"], wanted=ranks))


def bands_of(task: Task, ranks: pa.Table, known: pa.Table) -> Mapping[str, pa.Table]:
    """The same from any source of sketches: `known` has `sha256`, `shingles` and `sketch` of each, as RELEASED has them."""
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
    ends = pc.min_element_wise(low, high), pc.max_element_wise(low, high)
    return {
        "pairs": pa.table([pa.array(found.low), pa.array(found.high), low, high, *ends], schema=CANDIDATES)
    }
