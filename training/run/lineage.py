"""Where a model comes from: `lineage.json`, written into every checkpoint.

It names the releases (name, version, SHA-256 of the manifest) and, shard by shard, the rows that were to be trained
on, that were held out, and that have been trained on so far; the tokenizer, fill-in-the-middle, packing and order,
so exactly that the token ids of any step can be made again from it (`examples/reproduce_step.py`); the
configuration, the code, the libraries, the processes; and the lineage of the checkpoint that training started
from. No clock, no host name, no path of the machine but those that the user's configuration itself gives.

Every field is described in docs/lineage.md and in `training/run/data/lineage.schema.json`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import training
from training.config import TrainConfig
from training.config.root import with_effect
from training.corpus.sources import Source
from training.errors import CheckpointError
from training.prepare import Prepared
from training.run import checkpoint
from training.run.row_sets import pack
from training.run.seen import SeenCounter
from training.tokens import tokenizer as tokenizer_module
from training.tokens.cache import MAX_CHARACTERS_PER_TOKEN

FILE = "lineage.json"
SCHEMA_VERSION = 2
LIBRARIES = (
    "stackmill",
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "bitsandbytes",
    "gigatoken",
    "tokenizers",
    "numba",
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


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@functools.cache
def code() -> dict[str, Any]:
    """The product's version and, where it runs from a checkout of its own repository, commit and dirtiness."""
    root = Path(training.__file__).parents[1]
    own = _git(
        root, "ls-files", "--error-unmatch", "training/__init__.py"
    )  # not a checkout it is installed into
    commit = _git(root, "rev-parse", "--verify", "HEAD") if own else None
    git = None
    if commit:
        changed = _git(root, "status", "--porcelain", "--", "training", "manifests", "dedup")
        git = {"commit": commit, "dirty": changed != ""}
    return {"version": _versions()["stackmill"], "git": git}


def parent_of(folder: Path | None) -> dict[str, Any] | None:
    """What is recorded of the model that training started from."""
    if folder is None:
        return None
    sealed, known = (folder / checkpoint.SEAL).exists(), (folder / FILE).exists()
    return {
        "folder": folder.name,
        "checkpoint_digest": checkpoint.digest(folder) if sealed else None,
        "lineage": json.loads((folder / FILE).read_text()) if known else None,
    }


def parts_of(source: Source, rows: int) -> list[dict[str, Any]]:
    """The files of a source in the order of its rows: path, SHA-256 and number of rows of each."""
    about = source.about()
    release = getattr(source, "release", None)
    if release is None:
        return [{"path": about.get("file", about["name"]), "sha256": source.digest, "rows": rows}]
    shards = [shard for language in source.languages for shard in release.shards(language)]
    return [{"path": shard.path, "sha256": shard.sha256, "rows": shard.rows} for shard in shards]


class Recorder:
    """Writes the lineage of one run; what does not change from step to step is found out once.

    Args:
        config: of the run.
        prepared: of the run.
        processes: that train now.
    """

    def __init__(self, config: TrainConfig, prepared: Prepared, processes: int) -> None:
        self.config, self.prepared, self.processes = config, prepared, processes
        self._earlier: list[dict[str, int]] = []

    def go_on_from(self, folder: Path) -> None:
        """The run resumes from this checkpoint: keep which processes trained before it."""
        self._earlier = json.loads((folder / FILE).read_text())["history"]

    @functools.cached_property
    def seen(self) -> SeenCounter:
        """Tokens and rows after so many steps."""
        return SeenCounter(self.prepared)

    @functools.cached_property
    def _fixed(self) -> dict[str, Any]:
        config, prepared = self.config, self.prepared
        corpus, control = prepared.corpus, prepared.tokenizer.control
        evaluation, data = config.evaluation, config.data
        return {
            "schema_version": SCHEMA_VERSION,
            "product": code(),
            "split": {
                "fraction": evaluation.fraction,
                "split_by": evaluation.split_by,
                "near": evaluation.near,
                "groups": corpus.held_out_groups,
            },
            "tokenizer_digest": prepared.tokenizer.digest,
            "tokenizer": {
                "file": tokenizer_module.FILE,
                "size": prepared.tokenizer.size,
                "end_of_text": control.end_of_text,
                "pad": control.pad,
            },
            "fim": {
                "rate": data.fim.rate,
                "spm_rate": data.fim.spm_rate,
                "max_characters": MAX_CHARACTERS_PER_TOKEN * data.sequence_length,
            },
            "repository": data.repository.model_dump(mode="json"),
            "packing": {
                "method": data.packing,
                "window": data.packing_window,
                "sequence_length": data.sequence_length,
            },
            "order": {
                "seed": config.seed,
                "rows_per_step": prepared.order.rows_per_step,
                "steps": prepared.order.steps,
            },
            "stream_digest": prepared.stream_digest,
            "config": config.model_dump(mode="json"),
            "config_digest": config.digest(),
            "libraries": _versions(),
            "base": prepared.base_facts,
            "parent": parent_of(prepared.base),
        }

    @functools.cached_property
    def _epochs(self) -> list[dict[str, Any]]:
        return _epochs(self.config, self.prepared)

    @functools.cached_property
    def _parts(self) -> list[list[dict[str, Any]]]:
        """Per source its files, with the rows to train on and the held-out ones, and `first`: its first row."""
        corpus, result = self.prepared.corpus, []
        for number, source in enumerate(corpus.sources):
            first, stop = (int(row) for row in corpus.first_row[number : number + 2])
            parts = []
            for part in parts_of(source, stop - first):
                rows = slice(first, first + part["rows"])
                chosen = {"train": pack(corpus.train[rows]), "held_out": pack(corpus.held_out[rows])}
                parts.append({**part, "first": first, **chosen})
                first += part["rows"]
            assert first == stop, "the files of a source do not have the rows that it gave"
            result.append(parts)
        return result

    def describe(self, step: int) -> dict[str, Any]:
        """The content of `lineage.json` after `step` steps."""
        corpus = self.prepared.corpus
        rows = self.seen.rows(step)
        sources = []
        for number, (source, settings) in enumerate(
            zip(corpus.sources, self.config.all_sources, strict=True)
        ):
            parts = []
            for part in self._parts[number]:
                first = part["first"]
                entry = {key: value for key, value in part.items() if key != "first"}
                parts.append({**entry, "seen": pack(rows[first : first + part["rows"]])})
            filters = settings.filters.model_dump(mode="json") if settings.filters else None
            sources.append({**source.about(), "filters": filters, "parts": parts})
        return {
            **self._fixed,
            "sources": sources,
            "rows": {
                "train": int(corpus.train.sum()),
                "held_out": int(corpus.held_out.sum()),
                "left_out": corpus.left_out,
            },
            "mix": self._mix(step),
            "seen": _seen(self.prepared, step, self.seen, self._epochs),
            "processes": self.processes,
            "history": self._history(step),
        }

    def _mix(self, step: int) -> dict[str, Any]:
        corpus, mix = self.prepared.corpus, self.config.data.mix
        tokens = self.seen.tokens_by_group(step)
        weights = {s.name: s.weight for s in self.config.all_sources if s.weight is not None}
        return {
            "wanted": {"languages": _shares(mix.languages), "sources": _shares(weights)},
            "achieved": {
                "languages": _shares(_counts(corpus.languages, tokens.sum(axis=0))),
                "sources": _shares(_counts([s.name for s in corpus.sources], tokens.sum(axis=1))),
            },
            "max_repeats": mix.max_repeats,
        }

    def _history(self, step: int) -> list[dict[str, int]]:
        before = self._earlier
        first = before[-1]["first_step"] + before[-1]["steps"] if before else 0
        if step == first:
            return before
        how = {"processes": self.processes, "micro_batch_size": self.config.micro_rows}
        if before and before[-1].items() >= how.items():  # as before: the same stretch goes on
            *before, last = before
            first = last["first_step"]
        return [*before, {"first_step": first, "steps": step - first, **how}]


def _epochs(config: TrainConfig, prepared: Prepared) -> list[dict[str, Any]]:
    """What is told of each epoch, whether it was begun or not."""
    weighted = bool(config.data.mix.languages) or any(s.weight is not None for s in config.all_sources)
    result, first, digests = [], 0, {}
    for number, epoch in enumerate(prepared.epochs):
        plan = epoch.plan
        if id(plan) not in digests:
            digests[id(plan)] = plan.digest()
        result.append(
            {
                "epoch": number,
                "first_step": first,
                "of_rows": plan.rows,
                "documents": len(epoch.documents),
                "filled": plan.filled,
                "plan_digest": digests[id(plan)],
                "tokens_digest": epoch.cache.digest,
                "groups": [asdict(share) for share in epoch.shares] if weighted else [],
            }
        )
        first += -(-plan.rows // prepared.order.rows_per_step)
    return result


def _seen(
    prepared: Prepared, steps: int, counter: SeenCounter, epochs: list[dict[str, Any]]
) -> dict[str, Any]:
    order = prepared.order
    begun = []
    for epoch, (_, rows, _) in zip(epochs, order.seen(steps), strict=False):
        begun.append({**epoch, "steps": -(-rows // order.rows_per_step), "rows": rows})
    return {
        "steps": steps,
        "epochs": begun,
        "rows": int(counter.rows(steps).sum()),
        "tokens": counter.tokens(steps),
        "trained_tokens": counter.trained_tokens(steps),
        "tokens_by_language": _counts(prepared.corpus.languages, counter.tokens_by_group(steps).sum(axis=0)),
    }


def seen(config: TrainConfig, prepared: Prepared, steps: int) -> dict[str, Any]:
    """What the first `steps` steps are trained on, in figures; see `SeenCounter` for many questions."""
    return _seen(prepared, steps, SeenCounter(prepared), _epochs(config, prepared))


def _counts(names: Any, counts: np.ndarray) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def _shares(weights: Any) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total else {}


def write(folder: Path, lineage: dict[str, Any]) -> None:
    """Write `lineage.json`."""
    (folder / FILE).write_text(json.dumps(lineage, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def same_run(folder: Path, config: TrainConfig, prepared: Prepared) -> None:
    """Check that a checkpoint belongs to this configuration, release, tokenizer and order.

    Raises:
        CheckpointError: names what differs.
    """
    found = json.loads((folder / FILE).read_text())
    if found.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(
            f"{folder}: its {FILE} has version {found.get('schema_version')}, this is version {SCHEMA_VERSION}: "
            "another version of Stackmill made it, and a run is finished by the one that began it"
        )
    wanted = {
        "sources (digests)": (
            [source["digest"] for source in found["sources"]],
            [source.digest for source in prepared.corpus.sources],
        ),
        "tokenizer": (found["tokenizer_digest"], prepared.tokenizer.digest),
        "configuration": (found["config_digest"], config.digest()),
        "stream of tokens": (found["stream_digest"], prepared.stream_digest),
        "base model": (
            (found.get("base") or {}).get("digest"),
            prepared.base_facts["digest"] if prepared.base_facts else None,
        ),
    }
    differs = [name for name, (was, now) in wanted.items() if was != now]
    if differs:
        before, now = with_effect(found["config"]), with_effect(config.model_dump(mode="json"))
        keys = sorted(_differing(before, now))
        each = (
            f": {'; '.join(keys[:8])}{f'; and {len(keys) - 8} more' if len(keys) > 8 else ''}" if keys else ""
        )
        longer = (
            f", with `model.path: {folder}` to begin from its weights" if _only_longer(before, now) else ""
        )
        raise CheckpointError(
            f"{folder}: belongs to another run ({', '.join(differs)} differ){each}. Choose another `output`{longer}, or "
            "start over in this one with --fresh, which removes its checkpoints"
        )


def _differing(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """The keys of two configurations whose values differ, with both."""
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for name in before.keys() | now.keys():
            yield from _differing(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    else:
        yield f"{key} was {json.dumps(before)} and is {json.dumps(now)}"


def _only_longer(before: dict[str, Any], now: dict[str, Any]) -> bool:
    length = dict.fromkeys(("steps", "epochs"))
    same = {**before, **length} == {**now, **length}
    return before != now and same and not now["lora"]  # an adapter is no base
