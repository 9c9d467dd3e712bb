r"""Parts that many patterns share, written once: `(?&assigned)` in a pattern stands for the expression below.

`(?&assigned)`: what stands between a name and the value that it is given, as configuration and code of many languages
write it: `NAME=v`, `"name": "v"`, `name := 'v'`, `{name => 'v'}`, `set("name", "v")`, `<name>v`, `name: string = "v"`,
`{\"name\": \"v\"}`, `name[] = "v"`, `| name | v |`; a pair of entries, `name: NAME` and `value: v` (Kubernetes: environment of a
container), `<add key="name" value="v"/>`, `variable "name" { default = "v"`; an Apple property list.
`(?&given)`: the same, or a blank (`ENV NAME v`, `--name v`): for values of a strict format.
`(?&uuid)`: a UUID in lower case (RFC 9562, section 4).
"""

from __future__ import annotations

import re

_QUOTE = r"""(?:\\{0,3}["'`])?"""
_TYPE = r"(?::[ ]?&?[A-Za-z]{3,6}[ ])?"
_OPEN = (
    r"""(?:[@bru]?(?:\\{0,3}["'`]){1,3})?"""  # also of raw, byte and verbatim strings, and three of a kind
)
_ASSIGNED = (
    rf"(?:{_QUOTE}(?:\[?[0-9]{{0,4}}\])?{_TYPE}[ \t]{{0,8}}(?::=|=>|[:=,(>|])[ \t]{{0,8}}{_OPEN}"
    rf"|{_QUOTE},?(?:[ \t]?\{{)?[ \t\r\n]{{1,40}}{_QUOTE}(?i:value|content|default){_QUOTE}[ \t]{{0,4}}[:=][ \t]{{0,4}}{_OPEN}"
    r"|</key>[ \t\r\n]{0,40}<string>)"
)
FRAGMENTS = {
    "assigned": _ASSIGNED,
    "given": rf"(?:{_ASSIGNED}|{_QUOTE}[ \t]{{1,8}}{_OPEN})",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}

_CALL = re.compile(r"\(\?&([a-z_]+)\)")


def filled(pattern: str) -> str:
    """The pattern with every `(?&name)` replaced.

    Raises:
        ValueError: no fragment has the name.
    """

    def one(call: re.Match[str]) -> str:
        if call[1] not in FRAGMENTS:
            raise ValueError(f"no fragment is called {call[1]!r}; there are {', '.join(FRAGMENTS)}")
        return FRAGMENTS[call[1]]

    return _CALL.sub(one, pattern)
