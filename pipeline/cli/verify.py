"""`pipeline verify DIR`: is this release, to the byte, what its manifest says?"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from manifests.errors import ReleaseError
from manifests.names import visible
from manifests.verify import Report, verify_release
from pipeline.errors import ConfigError, IntegrityError
from pipeline.local_copy import local_copy

JSON_VERSION = 1
"""Version of the keys of `pipeline verify --json`."""

UNSIGNED = "UNSIGNED: this shows that the release agrees with itself, not who made it"
UNCHECKED = "SIGNATURE NOT CHECKED: this version of the software cannot check the signature that is there"


def register(app: typer.Typer) -> None:
    """Add `verify` to the command line."""
    app.command("verify")(verify)


def verify(
    directory: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A release, such as releases/2.1 or s3://bucket/releases/2.1."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Files checked at a time. [default: one per core, at most 8]"),
    ] = None,
) -> None:
    """Verify a release: its files, every checksum, every row, every figure.

    Exit code 0 when there is no fault; 4, with each fault and its file on stdout, when there is one.
    A release on S3 is fetched whole into a temporary folder first: below TMPDIR it needs as much space as its size.
    """
    try:
        with local_copy(directory, everything=True) as folder:
            report = _run(folder, threads)
    except ReleaseError as error:
        raise ConfigError(str(error)) from error
    sys.stdout.write(_json(report) if as_json else _text(directory, report))
    if not report.ok:
        files = len({fault.path for fault in report.faults})
        raise IntegrityError(
            f"{directory}: {len(report.faults)} faults in {files} files; do not use this copy,"
            " fetch these files again"
        )


def _run(directory: Path, threads: int | None) -> Report:
    if not sys.stderr.isatty():
        return verify_release(directory, threads=threads)
    columns = (
        TextColumn("verify"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        return verify_release(directory, threads=threads, progress=_advance(bar))


def _advance(bar: Progress) -> Callable[[int, int], None]:
    task = bar.add_task("verify", total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _json(report: Report) -> str:
    value = {
        "json_version": JSON_VERSION,
        "ok": report.ok,
        "version": report.version,
        "digest": report.digest,
        "signed": report.signed,
        "signature": "not checked" if report.signed else "UNSIGNED",
        "figures": report.figures,
        "faults": [
            {"path": fault.path, "code": fault.code, "message": fault.message} for fault in report.faults
        ],
    }
    return json.dumps(value, indent=2) + "\n"


def _text(directory: str, report: Report) -> str:
    lines = [visible(f"{fault.path}: {fault.code}: {fault.message}") for fault in report.faults]
    if report.ok:
        figures = report.figures
        lines = [
            f"{directory}: release {report.version} verified, no fault",
            f"  digest     {report.digest}",
            f"  files      {figures['files']:,} ({figures['bytes']:,} bytes)",
            f"  shards     {figures['shards']:,} in {figures['languages']:,} languages",
            f"  rows       {figures['rows']:,} ({figures['text_bytes']:,} bytes of text)",
        ]
    lines.append(f"  signature  {UNCHECKED if report.signed else UNSIGNED}" if report.ok else "")
    return "\n".join(line for line in lines if line) + "\n"
