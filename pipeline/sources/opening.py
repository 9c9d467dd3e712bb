"""From the configuration to an open archive: its graph export and its content objects; built first where asked for."""

from __future__ import annotations

from pipeline.config import ReleaseConfig
from pipeline.engine.progress import Progress
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, SourceError
from pipeline.sources.from_installed import build_installed
from pipeline.sources.graph import GraphExport, open_export
from pipeline.sources.sampling import Bounds


def open_archive(settings: ReleaseConfig, workdir: Store, progress: Progress) -> tuple[GraphExport, Store]:
    """The graph export and the store of content objects; the archive is built first where the configuration says so."""
    archive = settings.archive
    if archive.uri is None and archive.graph is None:
        if archive.build is None:
            raise ConfigError("no archive: give --archive, set archive.uri, or set archive.build: installed")
        if workdir.root is None:
            raise ConfigError(
                "archive.build needs a local --workdir; build the archive first with `pipeline archive`"
            )
        target = workdir.root / "archive"
        bounds = Bounds(
            max_files=archive.max_files,
            max_bytes=archive.max_bytes,
            max_files_per_origin=archive.max_files_per_origin,
        )
        summary = build_installed(target, bounds, progress=lambda _: None)
        verb = "is unchanged" if summary.reused else "was built"
        progress.note(f"{'archive':<26} {verb}: {summary.files:,} files of installed distributions, {target}")
        base = Store(str(target))
        return open_export(base, None, archive.export, form=archive.format), base
    base_store = Store(archive.uri, archive.anonymous) if archive.uri else None
    if base_store is not None and base_store.root is not None and not base_store.root.is_dir():
        raise SourceError(
            f"{archive.uri}: no such folder; give --archive a folder or s3:// prefix that holds graph/ and content/"
        )
    graph = Store(archive.graph, archive.anonymous) if archive.graph else None
    if archive.content:
        content = Store(archive.content, archive.anonymous)
    elif base_store is not None:
        content = base_store
    else:
        raise ConfigError("archive.graph is given without archive.uri: set archive.content too")
    export = open_export(base_store, graph, archive.export, form=archive.format, note=progress.note)
    return export, content
