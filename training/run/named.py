"""Things that a configuration names: `module:attribute`, or an entry point of an installed package."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

from training.errors import TrainingConfigError


def load(key: str, name: str, group: str | None = None) -> Any:
    """What `name` stands for. Modules are looked for in the current folder, too, as `python -m` does.

    Args:
        key: the key of the configuration, for messages.
        name: `module:attribute`, or where `group` is given the name of an entry point in it.
        group: of entry points.

    Raises:
        TrainingConfigError: no such module, attribute or entry point, or a module that fails when it is imported.
    """
    module, colon, attribute = name.partition(":")
    if not colon and group is not None:
        found = list(importlib.metadata.entry_points(group=group, name=name))
        if not found:
            known = sorted(point.name for point in importlib.metadata.entry_points(group=group))
            raise TrainingConfigError(
                f"{key}: no installed package has an entry point {name!r} in the group {group} "
                f"(there are: {', '.join(known) or 'none'}); or write it as module:function"
            )
        module, _, attribute = found[0].value.partition(":")
    if not module or not attribute:
        raise TrainingConfigError(f"{key}: {name!r} is not a name; write it as module:attribute")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        value: Any = importlib.import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:
        raise TrainingConfigError(f"{key}: {name}: {type(error).__name__}: {error}") from error
    return value
