"""Texts for the rules of shared names (ambiguous_examples.toml)."""

from __future__ import annotations

import tomllib
from pathlib import Path

NONE = "-"
"""The key of the text that no rule of a name may fit."""


def _examples() -> dict[str, dict[str, bytes]]:
    tables = tomllib.loads(Path(__file__).with_name("ambiguous_examples.toml").read_text())
    shared = tables.pop("shared")
    return {
        name: {
            key: (shared[text[1:]] if text[:1] == "@" and text[1:] in shared else text).encode()
            for key, text in texts.items()
        }
        for name, texts in tables.items()
    }


EXAMPLES = _examples()
"""Name -> language, or NONE -> text."""
