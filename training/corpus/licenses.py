"""SPDX license expressions: can one be met with these licenses alone, or without those?

The grammar is that of SPDX 2.3, annex D (<https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>):

    expression = id ["WITH" exception] | expression "AND" expression | expression "OR" expression | "(" expression ")"

WITH binds before AND, AND before OR; ids and operators are compared without regard to case. An exception gives a
permission more and takes none away, so `X WITH E` is met where `X` or `X WITH E` is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_TOKEN = re.compile(r"\s*(?:([()])|([A-Za-z0-9][A-Za-z0-9.:+_-]*))")
_OPERATORS = ("AND", "OR", "WITH")
MAX_DEPTH = 100
"""Parentheses in one another; an expression with more counts as broken."""

Leaf = Callable[[str, str], bool]
"""Whether a license (lower case) with an exception (lower case, or empty) is granted."""


class _Broken(ValueError):
    pass


def _tokens(expression: str) -> list[str]:
    found, at, end = [], 0, len(expression.rstrip())
    while at < end:
        match = _TOKEN.match(expression, at)
        if match is None:
            raise _Broken
        found.append(match.group(1) or match.group(2))
        at = match.end()
    return found


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, expression: str, leaf: Leaf) -> None:
        self.tokens, self.at, self.leaf, self.depth = _tokens(expression), 0, leaf, 0

    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, operator: str) -> bool:
        if self.next().upper() != operator:
            return False
        self.at += 1
        return True

    def word(self) -> str:
        word = self.next()
        if not word or word in "()" or word.upper() in _OPERATORS:
            raise _Broken
        self.at += 1
        return word.lower()

    def either(self) -> bool:
        met = self.both()
        while self.take("OR"):
            met = self.both() or met
        return met

    def both(self) -> bool:
        met = self.one()
        while self.take("AND"):
            met = self.one() and met
        return met

    def one(self) -> bool:
        if self.take("("):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _Broken
            met = self.either()
            self.depth -= 1
            if not self.take(")"):
                raise _Broken
            return met
        name = self.word()
        return self.leaf(name, self.word() if self.take("WITH") else "")


def _evaluate(expression: str, leaf: Leaf) -> bool | None:
    """What the expression comes to, or None if it is broken."""
    try:
        reader = _Reader(expression, leaf)
        met = reader.either()
    except _Broken:
        return None
    return met if reader.at == len(reader.tokens) else None


def can_be_met(expression: str, allowed: frozenset[str]) -> bool:
    """Whether the licenses `allowed` (lower case) alone meet the expression; False for one that is broken."""
    return bool(
        _evaluate(expression, lambda name, extra: name in allowed or f"{name} with {extra}" in allowed)
    )


def can_be_met_without(expression: str, excluded: frozenset[str]) -> bool:
    """Whether the expression can be met without any of `excluded` (lower case); False for one that is broken."""
    return bool(
        _evaluate(
            expression, lambda name, extra: name not in excluded and f"{name} with {extra}" not in excluded
        )
    )


def ids(expression: str) -> Iterator[str]:
    """The licenses and exceptions that the expression names, as written; none of one that is broken."""
    try:
        tokens = _tokens(expression)
    except _Broken:
        return
    yield from (token for token in tokens if token not in "()" and token.upper() not in _OPERATORS)
