"""Checkpoints that are whole or not there: written aside, hashed, synced, renamed; verified before use.

    <output>/checkpoints/step-00000050/
        checkpoint.json     schema version, step, and {path: {bytes, sha256}} of every other file
        lineage.json        what the model was trained on (see `training.run.lineage`)
        model.safetensors + config.json, or the adapter's files; tokenizer files
        optimizer.pt scheduler.pt trainer_state.json rng_state*.pth

Trainer's own layout is resumed from the highest number, whole or torn, and a missing optimizer.pt starts a
fresh optimizer without a word. Here a part that is missing, altered or extra makes the checkpoint unsound,
and the next older sound one is used, said loudly.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.errors import CheckpointError, OutputError

SEAL = "checkpoint.json"
SCHEMA_VERSION = 1
_NAME = re.compile(r"step-(\d{8,})")


def folder_of(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint after `step` steps lies."""
    return checkpoints / f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step in a checkpoint's name."""
    found = _NAME.fullmatch(folder.name)
    if found is None:
        raise CheckpointError(f"{folder}: not the name of a checkpoint")
    return int(found[1])


def _hash(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)


def seal(temporary: Path, final: Path) -> None:
    """Turn a written folder into the checkpoint `final`; an older one of that name (unsound) is replaced.

    Raises:
        OutputError: the disk is full or not writable; no checkpoint of that name exists then.
    """
    try:
        files = _files(temporary)
        about = {
            "schema_version": SCHEMA_VERSION,
            "step": step_of(final),
            "files": {path.relative_to(temporary).as_posix(): _hash(path) for path in files},
        }
        (temporary / SEAL).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
        for path in [*files, temporary / SEAL, *{path.parent for path in files}]:
            _sync(path)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        _sync(final.parent)
    except OSError as error:
        raise OutputError(f"{final}: the checkpoint cannot be written: {error.strerror or error}") from error


def verify(folder: Path) -> int:
    """Check every file of a checkpoint against its seal; the step it was taken at.

    Raises:
        CheckpointError: names the file that is missing, extra or altered.
    """
    try:
        about = json.loads((folder / SEAL).read_text())
        listed, step = dict(about["files"]), int(about["step"])
        version = about["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: no readable {SEAL}: the checkpoint was not finished") from error
    if version != SCHEMA_VERSION:
        raise CheckpointError(f"{folder}: checkpoint version {version} is not known")
    present = {path.relative_to(folder).as_posix() for path in _files(folder)}
    for name in sorted(set(listed) | present):
        if name not in present:
            raise CheckpointError(f"{folder}: {name} is missing")
        if name not in listed:
            raise CheckpointError(f"{folder}: {name} is not part of the checkpoint")
        if _hash(folder / name) != listed[name]:
            raise CheckpointError(f"{folder}: {name} is not what was written (size or SHA-256 differ)")
    return step


def all_steps(checkpoints: Path) -> list[Path]:
    """Checkpoint folders, newest first, sound or not."""
    if not checkpoints.is_dir():
        return []
    found = [path for path in checkpoints.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of, reverse=True)


def newest_sound(checkpoints: Path, report: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that verifies; each one passed over is reported. None if there is none."""
    for folder in all_steps(checkpoints):
        try:
            verify(folder)
        except CheckpointError as error:
            report(f"WARNING: {error}; it is NOT used, looking for an older one")
            continue
        return folder
    return None


def prune(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest `keep`."""
    for folder in all_steps(checkpoints)[keep:]:
        shutil.rmtree(folder)


def digest(folder: Path) -> str:
    """SHA-256 (hex) of a checkpoint's seal: names all its bytes."""
    return hashlib.sha256((folder / SEAL).read_bytes()).hexdigest()


def model_folder(path: str | Path, report: Callable[[str], None]) -> Path:
    """What `model.path` points to: a model folder, or the newest sound checkpoint of another run's output.

    Raises:
        CheckpointError: nothing there, or a checkpoint whose bytes are not what was written.
    """
    folder = Path(path)
    if (folder / "checkpoints").is_dir():
        found = newest_sound(folder / "checkpoints", report)
        if found is None:
            raise CheckpointError(f"{folder}: the run has no sound checkpoint")
        return found
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: neither a model folder (config.json) nor the output of a training run"
        )
    if (folder / SEAL).exists():
        verify(folder)
    return folder
