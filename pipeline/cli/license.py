"""`pipeline license`: the evidence behind what may be used, and what a person should look at."""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Evidence on licenses: decisions explained and taken again, the policy, what to review.",
)


def register(main: typer.Typer) -> None:
    """Mount the commands."""
    from pipeline.cli import license_explain, license_review

    license_explain.register(app)
    license_review.register(app)
    main.add_typer(app, name="license")
