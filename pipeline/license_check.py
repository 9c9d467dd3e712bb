"""What a single file states of licenses, and what a policy says to an expression: `pipeline license check | policy`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from licensing.evidence import detect_batch
from licensing.expressions import InvalidExpressionError, canonical, ids
from licensing.headers import header_batch
from licensing.known import KnownTexts
from licensing.names import detection_class
from licensing.policy import WEAK_CATEGORY, Policy, pinned_list
from licensing.quotes import quote
from licensing.scancode import ScanCode
from manifests.names import visible
from pipeline.errors import SourceError
from pipeline.shown_text import masked, with_holders

MAX_BYTES = 1 << 20
"""Of a file that are read."""


def check_file(path: Path, policy: Policy, scancode: ScanCode | None) -> dict[str, Any]:
    """`{path, read_as, expression, permitted, reason, policy, detections}` of a file on disk. Raises SourceError."""
    try:
        with path.open("rb") as stream:
            body = stream.read(MAX_BYTES)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    name = detection_class(pa.array([path.name.encode(errors="surrogateescape")], pa.binary()))[0].as_py()
    bodies = pa.array([body], pa.large_binary())
    table = (
        detect_batch(pa.array([name]), bodies, scancode=scancode)
        if name
        else header_batch(bodies, KnownTexts.load())
    )
    found = table.to_pylist()[0]
    decision = policy.decide(found["expression"])
    shown = masked(body, with_holders())
    return {
        "path": str(path),
        "read_as": name.decode() or "source file",
        "expression": found["expression"],
        "permitted": decision.permitted,
        "reason": decision.sub_reason,
        "policy": policy.digest,
        "detections": [{**d, "quote": quote(shown, d["start"], d["end"])} for d in found["detections"]],
    }


def render(found: Mapping[str, Any]) -> str:
    """The same for a person."""
    verdict = "permitted" if found["permitted"] else "not permitted"
    lines = [
        f"{found['path']} (read as {found['read_as']}): {found['expression'] or 'nothing detected'} ->"
        f" {verdict} ({found['reason']}), policy {found['policy'][:16]}"
    ]
    for one in found["detections"]:
        lines.append(f"  {one['expression']} by {one['detector']}, {one['rule']}, score {one['score']:g}")
        lines += [f"    | {line}" for line in one["quote"]]
    return "\n".join(visible(line) for line in lines)


def policy_told(path: Path | None, expressions: Sequence[str]) -> dict[str, Any]:
    """The policy as data, and its decision on each expression with the reason of each id in it."""
    pinned, policy = pinned_list(), Policy.load(path)
    by_id = {name.lower(): name for part in ("permitted", "refused") for name in pinned[part]}
    return {
        "digest": policy.digest,
        "default": policy.digest == Policy.load().digest,
        "sources": pinned["sources"],
        "permitted": sorted(by_id.get(name, name) for name in policy.permitted),
        "weak_copyleft": sorted(by_id.get(name, name) for name in policy.weak),
        "exceptions": len(policy.exceptions),
        "unlicensed": policy.unlicensed,
        "inherits_vendored": policy.inherits_vendored,
        "decisions": [_decided(policy, pinned, expression) for expression in expressions],
    }


def _decided(policy: Policy, pinned: Mapping[str, Any], expression: str) -> dict[str, Any]:
    decision = policy.decide(expression)
    try:
        told = canonical(expression)
        named = [{"id": one, "why": _why(pinned, one)} for one in ids(expression)]
    except InvalidExpressionError:
        told, named = None, []
    return {
        "asked": expression,
        "expression": told,
        "permitted": decision.permitted,
        "reason": decision.sub_reason,
        "ids": named,
    }


def _why(pinned: Mapping[str, Any], one: str) -> str:
    """What the pinned list says of an id, before a policy file changes it."""
    name, _, exception = one.partition(" WITH ")
    said = []
    for part in (name, exception):
        if not part:
            continue
        kinds = ("permitted", "refused", "removed", "ignored", "exceptions")
        folded = {key.lower(): key for kind in kinds for key in pinned[kind]}
        key = folded.get(part.lower(), part)
        if key in pinned["removed"]:
            said.append(f"{key}: left out, {pinned['removed'][key]}")
        elif key in pinned["permitted"]:
            said.append(f"{key}: {', '.join(pinned['permitted'][key])}")
        elif key in pinned["ignored"]:
            said.append(f"{key}: {pinned['ignored'][key]}")
        elif key in pinned["refused"]:
            weak = " (weak copyleft)" if pinned["refused"][key] == WEAK_CATEGORY else ""
            said.append(f"{key}: ScanCode: {pinned['refused'][key]}{weak}")
        elif key in pinned["exceptions"]:
            said.append(f"{key}: exception, ScanCode: {pinned['exceptions'][key]}")
        else:
            said.append(f"{key}: in no list")
    return "; ".join(said)


def render_policy(told: Mapping[str, Any]) -> str:
    """The same for a person."""
    return "\n".join(visible(line) for line in _policy_lines(told))


def _policy_lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"policy {told['digest']}{' (the list that ships with the product)' if told['default'] else ''}"
    if not told["decisions"]:
        for source in told["sources"]:
            digest = f"{source['digest_of']} {source['sha256'][:16]}"
            yield f"  source {source['name']} {source['version']}, {source['license']}, {digest}"
        yield f"  unlicensed code: {'permitted' if told['unlicensed'] else 'not permitted'}"
        yield f"  vendored code without a license of its own: {'inherits' if told['inherits_vendored'] else 'not permitted'}"
        yield f"  {len(told['permitted']):,} ids permitted, {len(told['weak_copyleft']):,} of them as weak copyleft:"
        yield from (f"    {name}" for name in told["permitted"])
    for one in told["decisions"]:
        verdict = "permitted" if one["permitted"] else "not permitted"
        yield f"{one['asked']}: {verdict} ({one['reason']})"
        yield from (f"  {each['why']}" for each in one["ids"])
