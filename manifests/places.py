"""Where a release lies, as verification reads it: its files with their sizes, and each of them opened for reading.

    place_of(folder)    a folder, or what the Hub's client made of one: a snapshot in its cache, or a `local_dir`
    Place               the interface; a release in an object store has its own implementation, on the floor above

A release holds plain files only. The Hub's cache is the one exception: there each file is a symbolic link to
`../../blobs/<hash>`, and exactly such links are followed, in exactly such a folder, and nowhere else.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from manifests.errors import ReleaseError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOB = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")  # git's sha1 of a small file, the sha256 of a large one
_GIT_ATTRIBUTES = ".gitattributes"
_HUB_FOLDERS = (".cache/huggingface", ".huggingface")
_HUB_FILES = re.compile(
    r"(\.cache/huggingface|\.huggingface)/"
    r"(CACHEDIR\.TAG|\.gitignore|\.gitignore\.lock|(download|upload)/.+\.(metadata|lock))"
)


@dataclass
class Listing:
    """What is in a place."""

    files: dict[str, int] = field(default_factory=dict)
    """Path -> size in bytes of every plain file (or link that the place allows)."""
    ignored: list[str] = field(default_factory=list)
    """Files that are no part of the release, and that the place itself puts there; sorted."""
    refused: dict[str, str] = field(default_factory=dict)
    """Path -> what it is, of what is neither a plain file nor a folder."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Folder -> why its files cannot be listed."""


class Place(Protocol):
    """Files by their path in the release. Safe to use from several threads."""

    def listing(self) -> Listing:
        """Return all that is there. Paths that are not UTF-8 hold surrogates, as `os.fsdecode` makes them."""
        ...

    def open(self, path: str, *, whole: bool) -> BinaryIO:
        """Open a file for seekable reading; `whole` says that all of it will be read, maybe twice.

        Raises `OSError`, and what the place raises of its own where it cannot be reached.
        """
        ...


class Folder:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def listing(self) -> Listing:
        """See `Place`."""
        found = Listing()

        def unreadable(error: OSError) -> None:
            found.unreadable[self._relative(os.fspath(error.filename))] = error.strerror or "unreadable"

        for folder, folders, files in os.walk(self.root, onerror=unreadable, followlinks=False):
            for name in folders + files:
                full = os.path.join(folder, name)  # noqa: PTH118  (names may not be UTF-8)
                self._enter(found, self._relative(full), full)
        found.ignored.sort()
        return found

    def _relative(self, full: str) -> str:
        return os.path.relpath(full, self.root).replace(os.sep, "/")

    def _enter(self, found: Listing, path: str, full: str) -> None:
        try:
            facts = os.lstat(full)
            if stat.S_ISLNK(facts.st_mode):
                target = self._follow(path, full)
                if target is None:
                    found.refused[path] = "a symbolic link"
                    return
                facts = os.lstat(target)
        except OSError as error:
            found.refused[path] = f"not there any more: {error.strerror}"
            return
        if stat.S_ISREG(facts.st_mode):
            if self._is_ignored(path):
                found.ignored.append(path)
            else:
                found.files[path] = facts.st_size
        elif not stat.S_ISDIR(facts.st_mode):
            found.refused[path] = "neither a file nor a folder"

    def _is_ignored(self, path: str) -> bool:
        return False

    def _follow(self, path: str, full: str) -> str | None:
        """Where a symbolic link leads, None if it is not allowed here."""
        return None

    def open(self, path: str, *, whole: bool) -> BinaryIO:
        """See `Place`. A link that was put there since the listing is not followed."""
        full = os.path.join(self.root, path)  # noqa: PTH118  (names may not be UTF-8)
        target = self._follow(path, full) if os.path.islink(full) else None  # noqa: PTH114
        # Not blocking: a pipe of that name would wait for a writer for ever.
        handle = os.open(target or full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        return os.fdopen(handle, "rb", buffering=0)


class HubFolder(Folder):
    """What `huggingface_hub` downloads with `local_dir`: plain files, and its own notes beside them."""

    def _is_ignored(self, path: str) -> bool:
        return path == _GIT_ATTRIBUTES or _HUB_FILES.fullmatch(path) is not None


class HubSnapshot(Folder):
    """`.../snapshots/<commit>` in the cache of `huggingface_hub`: links to `.../blobs/<hash>`, and nothing else."""

    def _is_ignored(self, path: str) -> bool:
        return path == _GIT_ATTRIBUTES

    def _follow(self, path: str, full: str) -> str | None:
        up, _, name = os.readlink(full).rpartition("/blobs/")  # noqa: PTH115
        if up != "/".join([".."] * (path.count("/") + 2)) or not _BLOB.fullmatch(name):
            return None
        blob = self.root.parent.parent / "blobs" / name
        return str(blob) if stat.S_ISREG(blob.lstat().st_mode) else None


def place_of(directory: str | Path) -> Folder:
    """Return the place of a release in a folder, by the layout that is found; `ReleaseError` if it is no folder.

    The folder itself may be named through links.
    """
    given = Path(directory)
    if not given.is_dir():
        raise ReleaseError(f"{given}: no such folder; give the folder of a release, such as releases/2.1")
    root = given.resolve()
    blobs = root.parent.parent / "blobs"
    if (
        root.parent.name == "snapshots"
        and _COMMIT.fullmatch(root.name)
        and blobs.is_dir()
        and not blobs.is_symlink()
    ):
        return HubSnapshot(root)
    for name in _HUB_FOLDERS:
        if (root / name).is_dir() and not (root / name).is_symlink():
            return HubFolder(root)
    return Folder(given)
