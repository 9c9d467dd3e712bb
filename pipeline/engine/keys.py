"""Keys of stages and annotation stores: what can change the bytes, and nothing else.

A key is the SHA-256 of a canonical JSON of: the name, the configuration used, the keys of the inputs, the digest of
the sources of our modules that the function's module imports (transitively), and the versions of the third-party
libraries that are declared to affect the output. Worker counts, bucket counts, paths and addresses are never in it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

OUR_PACKAGES = ("pipeline", "licensing", "dedup", "pii", "manifests")
KEY_HEX = 16  # digits of a key in file names: 64 bits, far beyond the number of keys of one work directory


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; only plain types, so that equal values give equal bytes."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical form of a JSON-able value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def make_key(
    name: str,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    modules: Iterable[str],
    libraries: Iterable[str] = (),
) -> str:
    """The key of a stage or annotation store, as KEY_HEX hex digits."""
    return digest(
        {
            "name": name,
            "config": dict(config),
            "inputs": dict(inputs),
            "sources": {module: source_digest(module) for module in sorted(set(modules))},
            "libraries": {library: library_version(library) for library in sorted(set(libraries))},
        }
    )[:KEY_HEX]


@cache
def library_version(distribution: str) -> str:
    """Installed version of a distribution, "absent" when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


@cache
def source_digest(module: str) -> str:
    """SHA-256 over the sources (and data files beside them) of `module` and all of ours that it imports."""
    state = hashlib.sha256()
    for name in sorted(_closure(module)):
        for path in _files_of(name):
            state.update(name.encode() + b"\0" + path.name.encode() + b"\0")
            state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _files_of(module: str) -> list[Path]:
    path = _source(module)
    files = [path]
    data = path.parent / "data"
    # A package's data files (tables, rules, policies) change answers as code does.
    if data.is_dir():
        files += sorted(p for p in data.iterdir() if p.is_file())
    return files


def _closure(module: str) -> set[str]:
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(_imports(name) - seen)
    return seen


@cache
def _imports(module: str) -> frozenset[str]:
    tree = ast.parse(_source(module).read_bytes())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in found if name.split(".")[0] in OUR_PACKAGES and _spec(name) is not None)


@cache
def _spec(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, AttributeError):  # "package.function": not a module
        return None
    return spec.origin if spec is not None and spec.origin is not None else None


def _source(module: str) -> Path:
    origin = _spec(module)
    assert origin is not None, f"{module} is not an importable module"
    return Path(origin)
