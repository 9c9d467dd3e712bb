"""Our own rules over one text: Hyperscan says which rules occur, RE2 says where, the verifier says whether.

Hyperscan is compiled without start-of-match and with one report per rule and text (its SOM mode rejects a
quarter of such rules); without Hyperscan the rules' keywords take its place.  Both roads end in the same RE2
search, so the findings are identical.  A text with split or escaped values is looked at again (`pii.views`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import NamedTuple

import re2

from pii.database import Database, Expression, database, is_available
from pii.linear import compiled
from pii.rule_databases import SINGLE_MATCH, are_necessary, note, parts_of
from pii.rules import BadRule, Rule
from pii.verifiers import VERIFIERS
from pii.views import TRIGGERS, view_of

#: (start, end, kind, rule): byte offsets in the text.
Finding = tuple[int, int, str, str]


class Occurring(NamedTuple):
    """What may be in a text: positions of rules, ascending, and the kinds of copies of it that are worth a look."""

    rules: list[int]
    views: list[str]

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to look for."""
        return not self.rules and not self.views


class Matcher:
    """Some rules, compiled; `matcher_for` keeps one per process."""

    def __init__(self, rules: tuple[Rule, ...], *, use_hyperscan: bool | None = None) -> None:
        """Compile `rules`; `use_hyperscan` None takes it where it is installed.

        Raises:
            BadRule: a pattern that RE2 or Hyperscan does not accept, or an unknown verifier.
        """
        self.rules = rules
        self._searches = []
        for rule in rules:
            try:
                self._searches.append(compiled(rule.pattern))
            except re2.error as error:
                raise BadRule(f"rule {rule.id}: RE2 refuses the pattern: {said(error)}") from error
            if rule.verifier not in VERIFIERS:
                raise BadRule(f"rule {rule.id}: no verifier named {rule.verifier}")
        self._verifiers = [VERIFIERS[r.verifier] for r in rules]
        self._in_joined = frozenset(i for i, r in enumerate(rules) if r.tier == "low")
        self._triggers: Database | None = None
        self._always: list[int] = []  # rules that are searched for in every text
        if is_available() if use_hyperscan is None else use_hyperscan:
            self._parts = parts_of(rules)
            self._always = [
                at for part, place in self._parts for i in part.untrusted if (at := place[i]) >= 0
            ]
            self._triggers = _triggers()
        else:
            self._prepare_keywords()

    def _prepare_keywords(self) -> None:
        from pii.keywords import Keywords  # numba takes its time to load, and nobody else needs it

        of: dict[bytes, list[int]] = {}
        for i, rule in enumerate(self.rules):
            # Words that only a verifier asks for, or that somebody got wrong, decide nothing.
            if are_necessary(rule):
                for word in rule.keywords:
                    of.setdefault(word, []).append(i)
            else:
                self._always.append(i)
        self._keywords = Keywords(list(of))
        self._rules_of = list(of.values())
        self._searches_of_views = [compiled(p) for p in TRIGGERS.values()]

    def occurring(self, text: bytes | memoryview) -> Occurring:
        """What may be in `text`, which is not copied; never too little."""
        if self._triggers is None:
            named = {rule for word in self._keywords.occurring(text) for rule in self._rules_of[word]}
            return Occurring(
                sorted(named.union(self._always)),
                [
                    kind
                    for kind, search in zip(TRIGGERS, self._searches_of_views, strict=True)
                    if search.search(text)
                ],
            )
        if not self.rules:
            return _NOTHING
        views: list[int] = []
        self._triggers.scan(text, note, views)
        found: list[int] = list(self._always)
        for part, place in self._parts:
            hits: list[int] = []
            if part.database is not None:
                part.database.scan(text, note, hits)
            found += [place[h] for h in hits if place[h] >= 0]
        if not found and not views:
            return _NOTHING
        return Occurring(sorted(set(found)), [_KINDS_OF_VIEWS[v] for v in sorted(views)])

    def findings(self, body: bytes, occurring: Occurring | None = None) -> list[Finding]:
        """Verified findings in `body`, each once, not yet merged; `occurring`: what `occurring(body)` said, if known."""
        if not body:
            return []
        seen = self.occurring(body) if occurring is None else occurring
        out = dict.fromkeys(self._verified(body, seen.rules))
        for kind in seen.views:
            view = view_of(body, kind)
            rules: Collection[int] = self.occurring(view.text).rules
            if kind == "joined":  # other rules would take two of a list's strings for one
                rules = self._in_joined.intersection(rules)
            for start, end, found, rule in self._verified(view.text, sorted(rules)):
                out[(*view.original(start, end), found, rule)] = None
        return list(out)

    def _verified(self, body: bytes, rules: Collection[int]) -> Iterator[Finding]:
        for i in rules:
            rule, verify, search = self.rules[i], self._verifiers[i], self._searches[i]
            group = 1 if search.groups else 0
            for match in search.finditer(body):
                span = verify(body, *match.span(group))
                if span is not None and span[0] < span[1]:
                    yield (*span, rule.kind, rule.id)


_NOTHING = Occurring([], [])
_KINDS_OF_VIEWS = list(TRIGGERS)


@cache
def _triggers() -> Database:
    # A database of its own: together with some rules, these expressions cost a multiple.
    return database([Expression(p, i, SINGLE_MATCH) for i, p in enumerate(TRIGGERS.values())])


def said(error: Exception) -> str:
    """What RE2 said, as text."""
    said = error.args[0] if error.args else ""
    return said.decode("ascii", "replace") if isinstance(said, bytes) else str(said)


@cache
def matcher_for(rules: tuple[Rule, ...], use_hyperscan: bool | None = None) -> Matcher:
    """The compiled rules, once per process."""
    return Matcher(rules, use_hyperscan=use_hyperscan)
