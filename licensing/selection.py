"""Which of the permitted licenses a release takes: a list of SPDX ids or expressions, beside the policy.

An expression is taken if it stands in the list; `OR` also if one branch is, `AND` also if all parts are. Parts that the
policy reads over (a disclaimer, an acknowledgement) are read over here, too. `L WITH E` has to be listed as such.
"""

from __future__ import annotations

from collections.abc import Iterable

from licensing.expressions import (
    InvalidExpressionError,
    alternatives,
    canonical,
    conjuncts,
    is_known,
)
from licensing.policy import Policy


def chosen(expressions: Iterable[str]) -> tuple[str, ...]:
    """The list in canonical spelling, sorted, without repetition; ValueError for what is no SPDX expression."""
    found = set()
    for expression in expressions:
        try:
            known = is_known(expression)
        except InvalidExpressionError as error:
            raise ValueError(f"{error}; give an SPDX id or expression, such as MIT") from None
        if not known:
            raise ValueError(
                f"{expression!r} is not in the SPDX license list; give an id or expression, such as MIT"
            )
        found.add(canonical(expression))
    return tuple(sorted(found))


def takes(listed: Iterable[str], expression: str | None, policy: Policy) -> bool:
    """Whether a list (of `chosen`) takes a row's license expression. None, and what cannot be read, never."""
    if expression is None:
        return False
    try:
        return _takes(frozenset(listed), canonical(expression), policy)
    except InvalidExpressionError:
        return False


def _takes(listed: frozenset[str], expression: str, policy: Policy) -> bool:
    if expression in listed:
        return True
    if len(parts := conjuncts(expression)) > 1:
        stated = [part for part in parts if part in listed or not _read_over(part, policy)]
        return bool(stated) and all(_takes(listed, part, policy) for part in stated)
    if len(branches := alternatives(expression)) > 1:
        return any(_takes(listed, branch, policy) for branch in branches)
    return False


def _read_over(part: str, policy: Policy) -> bool:
    return policy.ignores(part) or part.lower() in policy.ignored_beside_permissive
