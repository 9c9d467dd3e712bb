"""`pipeline merge`: the adapter of a checkpoint put into its base."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from manifests.names import visible
from pipeline.cli.lineage import translated
from pipeline.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("merge")(merge)


def merge(
    checkpoint: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT", help="A checkpoint with an adapter, or the output of its run."),
    ],
    out: Annotated[str, typer.Option("--out", help="Folder to write; must not exist.")],
    base: Annotated[
        str | None, typer.Option("--base", help="Where the base is now; default: where the run found it.")
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="Of the weights written: auto (as the base), fp32, bf16, fp16.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Merge the adapter of a checkpoint into its base; the result is read again and must give the same logits."""
    result = run(checkpoint, out, base, dtype)
    typer.echo(json.dumps(result, sort_keys=True) if as_json else visible(result["folder"]))


def run(checkpoint: str, out: str, base: str | None, dtype: str) -> dict[str, Any]:
    """The command without its printing.

    Raises:
        ConfigError: nothing to merge, an `out` that exists, a missing extra.
        IntegrityError: bytes that are not what was written, another base, or logits that moved.
        SourceError: `out` cannot be written.
    """
    if dtype not in {"auto", "fp32", "bf16", "fp16"}:
        raise ConfigError(f"--dtype {dtype}: one of auto, fp32, bf16, fp16")
    with translated():
        from training.after import merge as merging

        done = merging.merge(
            checkpoint, out, base=base, dtype=dtype, report=lambda line: typer.echo(visible(line), err=True)
        )
        return done.report()
