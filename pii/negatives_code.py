"""Code: values that are expressions, references, types or paths rather than texts."""

from __future__ import annotations

import re

from pii.negatives_words import is_random

_EXPRESSION = re.compile(
    rb"(?:os\.)?(?:environ|getenv|process\.env|ENV\[|System\.|settings\.|config[.\[]|self\.|this\.|params[.\[]|args\.|request\.|"
    rb"secrets\.|vault[:(]|var\.|local\.|module\.|data\.|ref\+|arn:|op://|vault:|file:|env:|keyring)",
)
_CALL = re.compile(rb"[A-Za-z_][\w.:>-]*\(|[A-Za-z_][\w.]*\[|->|::|=>|==|!=|\|\||&&")
# Tags of Go's fields, selectors of CSS, attributes.
_ATTRIBUTE = re.compile(rb"[A-Za-z_*#.][\w-]{2,}(?:\[[\w-]+[~^$*|]?)?[:=]\\?[\"']")
_REFERENCE = re.compile(
    rb"[A-Za-z_$][A-Za-z0-9_]*(?:(?:\.|->|::|\?\.)[A-Za-z_$][A-Za-z0-9_]*)+(?:\(\)|(?<![0-9]))\Z"
)
_PATH = re.compile(
    rb"(?:[A-Za-z]:)?[./\\~][A-Za-z0-9_./\\ @-]*\Z|[A-Za-z0-9_-]+(?:/[A-Za-z0-9_.-]+)*\.[a-z]{2,5}\Z"
)


def is_expression(value: bytes) -> bool:
    """Whether a value is an expression or a reference of code: `os.environ[...]`, `config.password`, `f(x)`."""
    value = value[:256]
    return bool(_EXPRESSION.match(value) or _CALL.search(value) or _REFERENCE.match(value))


def is_attribute(value: bytes) -> bool:
    """Whether a value is a name with a quoted value of its own: `json:"x"`, `input[name="x"]`."""
    match = _ATTRIBUTE.match(value[:256])
    return match is not None and not is_random(match.group(), 0.0)


def is_location(value: bytes) -> bool:
    """Whether a value is a path or a URL without credentials."""
    value = value[:256]
    return b"://" in value or bool(_PATH.match(value))
