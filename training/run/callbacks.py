"""Further transformers callbacks, by name."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import TrainerCallback

from training.errors import TrainingConfigError
from training.run import named


def classes(names: Sequence[str] | None) -> list[tuple[str, type[TrainerCallback]]]:
    """(name, class) of each `module:Class`.

    Raises:
        TrainingConfigError: no such class, or not a TrainerCallback.
    """
    found = []
    for name in names or ():
        kind = named.load("callbacks", name)
        if not (isinstance(kind, type) and issubclass(kind, TrainerCallback)):
            raise TrainingConfigError(f"callbacks: {name} is not a class derived from TrainerCallback")
        found.append((name, kind))
    return found


def callbacks(names: Sequence[str] | None) -> list[TrainerCallback]:
    """One callback of each class `module:Class`, made without arguments.

    A class that is an `ExportableState`, too, has its state in every checkpoint and gets it back on resume.

    Raises:
        TrainingConfigError: as `classes`, or one cannot be made.
    """
    made = []
    for name, kind in classes(names):
        try:
            made.append(kind())
        except Exception as error:
            raise TrainingConfigError(f"callbacks: {name}(): {type(error).__name__}: {error}") from error
    return made
