"""What `prepare` found, kept beside the token cache: a dry run after it says exact numbers without reading a token.

One JSON file for everything that decides which tokens are packed how: settings, sources, and the code that tokenises.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.config import TrainConfig
from training.corpus import filters, jsonl, leaks, licenses, lines, mixing, networks, sources
from training.corpus.sources import Source
from training.errors import OutputError
from training.tokens import cache as caches
from training.tokens import documents, packing, tokenizer

if TYPE_CHECKING:
    from training.prepare import Prepared

_DECIDE = ("seed", "languages", "filters", "tokenizer", "steps", "epochs", "global_batch_tokens")
"""Keys of the configuration that decide about tokens and rows; parts of others in `_file`."""

_CODE = (filters, jsonl, leaks, licenses, lines, mixing, networks, packing, sources)
"""Modules that decide about rows and epochs, beside those that the tokens' own keys name."""


def _file(config: TrainConfig, sources: Sequence[Source]) -> Path:
    whole = config.model_dump(mode="json")
    meaning = {key: whole[key] for key in _DECIDE}
    meaning["data"] = {key: value for key, value in whole["data"].items() if key not in {"cache", "workers"}}
    meaning["held_out"] = {
        key: value
        for key, value in whole["evaluation"].items()
        if key in {"fraction", "split_by", "near", "max_bytes"}
    }
    meaning["base"] = [config.model.path, config.model.revision]
    meaning["sources"] = [[source.name, source.digest, list(source.languages)] for source in sources]
    meaning["chosen"] = [
        source.model_dump(mode="json", include={"weight", "filters"}) for source in config.all_sources
    ]
    meaning["tokenizers"] = [
        caches.sha256_of(file)
        for folder in (config.tokenizer.path, config.model.path)
        if folder is not None and (file := Path(folder) / tokenizer.FILE).is_file()
    ]
    meaning["code"] = [
        caches.source_digest(),
        documents.source_digest(),
        *(caches.sha256_of(Path(file)) for file in (*(module.__file__ or "" for module in _CODE), __file__)),
    ]
    key = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
    return config.cache_folder / f"plan-{key[:24]}.json"


def note(config: TrainConfig, prepared: Prepared) -> None:
    """Keep what was found; called under the lock of the cache."""
    corpus, steps = prepared.corpus, prepared.order.steps
    epochs = []
    for epoch in prepared.epochs:
        lengths, counts = np.unique(epoch.plan.length, return_counts=True)
        shown = np.bincount(
            epoch.cache.language[epoch.documents],
            weights=epoch.cache.length[epoch.documents],
            minlength=len(corpus.languages),
        )
        epochs.append(
            {
                "documents": len(epoch.documents),
                "tokens": epoch.plan.tokens,
                "rows": epoch.plan.rows,
                "filled": epoch.plan.filled,
                "fragments": [lengths.tolist(), counts.tolist()],
                "languages": {
                    name: int(tokens) for name, tokens in zip(corpus.languages, shown, strict=True) if tokens
                },
            }
        )
    about = {
        "train_rows": int(corpus.train.sum()),
        "held_out_rows": int(corpus.held_out.sum()),
        "left_out": corpus.left_out,
        "steps": steps,
        "run_tokens": _trained_on(prepared),
        "entries": prepared.tokenizer.size,
        "text_bytes": int(prepared.epochs[0].cache.text_bytes.sum()),
        "epochs": epochs,
    }
    file = _file(config, corpus.sources)
    temporary = file.with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(about, sort_keys=True) + "\n")
        temporary.rename(file)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from error


def _trained_on(prepared: Prepared) -> int:
    """Tokens in the rows of all steps of the run."""
    plans, steps = prepared.order.plans, prepared.order.steps
    return sum(
        int(np.bincount(plans[epoch].row, weights=plans[epoch].length)[rows].sum())
        for epoch, _, rows in prepared.order.seen(steps)
    )


def recall(config: TrainConfig, sources: Sequence[Source]) -> dict[str, Any] | None:
    """What `note` kept for these settings and sources, or None."""
    try:
        return json.loads(_file(config, sources).read_bytes())  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return None
