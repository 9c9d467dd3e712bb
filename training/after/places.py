"""In which step, and with which of its tokens, a row was trained on: the run's plan is made again and looked at.

A lineage says which rows were seen; where in the run is a function of it, at the cost of tokenising again what is not in
the run's token cache. The plan that was made again is the run's own, or it is refused: the stream's digest must agree.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from training.after.trace import Data, Run
from training.config import SourceConfig, TrainConfig
from training.corpus.sources import Source, open_source
from training.errors import CheckpointError
from training.prepare import Prepared, prepare
from training.run.seen import pieces

Place = tuple[str, str, int]
"""A row: name of the source, path of the file, row in it."""


def rebuild(run: Run, data: Data, tokenizer: Path, cache: Path, report: Callable[[str], None]) -> Prepared:
    """The run's data, tokens and plan again.

    Args:
        run: whose lineage is followed.
        data: where the releases are.
        tokenizer: folder with the run's tokenizer.json.
        cache: folder of a token cache; used, and filled.
        report: takes lines for the user.

    Raises:
        CheckpointError: what comes out is another stream of tokens than the lineage names.
    """
    try:
        config = TrainConfig.model_validate(run.lineage.config)
    except ValidationError as error:
        raise CheckpointError(f"{run.folder}: its configuration is of another version: {error}") from error
    config = config.model_copy(
        update={
            # the checkpoint's own tokenizer, and no base: the tokens do not depend on weights
            "tokenizer": config.tokenizer.model_copy(update={"path": str(tokenizer), "add_missing": False}),
            "model": config.model.model_copy(update={"path": None, "revision": None}),
            "data": config.data.model_copy(update={"cache": str(cache), "workers": 1}),
        }
    )
    sources = {source.name: source for source in run.lineage.sources}
    if list(sources) != [source.name for source in config.all_sources]:
        raise CheckpointError(f"{run.folder}: its lineage has other sources than its own configuration names")

    def opened(settings: SourceConfig) -> Source:
        source = sources[settings.name]
        found = data.of(source)
        release = source.kind == "release"
        place = {
            "release": str(found.directory) if release else None,
            "jsonl": None if release else str(found),
        }
        return open_source(settings.model_copy(update=place))

    prepared = prepare(config, report, opened)
    for what, was, now in (
        ("tokenizer", run.lineage.tokenizer_digest, prepared.tokenizer.digest),
        ("stream of tokens", run.lineage.stream_digest, prepared.stream_digest),
    ):
        if was != now:
            raise CheckpointError(
                f"{run.folder}: the {what} made again has the digest {now}, the lineage says {was}: steps cannot be "
                "told by this version of Stackmill and its libraries (the rows above are right all the same); "
                f"the run had {run.lineage.product.version} and {run.lineage.libraries}"
            )
    return prepared


def places(run: Run, prepared: Prepared, wanted: Sequence[Place]) -> Mapping[Place, list[dict[str, Any]]]:
    """Where the tokens of some rows lie in the run: epoch, step (0-based), packed row, tokens; in this order.

    `first_token` and `tokens` count in the row's own tokens, the markers of fill in the middle and the end of text
    included; `trained_on` says whether the step was done when the checkpoint was written.
    """
    first: dict[tuple[str, str], int] = {}
    for number, source in enumerate(run.lineage.sources):
        at = int(prepared.corpus.first_row[number])
        for part in source.parts:
            first[source.name, part.path] = at
            at += part.rows
    row_of = {place: first[place[:2]] + place[2] for place in wanted}
    place_of = {row: place for place, row in row_of.items()}
    chosen = np.zeros(len(prepared.corpus.train), dtype=bool)
    chosen[list(row_of.values())] = True
    result: dict[Place, list[dict[str, Any]]] = {place: [] for place in wanted}
    order, begin = prepared.order, 0
    for number, _, rows in order.seen(order.steps):
        epoch = prepared.epochs[number]
        step_of = np.full(epoch.plan.rows, -1, dtype=np.int64)
        step_of[rows] = begin + np.arange(len(rows)) // order.rows_per_step
        begin += -(-epoch.plan.rows // order.rows_per_step)
        found = pieces(epoch)
        packed_row = epoch.plan.row
        for index in np.flatnonzero(chosen[found.row]).tolist():
            packed = int(packed_row[found.fragment[index]])
            step = int(step_of[packed])
            if step >= 0:
                result[place_of[int(found.row[index])]].append(
                    {
                        "epoch": number,
                        "step": step,
                        "packed_row": packed,
                        "first_token": int(found.offset[index]),
                        "tokens": int(found.tokens[index]),
                        "trained_on": step < run.lineage.seen.steps,
                    }
                )
    for pieces_of_row in result.values():
        pieces_of_row.sort(key=lambda piece: (piece["step"], piece["first_token"]))
    return result


def add_places(
    folder: Path,
    runs: Sequence[Run],
    data: Data,
    answer: dict[str, Any],
    report: Callable[[str], None],
) -> None:
    """Give every row of an answer of `trace.ask` that is to be trained on its `places`.

    Raises:
        CheckpointError: as `rebuild`.
    """
    for run, part in zip(runs, answer["runs"], strict=True):
        rows = [row for row in part["rows"] if row["status"] in ("seen", "not_reached")]
        if not rows:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            own = None if run.generation else _cache_of(folder)
            cache = own or Path(temporary)
            prepared = rebuild(run, data, folder, cache, report)
            wanted = [(row["source"], row["file"], row["row"]) for row in rows]
            found = places(run, prepared, wanted)
            for row, place in zip(rows, wanted, strict=True):
                row["places"] = found[place]
                if any(one["trained_on"] for one in found[place]) != (row["status"] == "seen"):
                    raise CheckpointError(
                        f"{run.folder}: its lineage says `{row['status']}` of row {row['row']} of {row['file']}, and the "
                        "plan made again does not: it is not what was written"
                    )


def _cache_of(folder: Path) -> Path | None:
    """The token cache in a run's output, where a checkpoint lies in one: there, nothing is tokenised again."""
    cache = folder.absolute().parent.parent / "cache"
    in_output = folder.absolute().parent.name == "checkpoints"
    return cache if in_output and cache.is_dir() and os.access(cache, os.W_OK) else None
