"""What a version's numbers promise, and which number a change needs (docs/adr/0011-versions.md).

    MAJOR.MINOR.PATCH[-draft]

MAJOR  the manifest's or the rows' schema, or the license policy, is another one: look before you load
MINOR  rows may have come, gone or changed for any reason
PATCH  rows were withdrawn, and nothing else but what follows from that

A number that is larger than needed fits. A draft (a version with a suffix) promises nothing to what comes after it.
"""

from __future__ import annotations

from enum import IntEnum
from functools import total_ordering

from manifests.changes import Counts, only_withdrawals
from manifests.errors import VersionError
from manifests.names import check_version
from manifests.removals import WITHDRAWN

_NUMBERS = 4  # what `check_version` lets through at most


class Step(IntEnum):
    """How far a version is from its parent's."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3


@total_ordering
class Version:
    """A version, ordered as Semantic Versioning orders: by number, a draft before what it is a draft of.

    Missing numbers are 0: `2.1` equals `2.1.0`. What follows a `+` does not order.
    """

    def __init__(self, text: str) -> None:
        self.text = check_version(text)
        core, _, self.derived = text.partition("+")
        numbers, _, draft = core.partition("-")
        given = [int(number) for number in numbers.split(".")]
        self.numbers = (*given, *[0] * (_NUMBERS - len(given)))
        # Numeric parts are less than others, and are compared as numbers (SemVer 2.0, 11.4).
        self.draft = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part) for part in draft.split(".") if part
        )

    def _key(self) -> tuple[tuple[int, ...], bool, tuple[tuple[int, int, str], ...]]:
        return (self.numbers, not self.draft, self.draft)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return self.text

    def step_from(self, parent: Version) -> Step:
        """Which is the first number that differs."""
        if self.numbers[0] != parent.numbers[0]:
            return Step.MAJOR
        if self.numbers[1] != parent.numbers[1]:
            return Step.MINOR
        return Step.NONE if self.numbers == parent.numbers else Step.PATCH

    def after(self, step: Step) -> str:
        """The smallest number, not a draft, that is such a step further."""
        major, minor, patch = self.numbers[:3]
        if step == Step.MAJOR:
            return f"{major + 1}.0"
        if step == Step.MINOR:
            return f"{major}.{minor + 1}"
        return f"{major}.{minor}.{patch + 1}"


def check_order(version: str, parent: str) -> None:
    """Raise `VersionError` unless `version` comes after `parent`."""
    new, old = Version(version), Version(parent)
    if new.derived:
        raise VersionError(
            f"{version}: '+removals' marks a copy that `pipeline apply-removals` made; leave it out"
        )
    if not new > old:
        how = "equals" if new == old else "comes before"
        raise VersionError(
            f"version {version} {how} the parent's, {parent}: versions go up;"
            f" the smallest numbers that come after it are {old.after(Step.PATCH)}, {old.after(Step.MINOR)} and"
            f" {old.after(Step.MAJOR)}"
        )


def check_step(version: str, parent: str, needed: Step, why: str) -> None:
    """Raise `VersionError` when `version` is a smaller step from `parent` than the change between them needs.

    `why` ends the sentence "2.1.1 is too small a step from 2.1: ...". After a draft every later number fits.
    """
    new, old = Version(version), Version(parent)
    if old.draft or new.step_from(old) >= needed:
        return
    raise VersionError(
        f"version {version} is too small a step from its parent {parent}: {why}; the smallest number that fits is"
        f" {old.after(needed)} (docs/adr/0011-versions.md)"
    )


def needed_step(
    *, schema: bool, license_policy: bool, only_opt_outs: bool = False, counts: Counts | None = None
) -> tuple[Step, str]:
    """Return the smallest step that a change needs, and why, for `check_step`.

    `schema` and `license_policy`: whether these differ. `only_opt_outs`: whether the opt-out registry is all that differs
    among what rows depend on: then all that happened follows from it. `counts`: the rows that differ; None before they are
    known, when the step is at least what is returned.
    """
    if schema:
        return Step.MAJOR, "the schema of the manifest or of the rows is another one"
    if license_policy:
        return Step.MAJOR, "the license policy is another one, so what a row promises may be"
    if counts is None or not +counts or only_withdrawals(counts):
        return Step.PATCH, "versions go up"
    withdrawn = sum(
        n for (change, reason, _), n in counts.items() if (change, reason) == ("removed", WITHDRAWN)
    )
    if only_opt_outs and withdrawn:
        return Step.PATCH, "versions go up"
    others: dict[str, int] = {}
    for (change, reason, _), n in sorted(counts.items()):
        if (change, reason) != ("removed", WITHDRAWN):
            others[change] = others.get(change, 0) + n
    told = ", ".join(f"{n:,} {change}" for change, n in others.items())
    return Step.MINOR, f"rows were not only withdrawn ({told})"
