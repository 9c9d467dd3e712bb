"""`pipeline generate`: what a trained model writes after a prompt, or between a prefix and a suffix."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from manifests.names import visible
from pipeline.cli.lineage import translated
from pipeline.errors import ConfigError

MARKER = "<FILL>"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("generate")(generate)


def generate(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint, an adapter, a model folder, or the output of a run (its newest sound checkpoint).",
        ),
    ],
    prompt: Annotated[str | None, typer.Option("--prompt", help="Text to continue.")] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="File with the text to continue; without any, standard input."),
    ] = None,
    fim_prefix: Annotated[
        str | None, typer.Option("--fim-prefix", help="File with what stands before the text that is wanted.")
    ] = None,
    fim_suffix: Annotated[
        str | None, typer.Option("--fim-suffix", help="File with what stands behind it.")
    ] = None,
    fim_file: Annotated[
        str | None, typer.Option("--fim-file", help="One file, with the marker where text is wanted.")
    ] = None,
    marker: Annotated[str, typer.Option("--marker", help="The marker in --fim-file.")] = MARKER,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens written at most.")] = 128,
    temperature: Annotated[
        float,
        typer.Option("--temperature", min=0.0, help="0 takes the likeliest token each time; else drawn."),
    ] = 0.0,
    top_p: Annotated[
        float,
        typer.Option(
            "--top-p", min=0.0, max=1.0, help="Draw from the likeliest tokens with this probability."
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 0,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="A text that ends the answer.")] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="Leave out what does not fit of a long prompt, its far end first.")
    ] = False,
    best: Annotated[
        bool, typer.Option("--best", help="Of a run's output take the best checkpoint, not the newest.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option("--base", help="Where an adapter's base is now; default: where the run found it."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto = a GPU if there is one; or cpu, cuda:1.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print text, counts and reason of the end as JSON.")
    ] = False,
) -> None:
    """Complete a prompt, or fill in the middle; the text goes to stdout as it is written."""
    texts = _texts(prompt, file, fim_prefix, fim_suffix, fim_file, marker)
    if not top_p:
        raise ConfigError("--top-p 0 leaves no token to draw; use --temperature 0 for the likeliest")
    sampling = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "stop": tuple(stop or ()),
        "cut": cut,
    }
    result = run(
        checkpoint, texts, sampling, base=base, best=best, device=device, write=None if as_json else _write
    )
    if as_json:
        typer.echo(json.dumps(result, sort_keys=True, ensure_ascii=True))
    elif sys.stdout.isatty():
        typer.echo()


def _write(text: str) -> None:
    if sys.stdout.isatty():  # what a model has learnt may hold sequences that a terminal obeys
        text = "".join(c if c in "\n\t" else visible(c) for c in text)
    typer.echo(text, nl=False)
    sys.stdout.flush()


def _read(path: str) -> str:
    try:
        return Path(path).read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({error})") from error


def _texts(
    prompt: str | None,
    file: str | None,
    fim_prefix: str | None,
    fim_suffix: str | None,
    fim_file: str | None,
    marker: str,
) -> tuple[str] | tuple[str, str]:
    """(prompt,) or (prefix, suffix)."""
    middle = fim_prefix is not None or fim_suffix is not None
    given = [prompt is not None, file is not None, fim_file is not None, middle]
    if sum(given) > 1:
        raise ConfigError("give one of --prompt, --file, --fim-file, or --fim-prefix with --fim-suffix")
    if prompt is not None:
        return (prompt,)
    if file is not None:
        return (_read(file),)
    if fim_file is not None:
        text = _read(fim_file)
        if not marker or text.count(marker) != 1:
            count = text.count(marker) if marker else 0
            raise ConfigError(f"{fim_file}: the marker {marker!r} must be there once, and is {count} times")
        prefix, _, suffix = text.partition(marker)
        return prefix, suffix
    if middle:
        return (
            _read(fim_prefix) if fim_prefix is not None else "",
            _read(fim_suffix) if fim_suffix is not None else "",
        )
    if sys.stdin.isatty():
        raise ConfigError(
            "give --prompt, --file, --fim-file, --fim-prefix and --fim-suffix, or standard input"
        )
    try:
        return (sys.stdin.buffer.read().decode(),)
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not UTF-8 ({error})") from error


def run(
    checkpoint: str,
    texts: tuple[str] | tuple[str, str],
    sampling: dict[str, Any],
    *,
    base: str | None,
    best: bool,
    device: str,
    write: Any,
) -> dict[str, Any]:
    """The command without its printing.

    Raises:
        ConfigError: a prompt that does not fit, no model that can be loaded, a missing extra.
        IntegrityError: bytes that are not what was written, or no model there.
    """

    def report(line: str) -> None:
        typer.echo(visible(line), err=True)

    with translated():
        from training.after import generate as generating

        loaded = generating.open_model(checkpoint, base=base, best=best, device=device, report=report)
        settings = generating.Sampling(**sampling)
        ask = generating.answer if len(texts) == 1 else generating.fill
        answer = ask(loaded, *texts, settings, write or (lambda _: None))
    if answer.left_out:
        report(f"NOTE: {answer.left_out} tokens of the prompt did not fit and were left out")
    return {
        **asdict(answer),
        "checkpoint": str(loaded.folder),
        "base": str(loaded.base) if loaded.base else None,
    }
