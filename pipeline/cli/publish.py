"""`pipeline publish DIR --to ...`: a release to the Hugging Face Hub or to S3."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
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

from pipeline.delivery import Delivery, LocalFile, Watch


def register(app: typer.Typer) -> None:
    """Add `publish` to the command line."""
    app.command("publish")(publish)


def publish(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="A release on this machine, such as releases/2.1.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="hf://datasets/OWNER/NAME, with @BRANCH for another branch than main, or s3://BUCKET/PREFIX.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be uploaded; write nothing.")
    ] = False,
    create: Annotated[
        bool,
        typer.Option("--create", help="Make the Hub's repository (private) or branch, if it is not there."),
    ] = False,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Files in flight.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Publish a release: verify it, upload what is not there yet, check the copy, then make it visible.

    On S3 it goes to PREFIX/VERSION, its manifest last. On the Hub it becomes the next commit of the branch, with the version
    as its tag. A release that is there is never overwritten. Interrupted, the same command goes on where it stopped.
    The token of the Hub is HF_TOKEN or what `hf auth login` stored; S3 takes AWS_* or your AWS profile.
    """
    from pipeline import delivery

    with _watch() as watch:
        done = delivery.publish(directory, to, watch=watch, dry_run=dry_run, create=create, threads=threads)
    sys.stdout.write(json.dumps(done.to_json(), indent=2) + "\n" if as_json else _text(done))


def _text(done: Delivery) -> str:
    state = {
        "planned": "nothing was written (--dry-run)",
        "published": "published",
        "unchanged": "was published already, nothing was uploaded",
    }[done.state]
    lines = [
        f"{done.target}  {done.version}: {state}",
        f"  digest     {done.digest}",
        f"  upload     {_amount(done.upload)}",
        f"  copied     {_amount(list(done.copy))} within the bucket" if done.copy else "",
        f"  unchanged  {_amount(done.keep)}",
        f"  deleted    {len(done.delete):,} files of the release before" if done.delete else "",
        f"  commit     {done.commit}" if done.commit else "",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _amount(files: list[LocalFile] | tuple[LocalFile, ...]) -> str:
    return f"{len(files):,} files, {sum(file.bytes for file in files):,} bytes"


@contextlib.contextmanager
def _watch() -> Iterator[Watch]:
    """Progress on stderr: a bar on a terminal, a line per step elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Watch(
            note=lambda text: print(text, file=sys.stderr),  # noqa: T201
            total=lambda what, size: print(f"{what}: {size:,} bytes", file=sys.stderr),  # noqa: T201
            advance=lambda count: None,
        )
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield Watch(
            note=console.print,
            total=lambda what, size: bar.reset(task, total=size, description=what),
            advance=lambda count: bar.update(task, advance=count),
        )
