"""`pipeline license review`: license evidence that a person should look at, and the form for decisions on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

JSON_VERSION = 1


def review(
    workdir: Annotated[
        str, typer.Option("--workdir", help="Work directory that made the release; it holds the queue.")
    ] = "work",
    version: Annotated[
        str | None, typer.Option("--version", help="Which release is meant: its version.")
    ] = None,
    reason: Annotated[
        list[str] | None, typer.Option("--reason", help="Only contents with this reason; repeatable.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="Contents to show, weightiest first.")
    ] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the whole queue to a .parquet file.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a page: the queue, and the commonest unknown texts."
        ),
    ] = None,
    decisions_template: Annotated[
        Path | None,
        typer.Option(
            "--decisions-template", metavar="FILE", help="Write a form for decisions on what is shown."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the license evidence of a release that a person should look at, by how many files depend on it.

    What was decided (licenses.decisions of the configuration) is not shown. The queue names files that the release does not
    hold: it is yours alone.
    """
    from licensing.review import Doubt
    from pipeline import license_review as queue
    from pipeline.errors import ConfigError
    from pipeline.records import the_record

    known = tuple(map(str, Doubt))
    for word in reason or ():
        if word not in known:
            raise ConfigError(f"--reason {word!r} is none of {', '.join(known)}")
    if out is not None and out.suffix != ".parquet":
        raise ConfigError(f"--out {out}: give a name that ends in .parquet")
    for option, file in (("--html", html), ("--decisions-template", decisions_template)):
        if file is not None and file.exists():
            raise ConfigError(f"{option} {file} exists, and is not overwritten; give another name")
    record = the_record(workdir, version=version)
    written: dict[str, str] = {}
    with _progress(record.buckets) as done:
        found, counted, total = queue.weightiest(record, limit, reason or (), done=done)
    if out is not None:
        with _progress(record.buckets) as done:
            _put(out, lambda: queue.write_parquet(record, out, reason or (), done=done))
        written["out"] = str(out)
    if html is not None:
        page = queue.render_review(record, found, counted, total)
        _put(html, lambda: html.write_bytes(page))
        written["html"] = str(html)
    if decisions_template is not None:
        form = queue.template(found)
        _put(decisions_template, lambda: decisions_template.write_text(form, encoding="utf-8"))
        written["decisions_template"] = str(decisions_template)
    told = {
        "json_version": JSON_VERSION,
        "release": record.version,
        "digest": record.digest,
        "contents": total,
        "reasons": {one: counted[one] for one in known if counted[one]},
        "written": written,
        "shown": found,
    }
    typer.echo(json.dumps(told, indent=2) if as_json else _text(told))


def _put(file: Path, write: Callable[[], object]) -> None:
    from pipeline.engine.store_errors import disk_errors

    with disk_errors(str(file)):
        write()


@contextmanager
def _progress(buckets: int) -> Iterator[Callable[[], None]]:
    """A bar over the buckets on stderr, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading the queue", total=buckets)
        yield lambda: bar.advance(task)


def _text(told: dict[str, Any]) -> str:
    from pipeline.license_review import WORDS, text_line

    lines = [f"release {told['release']}: {told['contents']:,} contents to review"]
    lines += [f"{amount:>10,}  {one:<18} {WORDS[one]}" for one, amount in told["reasons"].items()]
    for one in told["shown"]:
        stated = "; ".join(one["statements"][:3]) or "nothing detected"
        beside = f"; its directory: {one['directory_expression']}" if one["directory_expression"] else ""
        lines += [
            "",
            f"{one['files']:,} files depend on it, {one['occurrences']:,} places at {one['origins']:,} origins:"
            f" {', '.join(one['reasons'])}",
            f"  {one['sha256']}  {one['name_class']}",
            f"  {text_line(one['path'])} of {text_line(one['origin'] or '')}",
            f"  {text_line(stated + beside)}",
            f"  {text_line((one['excerpt'] or 'no text')[:200])}",
        ]
    lines += [f"written: {file}" for file in told["written"].values()]
    return "\n".join(lines)


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("review")(review)
