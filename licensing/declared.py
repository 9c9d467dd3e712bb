"""The license that a package manifest declares: PKG-INFO, package.json, Cargo.toml and others.

Fields that are SPDX expressions by their format's own rules are read as such; free text ("Apache License,
Version 2.0", Python classifiers) goes through a table of names (`license_names.py`), and what the table does
not know is no evidence. Parsing is bounded (`MAX_BYTES`), and a broken manifest declares nothing.
"""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from licensing.detection import Detection
from licensing.expressions import conjunction, disjunction, read
from licensing.license_names import PROPRIETARY, from_classifiers, from_text

DETECTOR = "declared 1"

MAX_BYTES = 262_144
"""Bytes of a manifest that are parsed; a longer one (a bundled README makes some PKG-INFO long) is cut for
the line-wise formats, and declares nothing in the others."""

Statement = tuple[str, str, str]
"""Field, the text as written (to find it in the file), canonical expression."""


def find(name: bytes, body: bytes) -> list[Detection]:
    """What the manifest with this base name declares: at most one detection; offsets in BYTES of the file."""
    reader = _reader(name)
    if reader is None:
        return []
    whole = len(body) <= MAX_BYTES
    if not whole and reader not in (_core_metadata, _gemspec, _pom, _nuspec):
        return []
    text = body[:MAX_BYTES].decode("utf-8", "replace")
    try:
        statement = reader(text)
    except (ValueError, RecursionError, KeyError, TypeError, configparser.Error):
        return []  # not a manifest of this format: it declares nothing
    if statement is None:
        return []
    field, written, expression = statement
    start = body.find(written.encode("utf-8"))
    end = start + len(written.encode("utf-8")) if start >= 0 and written else len(body)
    return [Detection(expression, DETECTOR, field, 100.0, max(start, 0), end)]


def _reader(name: bytes) -> Callable[[str], Statement | None] | None:
    if name.endswith(b".gemspec"):
        return _gemspec
    if name.endswith(b".nuspec"):
        return _nuspec
    return _READERS.get(name)


def _core_metadata(text: str) -> Statement | None:
    """Python's core metadata: `License-Expression`, else `License` if a known name, else the classifiers."""
    fields: dict[str, list[str]] = {}
    for line in re.split(r"\r?\n", text):
        if not line:  # the description follows; a line of blanks belongs to the field above
            break
        key, colon, value = line.partition(":")
        if colon and key and not key[0].isspace():
            fields.setdefault(key.lower(), []).append(value.strip())
    for value in fields.get("license-expression", ()):
        return "License-Expression", value, read(value)
    return _free("License", fields.get("license", [""])[0]) or _classified(fields.get("classifier", []))


def _npm(text: str) -> Statement | None:
    content = _mapping(json.loads(text))
    stated = content.get("license", content.get("licenses"))
    entries = stated if isinstance(stated, list) else [stated]
    names = [entry.get("type", "") if isinstance(entry, dict) else entry for entry in entries]
    return _join("license", names, conjunction)


def _composer(text: str) -> Statement | None:
    stated = _mapping(json.loads(text)).get("license")
    # Several are a choice: "An array of strings means disjunctive licenses" is composer's own rule.
    return _join("license", stated if isinstance(stated, list) else [stated], disjunction)


def _cargo(text: str) -> Statement | None:
    stated = _mapping(tomllib.loads(text)).get("package", {}).get("license")
    return ("package.license", stated, read(stated)) if isinstance(stated, str) else None


def _pyproject(text: str) -> Statement | None:
    content = _mapping(tomllib.loads(text))
    project = content.get("project", {})
    stated = project.get("license")
    if isinstance(stated, str):
        return "project.license", stated, read(stated)
    if isinstance(stated, dict) and isinstance(stated.get("text"), str):
        found = _free("project.license.text", stated["text"])
        if found:
            return found
    poetry = content.get("tool", {}).get("poetry", {})
    if isinstance(poetry.get("license"), str):
        return _free("tool.poetry.license", poetry["license"])
    return _classified(project.get("classifiers", []))


def _setup_cfg(text: str) -> Statement | None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    if not parser.has_section("metadata"):
        return None
    metadata = parser["metadata"]
    found = _free("metadata.license", metadata.get("license", ""))
    classifiers = metadata.get("classifiers", metadata.get("classifier", ""))
    return found or _classified(line.strip() for line in classifiers.splitlines())


def _pom(text: str) -> Statement | None:
    start = text.find("<licenses>")
    end = text.find("</licenses>", start)
    if start < 0 or not start < end < start + 10_000:
        return None
    names = re.findall(r"<name>\s{0,99}([^<\s][^<]{0,200})</name>", text[start:end])
    # Several are a choice: Maven assumes that "the user can select which license they want".
    return _join("licenses", [name.strip() for name in names], disjunction)


def _nuspec(text: str) -> Statement | None:
    stated = re.search(r"<license\s{1,9}type=\"expression\">([^<]{1,200})</license>", text)
    return ("license", stated.group(1).strip(), read(stated.group(1))) if stated else None


def _gemspec(text: str) -> Statement | None:
    stated = re.search(
        r"\.licenses?\s*=\s*(\[[^\]]{0,500}\]|%w\[[^\]]{0,500}\]|[\"'][^\"'\n]{0,200}[\"'])", text
    )
    if stated is None:
        return None
    value = stated.group(1)
    names = value[3:-1].split() if value.startswith("%w") else re.findall(r"[\"']([^\"']*)[\"']", value)
    return _join("license", names, conjunction)


_READERS: dict[bytes, Callable[[str], Statement | None]] = {
    b"PKG-INFO": _core_metadata,
    b"METADATA": _core_metadata,
    b"package.json": _npm,
    b"bower.json": _npm,
    b"composer.json": _composer,
    b"Cargo.toml": _cargo,
    b"pyproject.toml": _pyproject,
    b"setup.cfg": _setup_cfg,
    b"pom.xml": _pom,
}


def _free(field: str, text: str) -> Statement | None:
    expression = from_text(text)
    return (field, text.strip(), expression) if expression else None


def _classified(classifiers: Iterable[Any]) -> Statement | None:
    stated = [c for c in classifiers if isinstance(c, str) and c.startswith("License ::")]
    expression = from_classifiers(stated)
    return ("Classifier", stated[0], expression) if expression else None


def _join(
    field: str, names: Iterable[Any], combine: Callable[[Iterable[str]], str | None]
) -> Statement | None:
    stated = [name for name in names if isinstance(name, str) and name.strip()]
    expression = combine(_expressions(stated))
    return (field, stated[0], expression) if expression else None


def _expressions(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name.strip().upper() in ("UNLICENSED", "PROPRIETARY"):
            yield PROPRIETARY
        elif not name.upper().startswith("SEE LICENSE IN"):
            yield from_text(name) or read(name)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not a mapping")
    return value
