"""`pipeline license explain | replay | check | policy`: why something may be used, and the same once more from the bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Workdir = Annotated[
    str, typer.Option("--workdir", help="Work directory that made the release; it holds the evidence.")
]
Which = Annotated[
    str | None, typer.Option("--release", metavar="DIR", help="Which release is meant: its directory.")
]
Version = Annotated[str | None, typer.Option("--version", help="Which release is meant: its version.")]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Decide by this policy file, to see what it would change."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def explain(
    origin: Annotated[str, typer.Argument(help="URL of the origin.")],
    path: Annotated[
        str | None, typer.Argument(help="Path of a file or folder; without it all folders.")
    ] = None,
    workdir: Workdir = "work",
    release: Which = None,
    version: Version = None,
    policy: PolicyFile = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Folders to tell of.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Tell why a file may be used, or may not: files of evidence, what was detected in them, whose license that is, and the
    decision, with the digest of the policy.

    All of it is done again from the bytes of the evidence. Exit code 4 when the recorded decision does not come out again.
    """
    from pipeline.errors import IntegrityError
    from pipeline.license_explain import explain_license
    from pipeline.license_words import render

    story = explain_license(_record(workdir, release, version), origin, path, policy=policy, limit=limit)
    typer.echo(json.dumps(story, indent=2, sort_keys=True) if as_json else render(story))
    if not story["same"] and policy is None:
        raise IntegrityError(
            f"the decision on {origin} {path or ''} could not be reproduced from its evidence"
        )


def replay(
    directory: Annotated[str, typer.Argument(help="Release directory or s3:// address.")],
    workdir: Workdir = "work",
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="Rows, spread over the release; without it all of them."),
    ] = None,
    policy: PolicyFile = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Rows to tell of that do not come out again.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Take the license decision on every row of a release again, from the bytes of its evidence alone.

    Exit code 4 when one does not come out as it stands in the row.
    """
    from pipeline.errors import IntegrityError
    from pipeline.license_rows import replay_rows

    found = replay_rows(directory, workdir, sample=sample, policy=policy, limit=limit)
    if as_json:
        typer.echo(json.dumps(found, indent=2, sort_keys=True))
    else:
        typer.echo(
            f"{found['rows']:,} of {found['of']:,} rows, {found['evidence']:,} files of evidence:"
            f" {found['same']:,} rows come out as they are, {found['different']:,} do not"
        )
        for one in found["differences"]:
            changed = "; ".join(f"{d['what']}: {d['recorded']} -> {d['now']}" for d in one["differences"])
            typer.echo(f"  {one['row_id']} {one['origin']} {one['path']}: {changed}")
    if found["different"] and policy is None:
        raise IntegrityError(
            f"{found['different']:,} license decisions of {directory} could not be reproduced"
        )


def check(
    files: Annotated[list[Path], typer.Argument(help="License files, package manifests or source files.")],
    policy: PolicyFile = None,
    scancode: Annotated[bool, typer.Option(help="Run ScanCode, too (some seconds to load).")] = True,
    as_json: AsJson = False,
) -> None:
    """Say what each file states by itself, with the quoted text, and whether that may be used."""
    from licensing.policy import Policy
    from licensing.scancode import ScanCode
    from pipeline.license_check import check_file, render

    rules, detector = Policy.load(policy), ScanCode() if scancode else None
    found = [check_file(file, rules, detector) for file in files]
    if as_json:
        typer.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    for one in found:
        typer.echo(render(one))


def policy_of(
    expressions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EXPRESSION]...", help="What to decide on; none: the whole policy."),
    ] = None,
    policy: PolicyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the policy: its digest and sources, what it permits, and why an expression is permitted or is not."""
    from pipeline.license_check import policy_told, render_policy

    told = policy_told(policy, expressions or [])
    typer.echo(json.dumps(told, indent=2, sort_keys=True) if as_json else render_policy(told))


def _record(workdir: str, release: str | None, version: str | None) -> Any:
    from manifests.reader import Release
    from pipeline.local_copy import manifest_of
    from pipeline.records import the_record

    digest = None
    if release is not None:
        with manifest_of(release) as folder:
            digest = Release.open(folder).digest
    return the_record(workdir, version=version, digest=digest)


def register(app: typer.Typer) -> None:
    """Mount the commands in the group `license`."""
    app.command("explain")(explain)
    app.command("replay")(replay)
    app.command("check")(check)
    app.command("policy")(policy_of)
