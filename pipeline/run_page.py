"""The page of a run: `pipeline stats --run WORKDIR --html FILE`, in the look of a release's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.report import svg
from manifests.report.markup import (
    Column,
    cards,
    code,
    details,
    number,
    page,
    paragraph,
    size,
    table,
    text,
)

Figures = Mapping[str, Any]
_SHOWN = 25


def render_run(figures: Figures) -> bytes:
    """The bytes of the page for what `pipeline.run_stats.run_stats` returns."""
    title = f"Run {figures['run']}"
    stages = figures["stages"]
    parts = []
    if stages:
        parts = [
            ("time", "Time line", _timeline(stages)),
            ("cpu", "CPU time", _cpu(stages)),
            ("memory", "Memory", _memory(stages)),
            ("throughput", "Throughput and traffic", _throughput(stages)),
        ]
    parts.append(("cost", "Estimate and cost", _cost(figures)))
    foot = paragraph("Every figure is in the output of <code>pipeline stats --run WORKDIR --json</code>.")
    return page(title, _lead(figures), parts, foot, f"What a run took: {title}")


def _lead(figures: Figures) -> str:
    totals, price = figures["totals"], figures["price"]
    reserved = totals["reserved_core_hours"]
    made = [
        ("Time", _seconds(totals["seconds"]), f"{number(totals['units'])} units of {len(figures['stages'])} stages"),
        (
            "CPU time",
            f"{totals['core_hours']:,.4f} h",
            f"{reserved:,.4f} core hours reserved" if reserved is not None else "",
        ),
        ("Peak memory", size(totals["peak_pss_bytes"]), f"driver {size(totals['driver_peak_pss_bytes'])}; summed PSS"),
        ("Written", size(totals["written_bytes"]), f"{number(totals['written_objects'])} objects"),
        (
            "Requests",
            number(sum(totals["requests"].values())),
            f"{size(totals['received_bytes'])} in, {size(totals['sent_bytes'])} out",
        ),
    ]  # fmt: skip
    if price is not None:
        made.append(("Price", f"{price['total']:,.4f} {text(price['currency'])}", "by your price file"))
    before = len(figures["skipped_stages"])
    state = ""
    if not figures["stages"]:
        state = "No stage was run: all of them were done before."
    elif before:
        state = f"{before:,} further {'stage was' if before == 1 else 'stages were'} done before."
    return (
        paragraph(f"Release {text(figures['version'])}, {text(figures['state'])}. {state}", kind="soft")
        + cards(made)
        + f'<dl class="facts"><dt>Release’s digest</dt><dd>{code(figures["digest"] or "none")}</dd></dl>'
    )


def _seconds(value: float) -> str:
    if value >= 3600:
        return f"{value / 3600:,.2f} h"
    return f"{value / 60:,.1f} min" if value >= 120 else f"{value:,.1f} s"


def _ms(value: float) -> int:
    return round(1000 * value)


def _timeline(stages: list[dict[str, Any]]) -> str:
    whole = sum(_ms(one["seconds"]) for one in stages)
    lines, at = [], 0
    for one in stages:
        length = _ms(one["seconds"])
        cells = [code(one["stage"]), f"{one['seconds']:,.2f}", svg.lane(at, length, whole)]
        lines.append((100 * length >= whole, cells))
        at += length
    columns = [Column("Stage"), Column("Seconds", "number"), Column("", "bar")]
    long = [cells for is_long, cells in lines if is_long]
    return (
        paragraph(
            "Stages run one after the other, their units side by side. What lies between them, such as putting the release"
            f" in its place, is not drawn: {_seconds(whole / 1000)} of stages in all."
        )
        + table("Stages of at least 1 % of the time, in their order", columns, long)
        + (
            details(
                f"All {len(lines)} stages", table("Stages in their order", columns, [c for _, c in lines])
            )
            if len(long) < len(lines)
            else ""
        )
    )


def _cpu(stages: list[dict[str, Any]]) -> str:
    ordered = sorted(stages, key=lambda one: (-one["cpu_seconds"], one["stage"]))
    most = max(_ms(one["cpu_seconds"]) for one in stages)
    key = (
        f'<p class="key"><span>{svg.swatch("k")}the stage’s own work</span>'
        f"<span>{svg.swatch('o')}reading, sorting, writing, committing</span></p>"
    )

    def line(one: dict[str, Any]) -> list[str]:
        own, all_of_it = _ms(one["function_cpu_seconds"]), _ms(one["cpu_seconds"])
        parts = [(own, "k"), (max(0, all_of_it - own), "o")]
        return [
            code(one["stage"]),
            number(one["units"] - one["units_done_before"]),
            f"{one['cpu_seconds']:,.2f}",
            svg.bar(parts, most),
        ]

    columns = [Column("Stage"), Column("Units", "number"), Column("CPU seconds", "number"), Column("", "bar")]
    return key + _folded("CPU time by stage, most first", columns, [line(one) for one in ordered])


def _memory(stages: list[dict[str, Any]]) -> str:
    ordered = sorted(stages, key=lambda one: (-one["peak_pss_bytes"], one["stage"]))
    most = ordered[0]["peak_pss_bytes"]
    lines = [
        [code(one["stage"]), size(one["peak_pss_bytes"]), svg.bar([(one["peak_pss_bytes"], "k")], most)]
        for one in ordered
    ]
    columns = [Column("Stage"), Column("Peak PSS", "number"), Column("", "bar")]
    return paragraph(
        "The largest memory of a process while it worked on one unit. A worker keeps what earlier units gave back: upper"
        " bounds of what a stage needs."
    ) + _folded("Peak of one process by stage, most first", columns, lines)


def _throughput(stages: list[dict[str, Any]]) -> str:
    columns = [
        Column("Stage"),
        *(
            Column(title, "number")
            for title in ("Rows/s", "MB/s", "Read", "Written", "Objects", "Requests", "Received")
        ),
    ]
    lines = [
        [
            code(one["stage"]),
            f"{one['rows_per_second']:,.0f}",
            f"{one['mb_per_second']:,.1f}",
            size(one["read_bytes"]),
            size(one["written_bytes"]),
            number(one["written_objects"]),
            number(sum(one["requests"].values())),
            size(one["received_bytes"]),
        ]
        for one in stages
    ]
    return paragraph(
        "Rows and bytes of a stage’s input over its wall time. Read and written are files of the work directory; requests"
        " and what they brought are those to object stores, as asked for once."
    ) + table("Throughput and traffic by stage", columns, lines)


def _folded(caption: str, columns: list[Column], lines: list[list[str]]) -> str:
    shown = table(caption, columns, lines[:_SHOWN])
    if rest := lines[_SHOWN:]:
        shown += details(f"The other {len(rest)} stages", table(f"{caption}, the others", columns, rest))
    return shown


def _cost(figures: Figures) -> str:
    expected, price, totals = figures["estimate"], figures["price"], figures["totals"]
    parts = []
    if expected is None:
        parts.append(paragraph("No estimate was kept of this run."))
    else:
        where = {
            "runs": "the rates of earlier runs in this work directory",
            "table": f"a table measured elsewhere ({text(expected['conditions'] or '')})",
            "both": "the rates of earlier runs in this work directory, and a table for other stages",
            "none": "nothing, since no stage was to be run",
        }[expected["rates"]]
        cpu, fetched, asked = (expected[key] for key in ("cpu_seconds", "bytes", "requests"))
        lines = [
            ["CPU seconds", f"{cpu['estimate']:,.1f}", f"{cpu['actual']:,.1f}"],
            ["Bytes fetched, unpacked (at most)", size(fetched["estimate"]), size(fetched["actual"])],
        ]
        if asked["estimate"] is not None:
            lines.append(
                ["Requests for contents (at most)", number(asked["estimate"]), number(asked["actual"])]
            )
        columns = [Column(""), Column("Estimate", "number"), Column("Actual", "number")]
        parts += [
            paragraph(f"By {where}: what <code>--dry-run</code> says, for the stages that were run."),
            table("Estimate and actual", columns, lines),
        ]
        if expected["unknown_stages"]:
            names = ", ".join(code(name) for name in expected["unknown_stages"])
            parts.append(paragraph(f"Not estimated: {names}.", kind="soft"))
    kinds = totals["requests"]
    if kinds:
        columns = [Column("Kind"), Column("Requests", "number")]
        lines = [[text(kind.upper()), number(amount)] for kind, amount in kinds.items()]
        parts.append(table("Requests to object stores, by kind", columns, lines))
    if price is None:
        parts.append(
            paragraph(
                "Give <code>--prices FILE</code> to have this in money; no price is built in.", kind="soft"
            )
        )
    else:
        columns = [Column("Part"), Column(f"Price in {price['currency']}", "number")]
        lines = [[text(name), f"{amount:,.4f}"] for name, amount in price.items() if name != "currency"]
        parts.append(table("Price", columns, lines))
    return "".join(parts)
