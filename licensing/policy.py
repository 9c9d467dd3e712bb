"""May code under this license expression be used? One pinned list, one pure decision.

The default list is `data/permissive.json` (`data/README.md` names its sources). A policy file changes it:

    add: [MPL-2.0]                 # ids permitted in addition
    remove: [BSD-4-Clause]         # ids no longer permitted; wins over `add`
    add_exceptions: []             # exceptions that may stand after WITH

Rules: `OR` is permitted if one branch is; `AND` if all are, leaving out what states no terms (`ignored`);
`L WITH E` if L is permitted and E is a known exception (an exception only ever adds permissions to L); an
unknown id, or a LicenseRef that the list does not name, never. Nothing detected is not permitted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from licensing.expressions import (
    REFUSED,
    UNEXPLAINED,
    UNPARSABLE,
    UNREAD,
    InvalidExpressionError,
    alternatives,
    canonical,
    conjuncts,
    ids,
)

RIDER_PREFIX = "LicenseRef-stackmill-rider-"
"""Ids that `riders` gives to restrictions found beside a license text."""

_RIDERS = (
    "licenseref-scancode-commons-clause",
    "licenseref-scancode-no-ai",
    "licenseref-scancode-restricted",
)

PERMISSIVE = "permissive"
NONE_FOUND = "none_found"
UNRECOGNISED = "unrecognised"
UNPARSABLE_REASON = "unparsable"
RIDER = "rider"
UNKNOWN_ID = "unknown_id"
NOT_PERMISSIVE = "not_permissive"

_REFUSALS = (NOT_PERMISSIVE, RIDER, UNRECOGNISED, UNPARSABLE_REASON, UNKNOWN_ID, NONE_FOUND)

SUB_REASONS = (PERMISSIVE, *_REFUSALS)
"""Every value of `Decision.sub_reason`; of several refusals in one expression the first in this order is
given. `unrecognised`: a license file, or a part of one, that no detector knows."""

_SEVERITY = {reason: rank for rank, reason in enumerate(_REFUSALS)}


class PolicyError(ValueError):
    """A policy file cannot be used as given."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an expression is permitted, and why (one of SUB_REASONS)."""

    permitted: bool
    sub_reason: str


@dataclass(frozen=True)
class Policy:
    """A list of permitted licenses; ids are compared without regard to case. Make one with `Policy.load`."""

    permitted: frozenset[str] = field(repr=False)
    exceptions: frozenset[str] = field(repr=False)
    refused: frozenset[str] = field(repr=False)
    ignored: frozenset[str] = field(repr=False)
    ignored_beside_permissive: frozenset[str] = field(repr=False)
    digest: str
    """SHA-256 (hex) of the list as used: same digest, same decisions."""

    @classmethod
    def load(cls, path: Path | None = None) -> Policy:
        """The pinned policy, changed by the policy file `path` if one is given. Raises PolicyError."""
        pinned = json.loads(resources.files("licensing").joinpath("data/permissive.json").read_text("utf-8"))
        change = _read_change(path) if path is not None else {}
        return cls.of(pinned, change)

    @classmethod
    def of(cls, pinned: Mapping[str, Any], change: Mapping[str, list[str]]) -> Policy:
        """A policy from the parsed content of permissive.json and of a policy file."""
        removed = _lower(change.get("remove", ()))
        permitted = (_lower(pinned["permitted"]) | _lower(change.get("add", ()))) - removed
        known = _lower(pinned["permitted"]) | _lower(pinned["refused"]) | _lower(pinned["removed"]) | removed
        exceptions = (_lower(pinned["exceptions"]) | _lower(change.get("add_exceptions", ()))) - removed
        parts = {
            "permitted": permitted,
            "exceptions": exceptions,
            "refused": known - permitted,
            "ignored": _lower(pinned["ignored"]) - permitted,
            "ignored_beside_permissive": _lower(pinned["ignored_beside_permissive"]) - permitted,
        }
        text = json.dumps({name: sorted(part) for name, part in parts.items()}, separators=(",", ":"))
        return cls(**parts, digest=hashlib.sha256(text.encode()).hexdigest())

    def decide(self, expression: str | None) -> Decision:
        """Whether code under `expression` (None: nothing was detected) may be used. Never raises."""
        return _decide(self, expression)

    def ignores(self, identifier: str) -> bool:
        """Whether a detected id states no terms, whatever stands beside it."""
        return identifier.lower() in self.ignored

    def __hash__(self) -> int:
        return int(self.digest[:15], 16)


@lru_cache(maxsize=65_536)
def _decide(policy: Policy, expression: str | None) -> Decision:
    if expression is None:
        return Decision(False, NONE_FOUND)
    try:
        return _of_canonical(policy, canonical(expression))
    except InvalidExpressionError:
        return Decision(False, UNPARSABLE_REASON)


def _of_canonical(policy: Policy, expression: str) -> Decision:
    parts = conjuncts(expression)
    if len(parts) > 1:
        return _all(policy, parts)
    branches = alternatives(expression)
    if len(branches) > 1:
        return _any([_of_canonical(policy, branch) for branch in branches])
    return _of_id(policy, expression)


def _any(branches: list[Decision]) -> Decision:
    permitted = [branch for branch in branches if branch.permitted]
    return permitted[0] if permitted else _worst(branches)


def _all(policy: Policy, parts: list[str]) -> Decision:
    stated = [part for part in parts if not policy.ignores(part)]
    decisions = {part: _of_canonical(policy, part) for part in stated}
    if any(decision.permitted for decision in decisions.values()):
        for part in stated:
            if part.lower() in policy.ignored_beside_permissive:
                del decisions[part]
    if not decisions:
        return Decision(False, NONE_FOUND)
    refusals = [decision for decision in decisions.values() if not decision.permitted]
    return _worst(refusals) if refusals else Decision(True, PERMISSIVE)


def _worst(refusals: list[Decision]) -> Decision:
    return min(refusals, key=lambda decision: _SEVERITY[decision.sub_reason])


def _of_id(policy: Policy, expression: str) -> Decision:
    (name,) = ids(expression)
    license_id, _, exception = name.lower().partition(" with ")
    if license_id == UNPARSABLE.lower():
        return Decision(False, UNPARSABLE_REASON)
    if license_id in (UNREAD.lower(), UNEXPLAINED.lower()):
        return Decision(False, UNRECOGNISED)
    if license_id == REFUSED.lower():
        return Decision(False, NOT_PERMISSIVE)
    if license_id.startswith(RIDER_PREFIX.lower()) or license_id in _RIDERS:
        return Decision(False, RIDER)
    if not exception and (policy.ignores(license_id) or license_id in policy.ignored_beside_permissive):
        return Decision(False, NONE_FOUND)
    # "Apache-2.0+": this version or a later one, at the choice of the user.
    license_id = license_id if license_id in policy.permitted else license_id.removesuffix("+")
    if license_id in policy.permitted:
        if exception and exception not in policy.exceptions:
            return Decision(False, UNKNOWN_ID)
        return Decision(True, PERMISSIVE)
    known = license_id in policy.refused or license_id in policy.exceptions
    return Decision(False, NOT_PERMISSIVE if known else UNKNOWN_ID)


def _lower(names: Any) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


_CHANGE_KEYS = ("add", "remove", "add_exceptions")


def _read_change(path: Path) -> dict[str, list[str]]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PolicyError(f"license policy {path}: cannot be read as YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PolicyError(
            f"license policy {path}: expected a mapping with the keys {', '.join(_CHANGE_KEYS)}"
        )
    for key, value in content.items():
        if key not in _CHANGE_KEYS:
            raise PolicyError(f"license policy {path}: unknown key {key!r}; known: {', '.join(_CHANGE_KEYS)}")
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise PolicyError(f"license policy {path}: {key} must be a list of license ids")
    return content
