"""The form of a review, a folder: what to look at, and two tables to fill in.

    review.html    one page to read, without scripts: every item with its facts and its text
    kept.csv       a line for each kept row: a verdict in each column of a question
    dropped.csv    the same for what was dropped
    sample.json    what was drawn from what: the verdicts are held against it, so leave it as it is

The tables hold no word of a stranger, only ids and reasons of ours: nothing in them can be a formula. In the page everything
is escaped, control and direction marks are shown as what they are, and its policy forbids whatever could still be active.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manifests.names import visible
from manifests.review import QUESTIONS
from pipeline.errors import ConfigError
from pipeline.review_sample import DUPLICATES, Item, Stratum

SAMPLE, PAGE = "sample.json", "review.html"
VERDICTS = ("yes", "no", "unsure")
NOT_ASKED = "n/a"
RELEASE_DIGITS = 16  # of the digest, in each line of a form
_FIXED = ("release", "item", "id", "reason")

_STYLE = """
code{overflow-wrap:anywhere}:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
pre{font:13px/1.45 ui-monospace,monospace;background:#f4f4f2;padding:.8rem;overflow:auto;max-height:36rem;white-space:pre-wrap;
overflow-wrap:anywhere;border:1px solid #ddd}
article{border-top:2px solid #999;margin-top:2rem}dl{display:grid;grid-template-columns:minmax(6rem,12rem) 1fr;gap:.1rem 1rem}
dt{color:#555}dd{margin:0;overflow-wrap:anywhere}table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}pre{background:#222;border-color:#444}dt{color:#aaa}}
"""


def columns(kind: str) -> list[str]:
    """The columns of the form of `kept` or `dropped`."""
    return [*_FIXED, *(name for name, (of, _) in QUESTIONS.items() if of == kind), "comment"]


def asked(question: str, reason: str | None) -> bool:
    """Whether a question is asked of a dropped file."""
    return question != "duplicate_right" or reason in DUPLICATES


def write_form(
    folder: Path, *, release: Mapping[str, str], seed: str, kept: Sequence[Item], rows: int, dropped: Sequence[Item],
    strata: Sequence[Stratum],
) -> None:  # fmt: skip
    """Write a form into a new folder. Raises ConfigError when the folder holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder; a form is never overwritten: give another --out")
    folder.mkdir(parents=True, exist_ok=True)
    items = [
        {"item": one.item, "kind": one.kind, "id": one.id, "reason": one.reason} for one in (*kept, *dropped)
    ]
    sample: dict[str, Any] = {
        "schema": 1,
        "release": dict(release),
        "seed": seed,
        "kept": {"population": rows, "n": len(kept)},
        "dropped": {
            "population": sum(one.population for one in strata),
            "n": len(dropped),
            "strata": [asdict(one) for one in strata],
        },
        "items": items,
    }
    for kind, part in (("kept", kept), ("dropped", dropped)):
        (folder / f"{kind}.csv").write_text(
            _table(kind, part, release["digest"]), encoding="utf-8", newline=""
        )
    (folder / PAGE).write_text(page(release, (*kept, *dropped)), encoding="utf-8")
    (folder / SAMPLE).write_text(
        json.dumps({**sample, "digest": digest_of(sample)}, indent=1), encoding="utf-8"
    )


def digest_of(sample: Mapping[str, Any]) -> str:
    """SHA-256 over a sample's description without its own digest."""
    text = json.dumps({key: value for key, value in sample.items() if key != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _table(kind: str, items: Iterable[Item], digest: str) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns(kind), lineterminator="\r\n")
    writer.writeheader()
    for one in items:
        empty = {name: "" if asked(name, one.reason) else NOT_ASKED for name in columns(kind)}
        writer.writerow(
            {
                **empty,
                "release": digest[:RELEASE_DIGITS],
                "item": one.item,
                "id": one.id,
                "reason": one.reason or "kept",
            }
        )
    return stream.getvalue()


class _Shown(dict[int, str]):
    """Characters as they are shown: lines and tabs as they are, what is invisible or reorders as its escape."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character if character in "\n\t" else visible(character)
        return self[code]


_AS_SHOWN = _Shown()


def shown(text: str) -> str:
    """A stranger's text for the page."""
    return html.escape(text.translate(_AS_SHOWN), quote=True)


def page(release: Mapping[str, str], items: Sequence[Item]) -> str:
    """The page to read."""
    questions = "".join(
        f"<tr><th><code>{name}</code></th><td>{part}</td><td>{html.escape(words)}</td></tr>"
        for name, (part, words) in QUESTIONS.items()
    )
    body = "\n".join(_article(one) for one in items)
    title = f"Review of {shown(release['name'])} {shown(release['version'])}"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>{_STYLE}</style></head><body>
<h1>{title}</h1>
<p>Release digest <code>{shown(release["digest"])}</code>. Of each item below, write a verdict into its line of
<code>kept.csv</code> or <code>dropped.csv</code>: <b>yes</b>, <b>no</b>, or <b>unsure</b> where you cannot tell.
Every column of a question needs one; <code>n/a</code> stands where it is not asked. Change nothing else but
<code>comment</code>. Then run <code>pipeline review score</code> on the folder.</p>
<table>{questions}</table>
{body}
</body></html>
"""


def _article(one: Item) -> str:
    facts = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{shown(str(value))}</dd>"
        for name, value in one.facts.items()
        if value not in (None, "")
    )
    parts = [f'<article id="{one.item}"><h2>{one.item}: {shown(one.reason or "kept")}</h2><dl>{facts}</dl>']
    parts.append(_pre(one.text, "no text: it was never fetched, is none, or is not to be shown"))
    if one.stand_in is not None:
        parts.append(f"<h3>What stands in for it</h3>{_pre(one.stand_in, '')}")
    return "".join([*parts, "</article>"])


def _pre(text: str | None, otherwise: str) -> str:
    if text is None:
        return f"<p><i>{html.escape(otherwise)}</i></p>"
    return f"<pre>{shown(text)}</pre>"
