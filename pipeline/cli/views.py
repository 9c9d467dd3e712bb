"""`pipeline repositories`, `pipeline view` and `pipeline hydrate`: a release seen otherwise, without a second copy of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("repositories")(list_repositories)


def list_repositories(
    directory: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A release, such as releases/2.1 or s3://bucket/releases/2.1."),
    ],
    language: Annotated[
        list[str] | None, typer.Option("--language", help="Files in this language; again for another.")
    ] = None,
    columns: Annotated[
        str, typer.Option("--columns", help="Columns of each file, with commas between them; `all` for all.")
    ] = "path,language,length_bytes,content_sha256",
    limit: Annotated[int | None, typer.Option("--limit", min=0, help="At most so many repositories.")] = None,
    no_verify: Annotated[
        bool,
        typer.Option("--no-verify", help="Do not hold the shards' checksums against the manifest first."),
    ] = False,
) -> None:
    """The files of each repository together, over all languages: a JSON object a line, {"origin": ..., "files": [...]}.

    One pass over the shards, in the order that they have; nothing is sorted and no repository is held in memory.
    """
    from manifests.errors import ReleaseError
    from manifests.repositories import repositories
    from pipeline.errors import IntegrityError
    from pipeline.query import Filters, check_columns, check_languages, opened
    from pipeline.query_output import json_line

    names = check_columns(name.strip() for name in columns.split(",") if name.strip())
    with opened(directory, Filters(languages=tuple(language or ()))) as release:
        check_languages(release, language or ())
        try:
            found = repositories(release, names, language, verify=not no_verify)
            for number, repository in enumerate(found):
                if limit is not None and number >= limit:
                    break
                sys.stdout.write('{"origin": ' + json_line(repository.origin).rstrip("\n") + ', "files": [')
                between = ""
                for batch in repository.batches:
                    for row in batch.to_pylist():
                        sys.stdout.write(between + json_line(row).rstrip("\n"))
                        between = ", "
                sys.stdout.write("]}\n")
        except ReleaseError as error:
            raise IntegrityError(str(error)) from error
