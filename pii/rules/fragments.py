r"""Parts that many patterns share, written once: `(?&assigned)` in a pattern stands for the expression below.

`(?&assigned)`: what stands between a name and the value that it is given, as configuration and code of many languages
write it: `NAME=v`, `"name": "v"`, `name := 'v'`, `{name => 'v'}`, `set("name", "v")`, `<name>v`, `name: string = "v"`,
`char name[] = "v"`, `name = @"v"`, `{\"name\": \"v\"}`, `| name | v |`; and a pair of entries: `name: NAME` and `value: v`
(Kubernetes: environment of a container), `<key>name</key>` and `<string>v` (property lists), `variable "name" {` and
`default = "v"` (Terraform), `name="x" content="v"` (HTML).
`(?&given)`: the same, or a blank (`ENV NAME v`, `--name v`): for values of a strict format.
`(?&uuid)`: a UUID in lower case (RFC 9562, section 4).
"""

from __future__ import annotations

import re

_CLOSE = r"""(?:\\{0,3}["'`])?"""
_OPEN = r"""(?:[@A-Za-z]{0,2}["'`\\]{1,4})?"""
_TYPE = r"(?::[ ]?&?[A-Za-z]{3,6}[ ])?"
_ASSIGNED = (
    rf"(?:{_CLOSE}(?:\[?[0-9]{{0,4}}\])?{_TYPE}[ \t]{{0,8}}(?::=|=>|[:=,(>|])[ \t]{{0,8}}{_OPEN}"
    rf"|{_CLOSE},?(?:[ ]?\{{)?[ \t\r\n]{{1,40}}{_CLOSE}(?i:value|default|content){_CLOSE}[ \t]{{0,4}}[:=][ \t]{{0,4}}{_OPEN}"
    r"|</key>[ \t\r\n]{0,40}<string>)"
)
FRAGMENTS = {
    "assigned": _ASSIGNED,
    "given": rf"(?:{_ASSIGNED}|{_CLOSE}[ \t]{{1,8}}{_OPEN})",
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
