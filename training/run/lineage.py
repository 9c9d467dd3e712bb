"""Where a model comes from: `lineage.json`, written into every checkpoint.

It names the release (name, version, SHA-256 of its manifest), the tokenizer, the packing and order, the whole
configuration, the libraries, the checkpoint that training started from, and exactly which rows were trained
on: per epoch, the number of packed rows consumed of a plan whose digest is given, and the tokens per
language. No clock, no host name, no path of the machine but those that the user's configuration itself gives.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from training.config import TrainConfig
from training.errors import CheckpointError
from training.prepare import Prepared
from training.run import checkpoint

FILE = "lineage.json"
SCHEMA_VERSION = 1
LIBRARIES = (
    "stackmill",
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "tokenizers",
    "numpy",
    "pyarrow",
    "safetensors",
)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def parent_of(folder: Path | None) -> dict[str, Any] | None:
    """What is recorded of the model that training started from."""
    if folder is None:
        return None
    about: dict[str, Any] = {"folder": folder.name}
    if (folder / checkpoint.SEAL).exists():
        about["checkpoint_digest"] = checkpoint.digest(folder)
    if (folder / FILE).exists():
        about["lineage"] = json.loads((folder / FILE).read_text())
    return about


def seen(prepared: Prepared, steps: int) -> dict[str, Any]:
    """What the first `steps` steps were trained on; a pure function of the plan."""
    order = prepared.order
    tokens = np.zeros(len(prepared.corpus.languages), dtype=np.int64)
    targets, epochs = 0, []
    for epoch, count, rows in order.seen(steps):
        plan, cache = order.plans[epoch], prepared.epochs[epoch].cache
        taken = np.zeros(plan.rows, dtype=bool)
        taken[rows] = True
        fragment = taken[plan.row]
        language = cache.language[plan.document[fragment]]
        tokens += np.bincount(language, weights=plan.length[fragment], minlength=len(tokens)).astype(np.int64)
        targets += int(plan.targets()[rows].sum())
        epochs.append({"epoch": epoch, "rows": count, "of_rows": plan.rows, "tokens_digest": cache.digest})
    return {
        "steps": steps,
        "epochs": epochs,
        "tokens": int(tokens.sum()),
        "trained_tokens": targets,
        "tokens_by_language": {
            name: int(count) for name, count in zip(prepared.corpus.languages, tokens, strict=True) if count
        },
    }


def describe(config: TrainConfig, prepared: Prepared, step: int, world: int) -> dict[str, Any]:
    """The content of `lineage.json` after `step` steps."""
    corpus = prepared.corpus
    return {
        "schema_version": SCHEMA_VERSION,
        "sources": [source.about() for source in corpus.sources],
        "rows": {
            "train": int(corpus.train.sum()),
            "held_out": int(corpus.held_out.sum()),
            "left_out": corpus.left_out,
            "held_out_groups": corpus.held_out_groups,
        },
        "tokenizer_digest": prepared.tokenizer.digest,
        "stream_digest": prepared.stream_digest,
        "packing": {
            "method": config.data.packing,
            "sequence_length": config.data.sequence_length,
            "filled": [plan.filled for plan in prepared.order.plans],
        },
        "seen": seen(prepared, step),
        "processes": world,
        "config": config.model_dump(mode="json"),
        "config_digest": config.digest(),
        "libraries": _versions(),
        "base": prepared.base_facts,
        "parent": parent_of(prepared.base),
    }


def write(folder: Path, lineage: dict[str, Any]) -> None:
    """Write `lineage.json`."""
    (folder / FILE).write_text(json.dumps(lineage, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def same_run(folder: Path, config: TrainConfig, prepared: Prepared) -> None:
    """Check that a checkpoint belongs to this configuration, release, tokenizer and order.

    Raises:
        CheckpointError: names what differs.
    """
    found = json.loads((folder / FILE).read_text())
    wanted = {
        "sources (digests)": (
            [source["digest"] for source in found["sources"]],
            [source.digest for source in prepared.corpus.sources],
        ),
        "tokenizer": (found["tokenizer_digest"], prepared.tokenizer.digest),
        "configuration": (found["config_digest"], config.digest()),
        "stream of tokens": (found["stream_digest"], prepared.stream_digest),
    }
    differs = [name for name, (was, now) in wanted.items() if was != now]
    if differs:
        raise CheckpointError(
            f"{folder}: belongs to another run ({', '.join(differs)} differ); choose another "
            "`output`, or remove that "
            "folder to start over"
        )
