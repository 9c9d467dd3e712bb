"""The registry of origins and owners whose code must not be in any release.

A local file, one entry each: YAML (a list of mappings) or JSON Lines.

    - kind: origin                    # one repository
      value: https://example.org/alice/tool
    - kind: owner                     # everything under host/owner
      value: example.org/alice
      reason: request by the author   # optional, kept private
      date: 2026-03-01                # optional

Origins and values are compared in a normal form: without scheme, user and port, host in lower case and IDNA,
path in Unicode NFC, case-folded, percent-decoded, without `.git` and trailing slashes. So
`git@host:Owner/Repo.git` is `https://host/owner/repo/`. Folding is generous on purpose: to keep out one too
many is the smaller mistake.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import yaml

KINDS = ("origin", "owner")

_KEYS = ("kind", "value", "reason", "date")

_SCHEME = re.compile(r"\A(?:[a-z][a-z0-9+.-]{0,30}://)", re.IGNORECASE)
_SCP = re.compile(r"\A(?:[^@/:\s]+@)?([^/:\s]+\.[^/:\s]+):(?![0-9]+(?:/|\Z)|//)(.*)\Z", re.DOTALL)


class RegistryError(ValueError):
    """An opt-out registry cannot be used as given; the message names file and line, never another entry."""


@dataclass(frozen=True)
class Registry:
    """Normalised keys of the origins and owners that opted out. Make one with `Registry.load`."""

    origins: frozenset[str] = field(repr=False)
    owners: frozenset[str] = field(repr=False)
    digest: str
    """SHA-256 (hex) of the keys: does not depend on the order, the spelling, reasons or dates of the
    entries."""

    @classmethod
    def load(cls, path: Path | None) -> Registry:
        """The registry in `path`; an empty one for None. Raises RegistryError naming the line."""
        return cls.of([] if path is None else _read(path))

    @classmethod
    def of(cls, entries: list[tuple[str, str]]) -> Registry:
        """A registry of (kind, value) pairs. Raises RegistryError."""
        keys: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for kind, value in entries:
            keys[kind].add(_key(kind, value))
        text = json.dumps({kind: sorted(keys[kind]) for kind in KINDS}, separators=(",", ":"))
        return cls(
            frozenset(keys["origin"]), frozenset(keys["owner"]), hashlib.sha256(text.encode()).hexdigest()
        )

    def match(self, origins: pa.Array | pa.ChunkedArray) -> pa.BooleanArray:
        """Whether each origin URL opted out, itself or by an owner. A null is False.

        Every origin is normalised once and looked up in sets: the work does not grow with the registry.
        """
        if isinstance(origins, pa.ChunkedArray):
            origins = origins.combine_chunks()
        if not self.origins and not self.owners:
            return pc.fill_null(pc.and_(pc.is_valid(origins), False), False)
        return pa.array(
            [origin is not None and self._holds(origin) for origin in origins.to_pylist()], pa.bool_()
        )

    def _holds(self, origin: str) -> bool:
        key = normalise(origin)
        if key in self.origins:
            return True
        # An owner is a prefix of whole components: host/owner, host/group/subgroup, or the host alone.
        end = key.find("/")
        while end >= 0:
            if key[:end] in self.owners:
                return True
            end = key.find("/", end + 1)
        return key in self.owners


def normalise(origin: str) -> str:
    """The normal form of an origin URL, scp-like address or `host/path` (module docstring)."""
    text = unicodedata.normalize("NFC", origin.strip())
    scheme = _SCHEME.match(text)
    if scheme:
        text = text[scheme.end() :]
    elif scp := _SCP.match(text):
        text = f"{scp.group(1)}/{scp.group(2).lstrip('/')}"
    authority, _, path = text.partition("/")
    host = authority.rpartition("@")[2]
    host = re.sub(r":[0-9]*\Z", "", host).rstrip(".")
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    parts = [part for part in unicodedata.normalize("NFC", unquote(path)).casefold().split("/") if part]
    if parts:
        parts[-1] = parts[-1].removesuffix(".git") or parts[-1]
    return "/".join([_host(host), *parts])


def _host(host: str) -> str:
    host = host.casefold().removeprefix("www.")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host  # not a name that DNS can hold: it only equals itself


def _key(kind: str, value: str) -> str:
    key = normalise(value)
    host, slash, path = key.partition("/")
    if not host or (kind == "origin" and not slash):
        raise RegistryError(f"not an {kind}: expected a URL or host/path")
    if kind == "owner" and not path:
        raise RegistryError("not an owner: expected host/owner")
    return key


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"opt-out registry {path}: cannot be read: {error}") from error
    lines = _jsonl(path, text) if path.suffix in (".jsonl", ".ndjson") else _yaml(path, text)
    entries = []
    for number, entry in lines:
        where = f"opt-out registry {path}, line {number}"
        kind, value = _checked(where, entry)
        try:
            _key(kind, value)
        except RegistryError as error:
            raise RegistryError(f"{where}: {error}") from error
        entries.append((kind, value))
    return entries


def _checked(where: str, entry: Any) -> tuple[str, str]:
    if not isinstance(entry, dict):
        raise RegistryError(f"{where}: expected a mapping with the keys kind and value")
    for key in entry:
        if key not in _KEYS:
            raise RegistryError(f"{where}: unknown key {key!r}; known: {', '.join(_KEYS)}")
    if entry.get("kind") not in KINDS:
        raise RegistryError(f"{where}: kind must be one of {', '.join(KINDS)}")
    value = entry.get("value")
    if not isinstance(value, str) or not value.strip():
        raise RegistryError(f"{where}: value must be a text that is not empty")
    return entry["kind"], value


def _jsonl(path: Path, text: str) -> list[tuple[int, Any]]:
    entries = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append((number, json.loads(line)))
        except ValueError as error:
            raise RegistryError(f"opt-out registry {path}, line {number}: not JSON: {error}") from error
    return entries


def _yaml(path: Path, text: str) -> list[tuple[int, Any]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise RegistryError(f"opt-out registry {path}{line}: not YAML: {problem}") from error
    except ValueError as error:  # a date such as 2026-13-40
        raise RegistryError(f"opt-out registry {path}: {error}") from error
    if content is None:
        return []
    if not isinstance(content, list) or not isinstance(node, yaml.SequenceNode):
        raise RegistryError(f"opt-out registry {path}: expected a list of entries")
    return [(child.start_mark.line + 1, entry) for child, entry in zip(node.value, content, strict=True)]
