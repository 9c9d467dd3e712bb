"""`pipeline repositories`, `pipeline view` and `pipeline hydrate`: a release seen otherwise, without a second copy of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("repositories")(list_repositories)
    view = typer.Typer(
        name="view", help="Views of a release without a second copy of its texts.", no_args_is_help=True
    )
    view.command("ids")(view_ids)
    view.command("check")(view_check)
    app.add_typer(view)
    app.command("hydrate")(hydrate)


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


def view_ids(
    directory: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A release, such as releases/2.1 or s3://bucket/releases/2.1."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The new folder for the view.")],
) -> None:
    """Write an ids-only view: all rows without their texts, bound to the release by its digest and Merkle roots.

    `pipeline hydrate` fetches the texts again, checked row by row. A release on S3 is fetched whole into a temporary folder.
    """
    from manifests.reader import Release
    from pipeline.hydrate import make_view
    from pipeline.local_copy import local_copy

    with local_copy(directory) as folder:
        release = Release.open(folder)
        digest = make_view(release, out)
    size = sum(file.stat().st_size for file in out.rglob("*.parquet"))
    typer.echo(
        f"{out}: {release.manifest.totals.kept:,} rows of release {release.digest[:16]}, {size:,} bytes of ids"
    )
    typer.echo(f"digest of view.json  {digest}")


def view_check(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `pipeline view ids` made.")],
    digest: Annotated[
        str | None, typer.Option("--release", help="Digest of the release that it must be of.")
    ] = None,
) -> None:
    """Check an ids-only view: its files, every byte, and that its rows are those of the release that it names."""
    from manifests.ids_view import IdsView
    from manifests.names import visible
    from pipeline.errors import IntegrityError

    view = IdsView.open(directory)
    faults = [visible(fault) for fault in view.check()]
    if digest is not None and digest != view.source_digest:
        faults.append(f"it is of the release {view.source_digest}, not of {visible(digest)[:64]}")
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise IntegrityError(f"{directory}: {len(faults)} faults; fetch or make the view again")
    rows = sum(shard.rows for shard in view.shards)
    typer.echo(f"{directory}: {rows:,} rows, those of {view.source.name} {view.source.version}, no fault")
    typer.echo(f"  release  {view.source_digest}")


def hydrate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `pipeline view ids` made.")],
    content: Annotated[
        str,
        typer.Option(
            "--content",
            help="Where the objects are: s3://softwareheritage/content, or an archive's folder, which has content/.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The new folder for the rows.")],
    language: Annotated[
        list[str] | None, typer.Option("--language", help="Only this language; again for another.")
    ] = None,
    removals: Annotated[
        Path | None,
        typer.Option("--removals", help="JSON lines with row_id: rows that are not to be fetched any more."),
    ] = None,
    credentials: Annotated[
        bool, typer.Option("--credentials", help="Read S3 with your credentials, not anonymously.")
    ] = False,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Objects per second at most.")] = 500,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit with 0 although rows could not be had again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Fetch the texts of an ids-only view, decode and redact them as the release did, and write the rows.

    A row is handed out only if its text has the hash that the release gives it. The others are in OUT/left-out.jsonl, each
    with its reason, and counted; then the exit code is 4, but for rows that --removals names.
    """
    from manifests.ids_view import IdsView
    from pipeline import hydrate as again
    from pipeline.errors import IntegrityError

    view = IdsView.open(directory)
    texts = again.Texts(
        content=content,
        policy=again.redaction_of(view),
        notebooks=again.notebooks_of(view),
        anonymous=not credentials,
        rate=rate,
        withdrawn=again.read_removals(removals) if removals is not None else frozenset(),
    )
    done = again.hydrate(
        view,
        texts,
        out,
        languages=tuple(language or ()),
        note=lambda text: typer.echo(text, err=True),
    )
    if as_json:
        typer.echo(json.dumps(done.to_json(), sort_keys=True))
    else:
        typer.echo(f"{out}: {done.restored:,} of {done.rows:,} rows")
        typer.echo(
            f"  shards     {done.identical_shards:,} of {done.shards:,} are those of the release, to the byte"
        )
        for reason, amount in sorted(done.left_out.items()):
            typer.echo(f"  left out   {amount:>10,}  {reason}")
        if not done.same_rules:
            typer.echo("  the release was redacted by other rules than this version of the software has")
        if done.unpublished:
            typer.echo(
                f"  the publisher's {' and '.join(done.unpublished)} are not published: rows that they bear on are left out"
            )
    if done.lost and not allow_missing:
        raise IntegrityError(
            f"{done.lost:,} of {done.rows:,} rows could not be had again; {out}/{again.LEFT_OUT_FILE} says which and why"
        )
