"""What a run would train on: exact where its tokens are in the cache already, else estimated from the sizes of the files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from training import remembered
from training.config import SourceConfig, TrainConfig
from training.corpus import mixing
from training.corpus.select import Corpus, select
from training.corpus.sources import Source, open_source
from training.tokens import packing, sample

BYTES_PER_TOKEN = 3.3
"""Of a byte-level BPE of 8 to 32 thousand entries on unseen code; measured 3.2 to 3.7."""


@dataclass(frozen=True)
class PlannedData:
    """Attributes:
    exact: nothing here is an estimate.
    entries: of the tokenizer, or None where it is not known yet.
    lengths, counts: fragments of all epochs by length in tokens.
    report: the keys of the plan's `data`.
    steps: optimizer steps.
    tokens: in the rows of these steps.
    """

    exact: bool
    entries: int | None
    lengths: np.ndarray
    counts: np.ndarray
    report: dict[str, Any]
    steps: int
    tokens: int


def planned_data(
    config: TrainConfig, open_: Callable[[SourceConfig], Source] = open_source
) -> tuple[list[Source], PlannedData]:
    """The sources and what would be made of them. Reads index columns; writes nothing.

    Raises:
        TrainingError: as `prepare` would for the sources and the selection.
    """
    sources = [open_(source) for source in config.all_sources]
    known = remembered.recall(config, sources)
    return sources, _exact(known) if known else _estimated(config, sources)


def _exact(known: dict[str, Any]) -> PlannedData:
    first, epochs = known["epochs"][0], known["epochs"]
    lengths = np.concatenate([epoch["fragments"][0] for epoch in epochs])
    counts = np.concatenate([epoch["fragments"][1] for epoch in epochs])
    report = {
        **{key: known[key] for key in ("train_rows", "held_out_rows", "left_out")},
        "documents": first["documents"],
        "tokens_per_epoch": first["tokens"],
        "rows_per_epoch": first["rows"],
        "filled": first["filled"],
        "bytes_per_token": known["text_bytes"] / first["tokens"],
        "languages": _shares(first["languages"]),
    }
    return PlannedData(True, known["entries"], lengths, counts, report, known["steps"], known["run_tokens"])


def _estimated(config: TrainConfig, sources: list[Source]) -> PlannedData:
    # Which held-out rows are near-duplicates of training rows is for the run to find out: it reads their sketches.
    evaluation = config.evaluation.model_copy(update={"near": None})
    corpus = select(sources, config.model_copy(update={"evaluation": evaluation}))
    rows = np.flatnonzero(corpus.train)
    tokens = (sample.row_sizes(corpus)[rows] / BYTES_PER_TOKEN).astype(np.int64) + 1
    documents, shares = _mixed(config, corpus, rows, tokens)
    how: dict[str, Any] = {"method": config.data.packing, "window": config.data.packing_window}
    plan = packing.plan(tokens, config.data.sequence_length, documents, **how)
    per_epoch = -(-plan.rows // config.rows_per_step)
    languages: dict[str, int] = {}
    for share in shares:
        languages[share.language] = languages.get(share.language, 0) + share.shown
    lengths, counts = np.unique(plan.length, return_counts=True)
    report = {
        "train_rows": len(rows),
        "held_out_rows": int(corpus.held_out.sum()),
        "left_out": corpus.left_out,
        "documents": len(documents),
        "tokens_per_epoch": plan.tokens,
        "rows_per_epoch": plan.rows,
        "filled": plan.filled,
        "bytes_per_token": BYTES_PER_TOKEN,
        "languages": _shares(languages),
    }
    steps = config.steps if config.steps is not None else per_epoch * (config.epochs or 1)
    whole, more = divmod(steps, per_epoch)
    rows_in_run = whole * plan.rows + min(more * config.rows_per_step, plan.rows)
    in_run = plan.tokens * rows_in_run // plan.rows
    return PlannedData(False, None, lengths, counts, report, steps, in_run)


def _mixed(
    config: TrainConfig, corpus: Corpus, rows: np.ndarray, tokens: np.ndarray
) -> tuple[np.ndarray, tuple[mixing.Share, ...]]:
    groups = [(source.name, language) for source in corpus.sources for language in corpus.languages]
    group = corpus.source_of(rows) * len(corpus.languages) + corpus.language[rows]
    return mixing.mix(tokens, groups, group, mixing.weights_of(config), seed=config.seed, epoch=0)


def _shares(tokens: dict[str, int]) -> dict[str, float]:
    total = max(1, sum(tokens.values()))
    return {name: count / total for name, count in sorted(tokens.items(), key=lambda item: -item[1])}
