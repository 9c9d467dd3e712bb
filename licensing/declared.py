"""The license that a package manifest declares: PKG-INFO, package.json, Cargo.toml and others.

`go.mod` is not among them: it declares none; it makes its directory a module, and the license file beside it speaks. A
member of a Cargo workspace that inherits declares nothing: what the workspace states above it holds.

Fields that are SPDX expressions by their format's own rules are read as such; free text ("Apache License,
Version 2.0", Python classifiers) goes through a table of names (`license_names.py`), and what the table does
not know is no evidence. Parsing is bounded (`MAX_BYTES`), and a broken manifest declares nothing.
"""

from __future__ import annotations

import configparser
import dataclasses
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

from licensing import dep5, reuse
from licensing.detection import Detection
from licensing.expressions import UNREAD, conjunction, disjunction, read
from licensing.license_names import PROPRIETARY, from_classifiers, from_text
from licensing.names import license_like
from licensing.text import read_text

DETECTOR = "declared 2"

MAX_BYTES = 262_144
"""Bytes of a manifest that are parsed; a longer one (a bundled README makes some PKG-INFO long) is cut for
the line-wise formats, and declares nothing in the others."""

Statement = tuple[str, str, str]
"""Field, the text as written (to find it in the file), canonical expression."""


def find(name: bytes, body: bytes) -> list[Detection]:
    """What the manifest with this base name declares; offsets in BYTES of the file. At most one detection, but for those
    that speak for paths (`path_statements`)."""
    if name in (b"dep5", b"REUSE.toml"):
        return _of_paths(name, body)
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


def _of_paths(name: bytes, body: bytes) -> list[Detection]:
    read_in = read_text(body)
    if read_in is None:
        return []
    found = dep5.find(read_in.text) if name == b"dep5" else reuse.find(read_in.text)
    if not read_in.complete:
        found = [dataclasses.replace(d, expression=UNREAD) for d in found]  # what follows may say otherwise
    return [dataclasses.replace(d, start=read_in.byte(d.start), end=read_in.byte(d.end)) for d in found]


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
    names = [
        entry.get("type", entry.get("name", "")) if isinstance(entry, dict) else entry for entry in entries
    ]
    # Several, the form of before 2015, are a choice: npm's documentation rewrites them to an OR.
    return _join("license", names, disjunction)


def _composer(text: str) -> Statement | None:
    stated = _mapping(json.loads(text)).get("license")
    # Several are a choice: "An array of strings means disjunctive licenses" is composer's own rule.
    return _join("license", stated if isinstance(stated, list) else [stated], disjunction)


def _cargo(text: str) -> Statement | None:
    content = _mapping(tomllib.loads(text))
    for field in ("package", "workspace.package"):
        table: Any = content
        for key in field.split("."):
            table = table.get(key, {})
        if isinstance(stated := table.get("license"), str):
            return f"{field}.license", stated, read(stated)
        if isinstance(named := table.get("license-file"), str) and (there := _in_file(named)):
            return f"{field}.license-file", named, there
    return None


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
    flit = content.get("tool", {}).get("flit", {}).get("metadata", {})
    for field, table in (("tool.poetry.license", poetry), ("tool.flit.metadata.license", flit)):
        if isinstance(table.get("license"), str) and (found := _free(field, table["license"])):
            return found
    classified = _classified(
        project.get("classifiers", poetry.get("classifiers", flit.get("classifiers", [])))
    )
    if classified is None and isinstance(stated, dict) and isinstance(named := stated.get("file"), str):
        there = _in_file(named)
        return ("project.license.file", named, there) if there else None
    return classified


def _setup_cfg(text: str) -> Statement | None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    if not parser.has_section("metadata"):
        return None
    metadata = parser["metadata"]
    found = _free("metadata.license", metadata.get("license", ""))
    classifiers = metadata.get("classifiers", metadata.get("classifier", ""))
    return found or _classified(line.strip() for line in classifiers.splitlines())


_COMMENT = re.compile(r"<!--.{0,20000}?-->", re.DOTALL)


def _pom(text: str) -> Statement | None:
    text = _COMMENT.sub("", text)
    start = text.find("<licenses>")
    end = text.find("</licenses>", start)
    if start < 0 or not start < end < start + 10_000:
        return None
    names = []
    for entry in text[start:end].split("<license>")[1:]:
        name = re.search(r"<name>\s{0,99}([^<\s][^<]{0,200})</name>", entry)
        address = re.search(r"<url>\s{0,99}([^<\s]{1,200})", entry)
        told = name.group(1).strip() if name else ""
        if address and not from_text(told):
            told = _of_address(address.group(1)) or told
        names.append(told)
    # Several are a choice: Maven assumes that "the user can select which license they want".
    return _join("licenses", names, disjunction)


def _nuspec(text: str) -> Statement | None:
    stated = re.search(r"<license\s{1,9}type=\"expression\">([^<]{1,200})</license>", text)
    if stated:
        return "license", stated.group(1).strip(), read(stated.group(1))
    named = re.search(r"<license\s{1,9}type=\"file\">([^<]{1,200})</license>", text)
    if named:
        there = _in_file(named.group(1))
        return ("license", named.group(1), there) if there else None
    address = re.search(r"<licenseUrl>\s{0,9}([^<\s]{1,200})", text)
    known = _of_address(address.group(1)) if address else None
    return ("licenseUrl", address.group(1), known) if address and known else None


_ADDRESSES = (
    (r"(?:www\.)?apache\.org/licenses/LICENSE-2\.0", "Apache-2.0"),
    (r"(?:www\.)?opensource\.org/licenses/(?:MIT|mit-license)", "MIT"),
    (r"(?:www\.)?opensource\.org/licenses/BSD-3-Clause", "BSD-3-Clause"),
    (r"(?:www\.)?opensource\.org/licenses/BSD-2-Clause", "BSD-2-Clause"),
    (r"(?:www\.)?eclipse\.org/legal/epl-v10", "EPL-1.0"),
    (r"(?:www\.)?eclipse\.org/legal/epl-(?:v20|2\.0)", "EPL-2.0"),
    (r"(?:www\.)?gnu\.org/licenses/(?:old-licenses/)?lgpl-2\.1", "LGPL-2.1-only"),
    (r"(?:www\.)?gnu\.org/licenses/(?:old-licenses/)?gpl-2\.0", "GPL-2.0-only"),
    (r"(?:www\.)?gnu\.org/licenses/gpl-3\.0", "GPL-3.0-only"),
)
"""Pages of a license's own publisher, where a name says nothing."""


def _of_address(address: str) -> str | None:
    if (
        named := re.fullmatch(r"https?://licenses\.nuget\.org/([A-Za-z0-9.%() +-]{1,200})", address)
    ) is not None:
        return from_text(named.group(1).replace("%20", " "))
    for pattern, expression in _ADDRESSES:
        if re.fullmatch(rf"https?://{pattern}(?:\.(?:txt|html|php))?/?", address, re.IGNORECASE):
            return expression
    return None


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


_SEE = re.compile(r"SEE LICEN[CS]E IN\s+(\S.*)", re.IGNORECASE)
_SEE_OWN = re.compile(
    r"(?:see\s+)?(?:the\s+)?(?:li[cs]en[cs]e|copying)(?:\.(?:md|txt|rst))?(?:\s+file)?", re.IGNORECASE
)


def _expressions(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name.strip().upper() in ("UNLICENSED", "PROPRIETARY"):
            yield PROPRIETARY
        elif (see := _SEE.fullmatch(name.strip())) is not None:
            yield from filter(None, [_in_file(see.group(1))])
        elif not _SEE_OWN.fullmatch(name.strip()):
            yield from_text(name) or read(name)


def _in_file(named: str) -> str | None:
    """What it says that the license stands in a file: nothing where that file is read as evidence of this directory or of
    one above it; else that there is a license which is not read."""
    path = re.sub(r"^(?:\./|(?:\.\./)+)", "", named.strip())
    read_anyway = "/" not in path and license_like(pa.array([path.encode()]))[0].as_py()
    return None if read_anyway else UNREAD


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not a mapping")
    return value
