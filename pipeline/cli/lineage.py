"""`pipeline lineage`: what a checkpoint was trained on, and whether something was among it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import ConfigError, IntegrityError, SourceError

SHOWN_ROWS = 20


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("lineage")(lineage)


def lineage(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, a run's output, or an exported model.")
    ],
    origin: Annotated[
        str | None, typer.Option("--origin", metavar="URL", help="Was this repository among it?")
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="HOST/ACCOUNT", help="Were this account's repositories?")
    ] = None,
    identifier: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Was this SWHID, row id, or SHA-256 or SHA-1 of a file?"),
    ] = None,
    removals: Annotated[
        str | None,
        typer.Option("--removals", metavar="FILE", help="Which trained rows does this removals.jsonl name?"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="RELEASE", help="Which trained rows does this newer release not have?"
        ),
    ] = None,
    steps: Annotated[
        bool,
        typer.Option(
            "--steps", help="Also say in which steps the rows of an answer were; makes the plan again."
        ),
    ] = False,
    release: Annotated[
        list[str] | None,
        typer.Option(
            "--release", metavar="DIR", help="Where a release (or file) that was trained on is now."
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write all rows of the answer as JSON lines.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")] = False,
) -> None:
    """Tell what a checkpoint was trained on, through the chain of its parents.

    Without a question: releases, rows, tokens, settings. With one, the exit code is 0 if rows that it asks for were
    trained on, and 1 if none was.
    """
    asked = [value for value in (origin, owner, identifier, removals, against) if value is not None]
    if len(asked) > 1:
        raise ConfigError("ask one question: --origin, --owner, --id, --removals or --against")
    if not asked and (steps or out):
        raise ConfigError("--steps and --out belong to a question, such as --origin URL")
    if steps and (removals or against):
        raise ConfigError("--steps belongs to --origin, --owner or --id")
    with translated():
        from manifests.names import visible
        from training.after import trace, withdrawn

        folder = trace.open_folder(Path(checkpoint))
        runs = trace.chain(folder)
        if not asked:
            facts = trace.summary(runs)
            unknown = trace.unknown_base(runs)
            if as_json:
                typer.echo(json.dumps({"runs": facts, "unknown_base": unknown}, sort_keys=True))
            else:
                typer.echo("\n".join(visible(line) for line in [*_facts(facts, folder), *_unknown(unknown)]))
            return
        data = trace.Data.find(runs, release or [])
        if removals is not None:
            answer = withdrawn.removed(runs, data, withdrawn.read_removals(Path(removals)))
        elif against is not None:
            answer = withdrawn.missing(runs, data, Path(against))
        else:
            kind = "origin" if origin is not None else "owner" if owner is not None else "id"
            answer = trace.ask(runs, data, trace.Question(kind, asked[0]))
            if steps:
                from training.after.places import add_places

                add_places(folder, runs, data, answer, lambda line: typer.echo(line, err=True))
    rows = (
        answer["rows"]
        if "rows" in answer
        else [{"generation": run["generation"], **row} for run in answer["runs"] for row in run["rows"]]
    )
    if out is not None:
        _write(Path(out), rows)
    if as_json:
        typer.echo(json.dumps(answer, sort_keys=True))
    else:
        text = _found(answer) if "found" in answer else _answer(answer)
        typer.echo("\n".join(map(visible, text.split("\n"))))  # paths are whatever strangers chose
    found = answer["found"] > 0 if "found" in answer else answer["trained_on"]
    raise typer.Exit(0 if found else 1)


@contextmanager
def translated() -> Iterator[None]:
    """Turns training's and releases' errors into those of the command line."""
    from manifests.errors import ReleaseError
    from training import errors

    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"this needs the `train` extra ({error}): pip install 'stackmill[train]'"
        ) from error
    except errors.CheckpointError as error:
        raise IntegrityError(str(error)) from error
    except (errors.OutputError, errors.ProcessError) as error:
        raise SourceError(str(error)) from error
    except ReleaseError as error:
        raise IntegrityError(str(error)) from error
    except errors.TrainingError as error:
        raise ConfigError(str(error)) from error


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    try:
        file.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{file}: cannot be written: {error.strerror or error}") from error


def _generation(number: int) -> str:
    return "this run" if number == 0 else "its base" if number == 1 else f"base {number} before it"


def _unknown(base: str | None) -> list[str]:
    return [] if base is None else [f"What {base}, where the first run began, was trained on is NOT known."]


def _facts(runs: list[dict[str, Any]], folder: Path) -> list[str]:
    lines = [f"{folder}: verified"]
    for run in runs:
        seen = run["seen"]
        lines += ["", f"{_generation(run['generation'])} ({run['folder']})"]
        lines.append(
            f"  trained      {seen['steps']:,} steps, {seen['tokens']:,} tokens, {seen['rows']:,} rows"
        )
        for source in run["sources"]:
            rows = source["rows"]
            what = f"{source['dataset']} {source['version']}" if source["dataset"] else source["name"]
            lines += [
                f"  {source['kind']:<12s} {what}, SHA-256 {source['digest']}",
                f"               {rows['seen']:,} rows seen of {rows['train']:,} to train on; {rows['held_out']:,}"
                f" held out; {len(source['languages'])} languages",
            ]
        left = ", ".join(f"{count:,} {reason}" for reason, count in run["rows"]["left_out"].items() if count)
        lines.append(f"  left out     {left or 'no row'}")
        shares = run["mix"]["achieved"]["languages"].items()
        top = sorted(shares, key=lambda item: (-item[1], item[0]))
        more = f" and {len(top) - 8} more" if len(top) > 8 else ""
        lines.append("  tokens       " + ", ".join(f"{name} {share:.1%}" for name, share in top[:8]) + more)
        for epoch in seen["epochs"]:
            lines.append(
                f"  epoch {epoch['epoch']:<6d} packed rows {epoch['rows']:,} of {epoch['of_rows']:,}, from step "
                f"{epoch['first_step']:,}; plan {epoch['plan_digest'][:12]}, tokens {epoch['tokens_digest'][:12]}"
            )
        history = ", ".join(f"{part['steps']:,} steps on {part['processes']}" for part in run["history"])
        lines.append(f"  processes    {history}")
        lines.append(f"  digests      tokenizer {run['tokenizer_digest']}")
        lines.append(f"               stream    {run['stream_digest']}")
        git = run["product"]["git"]
        code = f", commit {git['commit']}{' with changes' if git['dirty'] else ''}" if git else ""
        lines.append(f"  code         stackmill {run['product']['version']}{code}")
    return lines


_WORDS = {
    "seen": "trained on",
    "not_reached": "to be trained on, but not reached by this checkpoint",
    "held_out": "held out for evaluation, never trained on",
    "left_out": "left out by a filter, a limit or the split",
    "not_read": "of a language that the run did not read",
}


def _answer(answer: dict[str, Any]) -> str:
    ((kind, value),) = answer["question"].items()
    lines = [f"{kind} {value}: {'TRAINED ON' if answer['trained_on'] else 'not trained on'}"]
    if not answer["counts"]:
        lines.append("  no row of it is in the releases that were trained on")
    for run in answer["runs"]:
        if not run["rows"]:
            continue
        lines.append(f"{_generation(run['generation'])} ({run['folder']})")
        lines += [f"  {count:,} rows {_WORDS[status]}" for status, count in run["counts"].items()]
        for row in run["rows"][:SHOWN_ROWS]:
            lines.append(f"    {row['status']:<11s} {row['path']}  ({row['language']}, row {row['row_id']})")
            lines.append(f"                {row['origin']}; row {row['row']} of {row['file']}")
            for place in row.get("places", [])[:5]:
                word = "" if place["trained_on"] else ", not reached"
                first, last = place["first_token"], place["first_token"] + place["tokens"] - 1
                lines.append(
                    f"                epoch {place['epoch']}, step {place['step']}: tokens {first} to {last}{word}"
                )
        if len(run["rows"]) > SHOWN_ROWS:
            lines.append(f"    and {len(run['rows']) - SHOWN_ROWS:,} more (--out FILE or --json gives all)")
    lines += _unknown(answer["unknown_base"])
    if kind in ("origin", "owner"):
        lines.append(
            "A file that other repositories have, too, is one row, under one of them: ask for it with --id."
        )
    return "\n".join(lines)


def _found(answer: dict[str, Any]) -> str:
    if "against" in answer:
        what = f"trained rows that {answer['against']['version']} does not have, or has with another text"
    else:
        what = f"trained rows that the list of {answer['listed']:,} lines names"
    lines = [f"{answer['found']:,} {what}"]
    lines += [f"  {count:,} {reason}" for reason, count in answer["by_reason"].items()]
    lines += [f"  {count:,} of language {language}" for language, count in answer["by_language"].items()]
    for row in answer["rows"][:SHOWN_ROWS]:
        lines.append(f"    {row['reason']}: {row['path']}  {row['origin']}  (row {row['row_id']})")
    if answer["found"] > SHOWN_ROWS:
        lines.append(f"    and {answer['found'] - SHOWN_ROWS:,} more (--out FILE or --json gives all)")
    return "\n".join(lines)
