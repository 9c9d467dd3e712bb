"""Names that several languages share: the choice for each, read from data/ambiguous.toml.

The file says what the keys mean; data/ambiguous-examples.toml has texts that each rule must and must not decide.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.content.taxonomy import named

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = Path(__file__).parent / "data" / "ambiguous.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """How a name class is decided. `primary` is the answer without content; None is unknown."""

    primary: str | None
    candidates: tuple[str, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    """(language, RE2 pattern), in order."""
    otherwise: str | None = None
    """The answer if there is content and nothing else decides."""
    settled: bool = False
    """Where no rule fits, `otherwise` is the answer: the classifier is not asked."""


def _load() -> tuple[Mapping[bytes, Choice], Mapping[bytes, str], str]:
    data = _FILE.read_bytes()
    tables = tomllib.loads(data.decode())
    shared = tables["patterns"]
    choices: dict[bytes, Choice] = {}
    for entry in tables["name"]:
        rules = []
        for language, *patterns in entry.get("rules", ()):
            full = (shared[pattern[1:]] if pattern.startswith("@") else pattern for pattern in patterns)
            rules.append((language, "(?m)" + "|".join(f"(?:{pattern})" for pattern in full)))
        for name in entry["names"]:
            key = name.encode()
            choices[key] = Choice(
                primary=entry["primary"],
                candidates=named(key)[1],
                rules=tuple(rules),
                otherwise=entry.get("otherwise", entry["primary"]) or None,
                settled=entry.get("settled", False),
            )
    interpreters = {name.encode(): language for name, language in tables["interpreters"].items()}
    return choices, interpreters, hashlib.sha256(data).hexdigest()


AMBIGUOUS, INTERPRETERS, AMBIGUOUS_DIGEST = _load()
"""Ambiguous extension or file name -> how it is decided; interpreter -> our choice; SHA-256 of the file."""
