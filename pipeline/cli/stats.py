"""`pipeline stats DIR`: what is in a release, in figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.errors import ReleaseError
from manifests.names import visible
from manifests.reader import Release
from manifests.summary import summarize
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.local_copy import local_copy


def register(app: typer.Typer) -> None:
    """Add `stats` to the command line."""
    app.command("stats")(stats)


def stats(
    directory: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A release, such as releases/2.1 or s3://bucket/releases/2.1."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Lines of the longer tables.")] = 20,
) -> None:
    """Show what a release holds: kept and dropped by reason, languages, licenses, sizes, redactions, origins.

    The figures are those of the manifest and of the rows; whether the files are intact is `pipeline verify`.
    A release on S3 is fetched whole into a temporary folder first: below TMPDIR it needs as much space as its size.
    """
    with local_copy(directory) as folder:
        summary = _summary(folder, directory, top)
    if as_json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    else:
        _show(summary, top)


def _summary(folder: Path, shown: str, top: int) -> dict[str, Any]:
    try:
        release = Release.open(folder)
    except ReleaseError as error:
        raise ConfigError(str(error).replace(str(folder), shown)) from error
    except OSError as error:
        raise SourceError(f"{shown}: the manifest cannot be read: {error.strerror}") from error
    try:
        return summarize(release, top=top)
    except ReleaseError as error:
        raise IntegrityError(str(error).replace(str(folder), shown)) from error
    except OSError as error:
        raise SourceError(f"{shown}: {error}") from error


def _show(summary: dict[str, Any], top: int) -> None:
    console = Console(highlight=False)
    rows, found = summary["rows"], summary["totals"]["found"]
    console.print(Text(visible(f"{summary['name']} {summary['version']}"), style="bold"), soft_wrap=True)
    console.print(f"digest {summary['digest']}" + ("" if summary["signed"] else "  UNSIGNED"), soft_wrap=True)
    console.print(
        f"{rows:,} rows, {summary['text_bytes']:,} bytes of text, {summary['shards']:,} shards of"
        f" {summary['download_bytes']:,} bytes; {summary['redacted_rows']:,} rows redacted;"
        f" {summary['near_duplicates_represented']:,} near-duplicates stand behind them",
        soft_wrap=True,
    )
    dropped = [(f"dropped: {reason}", count) for reason, count in summary["totals"]["dropped"].items()]
    _counts(console, "Occurrences", [("found", found), *dropped, ("kept", rows)], found)
    unresolved = [
        (f"unresolved: {reason}", count) for reason, count in summary["origins"]["unresolved"].items()
    ]
    origins = [
        ("found", summary["origins"]["found"]),
        *unresolved,
        ("resolved", summary["origins"]["resolved"]),
    ]
    _counts(console, "Origins", origins, summary["origins"]["found"])
    languages = [(name, facts["rows"]) for name, facts in summary["languages"].items()]
    _counts(console, "Languages (rows)", languages, rows, top)
    text = sorted(
        ((name, facts["text_bytes"]) for name, facts in summary["languages"].items()),
        key=lambda pair: -pair[1],
    )
    _counts(console, "Languages (bytes of text)", text, summary["text_bytes"], top)
    _counts(console, "Licenses (rows)", summary["licenses"].items(), rows, top)
    _counts(console, "File sizes, original (rows)", summary["file_sizes"].items(), rows)
    _counts(console, "Redactions by kind", summary["redactions"].items(), sum(summary["redactions"].values()))
    _counts(console, "Origins with most rows", summary["top_origins"].items(), rows, top)


def _counts(
    console: Console, title: str, pairs: Iterable[tuple[str, int]], whole: int, top: int | None = None
) -> None:
    entries = list(pairs)
    if not entries:
        return
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False
    )
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for name, count in entries[:top]:
        table.add_row(Text(visible(name)), f"{count:,}", f"{100 * count / whole:.1f} %" if whole else "-")
    if top is not None and len(entries) > top:
        rest = sum(count for _, count in entries[top:])
        table.add_row(Text(f"({len(entries) - top:,} more)", style="italic"), f"{rest:,}", "")
    console.print()
    console.print(table)
