"""License files that are symbolic links: what they lead to, proven by their hash alone.

The content of a link is the text of its target, so its sha1_git is known for every target that could be meant; no byte is
fetched. Looked at are the license-like files in the directory of the link, in those above it, and in the folders that
lie directly in these: where links to licenses lead. A link that leads to none of them stays a license file that
nobody could read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from licensing.names import detection_class

MAX_CANDIDATES = 2_000
"""Targets that are tried for one link, the nearest first."""

_MAX_CHAIN = 8  # links to links


def followed(evidence: pa.Table, unread: pa.Table) -> pa.Table:
    """The evidence (attribution.EVIDENCE_FILES) with a row for each file of `unread`, columns root, directory, path and
    sha1_git: license-like files whose bytes were not read, links among them.

    A link that leads to a file of the evidence says what that file says, at its own place and with the sha1_git of that
    file; any other row is without detections.
    """
    if unread.num_rows == 0:
        return evidence
    files: dict[str, dict[bytes, dict[str, Any]]] = {}
    links: dict[str, list[dict[str, Any]]] = {}
    for row in unread.to_pylist():
        links.setdefault(row["root"], []).append(row)
    for row in evidence.filter(pc.is_in(evidence["root"], value_set=pa.array(sorted(links)))).to_pylist():
        files.setdefault(row["root"], {})[row["path"]] = row
    added = []
    for root, here in sorted(links.items()):
        targets = resolve({one["path"]: one["sha1_git"] for one in here}, files.get(root, {}))
        # A README that is a link to a license is read otherwise than the license itself.
        targets = {link: path for link, path in targets.items() if _class(link) == _class(path)}
        for one in sorted(here, key=lambda one: one["path"]):
            known = files.get(root, {}).get(targets.get(one["path"], b""))
            told = {name: known[name] for name in ("sha1_git", "expression", "detections")} if known else {}
            nothing = {"sha1_git": one["sha1_git"], "expression": None, "detections": []}
            added.append({"root": root, "dir": one["directory"], "path": one["path"], **nothing, **told})
    return pa.concat_tables([evidence, pa.Table.from_pylist(added, schema=evidence.schema)])


def resolve(links: dict[bytes, str], files: Iterable[bytes]) -> dict[bytes, bytes]:
    """Path of each link (with its sha1_git) that leads to one of `files`, if need be over other links -> that path."""
    ends = frozenset(files)
    by_directory: dict[bytes, list[bytes]] = {}
    folders: dict[bytes, list[bytes]] = {}
    for path in sorted({*ends, *links}):
        by_directory.setdefault(_parent(path), []).append(path)
    for directory in sorted(by_directory):
        if directory:
            folders.setdefault(_parent(directory), []).append(directory)
    step = {path: _target(path, sha1_git, by_directory, folders) for path, sha1_git in links.items()}
    found = {}
    for path in links:
        target, left = step[path], _MAX_CHAIN
        while target is not None and target not in ends and left:
            target, left = step.get(target), left - 1
        if target is not None and target in ends:
            found[path] = target
    return found


def _target(
    path: bytes, sha1_git: str, by_directory: dict[bytes, list[bytes]], folders: dict[bytes, list[bytes]]
) -> bytes | None:
    tried = 0
    directory, up = _parent(path), b""
    while True:
        prefix = directory + b"/" if directory else b""
        for folder in (directory, *folders.get(directory, ())):
            for candidate in by_directory.get(folder, ()):
                relative = up + candidate[len(prefix) :]
                for text in (relative, b"./" + relative):
                    if candidate != path and _blob(text) == sha1_git:
                        return candidate
                tried += 1
                if tried == MAX_CANDIDATES:
                    return None
        if not directory:
            return None
        directory, up = _parent(directory), up + b"../"


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _class(path: bytes) -> bytes:
    found: bytes = detection_class(pa.array([path.rpartition(b"/")[2]], pa.binary()))[0].as_py()
    return found


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\x00" % len(data) + data, usedforsecurity=False).hexdigest()
