"""An archive of plain folders: each is one origin with one revision of what lies in it now.

The tree has the ids that git would give it, with two differences that SWHIDs of folders have: empty folders
are kept, and nothing is ignored but `.git`. Symbolic links are recorded as links and never followed. What
cannot be read and what is neither file, link nor folder is left out and counted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.errors import ConfigError, SourceError
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.swhid import Branch, Revision, Timestamp
from pipeline.sources.synthetic import AUTHOR
from pipeline.sources.trees import add_tree
from pipeline.tables import PERMS_EXECUTABLE, PERMS_FILE, PERMS_SYMLINK

Progress = Callable[[str], None]

_THREADS = 2 * (os.cpu_count() or 1)


def parse_input(option: str, text: str) -> tuple[Path, str | None]:
    """`PATH` or `URL=PATH` -> (path, URL if given). ConfigError if it names no folder.

    An existing path wins, so that a folder whose name has `=` in it can be given as it is.
    """
    path = Path(text)
    if text and path.is_dir():
        return path, None
    cut = text.find("=")
    while cut > 0:  # a URL may have `=` in its query
        path = Path(text[cut + 1 :])
        if text[cut + 1 :] and path.is_dir():
            return path, text[:cut]
        cut = text.find("=", cut + 1)
    raise ConfigError(f"{option} {text}: no such folder (give PATH or URL=PATH)")


def add_folder(
    writer: ArchiveWriter,
    folder: Path,
    url: str | None = None,
    *,
    seconds: int = 0,
    progress: Progress = lambda _: None,
) -> None:
    """Add one folder, as the origin `url` or its `file:///` URI.

    `seconds` since the epoch is the date of its visit and revision: a folder has no date of its own that
    another machine would agree on. SourceError if the folder itself cannot be read.
    """
    url = url or folder.resolve().as_uri()
    writer.check_origin(url)
    listed, links, empty = _walk(writer, folder)
    files: dict[bytes, tuple[int, str]] = {}

    def store(item: tuple[bytes, int, int]) -> tuple[bytes, tuple[int, str]] | None:
        path, size, mode = item
        try:
            return path, (mode, writer.add_file(root + b"/" + path, size).sha1_git)
        except OSError:
            return None

    root = os.fsencode(folder)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="archive") as pool:
        for count, stored in enumerate(pool.map(store, listed), 1):
            if stored is None:
                writer.left_out["unreadable_file"] += 1
            else:
                files[stored[0]] = stored[1]
            if count % 5_000 == 0:
                progress(f"{count:,} of {len(listed):,} files: {folder.name}")
    for path, target in links:
        files[path] = (PERMS_SYMLINK, writer.add_content(target).sha1_git)
    writer.files += len(files)
    date = Timestamp(seconds=seconds)
    revision = writer.add_revision(
        Revision(
            directory=add_tree(writer, files, empty),
            author=AUTHOR,
            date=date,
            committer=AUTHOR,
            committer_date=date,
            message=url.encode("utf-8", "surrogateescape") + b"\n",
            type="tar",
        )
    )
    snapshot = writer.add_snapshot({b"HEAD": Branch(revision, "revision")})
    writer.add_origin(url, snapshot, seconds=seconds, visit_type="directory")


def _walk(
    writer: ArchiveWriter, folder: Path
) -> tuple[list[tuple[bytes, int, int]], list[tuple[bytes, bytes]], list[bytes]]:
    """(files as path, size, mode; links as path, target; folders), all relative to the folder, as bytes."""
    files: list[tuple[bytes, int, int]] = []
    links: list[tuple[bytes, bytes]] = []
    folders: list[bytes] = []
    root = os.fsencode(folder)
    waiting = [b""]
    while waiting:
        base = waiting.pop()
        try:
            with os.scandir(root + b"/" + base) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if not base:
                raise SourceError(f"--dir {folder}: cannot be read: {error.strerror}") from error
            writer.left_out["unreadable_folder"] += 1
            continue
        if base:
            folders.append(base)
        for entry in entries:
            path = base + b"/" + entry.name if base else entry.name
            if entry.name == b".git":
                writer.left_out["git_folder"] += 1
                continue
            try:
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    waiting.append(path)
                elif stat.S_ISLNK(info.st_mode):
                    links.append((path, os.readlink(entry.path)))  # noqa: PTH115  # a path of bytes
                elif stat.S_ISREG(info.st_mode):
                    mode = PERMS_EXECUTABLE if info.st_mode & stat.S_IXUSR else PERMS_FILE
                    files.append((path, info.st_size, mode))
                else:
                    writer.left_out["not_a_regular_file"] += 1
            except OSError:
                writer.left_out["unreadable_file"] += 1
    return files, links, folders
