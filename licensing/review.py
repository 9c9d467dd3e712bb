"""Which license evidence a person should look at, and how unknown license texts are told apart and shown.

    reasons_for     what is doubtful about one file's detections
    conflict        whether what a directory declares contradicts the license texts in it
    fingerprint     one digest for a license text, whoever's copyright it names and however it is wrapped
    excerpt         its first words, for a person

Pure functions; the threshold and what counts as doubtful are here and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from licensing.decisions import is_decided
from licensing.expressions import REMARK, UNEXPLAINED, UNPARSABLE, UNREAD, ids
from licensing.policy import NONE_FOUND, RIDER, UNKNOWN_ID, UNRECOGNISED, Policy

LOW_SCORE = 80.0
"""A detection below this score (0..100) is doubtful. docs/licenses.md has the figures that it was chosen by."""

EXCERPT = 600
"""Characters of an excerpt."""

MAX_STATEMENTS = 8
"""Statements of a file that are shown."""


class Doubt(StrEnum):
    """Why a person should look at a content."""

    NOT_READ = "not_read"  # a license-like file whose bytes could not be had
    NO_DETECTION = "no_detection"  # a license text by its name, in which nothing was recognised
    UNEXPLAINED = (
        "unexplained"  # a sentence beside a known license that nobody recognised, and that can restrict
    )
    UNKNOWN_ID = "unknown_id"  # an id that is neither in the SPDX list nor in the policy's
    UNPARSABLE = "unparsable"  # a license statement that is no expression
    UNREAD = "unread"  # text beyond the bytes that are read, or more work than is done
    RIDER = "rider"  # a restriction beside a known license
    CONTRADICTION = (
        "contradiction"  # tags or a declaration in one file against each other or against its text
    )
    DECLARED_CONFLICT = "declared_conflict"  # a manifest against the license texts of its directory
    HEADER_CONFLICT = "header_conflict"  # a source file's own header refuses what its directory permits
    LOW_SCORE = "low_score"  # a detection with a score below LOW_SCORE


UNKNOWN_TEXT = (Doubt.NO_DETECTION, Doubt.UNEXPLAINED, Doubt.UNKNOWN_ID, Doubt.UNREAD)
"""Doubts that make a license-like file's text an unknown one: the first that applies is its sub-reason."""

MAX_PART = 16_384
"""Characters of unrecognised sentences that are looked at."""

_STATING = ("spdx-tag ", "declared ")


def reasons_for(
    name: bytes, expression: str | None, detections: Sequence[Mapping[str, Any]], policy: Policy
) -> list[Doubt]:
    """What is doubtful about one file, in the order of `Doubt`; nothing where a reviewer decided on it.

    `name`: its `names.detection_class`; `expression`, `detections`: as `evidence.detect_batch` gives them. Doubts that need
    more than the file (NOT_READ, the conflicts with a directory) are the caller's.
    """
    if is_decided(detections):
        return []
    if not detections:
        return [Doubt.NO_DETECTION] if name == b"LICENSE" else []
    found = set()
    for detection in detections:
        names = ids(detection["expression"])
        if UNEXPLAINED in names:
            found.add(Doubt.UNEXPLAINED)
            continue
        if REMARK in names:  # states no terms; its score tells how much of the file is something else
            found |= {Doubt.LOW_SCORE} if detection["score"] < LOW_SCORE else set()
            continue
        refused = policy.decide(detection["expression"]).sub_reason
        if UNPARSABLE in names:
            found.add(Doubt.UNPARSABLE)
        elif UNREAD in names:
            found.add(Doubt.UNREAD)
        elif refused == RIDER:
            found.add(Doubt.RIDER)
        elif refused == UNKNOWN_ID:
            found.add(Doubt.UNKNOWN_ID)
        if detection["score"] < LOW_SCORE and UNREAD not in names:
            found.add(Doubt.LOW_SCORE)
    if _contradicts(detections, policy):
        found.add(Doubt.CONTRADICTION)
    return [doubt for doubt in Doubt if doubt in found]


def _contradicts(detections: Iterable[Mapping[str, Any]], policy: Policy) -> bool:
    """Whether statements are for and against use, or all statements on one side and the recognised texts on the other."""
    stated: set[bool] = set()
    read: set[bool] = set()
    for detection in detections:
        if REMARK in ids(detection["expression"]):
            continue
        decision = policy.decide(detection["expression"])
        if decision.sub_reason not in (NONE_FOUND, RIDER, UNRECOGNISED):
            (stated if detection["detector"].startswith(_STATING) else read).add(decision.permitted)
    return len(stated) > 1 or bool(stated and read and stated.isdisjoint(read))


def conflict(declared: Iterable[str], texts: Iterable[str], policy: Policy) -> bool:
    """Whether a directory's manifests (their expressions) and its license texts have no license in common, and one side is
    permitted where the other is not. That changes what becomes of its files; MIT declared over a BSD text does not."""
    sides = []
    for side in (declared, texts):
        stated = [one for one in side if policy.decide(one).sub_reason != NONE_FOUND]
        if not stated:
            return False
        names = {_folded(name) for one in stated for name in ids(one) if not policy.ignores(name)}
        sides.append((names, all(policy.decide(one).permitted for one in stated)))
    return sides[0][1] != sides[1][1] and sides[0][0].isdisjoint(sides[1][0])


def _folded(name: str) -> str:
    return re.sub(r"-(?:only|or-later)\b", "", name)


def doubtful_part(body: bytes, detections: Sequence[Mapping[str, Any]]) -> str | None:
    """The sentences of a license file that nobody recognised, in the file's order; None where it is the whole that is doubtful.

    They are at most MAX_PART bytes; what is no UTF-8 in them is replaced, since they are only to be looked at and told apart.
    """
    spans = sorted(
        {(one["start"], one["end"]) for one in detections if UNEXPLAINED in ids(one["expression"])}
    )
    parts = [body[start:end].decode("utf-8", "replace") for start, end in spans]
    return "\n".join(parts)[:MAX_PART] if parts else None


def statements(detections: Iterable[Mapping[str, Any]]) -> list[str]:
    """The detections in words, at most MAX_STATEMENTS, the rest counted: `MIT: scancode 32.5.0, mit_12.RULE, 98.6`."""
    found = [
        f"{one['expression']}: {one['detector']}, {one['rule'][:200]}, {one['score']:.4g}"
        for one in detections
    ]
    more = len(found) - MAX_STATEMENTS
    return found if more <= 0 else [*found[:MAX_STATEMENTS], f"and {more} more"]


# ------------------------------------------------------------------------------------------------------ texts

_HOLDER = re.compile(r"copyright|\(c\)|©|\bauthors?\b|@|https?://|\bwww\.", re.IGNORECASE)
_HOLDER_LINE = re.compile(r"^[^\w(©\n]{0,80}(?:copyright|\(c\)|©)[^\n]*", re.IGNORECASE | re.MULTILINE)
_ADDRESS = re.compile(r"https?://\S+|\bwww\.\S+|[^\s@]{1,64}@\S+", re.IGNORECASE)
_WORD = re.compile(r"\w+")


def fingerprint(text: str) -> str | None:
    """SHA-256 (hex) of the words of a text, lower-cased, without copyright lines and addresses; None where no word is left.

    Lines count for nothing else, so copies that are wrapped in another way are the same.
    """
    words = _WORD.findall(_ADDRESS.sub(" ", _HOLDER_LINE.sub(" ", text)).lower())
    return hashlib.sha256(" ".join(words).encode("utf-8", "replace")).hexdigest() if words else None


def excerpt(text: str, *, holders: bool) -> str:
    """The first EXCERPT characters of a text, its white space as single blanks.

    Without `holders`, lines that name holders, authors, mail or web addresses are left out: for eyes other than the
    reviewer's. Characters are not escaped; who shows it does that.
    """
    kept = text if holders else "\n".join(line for line in text.splitlines() if not _HOLDER.search(line))
    words = " ".join(kept[: 20 * EXCERPT].split())
    return words if len(words) <= EXCERPT else words[: EXCERPT - 1].rstrip() + "…"
