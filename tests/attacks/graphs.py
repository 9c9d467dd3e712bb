"""Archives written as raw tables: anything that the columns can hold, well-formed or not.

Ids are free names here (`oid("x")` is 40 hex digits of a hash of "x"), not hashes of what they name: so a directory can
hold itself, and two contents can share one sha1_git.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import config as configuration
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.store import Store
from pipeline.release import Outcome, make_release
from pipeline.sources.graph import GraphExport, open_export
from pipeline.sources.swhid import hash_content
from pipeline.tables import GRAPH, PERMS_DIRECTORY, PERMS_FILE, PERMS_SUBMODULE, PERMS_SYMLINK

__all__ = [
    "MIT",
    "Graph",
    "Made",
    "export_of",
    "file",
    "folder",
    "link",
    "oid",
    "release",
    "settings",
    "submodule",
]

MIT = b"SPDX-License-Identifier: MIT\n"
"""Text of a LICENSE file that permits what lies beside it."""

DAY = datetime(2024, 5, 17)

Entry = tuple[bytes | None, str | None, str | None, int | None]


def oid(name: object) -> str:
    """An id of 40 hex digits for any name."""
    return hashlib.sha1(repr(name).encode(), usedforsecurity=False).hexdigest()


def file(name: bytes, target: str | None, perms: int | None = PERMS_FILE) -> Entry:
    return (name, "file", target, perms)


def folder(name: bytes, target: str | None, perms: int | None = PERMS_DIRECTORY) -> Entry:
    return (name, "dir", target, perms)


def link(name: bytes, target: str | None) -> Entry:
    return (name, "file", target, PERMS_SYMLINK)


def submodule(name: bytes, target: str | None) -> Entry:
    return (name, "rev", target, PERMS_SUBMODULE)


class Graph:
    """Rows of every table and the objects beside them; `write` makes the archive."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in GRAPH}
        self.objects: dict[str, bytes] = {}
        self.absent: set[str] = set()  # tables that are not written

    def add(self, table: str, **values: Any) -> None:
        self.rows[table].append(values)

    def content(self, body: bytes, packed: bytes | None = None, **override: Any) -> str:
        """A content and its object (`packed` instead of a proper gzip; b"" stays b""); returns its sha1_git."""
        hashes = hash_content(body)
        row = {"sha1": hashes.sha1, "sha1_git": hashes.sha1_git, "sha256": hashes.sha256,
               "blake2s256": hashes.blake2s256, "length": len(body), "status": "visible"} | override  # fmt: skip
        self.add("content", **row)
        self.objects[hashes.sha1] = gzip.compress(body, mtime=0) if packed is None else packed
        return str(row["sha1_git"])

    def directory(self, name: object, entries: Sequence[Entry], *, known: bool = True) -> str:
        """A directory under an id of its own; `known` says whether the table of directories has it."""
        identity = oid(("dir", name))
        if known:
            self.add("directory", id=identity)
        for entry in entries:
            self.add("directory_entry", **dict(zip(("directory_id", "name", "type", "target", "perms"),
                                                   (identity, *entry), strict=True)))  # fmt: skip
        return identity

    def revision(
        self, name: object, directory: str | None, seconds: int | None = 1_600_000_000, micro: int = 0
    ) -> str:
        identity = oid(("rev", name))
        date = None if seconds is None else {"seconds": seconds, "microseconds": micro}
        self.add("revision", id=identity, directory=directory, date=date, committer_date=date, type="git")
        return identity

    def tag(self, name: object, target: str | None, kind: str | None) -> str:
        identity = oid(("rel", name))
        self.add("release", id=identity, name=b"v1", target=target, target_type=kind)
        return identity

    def snapshot(self, name: object, branches: Sequence[tuple[bytes | None, str | None, str | None]]) -> str:
        identity = oid(("snp", name))
        self.add("snapshot", id=identity)
        for branch, target, kind in branches:
            self.add("snapshot_branch", snapshot_id=identity, name=branch, target=target, target_type=kind)
        return identity

    def visit(
        self, url: str, number: int | None, date: datetime | None, status: str, snapshot: str | None
    ) -> None:
        self.add(
            "origin_visit_status",
            origin=url,
            visit=number,
            date=date,
            status=status,
            snapshot=snapshot,
            type="git",
        )

    def origin(self, url: str, snapshot: str | None = None) -> None:
        """An origin; with a snapshot, also its one full visit."""
        self.add("origin", id=oid(url), url=url)
        if snapshot is not None:
            self.visit(url, 1, DAY, "full", snapshot)

    def repository(
        self, url: str, entries: Sequence[Entry], *, licensed: bool = True, branch: bytes = b"HEAD"
    ) -> str:
        """An origin with one snapshot, revision and root of these entries; returns the root."""
        own = [file(b"LICENSE", self.content(MIT))] if licensed else []
        root = self.directory(("root", url), [*own, *entries])
        self.origin(url, self.snapshot(url, [(branch, self.revision(url, root), "revision")]))
        return root

    def tables(self) -> dict[str, pa.Table]:
        return {
            name: pa.Table.from_pylist(self.rows[name], schema=schema)
            for name, schema in GRAPH.items()
            if name not in self.absent
        }

    def write(self, archive: Path) -> Path:
        for name, table in self.tables().items():
            where = archive / "graph" / "raw" / "parquet" / name
            where.mkdir(parents=True, exist_ok=True)
            pq.write_table(
                table, where / "part-0.parquet", compression="zstd", row_group_size=max(1, table.num_rows)
            )
        (archive / "content").mkdir(parents=True, exist_ok=True)
        for sha1, packed in self.objects.items():
            (archive / "content" / sha1).write_bytes(packed)
        return archive


def export_of(archive: Path) -> GraphExport:
    return open_export(Store(str(archive)), None, None)


def settings(archive: Path, sections: Mapping[str, Any] | None = None) -> configuration.ReleaseConfig:
    """A configuration without ScanCode, in one bucket unless said otherwise."""
    given = {k: dict(v) if isinstance(v, dict) else v for k, v in (sections or {}).items()}
    given["archive"] = {"uri": str(archive)}
    given.setdefault("licenses", {}).setdefault("scancode", False)
    given.setdefault("engine", {}).setdefault("buckets", 1)
    return configuration.parse(given)


class Made:
    """A release and its look-ups."""

    def __init__(self, outcome: Outcome, work: Path) -> None:
        self.outcome, self.work, self.directory = outcome, work, outcome.directory
        self.totals = outcome.totals
        self.dropped: dict[str, int] = dict(outcome.totals["dropped"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        shards = sorted((self.directory / "data").rglob("*.parquet"))
        return [row for shard in shards for row in pq.read_table(shard).to_pylist()]

    @property
    def by_path(self) -> dict[str, dict[str, Any]]:
        return {row["path"]: row for row in self.rows}

    def reasons(self) -> dict[bytes, str | None]:
        """Path -> reason of the ledger, null for kept."""
        found: dict[bytes, str | None] = {}
        for folder in (self.work / "stages" / "ledger").iterdir():
            for part in sorted(folder.glob("ledger-*.parquet")):
                found |= {
                    row["path"]: row["reason"]
                    for row in pq.read_table(part, columns=["path", "reason"]).to_pylist()
                }
        return found


def release(
    archive: Path, base: Path, sections: Mapping[str, Any] | None = None, version: str = "1.0"
) -> Made:
    """Make a release of an archive below `base`, in this process."""
    outcome = make_release(
        settings(archive, sections), version=version, out=base / "out", workdir=str(base / "work"),
        executor=InProcess(), progress=Progress(quiet=True),
    )  # fmt: skip
    return Made(outcome, base / "work")
