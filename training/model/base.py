"""Which model training starts from: a folder, another run's checkpoint, or a name on the Hub. Imports no torch.

A run reads local files only, except for a model that is named as it is on the Hub: that is downloaded once, at the
commit that `model.revision` means, unless the user's own environment says HF_HUB_OFFLINE=1. Only safetensors and JSON
files are fetched; a model that brings its own code is refused before its weights are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config import ModelConfig
from training.corpus.sources import Report
from training.errors import CheckpointError, TrainingConfigError
from training.run import checkpoint

STAY_OFFLINE = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
"""Whether the user's environment forbids the Hub; read before `training.run.train` forbids it by default."""

_HUB_NAME = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
_FETCHED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class Base:
    """Attributes:
    folder: where config.json and the weights lie.
    facts: for the lineage: `kind` (folder, checkpoint or hub), `name`, `digest` (`digest_of`), and of a model on the
        Hub the `revision` asked for and the `commit` that it was.
    """

    folder: Path
    facts: dict[str, Any]


def resolve(model: ModelConfig, memory: Path, report: Report) -> Base:
    """Find, and if need be download, the model at `model.path`.

    Args:
        model: `path` and `revision` are used.
        memory: folder in which the digest of a model is kept, so that its files are read once.
        report: takes a line when something is downloaded.

    Raises:
        CheckpointError: a folder that holds no model, or a checkpoint whose bytes are not what was written.
        TrainingConfigError: neither a folder nor a model on the Hub; one that needs code of its own.
    """
    assert model.path is not None
    here = local_folder(model, report)
    if here is not None:
        kind = "checkpoint" if (here / checkpoint.SEAL).exists() else "folder"
        return Base(here, {"kind": kind, "name": here.name, "digest": digest_of(here, memory)})
    if not _HUB_NAME.fullmatch(model.path):
        raise CheckpointError(f"model.path: {model.path} is neither a model folder nor a name on the Hub")
    folder = download(model.path, model.revision, report)
    _refuse_adapter(folder)
    facts = {"kind": "hub", "name": model.path, "revision": model.revision, "commit": folder.name}
    return Base(folder, {**facts, "digest": digest_of(folder, memory)})


def local_folder(model: ModelConfig, report: Report) -> Path | None:
    """The model folder, or the newest sound checkpoint of the run, at `model.path`; None if nothing is there.

    Raises:
        CheckpointError: neither, an adapter, or bytes that are not what was written.
        TrainingConfigError: `model.revision` is given, too.
    """
    assert model.path is not None
    if not Path(model.path).exists():
        return None
    if model.revision is not None:
        raise TrainingConfigError(
            f"model.revision: {model.path} is a folder here; a revision belongs to a name on the Hub"
        )
    _refuse_adapter(Path(model.path))
    try:
        folder = checkpoint.model_folder(model.path, report)
    except CheckpointError as error:
        raise CheckpointError(f"model.path: {error}") from error
    _refuse_adapter(folder)
    return folder


def _refuse_adapter(folder: Path) -> None:
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(
            f"model.path: {folder} holds an adapter, not a whole model; merge it first "
            "(pipeline merge CHECKPOINT --out DIR), or start from its base"
        )


@contextmanager
def _online() -> Iterator[None]:
    """The Hub may be asked inside, whatever `training.run.train` set as the default."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = STAY_OFFLINE
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def download(name: str, revision: str | None, report: Report) -> Path:
    """The folder of a model of the Hub, named by its commit; downloaded unless the cache of the Hub's client has it.

    Raises:
        CheckpointError: no such model, revision or connection; no safetensors.
        TrainingConfigError: the model needs code of its own.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    failures = (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        OSError,
        ValueError,
    )
    try:
        with _online():
            about = Path(hf_hub_download(name, "config.json", revision=revision))
            commit = about.parent.name
            refuse_remote_code(about.parent)
            report(f"model {name} at commit {commit}, from the Hub or the cache of its client")
            folder = Path(snapshot_download(name, revision=commit, allow_patterns=list(_FETCHED)))
    except TrainingConfigError:
        raise
    except failures as error:
        why = "HF_HUB_OFFLINE is set and " if STAY_OFFLINE else ""
        raise CheckpointError(
            f"model.path: {name}: there is no such folder here, and {why}no such model was had from the Hub"
            f"{f' at revision {revision}' if revision else ''}: {str(error).strip().splitlines()[0]}"
        ) from error
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"model.path: {name} has no safetensors files; others may run code and are not loaded"
        )
    return folder


def refuse_remote_code(folder: Path) -> None:
    """Refuse a model whose architecture is code that comes with it.

    Raises:
        TrainingConfigError: the architecture is not one of transformers' own.
    """
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, brings = str(about.get("model_type")), "auto_map" in about
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: not a model's configuration: {error}") from error
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if kind not in CONFIG_MAPPING:
        code = "; it brings its own code, which is not run here" if brings else ""
        raise TrainingConfigError(f"{folder}: transformers has no architecture {kind!r}{code}")


def digest_of(folder: Path, memory: Path | None = None) -> str:
    """SHA-256 (hex) that names a model: of a checkpoint that of its seal, else of config.json and all weight files.

    Args:
        folder: of the model.
        memory: folder in which the answer is kept by name, size and time of change of the files; None: not kept.
    """
    if (folder / checkpoint.SEAL).exists():
        return checkpoint.digest(folder)
    files = sorted(p for p in folder.iterdir() if p.name == "config.json" or p.suffix in _WEIGHTS)
    stats = [(p.name, (s := p.stat()).st_size, s.st_mtime_ns) for p in files]
    key = hashlib.sha256(repr((str(folder.resolve()), stats)).encode()).hexdigest()
    kept = memory / f"base-{key[:32]}.json" if memory is not None else None
    if kept is not None and kept.is_file():
        return str(json.loads(kept.read_text())["digest"])
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    if kept is not None:
        temporary = kept.with_suffix(f".tmp-{os.getpid()}")
        temporary.write_text(json.dumps({"digest": whole.hexdigest()}) + "\n")
        temporary.replace(kept)
    return whole.hexdigest()
