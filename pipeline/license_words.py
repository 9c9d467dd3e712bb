"""A story of `license explain` in words for a person: what strangers wrote is shown with its control characters escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.explain_words import shown_safely

_SHOWN = 8  # differences


def render(story: Mapping[str, Any]) -> str:
    """The story for a person."""
    told = shown_safely(dict(story))
    lines = [f"{told['origin']} {told['path'] or ''}".rstrip() + f" in release {told['release']}"]
    if told["revision"]:
        lines.append(f"  revision {told['revision']}")
    lines += [*_policy(told["policy"])]
    for file in told["files"]:
        lines += _file(file)
    for place in told["places"]:
        lines += _place(place)
    if told["found"] > len(told["places"]):
        lines.append(f"  ... and {told['found'] - len(told['places']):,} more folders (--limit)")
    lines.append(
        "evidence, read again from its bytes:" if told["evidence"] else "no file of evidence bears on it"
    )
    for one in told["evidence"]:
        lines += _evidence(one)
    lines.append("same decision" if told["same"] else "NOT the same decision")
    return "\n".join(lines)


def _policy(policy: dict[str, Any]) -> Iterator[str]:
    yield f"  policy {policy['used']}"
    if not policy["same"]:
        yield f"  NOT the policy of the release, {policy['recorded']}"


def _file(file: dict[str, Any]) -> Iterator[str]:
    yield f"file {file['path']}  {file['swhid']}"
    detail = f" ({file['detail']})" if file["detail"] else ""
    yield f"  {file['decision']}{': ' + file['reason'] if file['reason'] else ''}{detail}"
    if (header := file["header"]) is not None:
        said = header["now"] or "nothing"
        verdict = "" if header["reason"] is None else f" -> {_verdict(header['permitted'], header['reason'])}"
        yield f"  its header says {said}{verdict}; {_same(header['same'], header['recorded'])}"


def _place(place: dict[str, Any]) -> Iterator[str]:
    where, now = place["place"], place["now"]
    yield f"file {where[1:]} by its name" if where.startswith("/") else f"folder {where or '/'}"
    yield (
        f"  {now['license_expression'] or 'no license found'} -> {_verdict(now['permitted'], now['sub_reason'])}"
        f" [{now['license_type']}]" + (f", by {', '.join(now['by'])}" if now["by"] else "")
    )
    if now["detected_licenses"]:
        yield f"  in all folders from here to the root: {', '.join(now['detected_licenses'])}"
    if place["recorded"] is None:
        yield "  nothing was recorded: no file here was asked for"
    for one in place["differences"][:_SHOWN]:
        yield f"  DIFFERS in {one['what']}: recorded {one['recorded']}, now {one['now']}"


def _evidence(one: dict[str, Any]) -> Iterator[str]:
    yield f"  {one['path']}  {one['swhid']}" + (
        f"  for {one['place']}" if one["place"].startswith("/") else ""
    )
    if one["note"]:
        yield f"      {one['note']}"
    elif not one["detections"]:
        yield "      nothing detected"
    for found in one["detections"]:
        yield (
            f"      {found['expression']} by {found['detector']}, {found['rule']}, score {found['score']:g},"
            f" bytes {found['start']:,} to {found['end']:,}"
        )
        yield from (f"        | {line}" for line in found["quote"])
    if not one["same"]:
        yield f"      DIFFERS: recorded {one['recorded'] or 'nothing'}"


def _verdict(permitted: bool, reason: str) -> str:
    return f"permitted ({reason})" if permitted else f"not permitted ({reason})"


def _same(same: bool, recorded: str | None) -> str:
    return "same as recorded" if same else f"DIFFERS, recorded {recorded or 'nothing'}"
