"""GitHub Linguist's languages as look-up tables: the names, extensions and interpreters of each.

The data (data/languages.json, MIT, licence beside it) are made by scripts/build_language_tables.py from a
pinned version of the npm package `linguist-languages`. Everything here is read-only and loaded once per
process.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = Path(__file__).parent / "data" / "languages.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """One language. Extensions are lower-case, with their dot; the rest is as Linguist has it."""

    name: str
    kind: str
    """`programming`, `markup`, `data` or `prose`."""
    group: str | None
    """The language it is counted with (`Shell` for `Alpine Abuild`); None if it stands alone."""
    id: int
    """Linguist's number: stable when a language is renamed."""
    aliases: tuple[str, ...]
    extensions: tuple[bytes, ...]
    filenames: tuple[bytes, ...]
    interpreters: tuple[bytes, ...]


def _load() -> tuple[Mapping[str, Language], str]:
    data = _FILE.read_bytes()
    languages = {}
    for raw in json.loads(data)["languages"]:
        languages[raw["name"]] = Language(
            name=raw["name"],
            kind=raw["type"],
            group=raw.get("group"),
            id=raw["id"],
            aliases=tuple(raw.get("aliases", ())),
            extensions=tuple(dict.fromkeys(one.lower().encode() for one in raw.get("extensions", ()))),
            filenames=tuple(one.encode() for one in raw.get("filenames", ())),
            interpreters=tuple(one.encode() for one in raw.get("interpreters", ())),
        )
    return MappingProxyType(languages), hashlib.sha256(data).hexdigest()


LANGUAGES, TAXONOMY_DIGEST = _load()
"""Name -> language, in order of the names; and the SHA-256 of the data file."""


def _index(field: str) -> Mapping[bytes, tuple[str, ...]]:
    found: dict[bytes, list[str]] = defaultdict(list)
    for name, language in LANGUAGES.items():
        for key in getattr(language, field):
            found[key].append(name)
    return MappingProxyType({key: tuple(names) for key, names in found.items()})


BY_EXTENSION = _index("extensions")
"""Lower-cased extension with its dot (one or two parts: `.js`, `.html.erb`) -> languages, by name."""

BY_FILENAME = _index("filenames")
"""Exact base name -> languages in order of their names."""

BY_INTERPRETER = _index("interpreters")
"""Interpreter of a `#!` line, without version -> languages in order of their names."""


def named(class_: bytes) -> tuple[bytes, tuple[str, ...]]:
    """What a name class is known as, and the languages that have it: as a file name, else as an extension, longest first.

    Nothing known: the class itself, and no language.
    """
    by_extension = [(class_[dot.start() :].lower(), BY_EXTENSION) for dot in re.finditer(rb"\.", class_)]
    # `.php` is the class of every PHP file and the whole name of few: an extension comes before a name here.
    first = 0 if class_ not in BY_EXTENSION else len(by_extension)
    for key, table in [*by_extension[:first], (class_, BY_FILENAME), *by_extension[first:]]:
        if languages := table.get(key, ()):
            return key, languages
    return class_, ()
