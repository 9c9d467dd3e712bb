"""The output folder of a run: outside of what is trained on, writable, and of one run at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.config import TrainConfig
from training.corpus.sources import Report
from training.errors import OutputError, TrainingConfigError

LOCK = ".running"
"""In the output: locked while a run works there. The system unlocks it when the process ends, however it ends."""


def check(config: TrainConfig) -> None:
    """Refuse to write into a release: its manifest lists every file.

    Raises:
        TrainingConfigError: names key and release.
    """
    for key, folder in (("output", config.output), ("data.cache", config.data.cache)):
        for source in config.all_sources:
            if folder and source.release and is_inside(folder, source.release):
                raise TrainingConfigError(
                    f"{key}: {folder} lies in the release {source.release}, which must stay as it is; choose a folder "
                    "outside of it"
                )


def is_inside(folder: str | Path, release: str | Path) -> bool:
    """Whether a folder, there or not, is a release's own or below it."""
    return Path(folder).resolve().is_relative_to(Path(release).resolve())


def ready(config: TrainConfig) -> None:
    """Make the folder and write to it.

    Raises:
        OutputError: it cannot be written.
    """
    output = Path(config.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".writable.tmp-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written: {error.strerror or error}; change `output`"
        ) from error


@contextmanager
def alone(output: Path, report: Report) -> Iterator[None]:
    """Nobody else works in the folder, which must be there, until this ends.

    Raises:
        OutputError: another run does, or the folder cannot be written.
    """
    try:
        file = (output / LOCK).open("a")
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{output}: another run is training there; wait until it has ended, or choose another `output`"
            ) from error
        except OSError as error:  # some network file systems have no locks
            report(
                f"NOTE: {output} cannot be locked ({error.strerror or error}): nothing keeps a second run from writing "
                "there, too"
            )
        yield


def start_over(output: Path, report: Report = lambda _: None) -> None:
    """Remove a run's checkpoints and metrics; the token cache stays.

    Raises:
        OutputError: a run is training there, or something cannot be removed.
    """
    if not output.exists():
        return
    with alone(output, report):
        for name in ("checkpoints", "metrics.jsonl", "best.json", "result.json"):
            path = output / name
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.is_dir():  # on another disk, as users arrange it: the link stays
                    for inside in path.iterdir():
                        shutil.rmtree(inside) if inside.is_dir() else inside.unlink()
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{path}: cannot be removed: {error.strerror or error}") from error
