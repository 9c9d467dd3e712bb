"""A baseline of `pipeline scan secrets`: what was known, so that a later run tells what is new and what is gone.

A line of the baseline is a path, a rule, a kind and a tag of the value with how often it stands there. The tag is 16 bits
of a salted digest: a value that was exchanged for another one is seen (but for one in 65,536), and no value can be guessed
from it. Lines that move do not matter.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.content.shown import escape
from pipeline.errors import ConfigError
from pipeline.scan_secrets import FileFindings, Found

_FORMAT = 1
_ENTRY = ("path", "rule", "kind", "tag")

#: (path as shown, rule, kind, tag)
Entry = tuple[str, str, str, str]


@dataclass(frozen=True)
class Baseline:
    """What was found in an earlier run; `settings`: digest of what was looked for."""

    salt: bytes
    settings: str
    entries: Counter[Entry]

    @classmethod
    def empty(cls, settings: str) -> Baseline:
        """A baseline that knows nothing, with a salt of its own."""
        return cls(secrets.token_bytes(16), settings, Counter())

    @classmethod
    def read(cls, text: str, name: str) -> Baseline:
        """The baseline of a file's text; raises `ConfigError`, which names the file and what is wrong."""
        try:
            held = json.loads(text)
            if held["format"] != _FORMAT:
                raise ConfigError(f"{name}: format {held['format']!r} is not known; write the baseline again")
            entries: Counter[Entry] = Counter()
            for one in held["findings"]:
                path, rule, kind, tag = (str(one[key]) for key in _ENTRY)
                entries[path, rule, kind, tag] += int(one["count"])
            return cls(bytes.fromhex(held["salt"]), str(held["settings"]), entries)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{name}: not a baseline of `pipeline scan secrets`: {type(error).__name__}"
            ) from error

    @cached_property
    def by_path(self) -> Mapping[str, Mapping[Entry, int]]:
        """The entries of every path."""
        out: dict[str, dict[Entry, int]] = {}
        for entry, count in self.entries.items():
            out.setdefault(entry[0], {})[entry] = count
        return out

    def entry(self, file: FileFindings, one: Found) -> Entry:
        """What a finding is in this baseline."""
        value = file.text[one.start : one.end]
        tag = hashlib.sha256(self.salt + value).hexdigest()[:4]
        return escape(file.path), one.rule, one.kind, tag

    def text(self, entries: Mapping[Entry, int]) -> str:
        """The file of these entries, with the salt of this baseline: the same entries give the same bytes."""
        findings = [
            {**dict(zip(_ENTRY, entry, strict=True)), "count": count}
            for entry, count in sorted(entries.items())
        ]
        held: dict[str, Any] = {
            "format": _FORMAT,
            "salt": self.salt.hex(),
            "settings": self.settings,
            "findings": findings,
        }
        return json.dumps(held, indent=1, ensure_ascii=True) + "\n"


def known(baseline: Baseline, file: FileFindings) -> list[bool]:
    """Of every finding of a file: whether the baseline has it; spared ones count as known."""
    left = Counter(baseline.by_path.get(escape(file.path), {}))
    out = []
    for one in file.found:
        entry = baseline.entry(file, one)
        out.append(one.spared is not None or left[entry] > 0)
        if one.spared is None:
            left[entry] -= 1
    return out


def entries_of(baseline: Baseline, files: Iterable[FileFindings]) -> Counter[Entry]:
    """The findings of files that are not spared, as entries of a baseline."""
    return Counter(baseline.entry(file, one) for file in files for one in file.found if one.spared is None)
