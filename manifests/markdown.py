"""Text into Markdown: nothing in a name, a license or a publisher's fact takes effect as Markdown or HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from manifests.names import visible

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")


def plain(value: str) -> str:
    """Return a text that reads as itself in a paragraph or table cell of Markdown; always one line."""
    return _SPECIAL.sub(r"\\\1", visible(value).replace("&", "&amp;"))


def code(value: str) -> str:
    """Return a text as an inline code span, also within a table cell."""
    shown = visible(value).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest or not shown.strip() else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def block(value: str, language: str = "") -> str:
    """Return lines as a fenced code block that none of them can end."""
    longest = max((len(run) for run in re.findall("`+", value)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{value.rstrip()}\n{fence}"


def link(address: str) -> str:
    """Return a checked URL or e-mail address (`card_facts`) as a link that shows itself."""
    return f"<{address}>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a table of ready cells; the first `left` columns are aligned left, the others right."""
    lines = ["| " + " | ".join(header) + " |"]
    lines.append("|" + "---|" * left + "---:|" * (len(header) - left))
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def bullets(items: Sequence[str]) -> str:
    """Return a list of ready items."""
    return "\n".join(f"- {item}" for item in items)


def share(part: int, whole: int) -> str:
    """Return `12.30 %`, or a dash of nothing."""
    return f"{100 * part / whole:.2f} %" if whole else "-"


def folded(title: str, body: str) -> str:
    """Return a part that is shown when its title is clicked (HTML that the Hub and GitHub allow)."""
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"
