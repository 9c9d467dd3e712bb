"""`pipeline tokenizer`: learn a tokenizer from a release; see what one does to code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from manifests.names import visible
from pipeline.cli.lineage import translated
from pipeline.errors import ConfigError

app = typer.Typer(
    help="Learn a tokenizer from a release; see what one does to code.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(parent: typer.Typer) -> None:
    """Add the group to the application."""
    parent.add_typer(app, name="tokenizer")


_Languages = Annotated[
    list[str] | None,
    typer.Option("--languages", metavar="NAME", help="Only rows of this language; may be repeated."),
]
_HeldOut = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=0.99,
        help="Share that `pipeline train` holds out with this evaluation.fraction; 0: none.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@app.command("train")
def train(
    release: Annotated[str, typer.Option(metavar="DIR", help="Folder of a release.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the tokenizer; it must not have one.")],
    vocab_size: Annotated[
        int, typer.Option(min=263, max=1_000_000, help="Entries, 256 bytes and 7 control tokens among them.")
    ] = 32_768,
    languages: _Languages = None,
    train_bytes: Annotated[
        int,
        typer.Option(
            min=1, help="Text to learn from: the same of each language, as far as there is so much."
        ),
    ] = 50_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of documents.")] = 0,
    held_out: _HeldOut = 0.05,
    as_json: _Json = False,
) -> None:
    """Learn a byte-level BPE tokenizer with fill-in-the-middle and repository tokens from the rows of a release.

    Rows that training would hold out are not learnt from. The same release, options and version give the same bytes.
    """
    with _errors():
        from training.tokens import learn

        corpus = learn.open_corpus(release, languages, held_out)
        result = learn.learn(
            corpus, out, vocab_size=vocab_size, train_bytes=train_bytes, seed=seed, report=_progress
        )
    if as_json:
        typer.echo(json.dumps(result, sort_keys=True))
        return
    typer.echo(
        f"tokenizer  {visible(result['tokenizer'])}: {result['size']:,} entries, digest {result['digest']}"
    )
    typer.echo(
        f"learnt     from {result['bytes'] / 1e6:,.1f} MB of {len(result['languages'])} languages in "
        f"{result['cpu_seconds']:.1f} s of processor time, at most {result['peak_bytes'] / 1e6:,.0f} MB of memory"
    )
    for name, used in sorted(result["languages"].items(), key=lambda item: (-item[1]["bytes"], item[0])):
        typer.echo(f"           {name:24s} {used['documents']:>8,} files {used['bytes'] / 1e6:>9,.2f} MB")


@app.command("check")
def check(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder with a tokenizer.json.")],
    release: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of a release to measure it on.")
    ] = None,
    languages: _Languages = None,
    sample_bytes: Annotated[
        int, typer.Option(min=1, help="Text to measure it on, the same of each language.")
    ] = 5_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of documents.")] = 0,
    held_out: _HeldOut = 0.05,
    as_json: _Json = False,
) -> None:
    """Show what a tokenizer is, whether it can be trained with, and what it does to the code of a release.

    Control tokens and what is missing of them, whether text comes back byte for byte, bytes per token of each language on
    rows that training holds out (on all rows with --held-out 0), and whether the fast encoder gives the same ids, or why it
    is not used. Exit code 2 if the tokenizer cannot be used.
    """
    with _errors():
        from training.tokens import learn
        from training.tokens.tokenizer import CodeTokenizer

        tokenizer = CodeTokenizer.load(folder)
        result: dict[str, Any] = {"tokenizer": folder, **learn.describe(tokenizer)}
        if release is not None:
            corpus = learn.open_corpus(release, languages, held_out)
            rows = corpus.held_out if held_out else corpus.train
            result |= learn.measure(tokenizer, corpus, rows, sample_bytes, seed)
    typer.echo(json.dumps(result, sort_keys=True) if as_json else "\n".join(map(visible, _readable(result))))
    trouble = _trouble(result)
    if trouble:
        raise ConfigError(trouble)


def _trouble(result: dict[str, Any]) -> str | None:
    if result.get("round_trip", {}).get("changed"):
        return (
            f"{result['round_trip']['changed']} documents do not come back byte for byte: it cannot be used"
        )
    return None


def _readable(result: dict[str, Any]) -> list[str]:
    lines = [f"tokenizer  {result['tokenizer']}: {result['size']:,} entries, digest {result['digest']}"]
    for name, found in result["control"].items():
        lines.append(f"           {name:12s} " + (f"{found['id']:>7,}  {found['token']}" if found else "-"))
    if result["missing"]:
        lines.append(f"missing    {' '.join(result['missing'])}: tokenizer.add_missing: true adds them")
    lines += [f"note       {note}" for note in result["notes"]]
    slow = f": {result['why_slow']}" if result["why_slow"] else ""
    lines.append(f"encoder    {result['encoder']}{slow}")
    if "all" in result:
        if result["encoder_differs"]:
            lines.append(
                f"           gives other ids for the document {result['encoder_differs']}: training will not use it"
            )
        elif not slow:
            lines.append("           gives the ids of the Hugging Face tokenizer for every document below")
        trip = result["round_trip"]
        lines.append(f"round trip {trip['documents']:,} documents, {trip['changed']:,} changed")
        for name, rate in [("all", result["all"]), *sorted(result["languages"].items(), key=_most)]:
            per = "-" if rate["bytes_per_token"] is None else f"{rate['bytes_per_token']:.2f}"
            lines.append(f"           {name:24s} {per:>6s} bytes per token of {rate['bytes']:,} bytes")
    return lines


def _most(item: tuple[str, dict[str, Any]]) -> tuple[float, str]:
    return -item[1]["bytes"], item[0]


def _progress(line: str) -> None:
    typer.echo(visible(line), err=True)


@contextmanager
def _errors() -> Iterator[None]:
    """As `translated`; what training calls `evaluation.fraction` is an option here."""
    try:
        with translated():
            yield
    except ConfigError as error:
        if "evaluation.fraction: 0" not in str(error):
            raise
        raise ConfigError(f"{error} (here: --held-out 0)") from error
