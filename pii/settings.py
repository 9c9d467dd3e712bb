"""What a text is scanned with, and how a configuration comes to it.

`Settings` hold for one text; together with its bytes they decide every finding.  A `Policy` is what a user configures: a
base, other levels by language, and an allow-list whose entries may name paths and languages.  One content may lie at
many places, and its released text is one: `Policy.settings_for` gives the **strictest** settings of all its places (the
highest level that one of its languages asks for; an allow-list entry that names paths or languages counts only if all
places match it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pii.paths import matches
from pii.replacements import Replacement
from pii.rules import KINDS, Rule, digest_of, rule_table, rules_digest, sensitivity_level

#: Measured on Python code: see benchmarks/secrets.py.
DEFAULT_SENSITIVITY = "high"

#: The level of a kind that is not looked for.
OFF = "off"

#: Kinds that are looked for only where a configuration says so.
OFF_BY_DEFAULT = ("name",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """An entry of an allow-list: findings that are left as they are, and why.

    A finding is allowed if all that the entry names is so.  An entry without rules, values, paths and languages
    would allow everything: it is an error.

    Attributes:
        reason: for readers of the records; required.
        rules: rule ids, `detect-secrets/*` forms included; empty: any.
        kinds: of `KINDS`; empty: any.
        values: SHA-256 (hex) of the value's bytes; empty: any.
        paths: patterns (`pii.paths`) of which the path of every place must match one; empty: any.
        languages: of which every place must have one; empty: any.
    """

    reason: str
    rules: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("an allow-list entry needs a reason")
        if not (self.rules or self.kinds or self.values or self.paths or self.languages):
            raise ValueError(f"allow-list entry {self.reason!r} names nothing: it would allow every finding")
        for kind in self.kinds:
            _known_kind(kind)

    def holds(self, value: bytes, kind: str, rule: str) -> bool:
        """Whether a finding is one of those meant, places aside."""
        return (
            (not self.rules or rule in self.rules)
            and (not self.kinds or kind in self.kinds)
            and (not self.values or hashlib.sha256(value).hexdigest() in self.values)
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one text is scanned with.

    Attributes:
        sensitivity: one of `SENSITIVITIES`, of every kind that `kinds` does not name.
        kinds: (kind, sensitivity or `off`) pairs, sorted by kind.
        rules: own rules, beside the product's table.
        allow: allow-list entries that hold for the places of this text.
        obey_pragmas: leave what an inline pragma (`pragma: allowlist secret`) asks to leave; else it is only recorded.
        replacement: `placeholder`: `<KIND_n>`; `fake`: a stand-in of the same form (`pii.replacements`).
    """

    sensitivity: str = DEFAULT_SENSITIVITY
    kinds: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()
    allow: tuple[Allow, ...] = ()
    obey_pragmas: bool = False
    replacement: Replacement = "placeholder"

    def __post_init__(self) -> None:
        sensitivity_level(self.sensitivity)
        for kind, level in self.kinds:
            _known_kind(kind)
            if level != OFF:
                sensitivity_level(level)
        object.__setattr__(self, "kinds", tuple(sorted(self.kinds)))

    def level_of(self, kind: str) -> int:
        """The level at which a kind is looked for: a position in `SENSITIVITIES`, -1 for `off`."""
        named = dict(self.kinds).get(kind, OFF if kind in OFF_BY_DEFAULT else self.sensitivity)
        return -1 if named == OFF else sensitivity_level(named)

    @cached_property
    def active_rules(self) -> tuple[Rule, ...]:
        """The rules that apply, those of the product first, in the order of the tables."""
        return tuple(
            r for r in (*rule_table(), *self.rules) if sensitivity_level(r.tier) <= self.level_of(r.kind)
        )

    def gated(self, kind: str) -> bool:
        """Whether what detect-secrets finds of a kind counts: at `high` only."""
        return self.level_of(kind) == sensitivity_level("high")

    def record(self) -> dict[str, object]:
        """JSON-able form: equal for equal findings and replacements; own rules by digest."""
        return {
            "sensitivity": self.sensitivity,
            "kinds": dict(self.kinds),
            "rules": digest_of(self.rules) if self.rules else None,
            "allow": [_entry(a) for a in self.allow],
            "obey_pragmas": self.obey_pragmas,
            "replacement": self.replacement,
        }

    def digest(self) -> str:
        """SHA-256 (hex) of `record`."""
        return hashlib.sha256(json.dumps(self.record(), sort_keys=True).encode()).hexdigest()


def _entry(allow: Allow) -> dict[str, object]:
    return {
        name: getattr(allow, name) for name in ("reason", "rules", "kinds", "values", "paths", "languages")
    }


def _known_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose one of {', '.join(KINDS)}")


@dataclass(frozen=True, kw_only=True)
class Override:
    """Other levels for the files of a language; null sensitivity: that of the base."""

    sensitivity: str | None = None
    kinds: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A configuration of the scan: base settings, other levels by language, an allow-list (entries of `base.allow` too)."""

    base: Settings = field(default_factory=Settings)
    languages: tuple[tuple[str, Override], ...] = ()
    allow: tuple[Allow, ...] = ()

    @property
    def needs_places(self) -> bool:
        """Whether settings depend on where a content lies; if not, `base` and `allow` hold for every text."""
        return bool(self.languages) or any(a.paths or a.languages for a in self.allow)

    def digest(self) -> str:
        """SHA-256 (hex) of all that decides findings, the product's rules and detect-secrets' version included."""
        overrides = [[name, one.sensitivity, list(one.kinds)] for name, one in self.languages]
        entries = [_entry(a) for a in self.allow]
        held = [rules_digest(), self.base.record(), overrides, entries]
        return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()

    def settings_for(self, languages: Sequence[str | None] = (), paths: Iterable[bytes] = ()) -> Settings:
        """The strictest settings of a content's places; with no place: the base with what needs no place."""
        here = [self._levels(language) for language in dict.fromkeys(languages)] or [self._levels(None)]
        kinds = tuple((k, max((level[k] for level in here), key=_strictness)) for k in KINDS)
        at = list(paths)
        allow = tuple(
            a
            for a in (*self.base.allow, *self.allow)
            if (not a.paths or (at and all(any(matches(p, path) for p in a.paths) for path in at)))
            and (not a.languages or (languages and all(language in a.languages for language in languages)))
        )
        base = replace(self.base, allow=allow)
        own = tuple((k, level) for k, level in kinds if _strictness(level) != base.level_of(k))
        return replace(base, kinds=(*(p for p in base.kinds if p[0] not in dict(own)), *own)) if own else base

    def _levels(self, language: str | None) -> dict[str, str]:
        """The level of every kind in the files of a language."""
        override = dict(self.languages).get(language or "", Override())
        settings = self.base
        if override.sensitivity is not None:
            settings = replace(settings, sensitivity=override.sensitivity)
        settings = replace(
            settings,
            kinds=(*(p for p in settings.kinds if p[0] not in dict(override.kinds)), *override.kinds),
        )
        return {
            k: OFF if settings.level_of(k) < 0 else ("low", "medium", "high")[settings.level_of(k)]
            for k in KINDS
        }


def _strictness(level: str) -> int:
    return -1 if level == OFF else sensitivity_level(level)
