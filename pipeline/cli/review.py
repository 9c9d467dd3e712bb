"""`pipeline review`: a random sample of a release for people to look at, and the rates that come of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

review = typer.Typer(no_args_is_help=True, help="Have people look at a random sample of a release.")


@review.command("sample")
def sample(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Release directory or s3:// address.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="New folder for the form.")],
    workdir: Annotated[
        str, typer.Option("--workdir", help="Work directory that made the release; it holds the ledger.")
    ] = "work",
    kept: Annotated[int, typer.Option("--kept", min=0, max=10_000, help="Rows to draw.")] = 100,
    dropped: Annotated[
        int, typer.Option("--dropped", min=0, max=10_000, help="Dropped files to draw.")
    ] = 100,
    seed: Annotated[str, typer.Option("--seed", help="Another word draws another sample.")] = "1",
    archive: Annotated[
        str | None,
        typer.Option(
            "--archive",
            metavar="URI",
            help="Archive of the release, to show texts that it never fetched; if left out, one that was built in"
            " the work directory.",
        ),
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Read an archive on S3 without credentials.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was drawn as JSON.")] = False,
) -> None:
    """Draw rows and dropped files of a release at random, and write a form to fill in.

    The same release and seed draw the same sample. Texts of dropped files are shown with all that may be a secret taken
    out. The form is for your eyes: it tells of files that the release does not hold.
    """
    from manifests.reader import Release
    from pipeline.engine.store import Store
    from pipeline.engine.store_errors import disk_errors
    from pipeline.explain_rows import Rows
    from pipeline.local_copy import manifest_of
    from pipeline.records import the_record
    from pipeline.review_form import write_form
    from pipeline.review_sample import dropped_items, kept_items, strata

    with manifest_of(directory) as folder:
        rows = Rows(Release.open(folder), Store(directory))
    manifest = rows.release.manifest
    record = the_record(workdir, digest=rows.release.digest)
    drawn = strata(manifest.totals.dropped, dropped) if dropped else []
    release = {"name": manifest.name, "version": manifest.version, "digest": rows.release.digest}
    with disk_errors(str(out)):
        write_form(
            out,
            release=release,
            seed=seed,
            kept=list(kept_items(rows, record, seed, kept)),
            rows=manifest.totals.kept,
            dropped=list(
                dropped_items(rows, record, seed, drawn, _contents(archive, anonymous, record.store))
            ),
            strata=drawn,
        )
    told: dict[str, Any] = {
        "form": str(out),
        "release": release,
        "kept": min(kept, manifest.totals.kept),
        "dropped": {one.reason: one.n for one in drawn},
    }
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    total = sum(told["dropped"].values())
    typer.echo(
        f"{told['kept']:,} rows and {total:,} dropped files: read {out}/review.html, fill in kept.csv and dropped.csv"
    )


def _contents(archive: str | None, anonymous: bool, workdir: Any) -> Any:
    """The objects of the archive; None where none is given and none was built."""
    from pipeline.engine.store import Store
    from pipeline.sources.contents import Contents
    from pipeline.sources.pace import Pace

    if archive is None:
        if workdir.root is None or not (workdir.root / "archive" / "content").is_dir():
            return None
        archive = str(workdir.root / "archive")
    return Contents(Store(archive, anonymous), Pace(100.0, 1))


@review.command("score")
def score(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The form, filled in.")],
    release: Annotated[
        str | None, typer.Option("--release", metavar="DIR", help="Check that it is a form of this release.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print review.json.")] = False,
) -> None:
    """Compute rates with 95 % intervals from a filled-in form, and write them to FOLDER/review.json.

    With card.review in the configuration of the next release they stand in its card.
    """
    from manifests.reader import Release
    from pipeline.engine.store_errors import disk_errors
    from pipeline.local_copy import manifest_of
    from pipeline.review_score import RESULT
    from pipeline.review_score import score as rate

    digest = None
    if release is not None:
        with manifest_of(release) as place:
            digest = Release.open(place).digest
    found = rate(folder, digest=digest)
    target = folder / RESULT
    with disk_errors(str(target)):
        target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(found, indent=2) if as_json else _text(found, target))


def _text(found: dict[str, Any], target: Path) -> str:
    lines = [f"release {found['release']['version']} ({found['release']['digest'][:16]})"]
    for one in found["questions"]:
        rate = "nobody could say"
        if one["rate"] is not None:
            rate = f"{100 * one['rate']:.1f} % yes, 95 % interval {100 * one['low']:.1f} to {100 * one['high']:.1f} %"
        lines.append(
            f"  {one['of']:<8} {one['question']:<16} {rate} (n {one['n']:,}, unsure {one['unsure']:,})"
        )
    return "\n".join([*lines, f"written to {target}"])


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.add_typer(review, name="review")
