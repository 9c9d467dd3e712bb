"""How a path, which is bytes of any kind, is shown as text, and read back. Nothing heavy is imported here."""

from __future__ import annotations

import re

_SHOWN_AS_BYTES = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
"""Control characters, line and paragraph separators, and the marks that reorder or hide what is read."""

_LOOKS_ESCAPED = re.compile(rb"\\(?=x[0-9a-f]{2})")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def escape(path: bytes) -> str:
    r"""A path as text: UTF-8 where valid; other bytes and control characters as `\xNN`, one per byte.

    Reversible (`unescape`): a backslash that would start such a sequence in the original is itself shown as
    `\x5c`; every other character stands for itself. Most paths are shown unchanged.
    """
    text = _LOOKS_ESCAPED.sub(rb"\\x5c", path).decode("utf-8", "backslashreplace")
    return _SHOWN_AS_BYTES.sub(
        lambda match: "".join(f"\\x{byte:02x}" for byte in match.group().encode()), text
    )


def unescape(shown: str) -> bytes:
    """The bytes of a path shown by `escape`."""
    parts = _ESCAPE.split(shown)
    return b"".join(bytes((int(part, 16),)) if odd % 2 else part.encode() for odd, part in enumerate(parts))
