"""Verifiers of passwords in connection strings, statements and command lines of databases."""

from __future__ import annotations

import re

from pii.negatives import is_placeholder, is_stock_password

Span = tuple[int, int]

_PASSWORD_MAX = 128
# A variable, a template, a command's output, a masked value, a reference: `$X`, `%X%`, `{x}`, `<x>`, `(x)`, `*****`.
_NOT_LITERAL = re.compile(rb"[$%{}\[\]<>*#(&@:?`\\\"'|]|\.\.\.")
_INSIDE = re.compile(rb"\$\{|\$\(|\{\{|\{[A-Za-z_0-9.]*\}|%s|%\(|%[A-Za-z_]+%|<[A-Za-z_ -]+>|\\u00|\*\*\*")
# What documentation writes where a password goes: `myPassword`, `your_strong_password`, `dbpass123`, `Passw0rd!`, and the
# password of Oracle's demonstration account.
_STOCK = re.compile(
    rb"(?:(?:my|your|the|an?|some|super|very|strong|new|old|test|temp|root|admin|user|db|database|sql|postgres|"
    rb"postgresql|mysql|mongo|redis|example|secure|secret|complex|default|local|guest|rabbit)[-_.! ()]*){0,4}"
    rb"(?:pass(?:word|wd|code|phrase)?|passw0rd|p[a@4]ss?w[o0]rd|pwd|pw|secret|key|here|test|admin|root|user|tiger)"
    rb"[-_. ]?[0-9]{0,4}[!@#$.]{0,3}\Z",
    re.IGNORECASE,
)
# A name of the surrounding program: `settings.DB_PASSWORD`, `db_password`, `getPassword()`.
_NAME = re.compile(rb"[A-Za-z_]+(?:[._-][A-Za-z_]+)*(?:\(.*)?\Z")


def connection_password(body: bytes, start: int, end: int) -> Span | None:
    """A password that is written out: no variable, no template, not what documentation writes in its place."""
    value = body[start:end]
    if len(value) > _PASSWORD_MAX or _NOT_LITERAL.match(value) or _INSIDE.search(value):
        return None
    if is_stock_password(value) or _STOCK.match(value) or is_placeholder(value):
        return None
    return start, end


def random_password(body: bytes, start: int, end: int) -> Span | None:
    """A password where code also has names: it also holds a digit or a sign that no name has."""
    if connection_password(body, start, end) is None or _NAME.match(body[start:end]):
        return None
    return start, end
