"""The license of every file of one tree: the core of `pipeline scan licenses DIR`, from the functions of a
release.

A license-like file or manifest that states something is judged by what it states itself. Every other file
has the license of its directory (`attribution`); its own header (`headers`) can refuse what the directory permits,
and permits what the directory does not only if `header_grants` says so.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from licensing.attribution import DIRECTORIES, EVIDENCE_FILES, attribute_directories
from licensing.cache import DetectionCache
from licensing.detection import Detection
from licensing.evidence import detect_batch
from licensing.expressions import conjunction, ids
from licensing.headers import HEADER_BYTES, Header, Matcher, answered, ask, from_row, header_batch
from licensing.known import KnownTexts
from licensing.names import detection_class
from licensing.path_statements import place_files
from licensing.policy import Policy
from licensing.scancode import ScanCode

_BATCH = 256
"""Files whose heads are held at a time."""


def scan_tree(
    paths: Sequence[bytes],
    read: Callable[[int], bytes],
    policy: Policy,
    scancode: ScanCode | None,
    *,
    header_grants: bool = False,
    cache: DetectionCache | None = None,
) -> Iterator[dict[str, Any]]:
    """For each path, in the order given: `{path, expression, licenses, permitted, sub_reason, evidence}`.

    `paths` are relative to the tree, with `/`; `read(i)` gives the bytes of the i-th and is called at most
    twice for a file. What `read` raises comes through. `path` and the paths in `evidence` are text (bytes
    that are not UTF-8 as \\xNN); `expression` is None where nothing is known; `licenses` are all ids found
    for the file. `cache` keeps what was detected in license-like files.
    """
    own = _own_statements(paths, read, scancode, cache)
    places, attributed = _attribute(paths, own, policy)
    answers: dict[str, list[Detection]] = {}
    known = KnownTexts.load()
    for start in range(0, len(paths), _BATCH):
        rows = range(start, min(start + _BATCH, len(paths)))
        heads = pa.array([read(row)[:HEADER_BYTES] for row in rows], pa.large_binary())
        for row, header in zip(rows, _headers(heads, known, scancode, answers), strict=True):
            place = attributed[places[row]]
            path = paths[row].decode("utf-8", "backslashreplace")
            statement = own.get(row)
            if statement is not None and policy.states_terms(statement["expression"]):
                yield _judged_alone(path, statement, policy)
            else:
                yield _judged_by_place(path, header, place, policy, header_grants)


def _headers(
    heads: pa.Array, known: Matcher, scancode: ScanCode | None, answers: dict[str, list[Detection]]
) -> Iterator[Header]:
    """What heads say; `answers` keeps what ScanCode said of a notice."""
    for row in header_batch(heads, known).to_pylist():
        header = from_row(row)
        if header.notice is not None and scancode is not None:
            if header.notice not in answers:
                (answers[header.notice],) = ask([header.notice], scancode)
            header = answered(header, answers[header.notice])
        yield header


def _own_statements(
    paths: Sequence[bytes],
    read: Callable[[int], bytes],
    scancode: ScanCode | None,
    cache: DetectionCache | None,
) -> dict[int, dict[str, Any]]:
    """Row -> detections and identity of the license-like files and manifests."""
    names = pa.array([path.rpartition(b"/")[2] for path in paths], pa.binary())
    statements = {}
    for row, name in enumerate(detection_class(names).to_pylist()):
        if name:
            body = read(row)
            one = pa.array([name]), pa.array([body], pa.large_binary())
            found = cache.detect_batch(*one) if cache else detect_batch(*one, scancode=scancode)
            sha1_git = hashlib.sha1(b"blob %d\x00" % len(body) + body, usedforsecurity=False).hexdigest()
            statements[row] = {**found.to_pylist()[0], "sha1_git": sha1_git}
    return statements


def _attribute(
    paths: Sequence[bytes], own: dict[int, dict[str, Any]], policy: Policy
) -> tuple[list[bytes], dict[bytes, dict[str, Any]]]:
    """The place of each file, and the license of each place."""
    directories = [path.rpartition(b"/")[0] for path in paths]
    evidence = [
        {"root": "", "dir": directories[row], "path": paths[row], **statement}
        for row, statement in own.items()
    ]
    files = pa.table(
        {
            "root": pa.array([""] * len(paths), pa.string()),
            "directory": pa.array(directories, pa.binary()),
            "path": pa.array(paths, pa.binary()),
        }
    )
    places, stated = place_files(files, pa.Table.from_pylist(evidence, schema=EVIDENCE_FILES))
    unique = sorted(set(places.to_pylist()))
    table = attribute_directories(
        pa.table({"root": [""] * len(unique), "dir": unique}, schema=DIRECTORIES), stated, policy
    )
    return places.to_pylist(), dict(zip(unique, table.to_pylist(), strict=True))


def _judged_alone(path: str, statement: dict[str, Any], policy: Policy) -> dict[str, Any]:
    decision = policy.decide(statement["expression"])
    return {
        "path": path,
        "expression": statement["expression"],
        "licenses": ids(statement["expression"]),
        "permitted": decision.permitted,
        "sub_reason": decision.sub_reason,
        "evidence": [_entry(path, statement["sha1_git"], d) for d in statement["detections"]],
    }


def _judged_by_place(
    path: str, header: Header, place: dict[str, Any], policy: Policy, header_grants: bool
) -> dict[str, Any]:
    permitted, sub_reason = place["permitted"], place["sub_reason"]
    expression, licenses = place["license_expression"], set(place["detected_licenses"])
    stated, decision = header.expression, policy.decide(header.expression)
    if stated is not None and policy.states_terms(stated):
        licenses.update(ids(stated))
        expression = stated if permitted or header_grants else _both(expression, stated)
        if permitted or header_grants:
            permitted, sub_reason = decision.permitted, decision.sub_reason
    detections = [dataclasses.asdict(d) for d in header.detections]
    evidence = [_entry(path, None, d) for d in detections] + place["license_evidence"]
    return {
        "path": path,
        "expression": expression,
        "licenses": sorted(licenses),
        "permitted": permitted,
        "sub_reason": sub_reason,
        "evidence": evidence,
    }


def _both(place: str | None, header: str) -> str | None:
    return conjunction(e for e in (place, header) if e)


def _entry(path: str, sha1_git: str | None, detection: dict[str, Any]) -> dict[str, Any]:
    entry = {"path": path, "swhid": f"swh:1:cnt:{sha1_git}", **detection}
    return entry if sha1_git else {key: value for key, value in entry.items() if key != "swhid"}
