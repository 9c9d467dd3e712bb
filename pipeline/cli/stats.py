"""`pipeline stats`: what is in a release, in figures; with `--run` what making it took."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.errors import ReleaseError
from manifests.names import SIGNATURE, visible
from manifests.reader import Release
from manifests.report.words import class_name
from manifests.summary import STATS_FILE, summarize
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.local_copy import is_remote, local_copy, manifest_of


def register(app: typer.Typer) -> None:
    """Add `stats` to the command line."""
    app.command("stats")(stats)


def stats(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR]",
            help="A release, such as releases/2.1 or s3://bucket/releases/2.1. With --run: the id of a run, or its"
            " beginning; the newest without one.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Lines of the longer tables.")] = 20,
    recount: Annotated[
        bool, typer.Option("--recount", help="Count the rows again, also where stats.json has the figures.")
    ] = False,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="WORKDIR",
            help="Show what a run took, from this work directory: time, memory and cost by stage.",
        ),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices", help="With --run: YAML file of your prices; see configs/prices-example.yaml."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="With --run: write a page of it to this file, too.")
    ] = None,
) -> None:
    """Show what a release holds: kept and dropped by reason, languages, licenses, sizes, redactions, origins.

    The figures are those of stats.json, checked against the manifest, or of the manifest and the rows where a release has no
    such file; whether the files are intact is `pipeline verify`. Of a release on S3 only these two files are fetched; all of
    it, below TMPDIR, where rows have to be counted.

    With --run it shows what the making of a release took instead: the record of a run in its work directory.
    """
    if run is not None:
        from pipeline.cli.run_stats import show_run

        show_run(run, directory, as_json=as_json, prices=prices, html=html)
        return
    if prices is not None or html is not None:
        raise ConfigError(
            "--prices and --html go with --run WORKDIR; report.html of a release is in its folder"
        )
    if directory is None:
        raise ConfigError("give the folder of a release, such as releases/2.1, or --run WORKDIR")
    summary = _summary(directory, recount)
    if as_json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    else:
        _show(summary, top)


def _summary(shown: str, recount: bool) -> dict[str, Any]:
    with manifest_of(shown, STATS_FILE, SIGNATURE) as folder, _translated(folder, shown):
        release = _open(folder, shown)
        if not is_remote(shown) or (not recount and STATS_FILE in release.manifest.listed()):
            return summarize(release, recount=recount)
    with local_copy(shown) as folder, _translated(folder, shown):
        return summarize(_open(folder, shown), recount=recount)


def _open(folder: Path, shown: str) -> Release:
    try:
        return Release.open(folder)
    except ReleaseError as error:
        raise ConfigError(str(error).replace(str(folder), shown)) from error
    except OSError as error:
        raise SourceError(f"{shown}: the manifest cannot be read: {error.strerror}") from error


@contextmanager
def _translated(folder: Path, shown: str) -> Iterator[None]:
    try:
        yield
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
        f" {summary['near_duplicates_represented']:,} near-duplicates and {summary['copies_represented']:,} copies stand"
        " behind them",
        soft_wrap=True,
    )
    dropped = [
        (f"dropped: {reason}", count) for reason, count in _descending(summary["totals"]["dropped"].items())
    ]
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
    languages = summary["languages"]
    for title, key, whole in (
        ("Languages (rows)", "rows", rows),
        ("Languages (bytes of text)", "text_bytes", summary["text_bytes"]),
    ):
        pairs = _descending((name, facts[key]) for name, facts in languages.items())
        _counts(console, title, pairs, whole, top)
    _counts(console, "Licenses (rows)", _descending(summary["licenses"].items()), rows, top)
    for title, key in (("File sizes, original (rows)", "file_sizes"), ("Lines (rows)", "lines")):
        classes = [(class_name(one, size_of=key == "file_sizes"), one["rows"]) for one in summary[key]]
        _counts(console, title, classes, rows)
    spans = _descending((kind, one["spans"]) for kind, one in summary["redactions"].items())
    _counts(console, "Redactions by kind", spans, sum(count for _, count in spans))
    _near(console, summary["near"], top)
    _duplication(console, summary["duplication"])
    best = [(one["origin"], one["rows"]) for one in summary["top_origins"]]
    more = summary["origins_with_rows"] - len(best)
    _counts(console, "Origins with most rows", best, rows, top, more=more)


def _near(console: Console, near: dict[str, Any] | None, top: int) -> None:
    if near is None:
        return
    alarms = [(one["language"], one["dropped"]) for one in near["language_alarms"]]
    alarms += [(one["origin"], one["dropped"]) for one in near["origin_alarms"]]
    rule = (
        f"near-duplicates took more than {near['alarm_percent']} % of {near['alarm_least']} contents or more"
    )
    _counts(console, f"Wipe-out alarm: {rule} (dropped)", alarms, 0, top)


def _duplication(console: Console, told: dict[str, Any] | None) -> None:
    """Copies of repositories, and what the signals count; of these only what was asked for."""
    if told is None:
        return
    lines = [
        ("origins that have the root directory of another one", told["roots"]["origins"]),
        ("origins in networks of forks and equal roots", told["networks"]["origins"]),
    ]
    if (contained := told["containment"]) is not None:
        lines.append(
            (f"rows that lie in a bigger one, at {contained['least']} or more", contained["contained"])
        )
    if (repeated := told["repeated"]) is not None:
        lines.append(("files with repeated blocks of lines", repeated["files"]))
    _counts(console, "Copies and repeated text", [line for line in lines if line[1]], 0)


def _descending(pairs: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _counts(
    console: Console,
    title: str,
    pairs: Iterable[tuple[str, int]],
    whole: int,
    top: int | None = None,
    more: int = 0,
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
    shown = entries[:top]
    for name, count in shown:
        table.add_row(Text(visible(name)), f"{count:,}", f"{100 * count / whole:.1f} %" if whole else "-")
    if left := len(entries) - len(shown) + more:
        rest = (
            whole - sum(count for _, count in shown)
            if more
            else sum(count for _, count in entries[len(shown) :])
        )
        table.add_row(Text(f"({left:,} more)", style="italic"), f"{rest:,}", "")
    console.print()
    console.print(table)
