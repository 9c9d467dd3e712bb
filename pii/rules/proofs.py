"""What can be proven of a rule's pattern without running it: from the syntax tree of Python's own `re`.

Two engines read a pattern (`pii.matcher`), and keywords may stand in for one of them.  So of every rule it must hold
that both engines read it alike, that it does not match the empty text, and that its keywords are necessary: that no
text matches without one of them in it.  The last is decided exactly (assertions aside, which are taken for true): the
pattern is run over the states of an automaton that knows how much of a keyword was just read, all texts at once.
"""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

# Not a public module, but the only reader of patterns that is always there; a test holds it to the whole table.
_parser = importlib.import_module("re._parser")

_POSIX = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"ascii": rb"\x00-\x7f",
    b"blank": rb"\t ",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"!-~",
    b"lower": rb"a-z",
    b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb"\t-\r ",
    b"upper": rb"A-Z",
    b"word": rb"\w",
    b"xdigit": rb"0-9A-Fa-f",
}
_TOKEN = re.compile(rb"\\(.)|\[:(\^?)([a-z]+):\]|(\[\^?\]?)|(\])", re.DOTALL)


class Unreadable(ValueError):
    """A pattern that cannot be judged; says what is wrong with it, and where (bytes from its beginning) if that is known."""

    def __init__(self, said: str, position: int | None = None) -> None:
        super().__init__(said if position is None else f"at position {position}: {said}")


def tree_of(pattern: bytes) -> Any:
    """The syntax tree of a pattern that RE2 and Hyperscan read alike.

    Raises:
        Unreadable: not a pattern, one that matches the empty text, or one with what the engines read differently.
    """
    try:
        tree = _parser.parse(_translated(pattern))
    except re.error as error:
        raise Unreadable(error.msg, error.pos) from None
    except (OverflowError, RecursionError):
        raise Unreadable("too large or too deep") from None
    if tree.getwidth()[0] == 0:
        raise Unreadable("it matches the empty text")
    if _folds_beyond_ascii(tree, bool(tree.state.flags & re.IGNORECASE)):
        raise Unreadable("case-insensitive bytes beyond ASCII: the engines differ; write both cases out")
    return tree


def _translated(pattern: bytes) -> bytes:
    """The pattern as Python's `re` writes it: RE2 knows POSIX classes and `\\z`."""
    in_class = False

    def one(token: re.Match[bytes]) -> bytes:
        nonlocal in_class
        if token[1] is not None:
            if token[1] in b"pPCQEX" or (in_class and token[1] == b"S"):
                raise Unreadable(
                    f"\\{token[1].decode()} means different things to the engines", token.start()
                )
            return rb"\Z" if token[1] == b"z" else token[0]
        if token[3] is not None and in_class:
            if token[2] or token[3] not in _POSIX:
                raise Unreadable("no such class, or a negated one", token.start())
            return _POSIX[token[3]]
        if token[4] is not None:
            if in_class:  # `re` warns of a bracket here, as of a set operation to come
                in_class = token[4][-1:] != b"]"
                return b"\\" + token[4]
            in_class = True
        elif token[5] is not None:
            in_class = False
        return token[0]

    return _TOKEN.sub(one, pattern)


def _folds_beyond_ascii(tree: Any, ignores_case: bool) -> bool:
    """Whether a byte beyond ASCII is named where case is ignored; a whole range of them has no case."""
    for op, held in tree:
        name = str(op)
        if name == "SUBPATTERN":
            _, added, removed, inner = held
            within = (ignores_case or bool(added & re.IGNORECASE)) and not removed & re.IGNORECASE
            if _folds_beyond_ascii(inner, within):
                return True
        elif any(_folds_beyond_ascii(inner, ignores_case) for inner in _inner(name, held)):
            return True
        elif ignores_case:
            if name in ("LITERAL", "NOT_LITERAL") and held > 127:
                return True
            if name == "IN" and any(
                (str(o) == "LITERAL" and v > 127)
                or (str(o) == "RANGE" and v[1] > 127 and not (v[0] <= 128 and v[1] == 255))
                for o, v in held
            ):
                return True
    return False


def _inner(name: str, held: Any) -> Sequence[Any]:
    if name in ("MAX_REPEAT", "MIN_REPEAT"):
        return [held[2]]
    return held[1] if name == "BRANCH" else []


def keywords_are_necessary(pattern: bytes, keywords: Sequence[bytes]) -> bool:
    """Whether every match of `pattern` holds one of `keywords` (lower case) in any case; false without keywords.

    Raises:
        Unreadable: as `tree_of`.
    """
    tree = tree_of(pattern)
    if not keywords or b"" in keywords:
        return False
    prefixes = {k[:i] for k in keywords for i in range(len(k))}
    words = tuple(keywords)

    @cache
    def after(state: bytes, byte: int) -> bytes | None:
        """The longest beginning of a keyword that was just read, or None: a whole one was."""
        read = state + bytes([byte]).lower()
        if read.endswith(words):
            return None
        return next(read[i:] for i in range(len(read) + 1) if read[i:] in prefixes)

    return not _passed(tree, frozenset([b""]), after)


def _passed(tree: Any, states: frozenset[bytes], after: Any) -> frozenset[bytes]:
    """The states in which a text can be that matched `tree` from one of `states` on, without a keyword so far."""
    for op, held in tree:
        name = str(op)
        if name in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            states = frozenset(
                s for state in states for b in _bytes(name, held) if (s := after(state, b)) is not None
            )
        elif name == "BRANCH":
            states = frozenset().union(*(_passed(inner, states, after) for inner in held[1]))
        elif name == "SUBPATTERN":
            states = _passed(held[3], states, after)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            states = _repeated(held, states, after)
        elif name != "AT":
            raise Unreadable(f"not known here: {name.lower()}")
        if not states:
            break
    return states


def _repeated(held: Any, states: frozenset[bytes], after: Any) -> frozenset[bytes]:
    least, most, inner = int(held[0]), held[1], held[2]
    for _ in range(least):
        following = _passed(inner, states, after)
        if following == states:
            break
        states = following
    passed, number = states, least
    while states and number < most:
        states = _passed(inner, states, after) - passed
        passed, number = passed | states, number + 1
    return passed


def _bytes(name: str, held: Any) -> Iterable[int]:
    """The bytes that a node of one byte stands for."""
    if name == "LITERAL":
        return (held,)
    if name == "NOT_LITERAL":
        return (b for b in range(256) if b != held)
    if name == "ANY":
        return range(256)
    named: set[int] = set()
    for op, value in held:
        kind = str(op)
        if kind == "LITERAL":
            named.add(value)
        elif kind == "RANGE":
            named.update(range(value[0], value[1] + 1))
        elif kind == "CATEGORY":
            named.update(_CATEGORIES[str(value)])
    return set(range(256)) - named if str(held[0][0]) == "NEGATE" else named


def _category(expression: bytes) -> set[int]:
    return {b for b in range(256) if re.match(expression, bytes([b]))}


_CATEGORIES = {
    f"CATEGORY_{negation}{name}": _category(escape.upper() if negation else escape)
    for name, escape in (("DIGIT", rb"\d"), ("SPACE", rb"\s"), ("WORD", rb"\w"))
    for negation in ("", "NOT_")
}


class Matches:
    """Texts that match a syntax tree (assertions aside), every alternative in turn; the same ones everywhere."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self._random = random.Random(0)
        self._turn: dict[int, int] = {}
        #: Alternatives of the largest choice.
        self.widest = _widest(tree)

    def next(self) -> bytes:
        """Another text."""
        return self._one(self._tree)

    def _one(self, tree: Any) -> bytes:
        out = b""
        for op, held in tree:
            name = str(op)
            if name == "LITERAL":
                out += bytes([held])
            elif name in ("NOT_LITERAL", "ANY", "IN"):
                out += bytes([self._random.choice([b for b in _bytes(name, held) if b != 10] or [10])])
            elif name == "BRANCH":
                turn = self._turn[id(held)] = self._turn.get(id(held), -1) + 1
                out += self._one(held[1][turn % len(held[1])])
            elif name == "SUBPATTERN":
                out += self._one(held[3])
            elif name in ("MAX_REPEAT", "MIN_REPEAT"):
                most = min(int(held[1]), int(held[0]) + 6)
                times = self._random.choice([int(held[0]), most, self._random.randint(int(held[0]), most)])
                out += b"".join(self._one(held[2]) for _ in range(times))
        return out


def _widest(tree: Any) -> int:
    """The number of alternatives of the largest choice in a tree."""
    out = 1
    for op, held in tree:
        name = str(op)
        inner = [held[3]] if name == "SUBPATTERN" else _inner(name, held)
        out = max([out, len(inner) if name == "BRANCH" else 1, *map(_widest, inner)])
    return out
