"""`pipeline release`: make a version of the dataset."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.rebuild import Rebuilt

_GB = 1 << 30


def release(
    version: Annotated[
        str, typer.Option("--version", help="Version of the release, such as 2.1; its folder's name.")
    ],
    config: Annotated[Path, typer.Option("--config", help="Release configuration (YAML).")] = Path(
        "configs/release-local.yaml"
    ),
    archive: Annotated[
        str | None,
        typer.Option(
            "--archive", help="Folder or s3:// prefix with graph/ and content/; overrides archive.uri."
        ),
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            "--parent",
            help="The release before this one, a folder or s3:// prefix: what changed against it is told in"
            " changes.parquet, removals.jsonl and CHANGELOG.md. Rows do not depend on it.",
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            help="Folder or s3:// prefix that holds the releases; this one becomes OUT/VERSION. On S3 a release is there"
            " when its manifest.json is: that comes last.",
        ),
    ] = "releases",
    workdir: Annotated[
        str,
        typer.Option(
            "--workdir", help="Work directory, a folder or s3:// prefix: what is done is not done again."
        ),
    ] = "work",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Units at once; default: one per core, of all nodes on a cluster."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            envvar="RAY_ADDRESS",
            help="Ray cluster to join: host:port or auto; default: Ray on this machine.",
        ),
    ] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run without Ray, one unit after the other.")
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=1,
            help="A small release to try things: the first N origins by sha1 of their URL (origins.limit).",
        ),
    ] = None,
    ask_again: Annotated[
        bool, typer.Option("--ask-again", help="Ask once more for objects that were missing or corrupt.")
    ] = False,
    sign_key: Annotated[
        Path | None,
        typer.Option(
            "--sign-key", help="Private key to sign the release with, as `pipeline keys new` makes it."
        ),
    ] = None,
    rebuild_shard: Annotated[
        str | None,
        typer.Option(
            "--rebuild-shard",
            metavar="PATH|random[:N]",
            help="Make nothing, but shards of the existing OUT/VERSION once more, and compare them byte for byte: a path of"
            " its manifest, or N drawn by its digest. Exit code 4 when one differs.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and touch nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Make a release: resolve, fetch, license, redact, deduplicate, and write OUT/VERSION.

    Run the same command again after an interruption: it goes on where it stopped.
    """
    from pipeline import config as configuration
    from pipeline.attestation import sign_release, times
    from pipeline.engine.executor import Executor, InProcess
    from pipeline.engine.on_ray import OnRay
    from pipeline.engine.progress import Progress
    from pipeline.keys import load_signing_key
    from pipeline.plan import plan_release
    from pipeline.publish import place_of
    from pipeline.rebuild import check_beside, rebuild_shards
    from pipeline.release import make_release

    key = None if sign_key is None else load_signing_key(sign_key)
    settings = configuration.load(config)
    check_beside(config, settings)
    if archive is not None:
        section = settings.archive.model_copy(update={"uri": archive, "build": None})
        settings = settings.model_copy(update={"archive": section})
    if sample is not None:
        least = min(sample, settings.origins.limit or sample)
        origins = settings.origins.model_copy(update={"limit": least})
        settings = settings.model_copy(update={"origins": origins})
    if dry_run:
        plan = plan_release(settings, version=version, out=out, workdir=workdir, parent=parent)
        typer.echo(json.dumps(plan, indent=2) if as_json else _plan_text(plan))
        return
    started = datetime.now(UTC)
    progress = Progress(quiet=quiet)
    executor: Executor = InProcess()
    if not in_process:
        executor = OnRay(
            workers=workers or settings.engine.workers,
            address=address,
            shared_disk=settings.engine.shared_disk,
            forward_credentials=settings.engine.forward_credentials,
            note=progress.note,
        )
    # stdout is for the result alone; Ray prints there when one of its workers dies.
    rebuilt = None
    with contextlib.redirect_stdout(sys.stderr):
        try:
            if rebuild_shard is not None:
                rebuilt = rebuild_shards(
                    settings,
                    rebuild_shard,
                    version=version,
                    out=out,
                    workdir=workdir,
                    executor=executor,
                    progress=progress,
                )
            else:
                outcome = make_release(
                    settings,
                    version=version,
                    out=out,
                    workdir=workdir,
                    executor=executor,
                    progress=progress,
                    ask_again=ask_again,
                    parent=parent,
                )
                if key is not None:
                    sign_release(place_of(out, version), key, run=times(started, outcome.seconds))
        finally:
            progress.close()
            executor.close()
    if rebuilt is not None:
        _show_rebuilt(rebuilt, as_json=as_json)
        return
    if as_json:
        record = {**vars(outcome), "directory": str(outcome.directory), "signed_by": key and key.id}
        typer.echo(json.dumps(record, indent=2, sort_keys=True))
        return
    totals = outcome.totals
    words = {
        "made": "made",
        "identical": "made again, byte for byte what was there",
        "unchanged": "nothing to do: this release is already there, and nothing that it depends on has changed",
    }
    typer.echo(f"{outcome.directory}  {words[outcome.state]}")
    typer.echo(f"digest    {outcome.digest}")
    typer.echo(f"signature {'UNSIGNED (--sign-key)' if key is None else f'by key {key.id}'}")
    typer.echo(f"units     {outcome.units_run:,} run, {outcome.units_skipped:,} already done")
    typer.echo(f"shards    {outcome.shards_reused:,} re-used, {outcome.shards_written:,} written")
    typer.echo(f"found     {totals['found']:>12,} occurrences")
    typer.echo(f"kept      {totals['kept']:>12,}")
    for reason, amount in sorted(totals["dropped"].items(), key=lambda item: (-item[1], item[0])):
        typer.echo(f"dropped   {amount:>12,}  {reason}")
    typer.echo(
        f"took      {outcome.seconds:,.1f} s, peak memory {outcome.peak_pss_bytes / _GB:.2f} GiB"
        f" (driver {outcome.driver_peak_pss_bytes / _GB:.2f} GiB), summed PSS"
    )


def _show_rebuilt(rebuilt: Rebuilt, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**vars(rebuilt), "ok": rebuilt.ok}, indent=2, sort_keys=True))
    else:
        typer.echo(f"{rebuilt.release}  manifest {rebuilt.digest}")
        for path, faults in rebuilt.shards.items():
            typer.echo(f"{'DIFFERS' if faults else 'same'}  {path}")
            for fault in faults:
                typer.echo(f"         {fault}")
        for note in rebuilt.notes:
            typer.echo(f"note: {note}")
    if not rebuilt.ok:
        raise typer.Exit(4)


def _plan_text(plan: dict[str, object]) -> str:
    lines = [f"archive   {plan['archive']}"]
    objects = plan.get("objects")
    if isinstance(objects, dict):
        lines.append(
            f"objects   {objects['rows']:,} contents in the graph, about {objects['estimated_bytes'] / 1e6:,.0f} MB unpacked"
        )
    before = plan.get("parent")
    if isinstance(before, dict):
        lines.append(f"parent    {before['release']}: {before['version']}, {before['digest'][:16]}")
        lines.append(f"          {before['rows']:,} rows in {before['shards']:,} shards")
        lines.append(f"          differs so far: {', '.join(before['differs']) or 'nothing'}")
    cost = plan.get("estimate")
    if isinstance(cost, dict):
        from pipeline.estimate import words

        lines += [f"estimate  {line}" for line in words(cost)]
    lines.append(f"workdir   {plan['workdir']}, {plan['buckets']} buckets")
    stages = plan["stages"]
    assert isinstance(stages, list)
    lines += [
        f"  {s['stage']:<22} {s['units']:>5} units  {'done' if s['done'] else 'to run'}" for s in stages
    ]
    lines.append(str(plan["note"]))
    return "\n".join(lines)


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("release")(release)
