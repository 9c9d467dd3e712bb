"""Wave W4: near-duplicates, exactly as DESIGN 3 defines them.

Sketches give band keys; equal keys make candidate pairs; every candidate is verified by the exact Jaccard of its shingle
sets, whatever the threshold; the decision walks the contents in rank order over the edges that reach the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage
from pipeline.stages.near_pairs import CANDIDATES, bands, pairs
from pipeline.stages.near_settle import settle
from pipeline.stages.near_verify import SIMILARITY_OF, verify
from pipeline.stages.secrets import released_stores
from pipeline.tables import BAND_KEYS, EDGES, REPLACED


def near_wave(
    runner: Runner, ranks: Done, config: Mapping[str, object], *, sensitivity: str
) -> tuple[Done, list[Ref]]:
    """Run wave W4. Returns the last stage, whose table lists the replaced contents, and the compared pairs."""
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
            outputs={"pairs": Output(schema=CANDIDATES, order=("low", "high"), route="first")},
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
            config={
                "stores": {
                    **shared["stores"],
                    "similarity": SIMILARITY_OF.key(
                        sensitivity=sensitivity, texts=shared["stores"]["released"]
                    ),
                }
            },
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
    return done, [verified.ref("edges")]
