"""`pipeline query`: rows of a release by language, license, place, size, date and text, or by SQL."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

_LONG_TO_CHECK = 4_000_000_000  # bytes of shards whose checksums take some seconds
_SHOWN = 20  # rows of a table, unless --limit says otherwise


def register(app: typer.Typer) -> None:
    """Add `query` to the command line."""
    app.command("query")(query)


def query(
    directory: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A release, such as releases/2.1 or s3://bucket/releases/2.1."),
    ],
    language: Annotated[
        list[str] | None, typer.Option("--language", help="Language; again for another.")
    ] = None,
    license_: Annotated[
        list[str] | None,
        typer.Option(
            "--license", help="SPDX id that stands in the row's expression, or the whole expression."
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option("--origin", help="URL of a repository, or the beginning of one with * behind it."),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option("--path", help="Glob over the whole path; * matches slashes, too: 'src/*.py'."),
    ] = None,
    min_size: Annotated[
        str | None, typer.Option("--min-size", help="Least bytes of the original, such as 1000 or 1KB.")
    ] = None,
    max_size: Annotated[str | None, typer.Option("--max-size", help="Most bytes of the original.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Author date of the revision, from this day (UTC) on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Author date, up to and with this day.")
    ] = None,
    content: Annotated[
        str | None,
        typer.Option(
            "--content",
            help="Regular expression (RE2) that matches somewhere in the text; (?m) has ^ and $ match at lines.",
        ),
    ] = None,
    ignore_case: Annotated[
        bool, typer.Option("--ignore-case", "-i", help="Upper and lower case are one in --content.")
    ] = False,
    sql: Annotated[
        str | None,
        typer.Option(
            "--sql", help="One SELECT over the view `rows` instead; only --language may stand beside."
        ),
    ] = None,
    similar: Annotated[
        str | None,
        typer.Option(
            "--similar",
            metavar="FILE",
            help="The rows that hold what this file holds, or pieces of it, instead; - reads stdin. Only --language,"
            " --limit [default: 10], --json and --no-verify may stand beside, and the next three.",
        ),
    ] = None,
    least: Annotated[
        float | None,
        typer.Option(
            "--least",
            min=0,
            max=1,
            help="With --similar: the least share of FILE that a row has in common with it. [default: 0.1]",
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            help="With --similar: folder of the indexes. [default: stackmill/similar in XDG_CACHE_HOME or ~/.cache]",
        ),
    ] = None,
    no_index: Annotated[
        bool,
        typer.Option("--no-index", help="With --similar: read the whole release instead of an index."),
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="Columns to show, with commas between them; `all` for all of them."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            "--order", help="Columns to sort by, with commas; a leading - is descending: -length_bytes."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=0, help=f"At most so many rows. [default: {_SHOWN} in a table, else all]"
        ),
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Only how many rows there are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", help="Write the rows to this Parquet file.")
    ] = None,
    no_verify: Annotated[
        bool,
        typer.Option("--no-verify", help="Do not hold the shards' checksums against the manifest first."),
    ] = False,
    memory: Annotated[str, typer.Option("--memory", help="Memory that the query may take.")] = "2GB",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=256, help="[default: one per core, at most 8]")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.01, help="Give up after so many seconds.")
    ] = None,
) -> None:
    """Find rows of a release: by conditions, by SQL, or by what they share with a file.

    Conditions of one kind are alternatives, those of different kinds must all hold.

    Shards of other languages are not read, and with a whole --origin only those where it can lie. A release on S3 is
    fetched as far as the question needs it, into a temporary folder below TMPDIR. The database that answers can read these
    shards and nothing else, and runs a SELECT only.
    """
    from pipeline import query as asking
    from pipeline import query_output as output
    from pipeline.errors import ConfigError

    if similar is not None:
        others = {
            "--license": license_,
            "--origin": origin,
            "--path": path,
            "--min-size": min_size,
            "--max-size": max_size,
            "--since": since,
            "--until": until,
            "--content": content,
            "--sql": sql,
            "--columns": columns,
            "--order": order,
            "--count": count,
            "--parquet": parquet,
            "--timeout": timeout,
        }
        if given := [name for name, value in others.items() if value]:
            raise ConfigError(f"--similar does not go with {given[0]}")
        if no_index and index is not None:
            raise ConfigError("--no-index does not go with --index")
        _look_up(directory, similar, language or [], limit, least, index, no_index, no_verify, as_json)
        return
    if least is not None or index is not None or no_index:
        raise ConfigError("--least, --index and --no-index go with --similar FILE only")
    filters = asking.Filters(
        languages=tuple(language or ()),
        licenses=tuple(license_ or ()),
        origins=tuple(origin or ()),
        paths=tuple(path or ()),
        min_size=_amount("--min-size", min_size),
        max_size=_amount("--max-size", max_size),
        since=None if since is None else asking.parse_date(since),
        before=None if until is None else asking.parse_date(until, end=True),
        content=content,
        ignore_case=ignore_case,
    )
    shown = [(count, "--count"), (as_json and parquet is not None, "--json and --parquet")]
    if sql is not None and (columns or order or limit is not None or count):
        raise ConfigError("--sql says columns, order, limit and count itself; leave out these options")
    if parquet is not None and any(given for given, _ in shown):
        raise ConfigError(f"--parquet does not go with {next(name for given, name in shown if given)}")
    tabular = not as_json and parquet is None
    try:
        limits = asking.Limits(
            memory=memory, seconds=timeout, **({} if threads is None else {"threads": threads})
        )
    except ValueError as error:
        raise ConfigError(f"--memory {memory!r}: {error}") from None
    most = _SHOWN if limit is None and tabular and not count else limit
    question = asking.Question(
        filters=filters,
        columns=asking.DEFAULT_COLUMNS if columns is None else _names(columns),
        order=() if order is None else _names(order),
        # One more than is shown tells whether there are more.
        limit=most if most is None or limit is not None else most + 1,
        count=count,
        sql=sql,
    )
    with contextlib.ExitStack() as stack:
        release = stack.enter_context(asking.opened(directory, filters, sql))
        size = sum(shard.bytes for shard in asking.needed_shards(release, filters))
        if not no_verify and size > _LONG_TO_CHECK:
            typer.echo(
                f"checking {size / 1e9:,.1f} GB of shards first; --no-verify leaves that out", err=True
            )
        answer = stack.enter_context(asking.ask(release, question, limits, verify=not no_verify))
        if parquet is not None:
            rows = output.write_parquet(answer, parquet)
            typer.echo(f"{parquet}: {rows:,} rows")
        elif as_json:
            output.write_json(answer, sys.stdout)
        elif count:
            typer.echo(f"{answer.read_all()['count'][0].as_py()}")
        else:
            table = answer.read_all() if sql is None else answer
            more = sql is None and limit is None and table.num_rows > _SHOWN
            batches = table.slice(0, most).to_batches() if sql is None else table
            rows = output.write_table(batches, sys.stdout)
            if rows == 0:
                typer.echo("no rows")
            if more:
                typer.echo(f"the first {_SHOWN} rows; --limit shows more, --count says how many", err=True)


def _look_up(
    address: str,
    name: str,
    languages: list[str],
    limit: int | None,
    least: float | None,
    index: Path | None,
    no_index: bool,
    no_verify: bool,
    as_json: bool,
) -> None:
    """`--similar`: the answer for one file."""
    from pipeline import similar_output as output
    from pipeline.similar import LEAST, LIMIT, Similar

    text = output.read_text(name)
    least = LEAST if least is None else least
    with Similar.open(
        address,
        index=index,
        use_index=not no_index,
        verify=not no_verify,
        log=lambda message: typer.echo(message, err=True),
    ) as similar:
        answer = similar.find(text, languages=languages, limit=LIMIT if limit is None else limit, least=least)
        if as_json:
            output.write_json(answer, sys.stdout)
        else:
            output.write_text(answer, name, least, sys.stdout)
        for note in output.notes(answer, text):
            typer.echo(note, err=True)


def _amount(option: str, text: str | None) -> int | None:
    from pipeline.engine.amounts import data_bytes
    from pipeline.errors import ConfigError

    if text is None or text == "0":
        return None if text is None else 0
    try:
        return data_bytes(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: {error}") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
