"""Wave W4: near-duplicates, exactly as DESIGN 3 defines them.

Sketches give band keys; equal keys make candidate pairs; candidates are compared by the exact Jaccard of their shingle
sets; the decision walks the contents in rank order over the edges that reach the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Rows, Stage, Task
from pipeline.stages.near_pairs import bands, candidate_wave
from pipeline.stages.near_rounds import decide_in_rounds
from pipeline.stages.near_settle import settle
from pipeline.stages.near_texts import send_texts
from pipeline.stages.near_verify import SIMILARITY_OF, verify
from pipeline.stages.secrets import TextForm, released_stores
from pipeline.stages.sketches import sketch_settings, sketch_stores
from pipeline.tables import EDGES, REPLACED

PAIRS_IN_ONE = 1_000_000
"""Candidate pairs up to which all are compared and one task decides: a few stages, about 0.8 GB in that task."""
LIBRARIES = ("duckdb", "pyarrow", "numpy", "numba")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stage function that can be replaced by another one, what it reads of the configuration, and further inputs."""

    run: Callable[[Task], Mapping[str, Rows]]
    config: Mapping[str, Any]
    inputs: Mapping[str, Ref] = field(default_factory=dict)


def near_wave(
    runner: Runner, winners: Ref, ranks: Done, config: Mapping[str, Any], *, text_form: TextForm
) -> tuple[Done, list[Ref]]:
    """Run wave W4. Returns the last stage, whose table lists the replaced contents, and the compared pairs."""
    stores = released_stores(text_form)
    sketches = sketch_stores(stores, sketch_settings(config)) | {"scope": stores["scope"]}
    operators = config["operators"]
    similarity = SIMILARITY_OF.key(texts=stores["released"], operators=operators, **text_form.pairs)
    comparing = {
        "stores": {**stores, **(sketches if config["shortcut"] else {}), "similarity": similarity},
        "operators": operators,
        "shortcut": config["shortcut"],
        "threshold": config["threshold"] if config["shortcut"] else None,
    }
    return find_near(
        runner,
        ranks.ref("ranks"),
        config,
        bands=Step(run=bands, config={"stores": sketches}, inputs=text_form.inputs),
        compare=Step(run=verify, config=comparing, inputs=text_form.inputs),
        send=partial(send_texts, runner, inputs=text_form.inputs, config=comparing, libraries=LIBRARIES),
        winners=winners,
    )


def find_near(
    runner: Runner,
    ranks: Ref,
    config: Mapping[str, Any],
    *,
    bands: Step,
    compare: Step,
    winners: Ref | None = None,
    send: Callable[[str, Ref], Ref] | None = None,
    pairs_in_one: int | None = None,
) -> tuple[Done, list[Ref]]:
    """The wave over any ranked contents (`ranks`: RANKS, by sha256), wherever their sketches and similarities come from.

    `bands` makes the band keys of a bucket (`near_pairs.bands_of` makes them of sketches); `winners` (ELECTED, by sha256) is
    needed where languages or origins limit what is compared; `compare` reads the pairs of a bucket (`pairs`, by `first`) and
    gives each once with its similarity (`edges`). With more than `pairs_in_one` candidate pairs (`PAIRS_IN_ONE` by default)
    the decision goes in rounds; the result is the same. In rounds `send` brings the pairs' texts together first: given a
    name and the pairs it runs its stages and returns what `compare` reads as `texts`.
    """
    pairs_in_one = PAIRS_IN_ONE if pairs_in_one is None else pairs_in_one
    found = candidate_wave(
        runner,
        ranks,
        config,
        bands.run,
        bands.config,
        winners=winners,
        more=bands.inputs,
        libraries=LIBRARIES,
    )

    def compared(name: str, pairs: Ref, route: str | None = None, **more: Ref) -> Done:
        return runner.run(
            Stage(
                name=name,
                run=compare.run,
                inputs={"pairs": pairs, **compare.inputs, **more},
                outputs={"edges": Output(schema=EDGES, order=("low", "high"), route=route)},
                config=compare.config,
                libraries=LIBRARIES,
            )
        )

    def in_round(number: str, pairs: Ref) -> Done:
        sent = {} if send is None else {"texts": send(number, pairs)}
        return compared(f"near.verify.{number}", pairs, "high_sha256", **sent)

    if found.rows("pairs") > pairs_in_one:
        return decide_in_rounds(
            runner,
            found.ref("pairs"),
            in_round,
            threshold=config["threshold"],
            libraries=LIBRARIES,
        )
    verified = compared("near.verify", found.ref("pairs"))
    done = runner.run(
        Stage(
            name="near.settle",
            run=settle,
            inputs={"edges": verified.ref("edges")},
            outputs={"replaced": Output(schema=REPLACED, order=("sha256",), route="sha256")},
            units="one",
            config={"threshold": config["threshold"]},
            libraries=LIBRARIES,
        )
    )
    return done, [verified.ref("edges")]
