"""`pipeline scan languages|licenses|secrets|duplicates DIR`: what the pipeline would say of any folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(
    name="scan",
    help="What the pipeline would say of any folder, from the same functions as a release.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder to scan; .git and links are left out.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
MaxBytes = Annotated[
    int, typer.Option("--max-bytes", min=1, help="Bytes of a file; larger ones are left out, with a note.")
]
_LIMIT = 10_485_760


@app.command("languages")
def languages(directory: Directory, as_json: AsJson = False, max_bytes: MaxBytes = _LIMIT) -> None:
    """The language of every file: {path, language}, null where unknown or not text."""
    from pipeline import scan

    _print(
        scan.languages(_folder(directory, max_bytes)),
        as_json,
        lambda r: f"{r['language'] or '-'}\t{r['path']}",
    )


@app.command("licenses")
def licenses(
    directory: Directory,
    as_json: AsJson = False,
    policy: Annotated[
        str | None, typer.Option("--policy", help="Policy file; default: the permissive list of the product.")
    ] = None,
    scancode: Annotated[
        bool, typer.Option("--scancode/--no-scancode", help="Run ScanCode on license-like files.")
    ] = True,
    max_bytes: MaxBytes = _LIMIT,
) -> None:
    """The license of every file with its evidence: {path, expression, licenses, permitted, evidence}."""
    from pipeline import scan

    records = scan.licenses(_folder(directory, max_bytes), policy=policy, scancode=scancode)
    _print(
        records,
        as_json,
        lambda r: f"{'ok ' if r['permitted'] else 'no '} {r['expression'] or '-'}\t{r['path']}",
    )


@app.command("secrets")
def secrets(
    directory: Directory,
    as_json: AsJson = False,
    sensitivity: Annotated[
        Literal["low", "medium", "high"], typer.Option("--sensitivity", help="Tier of rules.")
    ] = "high",
    max_bytes: MaxBytes = _LIMIT,
) -> None:
    """Secrets and personal data: {path, start, end, kind, rule}, byte offsets in the text as UTF-8; values are never printed."""
    from pipeline import scan

    records = scan.secrets(_folder(directory, max_bytes), sensitivity=sensitivity)
    _print(records, as_json, lambda r: f"{r['kind']}\t{r['rule']}\t{r['path']}:{r['start']}-{r['end']}")


@app.command("duplicates")
def duplicates(
    directory: Directory,
    as_json: AsJson = False,
    threshold: Annotated[
        str, typer.Option("--threshold", help="Jaccard similarity of near-duplicates, above 0 and at most 1.")
    ] = "0.7",
    max_bytes: MaxBytes = _LIMIT,
) -> None:
    """Exact and near duplicates of the text files: {path, kind, duplicate_of, cluster, kept, similarity}."""
    from pipeline import scan

    records = scan.duplicates(_folder(directory, max_bytes), threshold=threshold)
    _print(
        records,
        as_json,
        lambda r: (
            f"{r['kind']}\t{r['path']}" + (f"\t{r['duplicate_of']}" if r["duplicate_of"] is not None else "")
        ),
    )


def _folder(directory: Path, max_bytes: int) -> Any:
    from pipeline.scan import Folder

    return Folder(directory, max_bytes=max_bytes, note=lambda text: typer.echo(f"note: {text}", err=True))


def _print(records: Iterator[Mapping[str, Any]], as_json: bool, line: Any) -> None:
    from pipeline.content.names import escape

    for record in records:
        shown = {key: escape(value) if isinstance(value, bytes) else value for key, value in record.items()}
        typer.echo(json.dumps(shown) if as_json else line(shown))


def register(parent: typer.Typer) -> None:
    """Mount the group."""
    parent.add_typer(app)
