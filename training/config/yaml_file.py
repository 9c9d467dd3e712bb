"""Strict YAML: no duplicate keys, numbers as people write them, and the line of every key.

PyYAML reads YAML 1.1, in which `1e-3` is a string, `no` is a boolean, `1:30` is the number 90 and the second
of two equal keys wins silently. Configuration files here are read with the scalar rules of YAML 1.2's core
schema (<https://yaml.org/spec/1.2.2/#1032-tag-resolution>), to which `_` between digits is added; duplicate
keys, aliases and merge keys are refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from training.errors import TrainingConfigError

Lines = dict[tuple[str | int, ...], int]
"""1-based line of each key (or list item) by its path from the root of the document."""

_LONGEST_NUMBER = 100
"""Characters of an integer; Python itself refuses to read more than 4,300 digits, with a message about itself."""


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 core scalars; its resolvers are replaced below, not inherited."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own protocol


def _resolver(tag: str, pattern: str, first: str) -> None:
    _CoreLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), list(first)
    )


_resolver("null", r"~|null|Null|NULL|", "~nN")
_CoreLoader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))
_resolver("bool", r"true|True|TRUE|false|False|FALSE", "tTfF")
_resolver("int", r"[-+]?[0-9][0-9_]*", "-+0123456789")
_resolver(
    "float",
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "-+.0123456789",
)


def _scalar(node: yaml.ScalarNode) -> Any:
    text, kind = node.value, node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        if len(text) > _LONGEST_NUMBER:
            raise TrainingConfigError(f"line {node.start_mark.line + 1}: a number of {len(text)} characters")
        return int(text.replace("_", ""))
    if kind == "float":
        return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "str":
        return text
    raise TrainingConfigError(
        f"line {node.start_mark.line + 1}: the YAML tag {node.tag!r} is not supported here"
    )


def _build(node: yaml.Node, path: tuple[str | int, ...], lines: Lines, seen: set[int]) -> Any:
    # An aliased node is the same object at two places; expanding nested ones grows without bound.
    if id(node) in seen:
        raise TrainingConfigError(f"line {node.start_mark.line + 1}: YAML aliases are not supported here")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise TrainingConfigError(f"line {line}: keys must be plain words")
            key = key_node.value
            if key in mapping:
                where = lines[(*path, key)]
                raise TrainingConfigError(f"line {line}: the key {key!r} was already given on line {where}")
            lines[(*path, key)] = line
            mapping[key] = _build(value_node, (*path, key), lines, seen)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        items = []
        for position, item in enumerate(node.value):
            lines[(*path, position)] = item.start_mark.line + 1
            items.append(_build(item, (*path, position), lines, seen))
        return items
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node)


def parse(text: str) -> tuple[Any, Lines]:
    """The value of one YAML document and the line of each of its keys.

    Raises:
        TrainingConfigError: not YAML, duplicate key, alias, unsupported tag; the message starts with the
        line.
    """
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise TrainingConfigError(f"line {line}: not valid YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise TrainingConfigError(
            f"line {line}: not valid YAML: the character U+{ord(text[error.position]):04X} may not stand in it"
        ) from error
    except yaml.YAMLError as error:
        raise TrainingConfigError(f"not valid YAML: {error}") from error
    except RecursionError as error:
        raise TrainingConfigError("sections or lists are in one another too deeply") from error
    lines: Lines = {}
    return (None if node is None else _build(node, (), lines, set())), lines


def read(path: Path) -> tuple[Any, Lines]:
    """`parse` of a UTF-8 file.

    Raises:
        TrainingConfigError: no such file, not UTF-8, or as `parse`; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TrainingConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TrainingConfigError(f"{path}: not UTF-8 at byte {error.start}") from error
    try:
        return parse(text)
    except TrainingConfigError as error:
        message = str(error)
        place, found, rest = message.partition(": ")
        if found and place.startswith("line "):
            raise TrainingConfigError(f"{path}:{place.removeprefix('line ')}: {rest}") from error
        raise TrainingConfigError(f"{path}: {message}") from error
