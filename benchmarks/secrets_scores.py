"""What is counted on the labelled sets, and what `high` keeps of detect-secrets' findings."""

from __future__ import annotations

import ast
import importlib
import json
import tomllib
import warnings
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from secrets_contestants import Span, detect_secrets_lines, line_spans
from secrets_draw import Document, Label


def covered(start: int, end: int, spans: Sequence[tuple[int, int]]) -> int:
    """Bytes of [start, end) under the union of spans, which are sorted by start."""
    size, reach = 0, start
    for s, e in spans:
        if s >= end:
            break
        size += max(0, min(e, end) - max(s, reach))
        reach = max(reach, min(e, end))
    return size


def overlapping(start: int, end: int, spans: Sequence[Span]) -> list[Span]:
    """Those that share a byte with [start, end); spans are sorted by start."""
    high = bisect_left(spans, (end,))  # type: ignore[type-var]
    return [x for x in spans[:high] if x[1] > start]


def recall(documents: Sequence[Document], spans: Callable[[Document], Sequence[Span]]) -> dict[str, Any]:
    """Shares of the labels that are found: by a byte, wholly, to the byte, under their kind.

    Returns:
        For every kind, and for all ("all"): `labels`, `recall` (a finding overlaps), `full` (the findings cover all of
        it), `exact` (a finding has its bounds), `kind` (an overlapping finding has its kind); and `missed`, a count by
        (kind, type, context) of what no finding overlaps.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    missed: Counter[tuple[str, str, str]] = Counter()
    partly: Counter[tuple[str, str, str]] = Counter()
    for document in documents:
        found = sorted(spans(document))
        for x in document.labels:
            over = overlapping(x.start, x.end, found)
            full = covered(x.start, x.end, [f[:2] for f in over]) == x.end - x.start
            for count in (counts[x.kind], counts["all"], *((counts[part],) if (part := _part(x)) else ())):
                count["labels"] += 1
                count["recall"] += bool(over)
                count["full"] += full
                count["exact"] += any(f[:2] == (x.start, x.end) for f in over)
                count["kind"] += any(f[2] == x.kind for f in over)
            if not over:
                missed[x.kind, x.type, x.context] += 1
            elif not full:
                partly[x.kind, x.type, x.context] += 1
    names = ("recall", "full", "exact", "kind")
    kinds = {
        kind: {"labels": c["labels"]} | {n: round(c[n] / c["labels"], 4) for n in names}
        for kind, c in sorted(counts.items())
    }
    return {"kinds": kinds, "missed": missed, "partly": partly}


def _part(label: Label) -> str | None:
    """Cards and phones count apart with and without a word that tells what they are."""
    if label.kind not in {"credit_card", "phone"}:
        return None
    return f"{label.kind} {'alone' if ' alone' in label.context else 'in context'}"


def flagged(documents: Sequence[Document], spans: Callable[[Document], Sequence[Span]]) -> dict[str, float]:
    """Share of hard negatives that a finding overlaps: of every class, and of all ("all"); classes weigh the same."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for document in documents:
        found = sorted(spans(document))
        for x in document.labels:
            hit = bool(overlapping(x.start, x.end, found))
            for class_ in (x.type, "all"):
                counts[class_][0] += hit
                counts[class_][1] += 1
    return {class_: round(hits / of, 4) for class_, (hits, of) in sorted(counts.items())}


def kept_of_detect_secrets(texts: Sequence[bytes], names: Sequence[str]) -> dict[str, Any]:
    """What our `high` does with every finding of detect-secrets' default scan of the same texts.

    A finding is `found` if one place of its value is wholly inside our findings, `partly` if only overlapped, `spared`
    (by explanation) if it lies in what we record as left, else `lost`.
    """
    from detect_secrets.settings import default_settings

    from pii import Settings, scan_text

    out: Counter[str] = Counter()
    spared: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    settings = Settings(sensitivity="high")
    for body, name in zip(texts, names, strict=True):
        with default_settings():
            lines = list(detect_secrets_lines(body, name))
        if not lines:
            continue
        ours = scan_text(body, settings)
        found = sorted((s, e) for s, e, *_ in ours.findings)
        for line in lines:
            places = line_spans(body, [line])
            out["findings"] += 1
            if any(covered(s, e, found) == e - s for s, e, _ in places):
                out["found"] += 1
            elif any(covered(s, e, found) for s, e, _ in places):
                out["partly"] += 1
            elif why := next(
                (w for s, e, _ in places for a, b, *_, w in ours.spared if a < e and s < b), None
            ):
                out["spared"] += 1
                spared[why] += 1
            else:
                out["lost"] += 1
                lost[line[2]] += 1
    return {
        **{n: out[n] for n in ("findings", "found", "partly", "spared", "lost")},
        "spared_by": dict(spared.most_common()),
        "lost_by": dict(lost),
    }


# Suffix to the module of its grammar and the function that gives it.
_GRAMMARS = {
    "c": ("c", "language"), "h": ("cpp", "language"), "cpp": ("cpp", "language"), "cc": ("cpp", "language"),
    "hpp": ("cpp", "language"), "cs": ("c_sharp", "language"), "go": ("go", "language"), "java": ("java", "language"),
    "js": ("javascript", "language"), "mjs": ("javascript", "language"), "php": ("php", "language_php"),
    "rb": ("ruby", "language"), "rs": ("rust", "language"), "ts": ("typescript", "language_typescript"),
    "tsx": ("typescript", "language_tsx"),
}  # fmt: skip


@cache
def _parser(suffix: str) -> Any:
    import tree_sitter

    module, function = _GRAMMARS[suffix]
    grammar = getattr(importlib.import_module(f"tree_sitter_{module}"), function)()
    return tree_sitter.Parser(tree_sitter.Language(grammar))


def parses(name: str, body: bytes) -> bool | None:
    """Whether a text parses as what its name says: Python by `ast`, JSON, TOML, or by a grammar; None for others."""
    suffix = name.rsplit(".", 1)[-1]
    try:
        if suffix in {"py", "pyi"}:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the code that is read
                ast.parse(body)
        elif suffix in {"json", "ipynb"}:
            json.loads(body)
        elif suffix == "toml":
            tomllib.loads(body.decode())
        elif suffix in _GRAMMARS:
            return not _parser(suffix).parse(body).root_node.has_error
        else:
            return None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def syntax_kept(texts: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Of the texts that parse: how many `high` changes, and how many of these no longer parse, by kind of file."""
    from pii import redact_one, scan_one

    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, body in texts:
        if not parses(name, body):
            continue
        findings = scan_one(body)
        broken = bool(findings) and not parses(name, redact_one(body, findings)[0])
        for count in (counts[name.rsplit(".", 1)[-1]], counts["all"]):
            count["parsed"] += 1
            count["changed"] += bool(findings)
            count["broken"] += broken
    return {
        suffix: {n: c[n] for n in ("parsed", "changed", "broken")} for suffix, c in sorted(counts.items())
    }
