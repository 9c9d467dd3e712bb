"""Adapter: rules as Hyperscan databases that can be relied on.

Hyperscan (Vectorscan 5.4.12) compiles some expressions wrongly: choices between literals of different lengths with a
common end, matches of which it passes over behind the first bytes of a text, and says nothing.  So each database is tried
on matches of each rule, behind all that may stand before them, and a rule that it misses gets another form.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

from pii.database import BadExpression, Database, Expression, tried_database
from pii.linear import compiled
from pii.rules import BadRule, Rule, rule_table
from pii.rules.proofs import Matches, Unreadable, keywords_are_necessary, tree_of

# The repetition at the end of an expression: Hyperscan gets the repeated byte once, which is wider and linear.
# With the count it keeps one counter per beginning, and a repeated prefix takes the square of its length.
_TAIL = re.compile(rb"(?<!\\)\{[1-9][0-9]*(?:,[0-9]*)?\}\Z")

# `\s` and `\S` where RE2 and Hyperscan differ: PCRE counts the vertical tab among white space, RE2 does not.
_SPACE = re.compile(rb"\\(?:([sS])|.)|\[:\^?[a-z]+:\]|(\[\^?\]?)|(\])", re.DOTALL)

SINGLE_MATCH = 8  # HS_FLAG_SINGLEMATCH, which a machine without Hyperscan cannot name


class Part(NamedTuple):
    """Compiled rules: the database reports their numbers; `untrusted` are those that it does not hold."""

    database: Database | None
    untrusted: tuple[int, ...]


def parts_of(rules: tuple[Rule, ...]) -> list[tuple[Part, list[int]]]:
    """Compiled parts that hold the rules, and for each number of a part the position in `rules` (-1: not among them).

    The product's table is in two, whatever of it applies: so any settings find them compiled, and users' rules do not make
    the whole table compile anew.  Two scan faster than one: rules of `low` begin with literals.
    """
    out = []
    place = {rule: i for i, rule in enumerate(rules)}
    for part in table_parts():
        if not place.keys().isdisjoint(part):
            out.append((compile_rules(part), [place.pop(r, -1) for r in part]))
    if place:
        out.append((compile_rules(tuple(place)), list(place.values())))
    return out


@cache
def table_parts() -> tuple[tuple[Rule, ...], ...]:
    """The product's rules as they are compiled together."""
    table = rule_table()
    return tuple(r for r in table if r.tier == "low"), tuple(r for r in table if r.tier != "low")


@lru_cache(maxsize=64)
def compile_rules(rules: tuple[Rule, ...]) -> Part:
    """Rules compiled, each in the narrowest form (`form_of`) that finds what it must."""
    level = [0] * len(rules)
    while True:
        expressions = [
            Expression(pattern, i, SINGLE_MATCH | flags)
            for i, rule in enumerate(rules)
            for pattern, flags in form_of(rule, level[i])
        ]
        if not expressions:
            return Part(None, tuple(range(len(rules))))
        try:
            held, missed = tried_database(expressions, "matches 1", lambda d: missed_by(d, rules))
        except BadExpression as error:
            at = expressions[error.position].number
            if not level[at]:
                raise BadRule(f"rule {rules[at].id}: Hyperscan refuses the pattern: {error.said}") from error
            missed = [at]
        missed = [i for i in missed if level[i] < _UNTRUSTED]
        if not missed:
            return Part(held, tuple(i for i, n in enumerate(level) if n == _UNTRUSTED))
        for i in missed:
            level[i] += 1
            while level[i] < _UNTRUSTED and not form_of(rules[i], level[i]):
                level[i] += 1


_CASELESS = 1  # HS_FLAG_CASELESS


_UNTRUSTED = 3


def form_of(rule: Rule, level: int) -> list[tuple[bytes, int]]:
    """What Hyperscan is given for a rule: (expression, flags) pairs, any of which reports it; empty where there is no such form.

    0: the pattern, 1: the group that it begins with, 2: its keywords, `_UNTRUSTED`: nothing, and RE2 searches every text.
    """
    if level == 0:
        return [(_wider(rule.pattern), 0)]
    if level == 1:
        begin = _first_group(rule.pattern)
        return [] if begin is None else [(_wider(begin), 0)]
    if level == 2 and are_necessary(rule):
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


def missed_by(held: Database, rules: tuple[Rule, ...]) -> list[int]:
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
            if any(search.search(t) and not reports(held, t, number) for t in texts):
                out.append(number)
                break
    return out


def reports(held: Database, text: bytes, number: int) -> bool:
    """Whether the database reports a number for a text."""
    hits: list[int] = []
    held.scan(text, note, hits)
    return number in hits


def are_necessary(rule: Rule) -> bool:
    """Whether a rule's keywords are proven to be in every match."""
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


def note(number: int, _start: int, _end: int, _flags: int, hits: list[int]) -> None:
    """What Hyperscan calls for each match."""
    hits.append(number)
