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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from manifests.checksums import sha256_file
from training.errors import CheckpointError, OutputError

SEAL = "checkpoint.json"
SCHEMA_VERSION = 1
_NAME = re.compile(r"step-(\d{8,})")


ROOM = 1.05
"""Free space that must be there before a checkpoint is written, relative to its tensors: headers, tokenizer, state."""

_TORCH_WRITER = ("PytorchStreamWriter", "inline_container")
"""In the RuntimeError that `torch.save` raises on a full disk."""

_HASHERS = 4
"""Files hashed at the same time: hashing leaves the interpreter to others."""


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
    digest, size = sha256_file(path)
    return {"bytes": size, "sha256": digest}


def _hashes(paths: Sequence[Path]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(_HASHERS) as pool:
        return list(pool.map(_hash, paths))


def sync(path: Path) -> None:
    """Flush a written file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)


def _text(about: dict[str, Any]) -> str:
    return json.dumps(about, indent=2, sort_keys=True) + "\n"


def aside(final: Path) -> Path:
    """Where a checkpoint is written before it is sealed."""
    return final.with_name(f"{final.name}.tmp-save")


@contextmanager
def writing(temporary: Path) -> Iterator[None]:
    """Turns what torch, safetensors and the system raise on a disk that refuses into one error; takes the part away.

    Raises:
        OutputError: nothing of the checkpoint is left; earlier ones are untouched.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # torch.save and safetensors have errors of their own for a full disk; others are not for here.
        if type(error) is RuntimeError and not any(name in str(error) for name in _TORCH_WRITER):
            raise
        shutil.rmtree(temporary, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise OutputError(
            f"{temporary}: the checkpoint cannot be written: {reason}. Earlier checkpoints are untouched; free some "
            "space, or change `output` or `keep_checkpoints`"
        ) from error


def make_room(checkpoints: Path, needed: int) -> None:
    """Remove what earlier crashes left behind, and refuse to begin a checkpoint that will not fit.

    Args:
        checkpoints: folder of all checkpoints.
        needed: bytes of the tensors to be written.

    Raises:
        OutputError: how much is needed and free.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    sync(checkpoints.parent)
    sweep(checkpoints)
    free = shutil.disk_usage(checkpoints).free
    if free < needed * ROOM:
        raise OutputError(
            f"{checkpoints}: a checkpoint takes about {needed * ROOM / 1e9:.2f} GB and only {free / 1e9:.2f} GB are "
            "free; earlier checkpoints are untouched. Free some space, or change `output` or `keep_checkpoints`"
        )


def settle(folder: Path) -> None:
    """Make a written folder ready to be renamed: every file and folder in it is on disk, and may be read.

    safetensors writes weights for their owner alone; they get the permissions of any other new file.
    """
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o666 & ~mask)
    for path in [*sorted(folder.rglob("*")), folder]:
        sync(path)


def seal(temporary: Path, final: Path) -> None:
    """Turn a written folder into the checkpoint `final`; an older one of that name (unsound) is replaced.

    Raises:
        OutputError: the disk is full or not writable; no checkpoint of that name exists then.
    """
    with writing(temporary):
        files = _files(temporary)
        names = [path.relative_to(temporary).as_posix() for path in files]
        about = {
            "schema_version": SCHEMA_VERSION,
            "step": step_of(final),
            "files": dict(zip(names, _hashes(files), strict=True)),
        }
        (temporary / SEAL).write_text(_text(about))
        settle(temporary)
        if final.exists():
            _drop(final)
        temporary.rename(final)
        sync(final.parent)


def replace(file: Path, text: str) -> None:
    """Write a small file anew: a crash leaves what was there or the whole of what is new."""
    temporary = file.with_name(f"{file.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.rename(file)
    sync(file.parent)


def verify(folder: Path) -> int:
    """Check every file of a checkpoint against its seal; the step it was taken at.

    Raises:
        CheckpointError: names the file that is missing, extra or altered.
    """
    try:
        text = (folder / SEAL).read_text()
        about = json.loads(text)
        listed, step = dict(about["files"]), int(about["step"])
        version = about["schema_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{folder}: no readable {SEAL}: the checkpoint was not finished") from error
    if version != SCHEMA_VERSION:
        raise CheckpointError(f"{folder}: checkpoint version {version} is not known")
    named = _NAME.fullmatch(folder.name)
    if text != _text(about) or (named and int(named[1]) != step):
        raise CheckpointError(f"{folder}: {SEAL} is not what was written")
    present = {path.relative_to(folder).as_posix() for path in _files(folder)}
    for name in sorted(set(listed) | present):
        if name not in present:
            raise CheckpointError(f"{folder}: {name} is missing")
        if name not in listed:
            raise CheckpointError(f"{folder}: {name} is not part of the checkpoint")
    names = sorted(listed)
    try:
        hashes = _hashes([folder / name for name in names])
    except OSError as error:  # a damaged sector, permissions
        raise CheckpointError(
            f"{error.filename or folder}: cannot be read: {error.strerror or error}"
        ) from error
    for name, found in zip(names, hashes, strict=True):
        if found != listed[name]:
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


def _drop(folder: Path) -> None:
    """Take a checkpoint's name from it, so that a crash leaves it whole or nameless; `sweep` removes the rest."""
    folder.rename(folder.with_name(f"{folder.name}.tmp-gone"))


def sweep(checkpoints: Path) -> None:
    """Remove what has no name of a checkpoint (any more). What cannot be removed stays, and shows in the free space."""
    for left in checkpoints.glob("*.tmp-*"):
        shutil.rmtree(left, ignore_errors=True)


def pass_over(checkpoints: Path, resumed: Path | None, report: Callable[[str], None]) -> None:
    """Rename all checkpoints that are newer than the one that a run goes on from (None: all): they are unsound.

    Left where they are, `prune` would count them and remove the sound ones that are written now. They are kept for
    whoever wants to look: `step-00000050.unsound`.
    """
    for folder in all_steps(checkpoints):
        if resumed is None or step_of(folder) > step_of(resumed):
            kept = folder.with_name(f"{folder.name}.unsound")
            shutil.rmtree(kept, ignore_errors=True)  # of an earlier time
            folder.rename(kept)
            report(f"{folder}: renamed to {kept.name}; remove it when nobody needs it")


def prune(checkpoints: Path, keep: int, also: Iterable[int] = ()) -> None:
    """Remove all but the newest `keep` and those of the steps in `also`."""
    kept = set(also)
    for folder in all_steps(checkpoints)[keep:]:
        if step_of(folder) not in kept:
            _drop(folder)
    sweep(checkpoints)


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
