"""Read a configuration file, apply overrides, and explain every mistake with its file and line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from training.config import yaml_file
from training.config.base import Section
from training.config.root import TrainConfig
from training.errors import TrainingConfigError


def _section_in(annotation: Any) -> type[Section] | None:
    """The section that a field's type names, alone, optional or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def _fields_at(location: Sequence[str | int]) -> list[str]:
    """Keys allowed in the section that `location` (the path of a key) lies in."""
    section: type[Section] = TrainConfig
    for key in location[:-1]:
        if isinstance(key, str):  # a number is a place in a list of sections
            field = section.model_fields.get(key)
            inner = _section_in(field.annotation) if field else None
            if inner is None:
                return []
            section = inner
    return list(section.model_fields)


def _all_keys(section: type[Section] = TrainConfig, prefix: str = "") -> list[str]:
    """Every key of the configuration, with the sections that lead to it."""
    found = []
    for name, field in section.model_fields.items():
        found.append(prefix + name)
        if inner := _section_in(field.annotation):
            found += _all_keys(inner, f"{prefix}{name}.")
    return found


def _suggestion(location: Sequence[str | int]) -> str:
    """What was probably meant: a key of the same section, the same key of another one, or what there is."""
    key, here = str(location[-1]), _fields_at(location)
    close = difflib.get_close_matches(key, here, n=1, cutoff=0.6)
    elsewhere = sorted((k for k in _all_keys() if k.rpartition(".")[2] == key), key=len)
    if elsewhere or close:
        return f"; did you mean {(elsewhere or close)[0]!r}?"
    return f"; known: {', '.join(here)}"


_PLAINLY = {
    "tuple_type": "must be a list, such as [a, b]",
    "too_short": "must have at least one entry",
    "model_type": "must be a section of keys and values",
    "dict_type": "must be a section of keys and values",
}
"""What pydantic says in words of Python, in those of YAML; by type of problem."""

_SHOWN_VALUE = 120
"""Characters of a wrong value in a message."""


def _explain(error: ValidationError, where: dict[tuple[str | int, ...], str]) -> str:
    messages = []
    for problem in error.errors():
        location, kind = tuple(problem["loc"]), problem["type"]
        known = next((location[:n] for n in range(len(location), 0, -1) if location[:n] in where), ())
        place = where.get(known, "configuration")
        if kind in {"extra_forbidden", "missing"}:
            dotted = ".".join(map(str, location))
            text = f"{place}: " + (
                f"the key {dotted!r} is required"
                if kind == "missing"
                else f"unknown key {dotted!r}{_suggestion(location)}"
            )
        else:
            # A union adds the names of its branches to the location; the longest known prefix is the key itself.
            dotted = ".".join(map(str, known or location))
            message = _PLAINLY.get(kind, problem["msg"].removeprefix("Value error, "))
            text = f"{place}: {dotted}: {message}" if dotted else f"{place}: {message}"
            if kind != "value_error":
                value = repr(problem["input"])
                text += f" (got {value[:_SHOWN_VALUE]}{'...' if len(value) > _SHOWN_VALUE else ''})"
        if text not in messages:
            messages.append(text)
    return "\n".join(messages)


def _override(tree: dict[str, Any], text: str, where: dict[tuple[str | int, ...], str]) -> None:
    dotted, found, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not found or not all(keys):
        raise TrainingConfigError(f"--set {text}: write it as --set section.key=value")
    try:
        parsed, lines = yaml_file.parse(value)
    except TrainingConfigError as error:
        raise TrainingConfigError(f"--set {text}: {error}") from error
    section = tree
    for depth, key in enumerate(keys[:-1]):
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        where.setdefault(tuple(keys[: depth + 1]), f"--set {text}")
        if not isinstance(section, dict):
            raise TrainingConfigError(
                f"--set {text}: {'.'.join(keys[: depth + 1])!r} is a value, not a section"
            )
    section[keys[-1]] = parsed
    whole = tuple(keys)
    for place in [place for place in where if place[: len(whole)] == whole]:
        del where[place]  # what the file said there counts no more
    where.update({(*whole, *inner): f"--set {text}" for inner in ((), *lines)})


def load(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration file and apply overrides, each `section.key=value` with a YAML value.

    Raises:
        TrainingConfigError: every problem found, one per line, with file and line (or the override) and what
        to do.
    """
    file = Path(path)
    tree, lines = yaml_file.read(file)
    if not isinstance(tree, dict):
        raise TrainingConfigError(f"{file}: must be a mapping of keys to values")
    where = {key: f"{file}:{line}" for key, line in lines.items()}
    where[()] = str(file)
    for text in overrides:
        _override(tree, text, where)
    try:
        return TrainConfig.model_validate(tree)
    except ValidationError as error:
        raise TrainingConfigError(_explain(error, where)) from error
