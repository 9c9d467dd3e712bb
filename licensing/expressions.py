"""SPDX license expressions: parsing with a bound, one canonical text, combining.

Parsing is license-expression's. Canonical means: known ids in SPDX's spelling, operands of AND and OR
flattened, without repetition and sorted by text, so that the same set of statements gives the same text in
any order. No boolean absorption is done: `MIT AND (GPL-2.0-only OR MIT)` stays, every statement remains
visible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from license_expression import ExpressionError, LicenseWithExceptionSymbol, Licensing, get_spdx_licensing

MAX_EXPRESSION = 1_000
"""Characters of an expression that is read from a file; longer ones are not parsed. Real ones stay below
300."""

UNPARSABLE = "LicenseRef-stackmill-unparsable"
"""Stands for a license statement that is there and cannot be read as an expression. No policy permits it."""

NO_LICENSE_FOUND = "NONE"
"""SPDX's word for code in which no license was found: the expression of a row, where a policy allows such code."""

UNREAD = "LicenseRef-stackmill-unread"
"""Stands for the part of a license file that is beyond the bytes that are read. No policy permits it."""

REFUSED = "LicenseRef-stackmill-refused"
"""Stands for what a reviewer refused (`decisions`). No policy permits it."""


class InvalidExpressionError(ValueError):
    """A text is not a license expression."""


UNEXPLAINED = "LicenseRef-stackmill-unexplained"
"""Stands for a sentence of a license file that can restrict and that no detector knows. No policy permits
it."""

REMARK = "LicenseRef-stackmill-remark"
"""Stands for words of a license file that no detector knows and that state no terms. It is evidence, with a
score, and no part of a file's expression."""


@lru_cache(maxsize=1)
def _licensing() -> Licensing:
    return get_spdx_licensing()


def parse(expression: str) -> Any:
    """The tree of `expression` as license-expression builds it. Raises InvalidExpressionError.

    Unknown ids are accepted if they are words (letters, digits, `.`, `-`, `_`, `+`, `:`); the policy judges
    them.
    """
    try:
        tree = _licensing().parse(expression)
    except (ExpressionError, AttributeError, IndexError, TypeError, RecursionError) as error:
        # All but the first: what license-expression lets out of its tokenizer for some broken inputs.
        raise InvalidExpressionError(f"not a license expression: {expression[:80]!r}") from error
    if tree is None:
        raise InvalidExpressionError("empty license expression")
    for symbol in tree.symbols:
        if any(not _ID.fullmatch(name) for name in _names(symbol)):
            raise InvalidExpressionError(f"not a license expression: {expression[:80]!r}")
    return tree


def read(text: str) -> str:
    """What a file states as its license, in canonical form; UNPARSABLE where that is no license expression.

    The old slash of package manifests (`MIT/Apache-2.0`) is read as a choice, as their documentation says.
    """
    statement = text.strip()
    if len(statement) > MAX_EXPRESSION:
        return UNPARSABLE
    try:
        return canonical(re.sub(r"\s*/\s*", " OR ", statement))
    except InvalidExpressionError:
        return UNPARSABLE


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:_-]*")


def _names(symbol: Any) -> tuple[str, ...]:
    if isinstance(symbol, LicenseWithExceptionSymbol):
        return (symbol.license_symbol.key, symbol.exception_symbol.key)
    return (symbol.key,)


@lru_cache(maxsize=65_536)
def canonical(expression: str) -> str:
    """`expression` in canonical form (module docstring). Raises InvalidExpressionError."""
    return _render(parse(expression))


def is_known(expression: str) -> bool:
    """Whether every id of a parsable expression stands in the SPDX list (or in ScanCode's, as LicenseRef)."""
    known = _licensing().known_symbols
    return all(name in known for symbol in parse(expression).symbols for name in _names(symbol))


def ids(expression: str) -> list[str]:
    """The ids in `expression`, sorted, without repetition; of `L WITH E` the pair as one id."""
    return sorted({" WITH ".join(_names(symbol)) for symbol in parse(expression).symbols})


def conjunction(expressions: Iterable[str]) -> str | None:
    """AND of canonical expressions, canonical; None where there is none. Long results are allowed."""
    return _join("AND", expressions)


def disjunction(expressions: Iterable[str]) -> str | None:
    """OR of canonical expressions, canonical; None where there is none."""
    return _join("OR", expressions)


def conjuncts(expression: str) -> list[str]:
    """The operands of the outermost AND of a canonical expression; the expression itself where there is
    none."""
    return _operands(expression, "AND")


def alternatives(expression: str) -> list[str]:
    """The operands of the outermost OR of a canonical expression; the expression itself where there is
    none."""
    return _operands(expression, "OR")


def _join(operator: str, expressions: Iterable[str]) -> str | None:
    operands = sorted({operand for e in expressions for operand in _operands(e, operator)})
    if len(operands) < 2:
        return operands[0] if operands else None
    return f" {operator} ".join(_bracketed(operand) for operand in operands)


def _bracketed(operand: str) -> str:
    return (
        f"({operand})" if len(_operands(operand, "AND")) > 1 or len(_operands(operand, "OR")) > 1 else operand
    )


@lru_cache(maxsize=65_536)
def _split(expression: str, operator: str) -> tuple[str, ...]:
    """Operands of the outermost `operator`; canonical text has no other syntax than ids, AND, OR, WITH,
    ()."""
    operands: list[list[str]] = [[]]
    depth = 0
    for token in expression.replace("(", " ( ").replace(")", " ) ").split():
        depth += (token == "(") - (token == ")")
        if depth == 0 and token in ("AND", "OR"):
            if token != operator:
                return (expression,)
            operands.append([])
        else:
            operands[-1].append(token)
    if len(operands) == 1:
        return (expression,)
    texts = (" ".join(o[1:-1] if o[0] == "(" else o) for o in operands)
    return tuple(t.replace("( ", "(").replace(" )", ")") for t in texts)


def _operands(expression: str, operator: str) -> list[str]:
    return list(_split(expression, operator))


def _render(tree: Any) -> str:
    operator = getattr(tree, "operator", "").strip()
    if not operator:
        return " WITH ".join(_names(tree))
    joined = _join(operator, [_render(argument) for argument in tree.args])
    assert joined is not None
    return joined
