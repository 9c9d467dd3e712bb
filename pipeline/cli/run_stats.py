"""`pipeline stats --run`: time, memory and cost of a run by stage, on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.names import visible
from pipeline.errors import SourceError
from pipeline.prices import load_prices
from pipeline.run_page import render_run
from pipeline.run_stats import find_run, run_stats

_MB, _GIB = 1e6, 1 << 30
_WIDE = 110  # columns of a terminal that has room for all figures of a stage


def show_run(workdir: str, run: str | None, *, as_json: bool, prices: Path | None, html: Path | None) -> None:
    """Print the figures of a run, and write the page where `html` names a file."""
    known = None if prices is None else load_prices(prices)
    figures = run_stats(find_run(workdir, run), known)
    if html is not None:
        try:
            html.write_bytes(render_run(figures))
        except OSError as error:
            raise SourceError(f"--html {html}: {error.strerror}") from error
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    else:
        _show(figures)


def _show(figures: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(
        Text(
            visible(f"run {figures['run']}, release {figures['version']} ({figures['state']})"), style="bold"
        )
    )
    _stages(console, figures["stages"])
    for line in summary_lines(figures):
        typer.echo(line)


def _stages(console: Console, stages: list[dict[str, Any]]) -> None:
    if not stages:
        console.print("no stage was run: all were done before")
        return
    cells: dict[str, Callable[[dict[str, Any]], str]] = {
        "units": lambda one: f"{one['units'] - one['units_done_before']:,}",
        "s": lambda one: f"{one['seconds']:,.2f}",
        "CPU s": lambda one: f"{one['cpu_seconds']:,.2f}",
        "rows/s": lambda one: f"{one['rows_per_second']:,.0f}",
        "MB/s": lambda one: f"{one['mb_per_second']:,.1f}",
        "PSS MB": lambda one: f"{one['peak_pss_bytes'] / _MB:,.0f}",
        "read MB": lambda one: f"{one['read_bytes'] / _MB:,.1f}",
        "written MB": lambda one: f"{one['written_bytes'] / _MB:,.1f}",
        "objects": lambda one: f"{one['written_objects']:,}",
        "requests": lambda one: f"{sum(one['requests'].values()):,}",
    }
    wide = console.width >= _WIDE
    shown = [title for title in cells if wide or title not in ("rows/s", "read MB", "objects", "requests")]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage", overflow="fold", min_width=16)
    for title in shown:
        table.add_column(title, justify="right", no_wrap=True)
    for one in stages:
        table.add_row(Text(visible(one["stage"])), *(cells[title](one) for title in shown))
    console.print(table)


def summary_lines(figures: dict[str, Any]) -> list[str]:
    """The sums, the estimate beside them, and the price."""
    totals, expected, price = figures["totals"], figures["estimate"], figures["price"]
    reserved = totals["reserved_core_hours"]
    lines = [
        "",
        f"time      {totals['seconds']:,.1f} s; {totals['core_hours']:,.4f} core hours of CPU time"
        + (f", {reserved:,.4f} reserved ({figures['at_once']} at once)" if reserved is not None else ""),
        f"memory    peak {totals['peak_pss_bytes'] / _GIB:,.2f} GiB, driver"
        f" {totals['driver_peak_pss_bytes'] / _GIB:,.2f} GiB, summed PSS",
        f"files     {totals['read_bytes'] / _MB:,.1f} MB read, {totals['written_bytes'] / _MB:,.1f} MB in"
        f" {totals['written_objects']:,} objects written",
        f"requests  {', '.join(f'{n:,} {kind.upper()}' for kind, n in totals['requests'].items()) or 'none'};"
        f" {totals['received_bytes'] / _MB:,.1f} MB received, {totals['sent_bytes'] / _MB:,.1f} MB sent",
        f"stages    {len(figures['stages']):,} run, {len(figures['skipped_stages']):,} done before",
    ]
    if expected is None:
        lines.append("estimate  none was kept")
    else:
        cpu, fetched = expected["cpu_seconds"], expected["bytes"]
        lines += [
            f"estimate  {cpu['estimate']:,.1f} s of CPU time ({source_words(expected)}); it took {cpu['actual']:,.1f} s",
            f"          at most {fetched['estimate'] / _MB:,.1f} MB to fetch; {fetched['actual'] / _MB:,.1f} MB were",
        ]
        if expected["requests"]["estimate"] is not None:
            asked = expected["requests"]
            lines.append(
                f"          at most {asked['estimate']:,} requests for contents; {asked['actual']:,} were made"
            )
    if price is not None:
        parts = ", ".join(
            f"{name} {amount:,.4f}" for name, amount in price.items() if name not in ("currency", "total")
        )
        lines.append(f"price     {price['total']:,.4f} {price['currency']} ({parts}), by your price file")
    return lines


def source_words(expected: dict[str, Any]) -> str:
    """Where the rates of an estimate are from."""
    return {
        "runs": "by earlier runs here",
        "table": "by a table measured elsewhere",
        "both": "by earlier runs here and a table",
        "none": "no stage to run",
    }[expected["rates"]]
