"""From the evidence in a tree to the license of each of its directories.

Two answers, both kept, as The Stack v2 needs one and a lawyer the other:

- `license_expression`: the license of the NEAREST directory (itself or above) that holds evidence; the
policy is
  applied to this one, so a vendored directory with its own license is judged by that, and so is nothing else.
- `detected_licenses`: the ids found in ALL directories from there to the root of the tree.

What counts as evidence of a directory:

- License texts and package manifests speak for the directory: they replace what is inherited from above.
- README, NOTICE, ABOUT and the like only add (AND) to it: a README that names the licenses of others must
not free
  a directory from the license of its project. Where nothing is inherited they speak alone.
- The license file itself (`LICENSE`, `COPYING`), if no detector understands it, makes the directory
`unrecognised`:
  better to keep nothing of it than to let it inherit a license that its own file may deny.
- Any other file without a detection, or with one that states no terms ("see the license file"), is no
evidence.

- A vendored directory (`names.vendored`: third_party, vendor, node_modules, ...) inherits nothing: the license of
  a project says nothing of the code of others that lies in it. Without a license of its own the code there is
  refused as `vendored`. A policy can say otherwise (`vendored: inherit`).
- Statements about paths (`path_statements`) speak for the directories and files that they name.

Several files of one directory apply together (AND): LICENSE and PATENTS. The exception are files named after what they
hold, as in `LICENSE-MIT` and `LICENSE-APACHE`: they are a choice (OR) if each one of them would be permitted alone, or
if another file of the directory states this choice.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from licensing.decisions import is_decided_none
from licensing.detection import DETECTION
from licensing.expressions import NO_LICENSE_FOUND, alternatives, conjunction, disjunction, ids
from licensing.names import license_text, speaks_of_more, split, vendored_above
from licensing.path_statements import base_of, claims_in, is_sidecar, stated_by
from licensing.policy import NONE_FOUND, UNLICENSED, UNRECOGNISED, VENDORED, WEAK_COPYLEFT, Decision, Policy

DIRECTORIES = pa.schema([pa.field("root", pa.string()), pa.field("dir", pa.binary())])
"""Input: the places to attribute: directories, relative to the root, without leading or trailing slash, the root itself
being empty; or files of which something is stated by name, with a leading slash (`path_statements.place_files`)."""

EVIDENCE_FILES = pa.schema(
    [
        pa.field("root", pa.string()),
        pa.field("dir", pa.binary()),
        pa.field("path", pa.binary()),  # of the file, relative to the root
        pa.field("sha1_git", pa.string()),
        pa.field("expression", pa.string()),  # as evidence.detect_batch gives it
        pa.field("detections", pa.list_(DETECTION)),
    ]
)
"""Input: the license-like files and manifests of the roots, with their detections."""

EVIDENCE = pa.struct(
    [
        pa.field("path", pa.string(), nullable=False),  # bytes that are not UTF-8 as \\xNN
        pa.field("swhid", pa.string(), nullable=False),
        pa.field("expression", pa.string(), nullable=False),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)

ATTRIBUTIONS = pa.schema(
    [
        pa.field("root", pa.string()),
        pa.field("dir", pa.binary()),
        # null: no evidence in any directory above; NONE where the policy permits that
        pa.field("license_expression", pa.string()),
        pa.field("detected_licenses", pa.list_(pa.string()), nullable=False),  # sorted
        pa.field("permitted", pa.bool_(), nullable=False),
        pa.field("sub_reason", pa.string(), nullable=False),  # one of policy.SUB_REASONS
        pa.field(
            "license_type", pa.string(), nullable=False
        ),  # permissive | weak_copyleft | non_permissive | no_license
        pa.field("license_evidence", pa.list_(EVIDENCE), nullable=False),  # by path, expression
    ]
)
"""Output: one row per input directory, in the order of the input."""

PERMISSIVE, NON_PERMISSIVE, NO_LICENSE = "permissive", "non_permissive", "no_license"

UNDETECTED = "LicenseRef-stackmill-unrecognised"
"""In the evidence of a directory (never in that of a released row): a license file that no detector knows."""


@dataclass(frozen=True, slots=True)
class _File:
    path: bytes
    place: bytes  # that it speaks for
    sha1_git: str
    expression: str | None
    detections: Sequence[dict[str, Any]]
    is_license: bool
    adds_only: bool


@dataclass(frozen=True, slots=True)
class _Attribution:
    expression: str | None
    licenses: tuple[str, ...]
    decision: Decision
    evidence: tuple[dict[str, Any], ...]


def attribute_directories(dirs: pa.Table, evidence: pa.Table, policy: Policy) -> pa.Table:
    """The license of every place in `dirs` (DIRECTORIES, any roots, any order): a table in ATTRIBUTIONS.

    `evidence` (EVIDENCE_FILES) holds the evidence of the same roots, in any order; the answer depends on
    neither order. Work is linear in the bytes of the paths.
    """
    evidence_of = _files_by_root(evidence)
    names = dirs.column("dir").cast(pa.binary()).to_pylist()
    nothing = _Attribution(None, (), policy.decide(None), ())
    unique: list[_Attribution] = [nothing]
    places = np.zeros(len(names), dtype=np.int64)
    for root, rows in _rows_by_root(dirs.column("root")):
        here = evidence_of.get(root)
        if here is None:
            continue
        found = _attribute(here, [names[row] for row in rows], policy, nothing)
        position: dict[int, int] = {id(nothing): 0}
        for row in rows:
            attribution = found[names[row]]
            if id(attribution) not in position:
                position[id(attribution)] = len(unique)
                unique.append(attribution)
            places[row] = position[id(attribution)]
    columns = _columns(unique).take(pa.array(places))
    table = columns.add_column(0, "dir", dirs.column("dir").cast(pa.binary()))
    table = table.add_column(0, "root", dirs.column("root").cast(pa.string()))
    return table.cast(ATTRIBUTIONS)


def license_type(decision: Decision) -> str:
    """The Stack v2's word for a decision; `weak_copyleft` is ours."""
    if decision.sub_reason in (NONE_FOUND, UNLICENSED):
        return NO_LICENSE
    if decision.permitted:
        return WEAK_COPYLEFT if decision.sub_reason == WEAK_COPYLEFT else PERMISSIVE
    return NON_PERMISSIVE


def _attribute(
    files: list[_File], places: Iterable[bytes], policy: Policy, nothing: _Attribution
) -> dict[bytes, _Attribution]:
    """Attribution of each of `places` of one root, in one walk in tree order with a stack of ancestors."""
    combined = _by_place(files, policy)
    asked = {*places, *combined}
    boundaries: set[bytes] = set()
    if not policy.inherits_vendored:
        boundaries = {above for place in asked for above in vendored_above(place)}
    found: dict[bytes, _Attribution] = {}
    above: list[tuple[bytes, _Attribution]] = []
    # Compared by components, a directory comes right before everything below it, whatever bytes names hold.
    for place in sorted(asked | boundaries, key=lambda p: (split(p), p)):
        while above and not _contains(above[-1][0], place):
            above.pop()
        inherited = above[-1][1] if above else nothing
        if place in boundaries or place in combined:
            if place in boundaries:
                inherited = _cut(inherited, policy)
            if place in combined:
                nearest = above[-1][0] if above else b""
                inherited = _combine(_heard(combined[place], nearest), inherited, policy)
            above.append((place, inherited))
        found[place] = inherited
    return found


def _heard(files: list[_File], nearest: bytes) -> list[_File]:
    """What is stated of a file from afar only adds to what holds in a nearer directory, and does not replace it."""
    return [
        dataclasses.replace(f, adds_only=True)
        if f.place.startswith(b"/") and len(nearest) > len(base_of(f.path))
        else f
        for f in files
    ]


def _cut(outside: _Attribution, policy: Policy) -> _Attribution:
    """What a vendored directory has before its own files are looked at."""
    # Where unlicensed code is allowed, this is none in a project whose license the policy refuses: it may well be that license.
    decision = policy.decide(None)
    free = decision.permitted and outside.decision.permitted
    if not free and outside.decision.sub_reason != NONE_FOUND:
        decision = Decision(False, VENDORED)
    return _Attribution(None, outside.licenses, decision, ())


def _contains(ancestor: bytes, place: bytes) -> bool:
    path = place.removeprefix(b"/")
    return not ancestor or place == ancestor or path.startswith(ancestor + b"/")


def _by_place(files: list[_File], policy: Policy) -> dict[bytes, list[_File]]:
    """The files that are evidence, by the place that they speak for, each list by path."""
    found: dict[bytes, list[_File]] = {}
    for file in files:
        if file.place.startswith(b"/"):
            found.setdefault(file.place, []).append(file)
            continue
        if is_sidecar(file.path, file.detections):
            continue  # it speaks for one file, and `place_files` has asked for that
        claims, others = claims_in(file.path, file.detections)
        for claim in claims:
            told = _File(
                file.path, claim.place, file.sha1_git, claim.expression, claim.detections, False, False
            )
            found.setdefault(claim.place, []).append(told)
        own = file
        if others is not file.detections:
            expression = stated_by(others)
            own = dataclasses.replace(file, expression=expression, detections=others)
        if own.is_license or policy.states_terms(own.expression):
            found.setdefault(file.place, []).append(own)
    return {place: sorted(here, key=_position) for place, here in found.items()}


def _position(file: _File) -> tuple[bytes, str]:
    return file.path, file.expression or ""


def _combine(files: list[_File], inherited: _Attribution, policy: Policy) -> _Attribution:
    """The attribution of a place with these files under a directory with that attribution."""
    stated = [f for f in files if policy.states_terms(f.expression)]
    speaking = [f for f in files if not f.adds_only]
    own = _expression(stated, policy)
    replaces = bool(speaking)
    expression = own if replaces else conjunction(e for e in (inherited.expression, own) if e)
    unknown = any(not policy.states_terms(f.expression) for f in speaking)
    decision = policy.decide(expression)
    if unknown and (decision.permitted or decision.sub_reason == NONE_FOUND):
        decision = Decision(False, UNRECOGNISED)
    elif not replaces and inherited.decision.sub_reason == UNRECOGNISED and decision.permitted:
        decision = inherited.decision
    licenses = set(inherited.licenses)
    for file in stated:
        assert file.expression is not None
        licenses.update(ids(file.expression))
    evidence = tuple(entry for file in files for entry in _entries(file))
    return _Attribution(
        expression,
        inherited.licenses if licenses == set(inherited.licenses) else tuple(sorted(licenses)),
        decision,
        evidence if replaces else inherited.evidence + evidence,
    )


_VARIANT = re.compile(
    rb"(?:li[cs]en[cs]e|copying)s?[-_.]"
    rb"(?:mit|apache|asl|al|bsd|0bsd|isc|zlib|boost|unlicense|cc0|[al]?gpl|mpl|epl|cddl|artistic|ruby)"
    rb"[-_.v0-9]{0,8}(?:\.(?:txt|md|rst))?",
    re.IGNORECASE,
)
"""Base names of license files that say which one of several licenses they hold."""


def _expression(files: list[_File], policy: Policy) -> str | None:
    """AND of the files' expressions, with an OR over files that are a choice (module docstring)."""
    variants = [f for f in files if _VARIANT.fullmatch(f.path.rpartition(b"/")[2])]
    others = [f.expression for f in files if f not in variants and f.expression]
    options = sorted({f.expression for f in variants if f.expression})
    if len(options) > 1 and _is_choice(options, others, policy):
        choice = disjunction(options)
        assert choice is not None
        # Another file that states the same choice adds nothing to it.
        same = _folded(alternatives(choice))
        others = [o for o in others if not same <= _folded(alternatives(o))]
        return conjunction([choice, *others])
    return conjunction([*options, *others])


def _is_choice(options: list[str], others: list[str], policy: Policy) -> bool:
    if all(policy.decide(option).permitted for option in options):
        return True
    return any(_folded(options) <= _folded(alternatives(other)) for other in others)


def _folded(expressions: Iterable[str]) -> set[str]:
    """Without the difference that the text of a GPL cannot show: this version only, or any later one."""
    return {re.sub(r"-(?:only|or-later)\b", "", expression) for expression in expressions}


def _entries(file: _File) -> list[dict[str, Any]]:
    """Rows of EVIDENCE: for each expression found in the file its best-scored detection; one row where there is none."""
    nothing = {"expression": UNDETECTED, "detector": "none", "rule": "no detection", "score": 0.0}
    best: dict[str, dict[str, Any]] = {} if file.detections else {UNDETECTED: nothing}
    for detection in file.detections:
        known = best.get(detection["expression"])
        if known is None or detection["score"] > known["score"]:
            best[detection["expression"]] = detection
    return [
        {
            "path": file.path.decode("utf-8", "backslashreplace"),
            "swhid": f"swh:1:cnt:{file.sha1_git}",
            "expression": expression,
            "detector": best[expression]["detector"],
            "rule": best[expression]["rule"],
            "score": best[expression]["score"],
        }
        for expression in sorted(best)
    ]


def _files_by_root(evidence: pa.Table) -> dict[str, list[_File]]:
    paths = evidence.column("path").cast(pa.binary()).to_pylist()
    names = pa.array([path.rpartition(b"/")[2] for path in paths], pa.binary())
    found: dict[str, list[_File]] = {}
    for root, path, place, sha1_git, expression, detections, is_license, adds_only in zip(
        evidence.column("root").to_pylist(),
        paths,
        evidence.column("dir").cast(pa.binary()).to_pylist(),
        evidence.column("sha1_git").to_pylist(),
        evidence.column("expression").to_pylist(),
        evidence.column("detections").to_pylist(),
        license_text(names).to_pylist(),
        speaks_of_more(names).to_pylist(),
        strict=True,
    ):
        if is_decided_none(expression, detections):
            continue
        file = _File(path, place, sha1_git, expression, detections or (), is_license, adds_only)
        found.setdefault(root, []).append(file)
    return found


def _rows_by_root(roots: pa.ChunkedArray) -> Iterable[tuple[str, list[int]]]:
    """(root, its row numbers) for each distinct root."""
    encoded = roots.combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    for code, root in enumerate(encoded.dictionary.to_pylist()):
        yield root, order[bounds[code] : bounds[code + 1]].tolist()


def _shown(attribution: _Attribution) -> str | None:
    unlicensed = attribution.expression is None and attribution.decision.sub_reason == UNLICENSED
    return NO_LICENSE_FOUND if unlicensed else attribution.expression


def _columns(attributions: list[_Attribution]) -> pa.Table:
    fields = [ATTRIBUTIONS.field(name) for name in ATTRIBUTIONS.names[2:]]
    return pa.table(
        {
            "license_expression": [_shown(a) for a in attributions],
            "detected_licenses": [a.licenses for a in attributions],
            "permitted": [a.decision.permitted for a in attributions],
            "sub_reason": [a.decision.sub_reason for a in attributions],
            "license_type": [license_type(a.decision) for a in attributions],
            "license_evidence": [a.evidence for a in attributions],
        },
        schema=pa.schema(fields),
    )
