"""Our own rules over one text: Hyperscan says which rules occur, RE2 says where, the verifier says whether.

Hyperscan is compiled without start-of-match and with one report per rule and text (its SOM mode rejects a
quarter of such rules); without Hyperscan the rules' keywords take its place.  Both roads end in the same RE2
search, so the findings are identical.  A text with split or escaped values is looked at again (`pii.views`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

import re2

from pii.database import BadExpression, Database, Expression, database, is_available, tried_database
from pii.linear import compiled
from pii.rules import BadRule, Rule, rule_table
from pii.rules.proofs import Matches, Unreadable, keywords_are_necessary, tree_of
from pii.verifiers import VERIFIERS
from pii.views import TRIGGERS, view_of

#: (start, end, kind, rule): byte offsets in the text.
Finding = tuple[int, int, str, str]

# The repetition at the end of an expression: Hyperscan gets the repeated byte once, which is wider and linear.
# With the count it keeps one counter per beginning, and a repeated prefix takes the square of its length.
_TAIL = re.compile(rb"(?<!\\)\{[1-9][0-9]*(?:,[0-9]*)?\}\Z")

# `\s` and `\S` where RE2 and Hyperscan differ: PCRE counts the vertical tab among white space, RE2 does not.
_SPACE = re.compile(rb"\\(?:([sS])|.)|\[:\^?[a-z]+:\]|(\[\^?\]?)|(\])", re.DOTALL)

_SINGLE_MATCH = 8  # HS_FLAG_SINGLEMATCH, which a machine without Hyperscan cannot name


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
            self._parts = _parts_of(rules)
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
            if _are_necessary(rule):
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
        self._triggers.scan(text, _note, views)
        found: list[int] = list(self._always)
        for part, place in self._parts:
            hits: list[int] = []
            if part.database is not None:
                part.database.scan(text, _note, hits)
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
    return database([Expression(p, i, _SINGLE_MATCH) for i, p in enumerate(TRIGGERS.values())])


def _note(number: int, _start: int, _end: int, _flags: int, hits: list[int]) -> None:
    hits.append(number)


class _Part(NamedTuple):
    """Compiled rules: the database reports their numbers; `untrusted` are those that it does not hold."""

    database: Database | None
    untrusted: tuple[int, ...]


def _parts_of(rules: tuple[Rule, ...]) -> list[tuple[_Part, list[int]]]:
    """Compiled parts that hold the rules, and for each number of a part the position in `rules` (-1: not among them).

    The product's table is in two, whatever of it applies: so any settings find them compiled, and users' rules do not make
    the whole table compile anew.  Two scan faster than one: rules of `low` begin with literals.
    """
    out = []
    place = {rule: i for i, rule in enumerate(rules)}
    for part in _table():
        if not place.keys().isdisjoint(part):
            out.append((_compile(part), [place.pop(r, -1) for r in part]))
    if place:
        out.append((_compile(tuple(place)), list(place.values())))
    return out


@cache
def _table() -> tuple[tuple[Rule, ...], ...]:
    table = rule_table()
    return tuple(r for r in table if r.tier == "low"), tuple(r for r in table if r.tier != "low")


@lru_cache(maxsize=64)
def _compile(rules: tuple[Rule, ...]) -> _Part:
    """Rules compiled in the narrowest form that finds what it must.

    Hyperscan (Vectorscan 5.4.12) compiles some expressions wrongly: choices between literals of different lengths with a
    common end, matches of which it passes over behind the first bytes of a text.  So each database is tried on matches of
    each rule, behind all that may stand before them, and a rule that it misses gets another form (`_form`).
    """
    level = [0] * len(rules)
    while True:
        expressions = [
            Expression(pattern, i, _SINGLE_MATCH | flags)
            for i, rule in enumerate(rules)
            for pattern, flags in _form(rule, level[i])
        ]
        if not expressions:
            return _Part(None, tuple(range(len(rules))))
        try:
            held, missed = tried_database(expressions, "matches 1", lambda d: _missed(d, rules))
        except BadExpression as error:
            at = expressions[error.position].number
            if not level[at]:
                raise BadRule(f"rule {rules[at].id}: Hyperscan refuses the pattern: {error.said}") from error
            missed = [at]
        missed = [i for i in missed if level[i] < _UNTRUSTED]
        if not missed:
            return _Part(held, tuple(i for i, n in enumerate(level) if n == _UNTRUSTED))
        for i in missed:
            level[i] += 1
            while level[i] < _UNTRUSTED and not _form(rules[i], level[i]):
                level[i] += 1


_CASELESS = 1  # HS_FLAG_CASELESS


_UNTRUSTED = 3


def _form(rule: Rule, level: int) -> list[tuple[bytes, int]]:
    """What Hyperscan is given for a rule: (expression, flags) pairs, any of which reports it; empty where there is no such form.

    0: the pattern, 1: the group that it begins with, 2: its keywords, `_UNTRUSTED`: nothing, and RE2 searches every text.
    """
    if level == 0:
        return [(_wider(rule.pattern), 0)]
    if level == 1:
        begin = _first_group(rule.pattern)
        return [] if begin is None else [(_wider(begin), 0)]
    if level == 2 and _are_necessary(rule):
        return [(re.escape(k), _CASELESS) for k in rule.keywords]
    return []


def _first_group(pattern: bytes) -> bytes | None:
    """The group that a pattern begins with, if the pattern is no choice, the group need be there, and it says enough."""
    if not pattern.startswith(b"(?"):
        return None
    for end in (m.end() for m in re.finditer(rb"\)", pattern)):
        try:
            tree, whole = tree_of(pattern[:end]), tree_of(pattern)
        except Unreadable:
            continue
        single = len(whole) > 1 or str(whole[0][0]) == "SUBPATTERN"
        if not single or end == len(pattern) or pattern[end : end + 1] in b"?*{|" or tree.getwidth()[0] < 4:
            return None
        return pattern[:end]
    return None


# What stands before a match, and behind: around the sizes at which Hyperscan takes other ways (16, 32, 64, 70 bytes).
_BEFORE = (b" " * 40, b"", b"\n" * 16, b'x = "', b"; " * 9, b"." * 33, b"/*" * 35, b"\n" * 150)
_BEHIND = (b"\n" + b" " * 50, b"", b"\n", b'"', b";\n" + b"a" * 70)


def _missed(held: Database, rules: tuple[Rule, ...]) -> list[int]:
    """Numbers of rules of which the database misses a match that RE2 finds."""
    out = []
    for number, rule in enumerate(rules):
        search = compiled(rule.pattern)
        try:
            matches = Matches(tree_of(rule.pattern))
        except Unreadable:
            continue
        for k in range(max(24, 3 * matches.widest)):
            text = matches.next()
            texts = [before + text + _BEHIND[k % 5] for before in (_BEFORE[0], _BEFORE[k % 8])]
            if any(search.search(t) and not _reports(held, t, number) for t in texts):
                out.append(number)
                break
    return out


def _reports(held: Database, text: bytes, number: int) -> bool:
    hits: list[int] = []
    held.scan(text, _note, hits)
    return number in hits


def _are_necessary(rule: Rule) -> bool:
    try:
        return keywords_are_necessary(rule.pattern, rule.keywords)
    except Unreadable:
        return False


def _wider(pattern: bytes) -> bytes:
    """`pattern` for Hyperscan: everything that RE2 finds with it, and not much more."""
    in_class = False

    def same(token: re.Match[bytes]) -> bytes:
        nonlocal in_class
        if token[1] and not (in_class and token[1] == b"S"):  # `[\S]` is refused where rules are checked
            held = rb"\t\n\x0c\r\x20"
            return held if in_class else b"[%s%s]" % (b"^" if token[1] == b"S" else b"", held)
        if token[2]:  # within a class a bracket is itself, and the one that may follow closes
            in_class = not in_class or token[2][-1:] != b"]"
        elif token[3]:
            in_class = False
        return token[0]

    return _SPACE.sub(same, _TAIL.sub(b"", pattern))


def said(error: Exception) -> str:
    """What RE2 said, as text."""
    said = error.args[0] if error.args else ""
    return said.decode("ascii", "replace") if isinstance(said, bytes) else str(said)


@cache
def matcher_for(rules: tuple[Rule, ...], use_hyperscan: bool | None = None) -> Matcher:
    """The compiled rules, once per process."""
    return Matcher(rules, use_hyperscan=use_hyperscan)
