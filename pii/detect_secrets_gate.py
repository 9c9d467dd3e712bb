"""Adapter: detect-secrets at its own output, hundreds of times faster, with exact spans.

detect-secrets (Apache-2.0) runs 27 plugins and a filter chain on every line: about 0.27 MB/s.  Nearly all
lines cannot match.  Here one Hyperscan pass, compiled from the plugins' own expressions, names the lines
and plugins that may match; only there the real plugins and the real filters run.  The gate may only be wider
than the plugins; a test compares (line, type, value) with detect-secrets itself.

What differs from `detect-secrets scan`, on purpose:

* **Content only.**  The released text of a file may not depend on its path, so every text has the neutral
  file name `content`.  Off are therefore the filters on file names (binary and image extensions, lock files,
  swagger) and the keyword expressions per file type (unquoted values in YAML and INI files, Go's `:=`): all
  texts get the expressions for quoted values.  `pii.negatives` makes up for lock files by what their digests
  look like.
* **Spans.**  The plugins return values; here every place where the plugin's expression found the value is a
  span, and so is every other occurrence of a value of `REPEATED` bytes and more in the same line.
* **All matches.**  The keyword plugin looks at the first match of a line; later ones are reported as `extra`.
* **Whole tokens.**  Where the plugin's group is only a token's prefix (GitHub, GitLab), the span is the
  token.
* **Long lines.**  Some expressions are quadratic in the line.  Lines beyond `LONG_LINE` characters are looked
  at in windows of that size around the hits, so the work stays linear; a value longer than that is data, not
  a key.

No plugin's `verify` runs: it would send the value to its issuer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from detect_secrets.filters import heuristic
from detect_secrets.plugins import keyword
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.high_entropy_strings import HexHighEntropyString, HighEntropyStringsPlugin
from detect_secrets.settings import default_settings, get_filters, get_plugins

from pii.database import Database, Expression, database
from pii.gate_patterns import ignores_case, shadow, widen

try:
    import hyperscan
except ImportError:  # no wheel for this platform
    hyperscan: Any = None  # type: ignore[no-redef]

#: The file name that detect-secrets is told for every text.
NEUTRAL_NAME = "content"

#: Characters of a line that detect-secrets sees at once; windows overlap by half.  On lines made to hurt, its
#: expressions take time with the square of this: 10 kB/s at worst with 2,048.
LONG_LINE = 2_048

#: Bytes from which a value is searched for in the rest of its line.
REPEATED = 8

#: Types whose expression groups a part of the token: the whole match is the secret.
_WHOLE_MATCH = frozenset({"GitHub Token", "GitLab Token"})

# Filters of the library's defaults that judge a file name: without meaning for a content (see above).
_NAME_FILTERS = frozenset({"is_invalid_file", "is_non_text_file", "is_lock_file", "is_swagger_file"})
_SECRET_FILTERS: dict[str, Callable[[str], bool]] = {
    "is_potential_uuid": heuristic.is_potential_uuid,
    "is_sequential_string": heuristic.is_sequential_string,
    "is_not_alphanumeric_string": heuristic.is_not_alphanumeric_string,
    "is_prefixed_with_dollar_sign": heuristic.is_prefixed_with_dollar_sign,
    "is_templated_secret": heuristic.is_templated_secret,
}
_LINE_FILTERS = frozenset({"is_indirect_reference", "is_likely_id_string"})
#: Obeyed elsewhere, if at all (see above).
_PRAGMA_FILTERS = frozenset({"is_line_allowlisted"})


class GateMismatch(ValueError):
    """The installed detect-secrets has a plugin or filter that the gate does not know: no equal output."""


@dataclass(frozen=True, slots=True)
class LineFinding:
    """One finding of a plugin: character offsets in the text.

    `extra`: beyond detect-secrets' own output (a later match or a further occurrence in the same line).
    `matched_name` is what the keyword plugin took for the name of a secret, else "".
    """

    start: int
    end: int
    type: str
    extra: bool
    matched_name: str = ""


class Gate:
    """detect-secrets with its default plugins and filters, gated; compiled in a fraction of a second."""

    def __init__(self, *, use_hyperscan: bool | None = None) -> None:
        """Take the installed library's plugins; `use_hyperscan` None takes Hyperscan where it is installed.

        Raises:
            GateMismatch: an unknown plugin or filter.
        """
        with default_settings():
            self.plugins: list[Any] = list(get_plugins())
            names = {f.__name__ for f in get_filters()}
        unknown = names - _NAME_FILTERS - _SECRET_FILTERS.keys() - _LINE_FILTERS - _PRAGMA_FILTERS
        missing = (_SECRET_FILTERS.keys() | _LINE_FILTERS | _PRAGMA_FILTERS) - names
        if unknown or missing:
            raise GateMismatch(
                f"detect-secrets' default filters differ from those known: {sorted(unknown | missing)}"
            )
        self._keyword_expressions: list[tuple[re.Pattern[str], int]] = list(
            keyword.QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP.items()
        )
        expressions = [(i, *e) for i, p in enumerate(self.plugins) for e in self._gate_expressions(p)]
        if use_hyperscan is None:
            use_hyperscan = hyperscan is not None
        self._database: Database | None = _compile(expressions) if use_hyperscan else None
        #: Lines (or windows) handed to plugins so far: how much the gate lets through.
        self.lines_passed = 0

    def _gate_expressions(self, plugin: Any) -> list[tuple[bytes, bool]]:
        """(expression, caseless) pairs; one of them reports in every line where the plugin finds."""
        if isinstance(plugin, RegexBasedDetector):
            return [
                (widen(r.pattern, verbose=bool(r.flags & re.VERBOSE)), ignores_case(r))
                for r in plugin.denylist
            ]
        if isinstance(plugin, keyword.KeywordDetector):
            return [(widen(k, verbose=False), True) for k in keyword.DENYLIST]
        if isinstance(plugin, HighEntropyStringsPlugin):
            # More than H bits per character need more than 2^H different characters.
            least = int(2**plugin.entropy_limit) + 1
            if isinstance(plugin, HexHighEntropyString):
                return [(e, False) for e in _runs_with_a_letter(least)]
            return [(rf"['\"][A-Za-z0-9+/=\\_\-]{{{least}}}".encode("ascii"), False)]
        raise GateMismatch(f"no gate for detect-secrets' plugin {type(plugin).__name__}")

    def findings(self, text: str) -> list[LineFinding]:
        """All findings in `text`, ordered by line, plugin and position; offsets count characters."""
        outline = shadow(text)
        out: list[LineFinding] = []
        for begin, end, plugins, ends in self._hit_lines(outline):
            if end - begin <= LONG_LINE:
                # Trailing white space is no part of a line for detect-secrets.
                out += self._line(text[begin:end].rstrip(), begin, plugins)
            else:
                out += self._long_line(text, begin, end, plugins, ends)
        return out

    def _hit_lines(self, outline: bytes) -> Iterator[tuple[int, int, list[int], list[int]]]:
        """(begin, end, plugins, last hit positions) of every line that some plugin may find something in."""
        if self._database is None:
            everything = list(range(len(self.plugins)))
            begin = 0
            while begin < len(outline):
                end = outline.find(b"\n", begin)
                end = len(outline) if end < 0 else end
                if end > begin:
                    yield begin, end, everything, list(range(begin, end, LONG_LINE // 2))
                begin = end + 1
            return
        hits = sorted(self._hits(outline))
        i = 0
        while i < len(hits):
            begin = outline.rfind(b"\n", 0, hits[i][0]) + 1
            end = outline.find(b"\n", hits[i][0])
            end = len(outline) if end < 0 else end
            plugins: set[int] = set()
            ends: list[int] = []
            # A hit on the line break itself belongs to the line that it ends.
            while i < len(hits) and hits[i][0] <= end:
                plugins.add(hits[i][1])
                ends.append(hits[i][0])
                i += 1
            yield begin, end, sorted(plugins), ends

    def _hits(self, outline: bytes) -> list[tuple[int, int]]:
        """(last position, plugin) of the matches; of those close together in one line the first only."""
        hits: list[tuple[int, int]] = []
        last = [-1] * len(self.plugins)

        def note(plugin: int, _start: int, end: int, _flags: int, _context: object) -> None:
            # Hits of one plugin arrive in order.  One of a line is enough, and one per quarter of a window.
            before = last[plugin]
            if before >= 0 and end - before < LONG_LINE // 4 and outline.find(b"\n", before, end) < 0:
                return
            last[plugin] = end - 1
            hits.append((end - 1, plugin))

        assert self._database is not None
        self._database.scan(outline, note)
        return hits

    def _long_line(
        self, text: str, begin: int, end: int, plugins: list[int], ends: list[int]
    ) -> Iterator[LineFinding]:
        # Windows lie on a grid of the line, so that their number is bounded by its length; each hit, and what
        # follows it up to the next one that was noted, is inside one that shows a quarter of the size beyond
        # it.
        step = LONG_LINE // 2
        cells = {(e - begin) // step + d for e in ends for d in (-1, 0)}
        seen: set[tuple[int, int, str]] = set()
        for at in sorted({min(begin + c * step, end - LONG_LINE) for c in cells if c >= 0}):
            for f in self._line(text[at : min(at + LONG_LINE, end)], at, plugins, long=True):
                if (f.start, f.end, f.type) not in seen:
                    seen.add((f.start, f.end, f.type))
                    yield f

    def _line(self, line: str, offset: int, plugins: list[int], *, long: bool = False) -> list[LineFinding]:
        self.lines_passed += 1
        out: list[LineFinding] = []
        indirect: bool | None = None
        for i in plugins:
            plugin = self.plugins[i]
            kept: dict[str, list[tuple[int, int, bool, str]]] = {}
            for start, end, value, extra, name in self._matches(plugin, line):
                if value not in kept:
                    if _is_filtered(value, line, plugin):
                        continue
                    if indirect is None:  # the filter on the line, only if it matters
                        indirect = not long and bool(heuristic.is_indirect_reference(line))
                    if indirect:
                        return []
                    kept[value] = []
                kept[value].append((start, end, extra, name))
            for value, places in kept.items():
                taken = {(start, end) for start, end, _, _ in places}
                out += [
                    LineFinding(offset + s, offset + e, plugin.secret_type, x, n) for s, e, x, n in places
                ]
                if len(value) >= REPEATED:
                    out += [
                        LineFinding(
                            offset + s, offset + s + len(value), plugin.secret_type, True, places[0][3]
                        )
                        for s in _occurrences(value, line)
                        if (s, s + len(value)) not in taken
                    ]
        return out

    def _matches(self, plugin: Any, line: str) -> Iterator[tuple[int, int, str, bool, str]]:
        """(start, end, the plugin's value, extra, name) of what the plugin's expressions find in the line."""
        if isinstance(plugin, keyword.KeywordDetector):
            if not ('"' in line or "'" in line or "`" in line):
                return
            for expression, group in self._keyword_expressions:
                for number, match in enumerate(expression.finditer(line)):
                    # The name is a group of its own; the value's group is never looked at for it.
                    names = (match[g] for g in range(1, expression.groups + 1) if g != group and match[g])
                    name = next((n for n in names if _NAME.fullmatch(n)), "")
                    yield *match.span(group), match[group], number > 0, name.lower()
            return
        values = set(plugin.analyze_string(line))
        if isinstance(plugin, HighEntropyStringsPlugin):
            values = {v for v in values if plugin.calculate_shannon_entropy(v) > plugin.entropy_limit}
            expressions = [plugin.regex]
        else:
            expressions = list(plugin.denylist)
        if not values:
            return
        for expression in expressions:
            for match in expression.finditer(line):
                groups = [g for g in range(1, expression.groups + 1) if match[g] in values and match[g]]
                if groups and plugin.secret_type in _WHOLE_MATCH:
                    yield *match.span(), match[groups[0]], False, ""
                    continue
                for g in groups or ([0] if match[0] in values else []):
                    yield *match.span(g), match[g], False, ""


_NAME = re.compile("|".join(keyword.DENYLIST), re.IGNORECASE)


def _compile(expressions: list[tuple[int, bytes, bool]]) -> Database:
    # PREFILTER widens what Hyperscan cannot express; MULTILINE because plugins see one line at a time.
    always = hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_MULTILINE
    return database(
        [
            Expression(e, plugin, always | (hyperscan.HS_FLAG_CASELESS if caseless else 0))
            for plugin, e, caseless in expressions
        ]
    )


def _runs_with_a_letter(least: int) -> list[bytes]:
    """Quoted hex of `least` digits and more, not all of them decimal: the filters drop what holds no letter."""
    return [
        *(b"['\"]" + b"[0-9]" * at + b"[a-fA-F]" + b"[0-9a-fA-F]" * (least - at - 1) for at in range(least)),
        b"['\"][0-9]{%d,}[a-fA-F]" % least,
    ]


def _is_filtered(value: str, line: str, plugin: Any) -> bool:
    return any(f(value) for f in _SECRET_FILTERS.values()) or heuristic.is_likely_id_string(
        value, line, plugin
    )


def _occurrences(value: str, line: str) -> Iterator[int]:
    at = line.find(value)
    while at >= 0:
        yield at
        at = line.find(value, at + len(value))


@cache
def gate(use_hyperscan: bool | None = None) -> Gate:
    """The compiled gate, once per process."""
    return Gate(use_hyperscan=use_hyperscan)
