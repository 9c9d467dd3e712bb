"""`pipeline explain`: what happened to a file or a repository, and why."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def explain(
    directory: Annotated[str, typer.Argument(help="Release directory or s3:// address.")],
    identifier: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="SWHID (of a content, root directory, revision, snapshot or origin), sha256, sha1 or sha1_git of a"
            " content, sha256 of a released text, row id, or an origin's URL.",
        ),
    ],
    path: Annotated[
        str | None, typer.Argument(help="Path of a file or folder, where ID is an origin.")
    ] = None,
    workdir: Annotated[
        str, typer.Option("--workdir", help="Work directory that made the release; it holds the ledger.")
    ] = "work",
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Occurrences, and members of a cluster, to print.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell the story of a file or repository: where it was found, which rule dropped it, or where it is.

    Of a release on S3 only the manifest is fetched, and of its shards what the question needs.
    """
    from pipeline.explain import explain as look_up
    from pipeline.explain_words import render

    story = look_up(directory, identifier, path=path, workdir=workdir, limit=limit)
    typer.echo(json.dumps(story, indent=2, sort_keys=True) if as_json else render(story))


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("explain")(explain)
