"""`pipeline export`: a checkpoint as a plain folder for transformers, with card, notices and lineage."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from manifests.names import visible
from pipeline.cli.lineage import translated


class Dtype(StrEnum):
    """Of the weights."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("export")(export)


def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a run's output (its newest one).")
    ],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder to make; must not exist.")],
    dtype: Annotated[Dtype, typer.Option("--dtype", help="Of the weights; auto: as they are.")] = Dtype.auto,
    shard: Annotated[str, typer.Option("--max-shard-size", help="Largest file of weights.")] = "5GB",
    name: Annotated[
        str | None, typer.Option("--name", help="Of the model, in its card; default: of DIR.")
    ] = None,
    license_: Annotated[
        str | None, typer.Option("--license", metavar="SPDX", help="License of the weights, for the card.")
    ] = None,
    release: Annotated[
        list[str] | None,
        typer.Option("--release", metavar="DIR", help="Where a release that was trained on is now."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Write a checkpoint as a plain folder: safetensors, tokenizer, model card, notices, lineage, checksums.

    An adapter is exported as an adapter; `pipeline merge` makes a whole model of it.
    """
    with translated():
        from training.after import export as exporting

        result = exporting.export(
            Path(checkpoint),
            Path(out),
            dtype.value,
            shard,
            name,
            license_,
            release or [],
            lambda line: typer.echo(visible(line), err=True),
        )
    typer.echo(json.dumps(result, sort_keys=True) if as_json else visible(result["folder"]))
