"""`pipeline train`: train a tokenizer and a model on a release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from pipeline.errors import ConfigError, IntegrityError, SourceError

EXTRA = "pip install 'stackmill[train]'"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("train")(train)


def train(
    config: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="A configs/train-*.yaml file.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key, such as optimizer.learning_rate=1e-3."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan (parameters, tokens, steps, memory) and do nothing."),
    ] = False,
    nproc: Annotated[
        int, typer.Option("--nproc", min=1, help="Processes on this machine, started as torchrun would.")
    ] = 1,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Remove the output's checkpoints and begin again.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the configuration and do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Train a tokenizer and a model on a release; goes on from the newest sound checkpoint of the output."""
    if schema:
        from training.config import TrainConfig

        typer.echo(json.dumps(TrainConfig.model_json_schema(), indent=2, sort_keys=True))
        return
    if config is None:
        raise typer.BadParameter("give a configuration, such as configs/train-tiny.yaml", param_hint="CONFIG")
    result = run(config, overrides or [], plan_only=dry_run, nproc=nproc, fresh=fresh)
    typer.echo(json.dumps(result, sort_keys=True) if as_json else _readable(result, dry_run))


def run(config: str, overrides: list[str], *, plan_only: bool, nproc: int, fresh: bool) -> dict[str, Any]:
    """The command without its printing.

    Raises:
        ConfigError: configuration, missing extra, data that cannot be trained on.
        IntegrityError: a release or checkpoint that is not what it claims to be.
        SourceError: an output folder that cannot be written, or a process that failed.
    """
    # Imported here: the command line must start without pydantic models, torch or transformers.
    from manifests.errors import ReleaseError
    from training import errors
    from training.config import load

    try:
        settings = load(config, overrides)
        try:
            from training.run import dry_run as planning
            from training.run.train import start_over
            from training.run.train import train as train_here
        except ImportError as error:
            raise ConfigError(f"training needs the `train` extra ({error}): {EXTRA}") from error
        if plan_only:
            return planning.dry_run(settings, nproc)
        if fresh:
            _remove(start_over, settings.output)
        if nproc > 1:
            return _several(config, overrides, nproc, settings, errors.OutputError)
        try:
            return train_here(settings, _progress)
        except ImportError as error:
            raise ConfigError(f"training needs the `train` extra ({error}): {EXTRA}") from error
    except errors.CheckpointError as error:
        raise IntegrityError(str(error)) from error
    except errors.OutputError as error:
        raise SourceError(str(error)) from error
    except ReleaseError as error:
        raise IntegrityError(f"{error}") from error
    except errors.TrainingError as error:
        raise ConfigError(str(error)) from error


def _progress(line: str) -> None:
    typer.echo(line, err=True)


def _remove(start_over: Any, output: str) -> None:
    from pathlib import Path

    try:
        start_over(Path(output))
    except OSError as error:
        raise SourceError(f"{output}: cannot be removed: {error.strerror or error}") from error


def _several(
    config: str, overrides: list[str], nproc: int, settings: Any, output_error: type
) -> dict[str, Any]:
    from training.prepare import prepare

    # Prepared here once: mistakes are reported by one process, and no rank waits while another tokenises.
    prepared = prepare(settings, _progress)
    prepared.order.accumulation(nproc, settings.micro_batch_size)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(nproc)]
    command += ["-m", "training.launch", config]
    for text in overrides:
        command += ["--set", text]
    # torchrun would set one thread per process and warn; share the cores out instead.
    threads = str(max(1, (os.cpu_count() or 1) // nproc))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    if done.returncode:
        raise SourceError(
            f"a training process ended with exit code {done.returncode}; its message is above. The "
            "run goes on "
            "from its newest sound checkpoint when the command is repeated"
        )
    return json.loads(done.stdout.decode().strip().rpartition("\n")[2])


def _readable(result: dict[str, Any], plan_only: bool) -> str:
    if plan_only:
        from training.run.dry_run import readable

        return readable(result)
    seen = result["seen"]
    lines = [
        f"checkpoint  {result['checkpoint']}",
        *(
            f"{source['kind']:11s} {source.get('dataset', source['name'])} {source.get('version', '')} {source['digest']}"
            for source in result["sources"]
        ),
        f"trained     {result['steps']} steps, {seen['tokens']:,} tokens, "
        f"{result['packing']['filled']:.3%} non-padding, {result['tokens_per_second']:,.0f} tokens/s, "
        f"{result['seconds']:.1f} s",
    ]
    if result.get("mfu") is not None:
        lines.append(
            f"MFU         {result['mfu']:.1%} of {result['peak_flops'] / 1e12:,.3g} TFLOP/s ({result['peak_source']})"
        )
    if result["loss"] is not None:
        lines.append(f"loss        {result['loss']:.4f}")
    if result["evaluation"]:
        total = result["evaluation"]["all"]
        lines.append(
            f"held out    loss {total['loss']:.4f}, perplexity {total['perplexity']:.1f}, "
            f"{total['bits_per_byte']:.4f} bits per byte"
        )
        for name, loss in sorted(
            result["evaluation"]["languages"].items(), key=lambda item: -item[1]["bytes"]
        ):
            lines.append(
                f"            {name:24s} {loss['bits_per_byte']:.4f} bits per byte of {loss['bytes']:,} bytes"
            )
    return "\n".join(lines)
