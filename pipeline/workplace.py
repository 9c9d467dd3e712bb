"""Where a run works: the folders on this machine that its units read and write, and the buckets of a new work directory."""

from __future__ import annotations

from pipeline.config import ReleaseConfig
from pipeline.engine.progress import Progress
from pipeline.engine.store import Store
from pipeline.sizing import buckets_for, buckets_of
from pipeline.sources.opening import open_archive


def local_folders(settings: ReleaseConfig, workdir: str, parent: str | None = None) -> dict[str, str]:
    """What units read and write on this machine's disk, by the option that names it."""
    archive = settings.archive
    named = {
        "--parent": parent,
        "--workdir": workdir,
        "archive.uri": archive.uri,
        "archive.graph": archive.graph,
        "archive.content": archive.content,
    }
    roots = {name: Store(address).root for name, address in named.items() if address is not None}
    return {name: str(root) for name, root in roots.items() if root is not None}


def new_buckets(settings: ReleaseConfig, workdir: str) -> int:
    """The number of buckets of a new work directory, by the size of its input."""
    archive, memory = settings.archive, settings.engine.task_memory
    if archive.uri is None and archive.graph is None:  # it will be built: no more files than it may have
        return buckets_for({"directory_entry": 2 * archive.max_files, "content": archive.max_files}, memory)
    export, _ = open_archive(settings, Store(workdir), Progress(quiet=True))
    return buckets_of(export, memory)
