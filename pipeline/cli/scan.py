"""`pipeline scan languages|licenses|secrets|signals|contamination|duplicates DIR`: what the pipeline would say of any folder."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

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
    """The language of every file: {path, language, by}, null where unknown or not text; `by` is the step that decided."""
    from pipeline import scan

    _print(
        scan.languages(folder_of(directory, max_bytes)),
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
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", help="File that keeps what was detected, for the next scan; made when missing."
        ),
    ] = None,
    max_bytes: MaxBytes = _LIMIT,
) -> None:
    """The license of every file with its evidence: {path, expression, licenses, permitted, evidence}."""
    from pipeline import scan

    records = scan.licenses(folder_of(directory, max_bytes), policy=policy, scancode=scancode, cache=cache)
    _print(
        records,
        as_json,
        lambda r: f"{'ok ' if r['permitted'] else 'no '} {r['expression'] or '-'}\t{r['path']}",
    )


@app.command("signals")
def signals(
    directory: Directory,
    as_json: AsJson = False,
    profile: Annotated[
        str, typer.Option("--profile", help="Filter profile: a name, or a YAML file; docs/quality.md.")
    ] = "the-stack-v2",
    parsers: Annotated[
        bool, typer.Option("--parsers", help="Parse files of the languages with a parser at hand.")
    ] = False,
    max_bytes: MaxBytes = _LIMIT,
) -> None:
    """The files that a quality profile would drop, and why; with --json of every file {path, language, reason, fails, signals}.

    What it comes to is said on stderr.
    """
    from pipeline.content.profiles import load_profile
    from pipeline.scan_signals import scan_signals

    rules = load_profile(profile)  # before a folder is walked
    found: Counter[str] = Counter()

    def counted() -> Iterator[Mapping[str, Any]]:
        for record in scan_signals(folder_of(directory, max_bytes), rules, parsers=parsers):
            found[str(record["reason"] or "passed")] += 1
            if as_json or record["reason"]:
                yield record

    _print(counted(), as_json, _failed)
    for reason, files in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        typer.echo(f"{files:>10,}  {reason}", err=True)


def _failed(record: Mapping[str, Any]) -> str:
    tests = "; ".join(
        f"{one['signal']} is {one['value']}"
        + "".join(f", {side} {one[side]}" for side in ("above", "below") if side in one)
        for one in record["fails"]
    )
    return f"{record['reason']}\t{record['path']}\t{tests}"


@app.command("contamination")
def contamination(
    directory: Directory,
    benchmarks: Annotated[
        list[str],
        typer.Option(
            "--benchmarks",
            metavar="[NAME=]FILE",
            help="A benchmark: .jsonl, .json (both also .gz), .parquet, .csv, or a folder, local or s3://; may be given again."
            " NAME: what the evidence calls it; default: the file's name up to its first dot.",
        ),
    ],
    as_json: AsJson = False,
    fields: Annotated[
        str | None,
        typer.Option(
            "--fields",
            help="Keys that hold the texts, with commas; default: told by the keys of the first record.",
        ),
    ] = None,
    id_key: Annotated[str | None, typer.Option("--id", help="Key that names an item.")] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=3, max=64, help="Words of an n-gram.")] = 5,
    threshold: Annotated[
        str,
        typer.Option(
            "--threshold", help="Share of a text's n-grams from which on it is told, at least 0.25."
        ),
    ] = "0.4",
    max_bytes: MaxBytes = _LIMIT,
) -> None:
    """Texts of benchmarks in files: {path, benchmark, item, field, share, matched, ngrams, start, end}, byte offsets in the text
    as UTF-8. Of a release directory the rows are searched, with origin and row_id. What cannot be searched for is said on stderr.
    """
    from pipeline.config import parse
    from pipeline.scan_contamination import in_folder, in_release, is_release
    from pipeline.stages.text_contamination import open_benchmarks

    named = []
    for one in benchmarks:
        name, _, path = one.rpartition("=")
        short = path.rstrip("/").rsplit("/", 1)[-1].split(".", 1)[0]
        more = {"id": id_key, "fields": [key.strip() for key in fields.split(",")] if fields else []}
        named.append({"name": name or short, "path": path, **more})
    given = {"benchmarks": named, "ngram": ngram, "threshold": threshold}
    sought = open_benchmarks(parse({"contamination": given}, where="--benchmarks").contamination)
    assert sought is not None
    for line in sought.not_searched():
        _note(line)
    _print(
        in_release(directory, sought)
        if is_release(directory)
        else in_folder(folder_of(directory, max_bytes), sought),
        as_json,
        lambda r: (
            f"{r['share']:6.1%}  {r['benchmark']}/{r['item']} {r['field']}\t{r['path']}:{r['start']}-{r['end']}"
        ),
    )


@app.command("duplicates")
def duplicates(
    directory: Directory,
    as_json: AsJson = False,
    threshold: Annotated[
        str, typer.Option("--threshold", help="Jaccard similarity of near-duplicates, above 0 and at most 1.")
    ] = "0.7",
    operators: Annotated[
        bool, typer.Option("--operators", help="Punctuation counts, too, and not only words.")
    ] = False,
    clusters: Annotated[
        bool, typer.Option("--clusters", help="Groups of files instead, the largest first.")
    ] = False,
    max_bytes: MaxBytes = _LIMIT,
) -> None:
    """Exact and near duplicates of the text files, the copies only; with --json of every text file {path, kind, duplicate_of,
    cluster, kept, similarity}. Of several the first path in byte order is kept. What it comes to is said on stderr.
    """
    from dedup.verify import Threshold
    from pipeline.scan_duplicates import find_duplicates

    Threshold.of(threshold)  # before a folder is walked
    folder = folder_of(directory, max_bytes)
    with _Reading(len(folder.sizes), sum(folder.sizes.values())) as reading:
        found = find_duplicates(
            folder, threshold=threshold, note=_note, progress=reading, operators=operators
        )
    if clusters:
        _print_clusters(found.clusters(), as_json)
    elif as_json:
        _print(found.records(), True, None)
    else:
        _print((record for record in found.records() if not record["kept"]), False, _copy)
    typer.echo(found.summary(), err=True)


def _copy(record: Mapping[str, Any]) -> str:
    return f"{record['kind']:<6} {_percent(record):>6}  {record['path']}  =  {record['duplicate_of']}"


def _percent(record: Mapping[str, Any]) -> str:
    """The similarity, rounded down: 100.0% is nothing less. Empty for a kept file."""
    return "" if record["kept"] else f"{int(record['similarity'] * 1000) / 10:.1f}%"


def _print_clusters(groups: Iterator[Mapping[str, Any]], as_json: bool) -> None:
    for group in groups:
        files = [shown(file) for file in group["files"]]
        if as_json:
            typer.echo(json.dumps({**shown(group), "files": files}))
            continue
        typer.echo(f"{len(files)} files, the kept one of {group['bytes']:,} bytes")
        for file in files:
            typer.echo(f"  {'kept' if file['kept'] else file['kind']:<6} {_percent(file):>6}  {file['path']}")


class _Reading:
    """How far reading has come, on stderr: a live line on a terminal, elsewhere a line each half minute."""

    def __init__(self, files: int, size: int) -> None:
        self._files, self._size = files, size
        self._live = sys.stderr.isatty()
        self._last = time.monotonic()

    def __enter__(self) -> _Reading:
        return self

    def __call__(self, files: int, size: int) -> None:
        now = time.monotonic()
        if now - self._last < (0.2 if self._live else 30):
            return
        self._last = now
        line = f"read {files:,} of {self._files:,} files, {size / 1e6:,.0f} of {self._size / 1e6:,.0f} MB"
        typer.echo(f"\r\x1b[2K{line}" if self._live else line, err=True, nl=not self._live, color=self._live)

    def __exit__(self, *_: object) -> None:
        if self._live:
            typer.echo("\r\x1b[2K", err=True, nl=False, color=True)


def folder_of(directory: Path, max_bytes: int) -> Any:
    """The files of a folder; what is left out is noted on stderr."""
    from pipeline.scan import Folder

    return Folder(directory, max_bytes=max_bytes, note=_note)


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


def _print(records: Iterator[Mapping[str, Any]], as_json: bool, line: Any) -> None:
    for record in records:
        told = shown(record)
        typer.echo(json.dumps(told) if as_json else line(told))


def shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its paths as text."""
    from pipeline.content.shown import escape

    return {key: escape(value) if isinstance(value, bytes) else value for key, value in record.items()}


def register(parent: typer.Typer) -> None:
    """Mount the group."""
    from pipeline.cli.scan_secrets import secrets

    app.command("secrets")(secrets)
    parent.add_typer(app)
