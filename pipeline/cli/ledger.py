"""`pipeline ledger`: one row per occurrence, with its decision, from the work directory."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def ledger(
    workdir: Annotated[
        str, typer.Option("--workdir", help="Work directory that made the release; it holds the ledger.")
    ] = "work",
    release: Annotated[
        str | None, typer.Option("--release", metavar="DIR", help="Which release is meant: its directory.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="Which release is meant: its version.")
    ] = None,
    decision: Annotated[
        list[str] | None, typer.Option("--decision", help="kept or dropped; repeatable, as the next ones.")
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage", help="graph, licenses, contents, election, similarity or selection; repeatable."
        ),
    ] = None,
    reason: Annotated[
        list[str] | None,
        typer.Option("--reason", help="Such as license, or quality for all of its rules; repeatable."),
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option("--language", help="As the release names it; repeatable.")
    ] = None,
    origin: Annotated[
        str | None, typer.Option("--origin", metavar="URL", help="One origin; only its bucket is read.")
    ] = None,
    path_prefix: Annotated[
        str | None, typer.Option("--path-prefix", help="Paths that begin with this text, to the byte.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the rows to a .parquet or .jsonl file."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the rows, one JSON object a line; with --totals the totals.")
    ] = False,
    only_totals: Annotated[
        bool, typer.Option("--totals", help="Print the totals; so it is without --out and --json.")
    ] = False,
    view: Annotated[
        bool, typer.Option("--view", help="Print the statement that makes the table a view in DuckDB.")
    ] = False,
) -> None:
    """Show the ledger of a release: every file that was found, with the one decision on it.

    It lies in the work directory and is yours alone: a release says nothing of files that it does not hold. Without
    conditions its totals are those of the manifest, to the last occurrence.
    """
    from pipeline import ledger_table as table
    from pipeline.errors import ConfigError
    from pipeline.occurrences import condition
    from pipeline.records import the_record

    if out is not None and out.suffix not in (".parquet", ".jsonl"):
        raise ConfigError(f"--out {out}: give a name that ends in .parquet or .jsonl")
    digest = None if release is None else _digest(release)
    record = the_record(workdir, version=version, digest=digest)
    if view:
        typer.echo(table.view(record))
        return
    where = condition(
        decisions=_checked("--decision", decision, _DECISIONS),
        stages=_checked("--stage", stage, _stages()),
        reasons=(_checked("--reason", [one.partition(".")[0] for one in reason or ()], _reasons()) and reason)
        or (),
        origins=[origin] if origin else (),
        languages=language or (),
        path_prefix=path_prefix,
    )
    where_origin = None if origin is None else _origin_id(record, origin)
    if out is not None:
        rows = _write(table, table.occurrences(record, where, where_origin), out)
        typer.echo(json.dumps({"rows": rows, "out": str(out)}) if as_json else f"{rows:,} rows in {out}")
    elif as_json and not only_totals:
        table.write_lines(table.occurrences(record, where, where_origin), sys.stdout)
    else:
        found = {
            "release": record.version,
            "digest": record.digest,
            **table.totals(record, where, where_origin),
        }
        typer.echo(json.dumps(found, indent=2) if as_json else _text(found))


_DECISIONS = ("kept", "dropped")


def _stages() -> tuple[str, ...]:
    from pipeline.tables import STAGES

    return tuple(STAGES)


def _reasons() -> tuple[str, ...]:
    from pipeline.tables import Reason

    return tuple(str(reason) for reason in Reason)


def _checked(option: str, given: list[str] | None, known: tuple[str, ...]) -> list[str]:
    from pipeline.errors import ConfigError

    for word in given or ():
        if word not in known:
            raise ConfigError(f"{option} {word!r} is none of {', '.join(known)}")
    return given or []


def _digest(directory: str) -> str:
    from manifests.reader import Release
    from pipeline.local_copy import manifest_of

    with manifest_of(directory) as folder:
        return Release.open(folder).digest


def _origin_id(record: Any, url: str) -> str:
    import hashlib

    from pipeline.errors import ConfigError

    identity = hashlib.sha1(url.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
    if record.rows("origins", "ledger", "origin_id", identity, ["origin_id"]).num_rows == 0:
        raise ConfigError(f"{url} is not an origin of the archive that this release was made from")
    return identity


def _write(table: Any, batches: Any, out: Path) -> int:
    from pipeline.engine.store_errors import disk_errors

    with disk_errors(str(out)):
        if out.suffix == ".parquet":
            return int(table.write_parquet(batches, out))
        temporary = out.with_name(f"{out.name}.partial")
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                rows = int(table.write_lines(batches, stream))
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)
        return rows


def _text(found: dict[str, Any]) -> str:
    width = max(12, len(f"{found['found']:,}"))
    lines = [f"release {found['release']}", f"{found['found']:>{width},}  occurrences"]
    for stage, reasons in found["stages"].items():
        lines += [f"{amount:>{width},}  dropped in {stage}: {reason}" for reason, amount in reasons.items()]
    return "\n".join([*lines, f"{found['kept']:>{width},}  kept"])


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("ledger")(ledger)
