"""HTML from values: everything that goes into a page is escaped here, and numbers are written in one way.

Names of origins, paths and licenses are strangers' text: control and invisible characters are shown as `\\xNN`, direction
marks of the text around them end at `<bdi>`, and very long names are cut.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from manifests.names import visible
from manifests.report.style import STYLE

MAX_NAME = 160
"""Characters of a name that are shown."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Content security policy of a page: nothing is loaded, nothing is run."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and whether it holds numbers (set flush right) or a bar."""

    title: str
    kind: str = (
        "text"  # text | number | bar; `number less`: not shown on narrow screens where there are many columns
    )


def text(value: object) -> str:
    """A value as the text of an element or attribute."""
    return html.escape(visible(str(value)))


def name(value: str) -> str:
    """A stranger's name, set apart from the direction of what is around it."""
    return f'<bdi class="name">{text(_cut(value))}</bdi>'


def _cut(value: str) -> str:
    return value if len(value) <= MAX_NAME else value[: MAX_NAME - 1] + "…"


def quoted(value: str) -> str:
    """A stranger's words, cut like nothing else: who gives them bounds them."""
    return f'<bdi class="quoted">{text(value)}</bdi>'


def code(value: str) -> str:
    """A digest or a key."""
    return f"<code>{text(_cut(value))}</code>"


def number(value: int) -> str:
    """An integer with thousands set apart."""
    return f"{value:,}"


def signed(value: int) -> str:
    """A difference."""
    return "0" if value == 0 else f"{'+' if value > 0 else '−'}{abs(value):,}"


def share(part: int, whole: int) -> str:
    """A percentage with one decimal."""
    if not whole:
        return "–"
    tenths = (1000 * part * 2 + whole) // (2 * whole)  # integers: the same on every machine
    if part and not tenths:
        return "&lt; 0.1 %"
    if part < whole and tenths == 1000:
        return "&gt; 99.9 %"
    return f"{tenths // 10}.{tenths % 10} %"


def size(value: int) -> str:
    """Bytes in decimal units, three digits or so."""
    units = ("bytes", "kB", "MB", "GB", "TB", "PB")
    place, scale = 0, 1
    while place < len(units) - 1 and value >= 1000 * scale:
        place, scale = place + 1, scale * 1000
    if place == 0:
        return f"{value} {'byte' if value == 1 else units[0]}"
    tenths = (value * 20 + scale) // (2 * scale)
    whole = f"{tenths // 10:,}" if tenths >= 1000 else f"{tenths // 10}.{tenths % 10}"
    return f"{whole} {units[place]}"


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the first cell of a row is its header. It scrolls where it is too wide."""
    many = ' class="many"' if len(columns) > 5 else ""
    head = "".join(
        f'<th scope="col" class="{column.kind}">{text(column.title) or "<span hidden>share</span>"}</th>'
        for column in columns
    )
    body = []
    for row in rows:
        first, *others = row
        cells = "".join(
            f'<td class="{column.kind}">{cell}</td>' for column, cell in zip(columns[1:], others, strict=True)
        )
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{text(caption)}"><table{many}>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def paragraph(*parts: str, kind: str = "") -> str:
    """A paragraph of HTML parts."""
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{' '.join(parts)}</p>"


def details(summary: str, content: str) -> str:
    """Something to unfold; opened by keyboard as by mouse, and without a script."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def cards(pairs: Iterable[tuple[str, str, str]]) -> str:
    """Headline figures: what, how much (HTML), and a remark (HTML)."""
    return (
        '<dl class="cards">'
        + "".join(
            f"<div><dt>{text(what)}</dt><dd>{much}"
            + (f'<span class="remark">{remark}</span>' if remark else "")
            + "</dd></div>"
            for what, much, remark in pairs
        )
        + "</dl>"
    )


def section(key: str, title: str, *parts: str) -> str:
    """A section of the page, with a heading that can be linked to."""
    return f'<section aria-labelledby="{key}"><h2 id="{key}">{text(title)}</h2>{"".join(parts)}</section>'


def page(
    title: str, lead: str, sections: Sequence[tuple[str, str, str]], foot: str, description: str
) -> bytes:
    """A whole document. `sections` are (key, title, HTML); `lead` and `foot` are HTML."""
    links = "".join(f'<li><a href="#{key}">{text(heading)}</a></li>' for key, heading, _ in sections)
    body = "".join(section(key, heading, content) for key, heading, content in sections)
    document = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f'<meta name="description" content="{text(description)}">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header><h1>{text(title)}</h1>{lead}</header>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f"<main>{body}</main>\n<footer>{foot}</footer>\n</body>\n</html>\n"
    )
    return document.encode("utf-8")
