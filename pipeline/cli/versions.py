"""`pipeline diff` and `pipeline apply-removals`: from one version of a release to another."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from manifests.changelog import WORDS
from manifests.changes import KINDS
from manifests.diff import IDS_KINDS, ReleaseDiff
from manifests.names import visible

JSON_VERSION = 1
"""Version of the keys of `pipeline apply-removals --json`."""


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command("diff")(diff)
    app.command("apply-removals")(apply)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A release, a folder or s3:// address.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A later one of the same dataset.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Languages shown.")] = 20,
) -> None:
    """Show what differs between two releases: rows by change, reason and language, what they depend on, shards to fetch.

    Where NEW was made with --parent OLD its changes.parquet tells all; else the row ids of both are compared, which tell
    rows that came, went, or have another text. Exit code 0 whether they differ or not.
    """
    from pipeline.compare import compare_releases

    found = compare_releases(old, new)
    if as_json:
        sys.stdout.write(json.dumps(found.to_json(), indent=2) + "\n")
    else:
        _show(found, top)


def _show(found: ReleaseDiff, top: int) -> None:
    console = Console(highlight=False)
    old, new = found.old, found.new
    title = f"{old.name}  {old.version} -> {new.version}"
    console.print(Text(visible(title), style="bold"), soft_wrap=True)
    console.print(f"digest {old.digest} -> {new.digest}", soft_wrap=True)
    shards = found.shards()
    console.print(
        f"rows {old.totals.kept:,} -> {new.totals.kept:,}; shards: {shards['same']['shards']:,} the same,"
        f" {shards['new']['shards']:,} new, {shards['gone']['shards']:,} gone; to fetch:"
        f" {shards['new']['bytes']:,} bytes of {shards['new']['bytes'] + shards['same']['bytes']:,}",
        soft_wrap=True,
    )
    told = [kind for kind in KINDS if found.exact or kind in IDS_KINDS]
    lines: list[tuple[str, ...]] = []
    for kind in told:
        lines.append((f"{kind}: {WORDS[kind]}", f"{found.changes[kind]:,}"))
        if kind == "removed":
            ordered = sorted(found.reasons.items(), key=lambda item: (-item[1], item[0]))
            lines += [(f"  {reason}", f"{number:,}") for reason, number in ordered]
    _table(console, "Rows that differ", ("change", "rows"), lines)
    if not found.exact:
        console.print(
            "(from the row ids; reasons and other differences are told by a release made with --parent)",
            soft_wrap=True,
        )
    languages = sorted(
        found.languages().items(), key=lambda item: (-sum(item[1].get(kind, 0) for kind in KINDS), item[0])
    )
    shown = [kind for kind in told if found.changes[kind]]  # columns of zeros would not fit a terminal
    _table(
        console,
        "Languages (rows and bytes of text, before and now)",
        ("language", "rows", "now", "text", "now", *shown),
        [
            (
                language,
                *(f"{number:,}" for name in ("rows", "text_bytes") for number in figures[name]),
                *(f"{figures.get(kind, 0):,}" for kind in shown),
            )
            for language, figures in languages[:top]
        ],
    )
    if len(languages) > top:
        console.print(f"({len(languages) - top:,} more)")
    for heading, pairs in (("Configuration", found.configuration), ("Depends on", found.differing)):
        lines = [(key, _short(before), _short(now)) for key, (before, now) in pairs.items()]
        _table(console, heading, ("", "before", "now"), lines, right=False)


def _short(value: str | None) -> str:
    return "(none)" if value is None else value[:24]


def _table(
    console: Console,
    title: str,
    header: tuple[str, ...],
    rows: Iterable[tuple[str, ...]],
    *,
    right: bool = True,
) -> None:
    entries = list(rows)
    if not entries:
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if right and number else "left", overflow="fold")
    for entry in entries:
        table.add_row(*(Text(visible(cell)) for cell in entry))
    console.print()
    console.print(table)


def apply(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="A downloaded release, such as releases/2.1.")
    ],
    removals: Annotated[
        str,
        typer.Argument(
            metavar="REMOVALS", help="A removals.jsonl, or a newer release (folder or s3://) with one."
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out", help="Write the result to this new folder; by default it takes the place of DIR."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Take rows out of an older copy that were withdrawn since: opt-outs, corrected licenses, takedowns.

    The copy is verified before and after. Only shards with withdrawn rows are written again; the result is a release of its
    own, 2.1+removals.<id>, without the signature of 2.1. It needs space for those shards; nothing is lost when it is cut
    off. Run it again whenever you like: what is gone already is not looked for.
    """
    from pipeline.apply_removals import apply_removals

    columns = (TextColumn("verify"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    stderr = Console(stderr=True)
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("verify", total=None)
        done = apply_removals(
            directory,
            removals,
            out=out,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        sys.stdout.write(json.dumps({"json_version": JSON_VERSION, **asdict(done)}, indent=2) + "\n")
        return
    if not done.rows:
        typer.echo(f"{directory}: 0 rows; none of its rows is named there, nothing was changed")
        return
    typer.echo(f"{done.directory}: {done.rows:,} withdrawn rows taken out; now {done.version}")
    typer.echo(f"digest    {done.digest}")
    typer.echo(f"shards    {done.shards_rewritten:,} written again, {done.shards_removed:,} gone")
    if done.files_left_out:
        typer.echo(
            f"left out  {', '.join(map(visible, done.files_left_out))} (they described the release as it was)"
        )
    typer.echo("UNSIGNED  the publisher's signature is of the release as it was")
