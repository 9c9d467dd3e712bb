"""`pipeline archive`: an archive in Software Heritage's layout of repositories, folders or installed code."""

from __future__ import annotations

import json
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import ConfigError
from pipeline.sources.sampling import Bounds

if TYPE_CHECKING:
    from pipeline.sources.archive_summary import ArchiveSummary

_BOUNDS = Bounds()

_WHY = {
    "bytecode": "byte code",
    "compiled": "compiled code",
    "installer_record": "records of the installer",
    "outside_packages": "installed outside the package folder",
    "damaged_distribution": "distributions with damaged metadata",
    "editable_distribution": "distributions installed in editable mode",
    "missing_file": "listed but not there",
    "unreadable_file": "not readable",
    "unreadable_folder": "folders not readable",
    "not_a_regular_file": "neither file, link nor folder",
    "conflicting_path": "paths that collide with another file",
    "git_folder": ".git folders",
    "missing_blob": "contents that the repository does not have",
    "broken_ref": "broken refs",
    "license_collection": "license texts that are a collection, not evidence",
    "max_files": "over --max-files",
    "max_bytes": "over --max-bytes",
    "max_files_per_origin": "over --max-files-per-origin",
    "max_file_bytes": f"larger than {_BOUNDS.max_file_bytes:,} bytes",
}
"""Reason in `ArchiveSummary.left_out` -> what a person reads."""


class GraphFormat(StrEnum):
    """What the graph tables are written as."""

    PARQUET = "parquet"
    ORC = "orc"
    BOTH = "both"


def archive(
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Folder of the archive; replaces an export of the same name."
        ),
    ] = Path("archive"),
    installed: Annotated[
        bool,
        typer.Option(
            "--installed", help="The distributions of this Python environment and the standard library."
        ),
    ] = False,
    git: Annotated[
        list[str] | None,
        typer.Option("--git", metavar="[URL=]PATH", help="A git repository, bare or not (repeatable)."),
    ] = None,
    folder: Annotated[
        list[str] | None,
        typer.Option("--dir", metavar="[URL=]PATH", help="A folder as it is now (repeatable)."),
    ] = None,
    export: Annotated[
        str, typer.Option("--export", metavar="NAME", help="Name of the export below graph/.")
    ] = "local",
    graph_format: Annotated[
        GraphFormat,
        typer.Option("--graph-format", help="Form of the graph tables; orc is that of public exports."),
    ] = GraphFormat.PARQUET,
    max_files: Annotated[
        int, typer.Option("--max-files", min=1, help="Files taken by --installed, in all.")
    ] = _BOUNDS.max_files,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", min=1, help="Bytes of the files taken by --installed, in all.")
    ] = _BOUNDS.max_bytes,
    max_files_per_origin: Annotated[
        int,
        typer.Option("--max-files-per-origin", min=1, help="Files of one distribution for --installed."),
    ] = _BOUNDS.max_files_per_origin,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Build an archive in Software Heritage's layout from local code.

    Inputs can be combined. Ids are true SWHIDs; the same inputs give the same tables, byte for byte. Dates of
    folders and installed packages are SOURCE_DATE_EPOCH, or the epoch.
    """
    from pipeline.sources.archive_writer import ArchiveWriter, check_export_name
    from pipeline.sources.from_folder import add_folder, parse_input
    from pipeline.sources.from_git import add_git
    from pipeline.sources.from_installed import add_installed, build_installed

    if not (installed or git or folder):
        raise ConfigError("nothing to archive: give --installed, --git PATH or --dir PATH")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(out)):
        raise ConfigError(f"--out {out}: archives are built in a local folder; copy it to a store afterwards")
    check_export_name(export)
    repositories = [parse_input("--git", text) for text in git or ()]
    folders = [parse_input("--dir", text) for text in folder or ()]
    for path, _ in folders:
        if out.resolve().is_relative_to(path.resolve()):
            raise ConfigError(f"--out {out} lies inside --dir {path}: the archive would contain itself")
    bounds = Bounds(max_files=max_files, max_bytes=max_bytes, max_files_per_origin=max_files_per_origin)
    seconds = _source_date()
    forms = ("parquet", "orc") if graph_format is GraphFormat.BOTH else (str(graph_format),)
    if installed and not (repositories or folders):
        summary = build_installed(out, bounds, export=export, seconds=seconds, forms=forms, progress=_say)
    else:
        with ArchiveWriter(out, export, forms=forms) as writer:
            for path, url in repositories:
                _say(f"reading the repository {path}")
                add_git(writer, path, url, progress=_say)
            for path, url in folders:
                _say(f"reading the folder {path}")
                add_folder(writer, path, url, seconds=seconds, progress=_say)
            if installed:
                add_installed(writer, bounds, seconds=seconds, progress=_say)
            summary = writer.finish()
    typer.echo(json.dumps(summary.to_json(), indent=1, sort_keys=True) if as_json else _text(summary))


def register(app: typer.Typer) -> None:
    """Mount the command on the application."""
    app.command("archive")(archive)


def _source_date() -> int:
    """SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/), 0 when it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "").strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ConfigError(f"SOURCE_DATE_EPOCH={text!r} is not a number of seconds since the epoch")
    return int(text)


def _say(message: str) -> None:
    typer.echo(f"archive: {message}", err=True)


def _text(summary: ArchiveSummary) -> str:
    state = "nothing changed, used again" if summary.reused else "built"
    lines = [
        f"{summary.archive} (export {summary.export}): {state}",
        f"  {summary.origins:,} origins, {summary.files:,} files, {summary.contents:,} unique contents "
        f"of {summary.content_bytes:,} bytes",
    ]
    left_out = {why: count for why, count in summary.left_out.items() if count}
    if left_out:
        lines.append("  left out:")
        lines += [f"    {count:>9,}  {_WHY.get(why, why)}" for why, count in left_out.items()]
    return "\n".join(lines)
