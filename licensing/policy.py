"""May code under this license expression be used? One pinned list, one pure decision.

The default list is `data/permissive.json` (`data/README.md` names its sources). A policy file changes it, see
`policy_file.py`.

Rules: `OR` is permitted if one branch is; `AND` if all are, leaving out what states no terms (`ignored`);
`L WITH E` if L is permitted and E is a known exception (an exception only ever adds permissions to L), or if the
policy names the pair; an unknown id, or a LicenseRef that the list does not name, never. Nothing detected is not
permitted, unless the policy allows unlicensed code.
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

from licensing.expressions import (
    NO_LICENSE_FOUND,
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
from licensing.policy_file import PolicyError, read_change

__all__ = ["SUB_REASONS", "Decision", "Policy", "PolicyError"]

RIDER_PREFIX = "LicenseRef-stackmill-rider-"
"""Ids that `riders` gives to restrictions found beside a license text."""

_RIDERS = (
    "licenseref-scancode-commons-clause",
    "licenseref-scancode-no-ai",
    "licenseref-scancode-restricted",
)

PERMISSIVE = "permissive"
WEAK_COPYLEFT = "weak_copyleft"
UNLICENSED = "unlicensed"
NONE_FOUND = "none_found"
UNRECOGNISED = "unrecognised"
UNPARSABLE_REASON = "unparsable"
RIDER = "rider"
UNKNOWN_ID = "unknown_id"
NOT_PERMISSIVE = "not_permissive"
VENDORED = "vendored"

PERMITTING = (PERMISSIVE, WEAK_COPYLEFT, UNLICENSED)
"""Sub-reasons of what is permitted. Of several parts of an AND the last in this order is given, of an OR the first."""

_REFUSALS = (NOT_PERMISSIVE, RIDER, UNRECOGNISED, UNPARSABLE_REASON, UNKNOWN_ID, VENDORED, NONE_FOUND)

SUB_REASONS = (*PERMITTING, *_REFUSALS)
"""Every value of `Decision.sub_reason`; of several refusals in one expression the first in this order is
given. `unrecognised`: a license file, or a part of one, that no detector knows. `vendored`: code that the project
carries, without a license of its own (said by `attribution`)."""

_SEVERITY = {reason: rank for rank, reason in enumerate(_REFUSALS)}

WEAK_CATEGORY = "Copyleft Limited"
"""ScanCode's category that `allow: [weak_copyleft]` permits; the ids of the category are pinned in the list."""

_REVISION = 2  # of the rules in this file and in `attribution`: it is part of the digest


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
    weak: frozenset[str] = field(repr=False)
    """Of `permitted`, what is permitted only because weak copyleft is allowed."""
    unlicensed: bool
    """Code without any license is permitted."""
    inherits_vendored: bool
    """A vendored directory without a license of its own has that of the directory above it."""
    digest: str
    """SHA-256 (hex) of the list as used: same digest, same decisions."""

    @classmethod
    def load(cls, path: Path | None = None) -> Policy:
        """The pinned policy, changed by the policy file `path` if one is given. Raises PolicyError."""
        pinned = pinned_list()
        return cls.of(pinned, {} if path is None else read_change(path, pinned))

    @classmethod
    def of(cls, pinned: Mapping[str, Any], change: Mapping[str, Any]) -> Policy:
        """A policy from the parsed content of permissive.json and of a policy file."""
        removed = _lower(_pairs(change.get("remove", ())))
        allowed = change.get("allow", ())
        strong = _lower(pinned["permitted"]) | _lower(_pairs(change.get("add", ())))
        weak = (weak_copyleft(pinned) if WEAK_COPYLEFT in allowed else frozenset()) - strong - removed
        permitted = (strong | weak) - removed
        known = _lower(pinned["permitted"]) | _lower(pinned["refused"]) | _lower(pinned["removed"]) | removed
        exceptions = (_lower(pinned["exceptions"]) | _lower(change.get("add_exceptions", ()))) - removed
        parts: dict[str, Any] = {
            "permitted": permitted,
            "exceptions": exceptions,
            "refused": known - permitted,
            "ignored": _lower(pinned["ignored"]) - permitted,
            "ignored_beside_permissive": _lower(pinned["ignored_beside_permissive"]) - permitted,
            "weak": weak,
        }
        switches = {
            "unlicensed": UNLICENSED in allowed,
            "inherits_vendored": change.get("vendored", "own") == "inherit",
        }
        told = {**{name: sorted(part) for name, part in parts.items()}, **switches, "revision": _REVISION}
        text = json.dumps(told, separators=(",", ":"))
        return cls(**parts, **switches, digest=hashlib.sha256(text.encode()).hexdigest())

    def decide(self, expression: str | None) -> Decision:
        """Whether code under `expression` (None: nothing was detected) may be used. Never raises."""
        return _decide(self, expression)

    def states_terms(self, expression: str | None) -> bool:
        """Whether an expression says anything about the use of the code; "see the license file" does not."""
        return expression is not None and self.decide(expression).sub_reason not in (NONE_FOUND, UNLICENSED)

    def ignores(self, identifier: str) -> bool:
        """Whether a detected id states no terms, whatever stands beside it."""
        return identifier.lower() in self.ignored

    def __hash__(self) -> int:
        return int(self.digest[:15], 16)


@lru_cache(maxsize=65_536)
def _decide(policy: Policy, expression: str | None) -> Decision:
    if expression is None or expression == NO_LICENSE_FOUND:
        return Decision(True, UNLICENSED) if policy.unlicensed else Decision(False, NONE_FOUND)
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
    permitted = [branch.sub_reason for branch in branches if branch.permitted]
    return Decision(True, min(permitted, key=PERMITTING.index)) if permitted else _worst(branches)


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
    if refusals:
        return _worst(refusals)
    return Decision(True, max((d.sub_reason for d in decisions.values()), key=PERMITTING.index))


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
    if exception and name.lower() in policy.permitted:
        return Decision(True, WEAK_COPYLEFT if name.lower() in policy.weak else PERMISSIVE)
    if license_id in policy.permitted:
        if exception and exception not in policy.exceptions:
            return Decision(False, UNKNOWN_ID)
        return Decision(True, WEAK_COPYLEFT if license_id in policy.weak else PERMISSIVE)
    known = license_id in policy.refused or license_id in policy.exceptions
    return Decision(False, NOT_PERMISSIVE if known else UNKNOWN_ID)


def _lower(names: Any) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _pairs(names: Any) -> list[str]:
    """Ids as the policy compares them: of `L WITH E` with one blank on each side."""
    return [" ".join(name.split()) for name in names]


def weak_copyleft(pinned: Mapping[str, Any]) -> frozenset[str]:
    """Ids, in lower case, that `allow: [weak_copyleft]` adds."""
    return _lower(spdx for spdx, category in pinned["refused"].items() if category == WEAK_CATEGORY)


def pinned_list() -> dict[str, Any]:
    """The content of `data/permissive.json`."""
    text = resources.files("licensing").joinpath("data/permissive.json").read_text("utf-8")
    return dict(json.loads(text))
