"""What the pipeline would say of any folder: the functions of a release, applied to files on disk.

Paths are bytes relative to the folder, in byte order. Links are not followed; `.git` folders and files that cannot be read
are left out, the latter with a note. Records have the keys of DESIGN 6. Duplicates: `pipeline.scan_duplicates`; secrets:
`pipeline.scan_secrets`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError

Note = Callable[[str], None]
_BATCH_BYTES = 16 << 20


class Folder:
    """The regular files of a folder, largest first left out above `max_bytes` (with a note, as `too_large`)."""

    def __init__(self, path: Path, *, max_bytes: int, note: Note) -> None:
        if not path.is_dir():
            raise ConfigError(f"{path} is not a folder")
        self._root = path
        self._note = note
        self.sizes: dict[bytes, int] = {}
        for file, size in sorted(self._walk()):
            if size > max_bytes:
                note(f"{os.fsdecode(file)!r}: left out, {size:,} bytes (limit {max_bytes:,})")
            else:
                self.sizes[file] = size

    @property
    def paths(self) -> list[bytes]:
        """Relative paths in byte order."""
        return list(self.sizes)

    def read(self, path: bytes) -> bytes:
        """The bytes of a file; empty, with a note, when it cannot be read."""
        return self._read(path) or b""

    def batches(self) -> Iterator[tuple[list[bytes], pa.Array]]:
        """Files in batches of at most 16 MiB: paths, and bodies as a large_binary array."""
        paths: list[bytes] = []
        held = 0
        for path, size in self.sizes.items():
            if paths and held + size > _BATCH_BYTES:
                yield paths, self.bodies(paths)
                paths, held = [], 0
            paths.append(path)
            held += size
        if paths:
            yield paths, self.bodies(paths)

    def bodies(self, paths: list[bytes]) -> pa.Array:
        """The bytes of files, as large_binary; null, with a note, for one that cannot be read."""
        return pa.array([self._read(path) for path in paths], pa.large_binary())

    def _at(self, path: bytes) -> Path:
        return self._root / os.fsdecode(path)

    def _read(self, path: bytes) -> bytes | None:
        try:
            return self._at(path).read_bytes()
        except OSError as error:
            self._note(f"{os.fsdecode(path)!r}: not read: {error.strerror}")
            return None

    def _walk(self) -> Iterator[tuple[bytes, int]]:
        folders = [b""]  # not by recursion: a tree may be deeper than Python's stack
        while folders:
            prefix = folders.pop()
            try:
                entries = list(os.scandir(os.fsencode(self._at(prefix))))
            except OSError as error:
                self._note(f"{os.fsdecode(prefix)!r}: not listed: {error.strerror}")
                continue
            for entry in entries:
                path = prefix + entry.name
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError as error:
                    self._note(f"{os.fsdecode(path)!r}: left out: {error.strerror}")
                    continue
                if stat.S_ISDIR(status.st_mode):
                    if entry.name != b".git":
                        folders.append(path + b"/")
                elif stat.S_ISREG(status.st_mode):
                    yield path, status.st_size


def languages(folder: Folder) -> Iterator[Mapping[str, Any]]:
    """`{path, language, by}` per file; null where the language is unknown or the file is not text, `by` the step that decided."""
    from pipeline.content.languages import language_of_tree

    yield from language_of_tree(folder.paths, folder.read)


def licenses(
    folder: Folder, *, policy: str | None, scancode: bool, cache: Path | None = None
) -> Iterator[Mapping[str, Any]]:
    """`{path, expression, licenses, permitted, evidence}` per file; `cache`: a file that keeps what was detected."""
    from licensing.cache import DetectionCache
    from licensing.policy import Policy
    from licensing.scancode import ScanCode
    from licensing.tree import scan_tree
    from pipeline.stages.licenses import DETECTIONS_OF

    paths = folder.paths
    rules = Policy.load(Path(policy) if policy is not None else None)
    detector = ScanCode() if scancode else None
    with contextlib.closing(_database(cache)) as connection:
        kept = DetectionCache(connection, DETECTIONS_OF.key(scancode=scancode), detector)
        records = scan_tree(paths, lambda i: folder.read(paths[i]), rules, detector, cache=kept)
        for path, record in zip(paths, records, strict=True):
            yield {
                "path": path,
                **{k: record[k] for k in ("expression", "licenses", "permitted", "evidence")},
            }


def _database(cache: Path | None) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(cache if cache is not None else ":memory:")
        connection.execute("pragma user_version").fetchone()
    except sqlite3.Error as error:
        raise ConfigError(
            f"--cache {cache}: not a cache file, and none can be made there: {error}"
        ) from error
    return connection
