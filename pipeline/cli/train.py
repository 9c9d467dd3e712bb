"""`pipeline train`: train a tokenizer and a model on a release."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from manifests.names import visible
from pipeline.cli.lineage import translated
from pipeline.errors import ConfigError


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
        int,
        typer.Option(
            "--nproc",
            min=1,
            help="Processes on this machine, started as torchrun would; with --address, Ray workers in all.",
        ),
    ] = 1,
    nodes: Annotated[
        int,
        typer.Option("--nodes", min=1, help="Machines; give the same command on each, with its --node-rank."),
    ] = 1,
    node_rank: Annotated[int, typer.Option("--node-rank", min=0, help="Number of this machine, from 0.")] = 0,
    rendezvous: Annotated[
        str | None,
        typer.Option(
            "--rendezvous", metavar="HOST:PORT", help="With --nodes: where they meet, on machine 0."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Train on a Ray cluster: auto, HOST:PORT, ray://HOST:PORT, or local for a new one.",
        ),
    ] = None,
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
    result = run(
        config,
        overrides or [],
        plan_only=dry_run,
        nproc=nproc,
        fresh=fresh,
        nodes=nodes,
        node_rank=node_rank,
        rendezvous=rendezvous,
        address=address,
    )
    if as_json:
        typer.echo(json.dumps(result, sort_keys=True))
    else:
        typer.echo("\n".join(map(visible, _readable(result, dry_run).split("\n"))))


def run(
    config: str,
    overrides: list[str],
    *,
    plan_only: bool,
    nproc: int,
    fresh: bool,
    nodes: int = 1,
    node_rank: int = 0,
    rendezvous: str | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """The command without its printing.

    Raises:
        StackmillError: what `translated` makes of training's errors.
    """
    # Imported here: the command line must start without pydantic models, torch or transformers.
    with translated():
        from training.config import load

        settings = load(config, overrides)
        from training.run import dry_run as planning
        from training.run.output import start_over
        from training.run.processes import Processes
        from training.run.train import train as train_here

        if plan_only:
            return planning.dry_run(settings, nproc * nodes)
        processes = Processes(nproc, nodes, node_rank, rendezvous)
        if address is not None and nodes > 1:
            raise ConfigError(
                "--address lets Ray place the workers: leave --nodes out, and give --nproc for all of them"
            )
        if fresh and node_rank == 0:
            start_over(Path(settings.output))
        if address is not None:
            from training.run.ray_train import train_on_ray

            return train_on_ray(settings, nproc, address, _progress)
        # DeepSpeed wants a process group for one, too.
        if processes.world > 1 or settings.parallel.deepspeed:
            return _several(config, overrides, processes, settings)
        return train_here(settings, _progress)


def _progress(line: str) -> None:
    typer.echo(visible(line), err=True)


def _several(config: str, overrides: list[str], processes: Any, settings: Any) -> dict[str, Any]:
    from training.prepare import prepare
    from training.run import output
    from training.run.interrupted import refused
    from training.run.processes import check_devices, start
    from training.run.train import check

    check_devices(processes.per_node, settings.device)
    check(settings, processes.world)
    output.ready(settings)
    # Prepared here once: mistakes are reported by one process, and no rank waits while another tokenises.
    with refused(settings):
        prepare(settings, _progress)
    arguments = [config, *(part for text in overrides for part in ("--set", text))]
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        file = Path(folder) / "result.json"
        start([*arguments, "--result", str(file)], processes)
        if processes.node:  # rank 0 is on another machine; the folder is shared
            file = Path(settings.output) / "result.json"
        return json.loads(file.read_text())


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
