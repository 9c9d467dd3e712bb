"""Patterns of paths in allow-lists: shell style, over bytes, `*` within a name and `**` across folders."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2


def matches(pattern: str, path: bytes) -> bool:
    """Whether a path (relative, bytes) matches: `*` and `?` stay within a name, `**` does not; without `/`, any base name."""
    return _compiled(pattern).fullmatch(path) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    out = b"" if "/" in pattern else b"(?:.*/)?"
    i, text = 0, pattern.encode("utf-8").removeprefix(b"/")
    while i < len(text):
        if text[i : i + 3] == b"**/":
            out, i = out + b"(?:.*/)?", i + 3
        elif text[i : i + 2] == b"**":
            out, i = out + b".*", i + 2
        else:
            out += {b"*": b"[^/]*", b"?": b"[^/]"}.get(text[i : i + 1], re.escape(text[i : i + 1]))
            i += 1
    options = re2.Options()  # linear in the path, whatever a pattern holds
    options.encoding = re2.Options.Encoding.LATIN1
    options.dot_nl = True
    return re2.compile(out, options)
