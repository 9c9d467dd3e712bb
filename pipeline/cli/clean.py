"""`pipeline clean`: remove what no release references."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

JSON_VERSION = 1
"""Version of the keys of `pipeline clean --json`."""

_WORDS = {
    "stages": "stage outputs that no release used",
    "annotations": "annotations that no release used",
    "shards": "files of shards that no release used",
    "orphans": "files of units that never ended",
    "temporary": "half-written files and uploads",
    "locks": "claims of releases",
    "records": "records of releases that are gone",
    "releases": "unfinished releases",
}


def clean(
    workdir: Annotated[
        str | None,
        typer.Option("--workdir", help="Work directory. [default: work, or none when --out is given]"),
    ] = None,
    out: Annotated[
        list[str] | None,
        typer.Option(
            "--out", help="Folder or s3:// prefix of releases to clean of unfinished ones; repeatable."
        ),
    ] = None,
    drop_unfinished: Annotated[
        bool,
        typer.Option(
            "--drop-unfinished",
            help="Remove the work of an interrupted run, too, instead of keeping it for its rerun.",
        ),
    ] = False,
    forget_missing: Annotated[
        bool,
        typer.Option(
            "--forget-missing", help="A release that is no longer where it was put counts as removed."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed and touch nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Remove from a work directory what no release references: outputs of other configurations, leftovers of killed runs.

    Kept are: all that a release used which this directory made (so making it again does nothing, and `explain` answers),
    what the last interrupted run has made so far, the archive built in the directory, and the records of runs. The work
    of runs that were interrupted before the last one is not kept. In each --out, what killed runs were writing is removed.
    Refuses while another run uses the work directory.
    """
    from pipeline.clean import clean as remove

    done = remove(
        workdir or (None if out else "work"),
        out or (),
        drop_unfinished=drop_unfinished,
        forget_missing=forget_missing,
        dry_run=dry_run,
        note=lambda message: typer.echo(message, err=True),
    )
    if as_json:
        sys.stdout.write(json.dumps({"json_version": JSON_VERSION, **vars(done)}, indent=2) + "\n")
    else:
        typer.echo(_text(vars(done)))


def _text(done: dict[str, Any]) -> str:
    verb = "to remove" if done["dry_run"] else "removed"
    lines = [
        f"{verb:<10}{found['objects']:>10,} objects {found['bytes']:>16,} bytes  {_WORDS[kind]}"
        for kind, found in done["removed"].items()
        if found["objects"]
    ] or [f"{verb:<10}nothing"]
    if done["workdir"] is not None:
        kept = done["kept"]
        lines.append(
            f"{'kept':<10}{kept['objects']:>10,} objects {kept['bytes']:>16,} bytes  in {done['workdir']}"
        )
    lines += [f"note: {note}" for note in done["notes"]]
    return "\n".join(lines)


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("clean")(clean)
