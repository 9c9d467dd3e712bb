"""The sections of `report.html`, each a function from `stats.json` to HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.report import svg, words
from manifests.report.markup import (
    Column,
    cards,
    code,
    details,
    name,
    number,
    paragraph,
    share,
    size,
    table,
    text,
)

Stats = Mapping[str, Any]

SHOWN = 25
"""Lines of a table before the rest is folded into one."""
UNFOLDED = 1_000
"""Lines that unfold at most: the whole list is in `stats.json`."""

_BAR = Column("", "bar")


def headline(stats: Stats) -> str:
    """The first figures, and what identifies the release."""
    origins, parent, tokens = stats["origins"], stats["comparison"], _tokens(stats)
    found = stats["totals"]["found"]
    figures = [
        ("Rows", number(stats["rows"]), f"{share(stats['rows'], found)} of {number(found)} found"),
        ("Text", size(stats["text_bytes"]), f"{number(stats['text_bytes'])} bytes"),
        ("Download", size(stats["download_bytes"]), f"{number(stats['shards'])} shards"),
        ("Languages", number(len(stats["languages"])), ""),
        ("Origins", number(stats["origins_with_rows"]), f"of {number(origins['found'])} in the input"),
        ("Licenses", number(len(stats["licenses"])), "distinct expressions"),
    ]
    if tokens is not None:
        figures.append(("Tokens", number(tokens), ""))
    made_of = [
        ("Merkle root", code(stats["merkle_root"])),
        ("Configuration", code(stats["configuration_digest"])),
        ("Code", code(stats["code_digest"])),
        ("Opt-out registry", code(stats["opt_out_head"])),
        ("Parent", "none" if parent is None else _parent(parent)),
    ]
    return (
        cards(figures)
        + '<dl class="facts">'
        + "".join(f"<dt>{text(what)}</dt><dd>{value}</dd>" for what, value in made_of)
        + "</dl>"
        + paragraph(
            "The release’s digest is the SHA-256 of <code>manifest.json</code>, which lists this page and so cannot be"
            " quoted in it; <code>pipeline verify</code> shows and checks it.",
            kind="soft",
        )
    )


def _parent(comparison: Mapping[str, Any]) -> str:
    parent = comparison["parent"]
    return f"{name(parent['name'])} {text(parent['version'])}, manifest {code(parent['digest'])}"


def _tokens(stats: Stats) -> int | None:
    counted = [facts["tokens"] for facts in stats["languages"].values()]
    return None if not counted or None in counted else sum(counted)


def account(stats: Stats) -> str:
    """The funnel from found to kept."""
    totals = stats["totals"]
    found, kept = totals["found"], totals["kept"]
    stages = totals["stages"] or [{"name": "", "entered": found, "left": kept, "dropped": totals["dropped"]}]
    steps = [_step(stage, found) for stage in stages]
    end = (
        f'<li><div class="shape">{svg.funnel(kept, kept, found)}</div><div class="step"><h3>Kept</h3>'
        f"<p><b>{number(kept)}</b> rows, {share(kept, found)} of what was found</p></div></li>"
    )
    return (
        paragraph(
            "An occurrence is one file at one place: origin, path, content. Each was kept, or dropped for one reason:"
            " the first that applied, in the order of the stages. Found = kept + dropped."
        )
        + f'<p class="key"><span>{svg.swatch("k")}goes on</span><span>{svg.swatch("d")}dropped here</span></p>'
        + paragraph(f"<b>{number(found)}</b> occurrences were found.")
        + f'<ol class="funnel">{"".join(steps)}{end}</ol>'
    )


def _step(stage: Mapping[str, Any], found: int) -> str:
    dropped = sorted(stage["dropped"].items(), key=lambda item: (-item[1], item[0]))
    reasons = "".join(
        f"<li><b>{number(amount)}</b><span>{code(key)}"
        + (f' <span class="soft">{words.reason(key)}</span>' if words.reason(key) else "")
        + "</span></li>"
        for key, amount in dropped
    )
    title = words.STAGES.get(stage["name"], stage["name"] or "All stages")
    amount = stage["entered"] - stage["left"]
    said = (
        f"{number(amount)} of {number(stage['entered'])} dropped, {share(amount, stage['entered'])};"
        f" {number(stage['left'])} go on"
        if amount
        else f"nothing dropped of {number(stage['entered'])}"
    )
    return (
        f'<li><div class="shape">{svg.funnel(stage["entered"], stage["left"], found)}</div>'
        f'<div class="step"><h3>{text(title)}</h3><p class="soft">{said}</p>'
        + (f"<ul>{reasons}</ul>" if reasons else "")
        + "</div></li>"
    )


def languages(stats: Stats) -> str:
    """Rows, text and near-duplicates by language."""
    known = stats["languages"]
    ordered = sorted(known, key=lambda one: (-known[one]["text_bytes"], -known[one]["rows"], one))
    near = None if stats["near"] is None else stats["near"]["languages"]
    tokens = _tokens(stats) is not None
    columns = [
        Column("Language"),
        Column("Rows", "number"),
        Column("Text", "number"),
        Column("Share of text", "number less"),
        *([Column("Tokens", "number")] if tokens else []),
        *([Column("Near-duplicates dropped", "number")] if near is not None else []),
        _BAR,
    ]
    most = max(known[one]["text_bytes"] for one in known)

    def line(shown: str, members: list[str]) -> list[str]:
        rows, size_of = (sum(known[one][key] for one in members) for key in ("rows", "text_bytes"))
        cells = [shown, number(rows), size(size_of), share(size_of, stats["text_bytes"])]
        if tokens:
            cells.append(number(sum(known[one]["tokens"] for one in members)))
        if near is not None:
            counts = [near.get(one, {"entered": 0, "dropped": 0}) for one in members]
            cells.append(share(sum(c["dropped"] for c in counts), sum(c["entered"] for c in counts)))
        return [*cells, svg.bar([(size_of, "k")], most) if len(members) == 1 else ""]

    first, rest = ordered[:SHOWN], ordered[SHOWN:]
    lines = [line(name(one), [one]) for one in first]
    if rest:
        lines.append(line(f"<i>{len(rest):,} more</i>", rest))
    gone = [] if near is None else sorted(set(near) - set(known))
    parts = [table("Languages by bytes of released text", columns, lines)]
    if rest:
        tail = [line(name(one), [one]) for one in rest[:UNFOLDED]]
        more = f"The other {len(rest):,} languages"
        parts.append(details(more, table(more, columns, tail)))
    if gone:
        parts.append(
            paragraph(
                f"{len(gone):,} languages have no row because all of their contents were near-duplicates of others:",
                ", ".join(name(one) for one in gone[:SHOWN]) + (" …" if len(gone) > SHOWN else "."),
                kind="soft",
            )
        )
    return "".join(parts)


def counted(caption: str, what: str, pairs: list[tuple[str, int]], whole: int) -> str:
    """A table of names and rows, the tail folded."""
    columns = [Column(what), Column("Rows", "number"), Column("Share", "number"), _BAR]
    most = max((amount for _, amount in pairs), default=0)

    def line(shown: str, amount: int, *, bar: bool = True) -> list[str]:
        return [shown, number(amount), share(amount, whole), svg.bar([(amount, "k")], most) if bar else ""]

    lines = [line(name(key), amount) for key, amount in pairs[:SHOWN]]
    rest = pairs[SHOWN:]
    if rest:
        lines.append(line(f"<i>{len(rest):,} more</i>", sum(amount for _, amount in rest), bar=False))
    shown = table(caption, columns, lines)
    if rest:
        tail = [line(name(key), amount) for key, amount in rest[:UNFOLDED]]
        shown += details(f"The other {len(rest):,}", table(f"{caption}, the others", columns, tail))
    return shown


def redactions(stats: Stats) -> str:
    """What was taken out of the text, by kind."""
    kinds = sorted(stats["redactions"].items(), key=lambda item: (-item[1]["spans"], item[0]))
    if not kinds:
        return paragraph("Nothing was redacted in the rows of this release.")
    most, text_bytes = kinds[0][1]["spans"], stats["text_bytes"]
    lines = [
        [
            name(kind),
            number(counts["spans"]),
            number(counts["rows"]),
            _density(counts["spans"], text_bytes),
            svg.bar([(counts["spans"], "k")], most),
        ]
        for kind, counts in kinds
    ]
    columns = [
        Column("Kind"),
        Column("Spans", "number"),
        Column("Rows with any", "number"),
        Column("Spans per MB", "number"),
        _BAR,
    ]
    return paragraph(
        f"Found and replaced in {number(stats['redacted_rows'])} rows, {share(stats['redacted_rows'], stats['rows'])} of"
        " all; a span is one placeholder in the text. Files with more findings than the configured budget were dropped"
        " whole and are not counted here."
    ) + table("Redacted spans by kind", columns, lines)


def _density(spans: int, text_bytes: int) -> str:
    """Spans per million bytes, two decimals, in integers."""
    if not text_bytes:
        return "–"
    hundredths = (spans * 100 * 1_000_000 * 2 + text_bytes) // (2 * text_bytes)
    return f"{hundredths // 100:,}.{hundredths % 100:02d}"


def classes(
    caption: str, found: list[dict[str, Any]], whole: int, *, unit: str = "", what: str = "Rows"
) -> str:
    """A histogram as a table with bars, without the empty classes at its ends."""
    filled = [place for place, one in enumerate(found) if one["rows"]]
    found = found[filled[0] : filled[-1] + 1] if filled else []
    most = max((one["rows"] for one in found), default=0)
    columns = [Column(unit or "Class"), Column(what, "number"), Column("Share", "number"), _BAR]
    lines = [
        [
            text(words.class_name(one, size_of=unit == "Size")),
            number(one["rows"]),
            share(one["rows"], whole),
            svg.bar([(one["rows"], "k")], most),
        ]
        for one in found
    ]
    return table(caption, columns, lines)


def sizes(stats: Stats) -> str:
    """Bytes and lines of a file."""
    rows = stats["rows"]
    encodings = sorted(stats["encodings"].items(), key=lambda item: (-item[1], item[0]))
    return (
        '<div class="pair"><div>'
        + classes("Bytes of the original file", stats["file_sizes"], rows, unit="Size")
        + "</div><div>"
        + classes("Lines of a file", stats["lines"], rows, unit="Lines")
        + "</div></div>"
        + counted("Encodings of the originals; released text is UTF-8", "Encoding", encodings, rows)
        + paragraph(
            f"{number(stats['generated_rows'])} rows are marked as generated,"
            f" {number(stats['vendored_rows'])} as vendored.",
            kind="soft",
        )
    )


def origins(stats: Stats) -> str:
    """Where rows come from."""
    counted, best = stats["origins"], stats["top_origins"]
    unresolved = sorted(counted["unresolved"].items(), key=lambda item: (-item[1], item[0]))
    lost = "; ".join(f"{number(amount)} {code(key)}" for key, amount in unresolved)
    columns = [
        Column("Origin"),
        Column("Rows", "number"),
        Column("Share", "number"),
        Column("Original bytes", "number"),
        _BAR,
    ]
    most = max((one["rows"] for one in best), default=0)
    lines = [
        [
            name(one["origin"]),
            number(one["rows"]),
            share(one["rows"], stats["rows"]),
            size(one["bytes"]),
            svg.bar([(one["rows"], "k")], most),
        ]
        for one in best[:SHOWN]
    ]
    rest = stats["origins_with_rows"] - len(lines)
    if rest:
        left = stats["rows"] - sum(one["rows"] for one in best[:SHOWN])
        size_of = stats["original_bytes"] - sum(one["bytes"] for one in best[:SHOWN])
        lines.append([f"<i>{rest:,} more</i>", number(left), share(left, stats["rows"]), size(size_of), ""])
    return paragraph(
        f"{number(counted['found'])} origins in the input, {number(counted['resolved'])} resolved to a revision"
        + (f" ({lost} could not)." if lost else "."),
        f"{number(stats['origins_with_rows'])} have a row. A file that lives in several origins is counted for the one that"
        " was elected.",
    ) + table("Origins with most rows", columns, lines)


def years(stats: Stats) -> str:
    """Years of the revisions."""
    counted = stats["years"]
    dated = sorted(int(year) for year in counted if year.isdigit())
    if not dated:
        return paragraph("No row has a date of its revision.")
    most = max(counted.values())
    pairs = [(str(year), counted[str(year)]) for year in dated]
    pairs += [(key, counted[key]) for key in ("implausible", "unknown") if key in counted]
    columns = [Column("Year"), Column("Rows", "number"), Column("Share", "number"), _BAR]
    lines = [
        [
            text(year),
            number(amount),
            share(amount, stats["rows"]),
            svg.bar([(amount, "k" if year.isdigit() else "o")], most),
        ]
        for year, amount in pairs
    ]
    return paragraph(
        "Author dates of the revisions that rows come from: when the newest state of an origin was written, not when each"
        " file was."
    ) + table("Rows by year of the revision", columns, lines)
