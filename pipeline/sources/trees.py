"""From a flat list of files to the directories of a tree, bottom up and without recursion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.swhid import Entry
from pipeline.tables import PERMS_DIRECTORY


def without_conflicts(paths: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """(paths that fit in one tree, paths that do not because another path has them as a directory)."""
    paths = list(paths)
    folders: set[bytes] = set()
    for path in paths:
        cut = path.rfind(b"/")
        while cut > 0 and path[:cut] not in folders:
            folders.add(path[:cut])
            cut = path.rfind(b"/", 0, cut)
    return [p for p in paths if p not in folders], [p for p in paths if p in folders]


def add_tree(
    writer: ArchiveWriter, files: Mapping[bytes, tuple[int, str]], empty: Iterable[bytes] = ()
) -> str:
    """Add every directory of a tree to the archive; returns the id of its root.

    `files` is path -> (git mode, id): paths are relative, `/` between components, none of them empty. `empty`
    names directories that must exist even if no file is below them. No path may be a directory of another.
    """
    folders: dict[bytes, list[Entry]] = {b"": []}

    def ensure(path: bytes) -> None:
        while path not in folders:
            folders[path] = []
            path = path.rpartition(b"/")[0]

    for path in empty:
        ensure(path)
    for path, (perms, target) in files.items():
        parent, _, name = path.rpartition(b"/")
        ensure(parent)
        folders[parent].append(Entry(name, perms, target))
    # Deepest first, so that the id of a directory is known before its parent is hashed.
    for path in sorted(folders, key=lambda p: p.count(b"/") + bool(p), reverse=True):
        folder_id = writer.add_directory(folders[path])
        if path:
            parent, _, name = path.rpartition(b"/")
            folders[parent].append(Entry(name, PERMS_DIRECTORY, folder_id))
    return folder_id
