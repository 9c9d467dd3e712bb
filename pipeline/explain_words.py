"""A story of `explain` in words for a person: what strangers named is shown with its control characters escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from manifests.names import visible
from pipeline.tables import ESTIMATED, Reason

_WORDS = {
    Reason.NOT_A_FILE: "it is a symbolic link or a submodule",
    Reason.PATH_LIMIT: "its path is too long or too deep, or its tree is too large to list",
    Reason.OPTED_OUT: "its origin is in the opt-out registry",
    Reason.NOT_ARCHIVED: "the archive does not have its bytes",
    Reason.TOO_LARGE: "it is larger than files.max_bytes, or than the archive says",
    Reason.VENDORED: "it lies in a vendored directory",
    Reason.NOT_SELECTED: "its language or its content was not asked for",
    Reason.LICENSE: "no permitted license covers its directory",
    Reason.LICENSE_NOT_SELECTED: "its license is permitted, and not among those that were asked for",
    Reason.MISSING: "its object is missing from the object store",
    Reason.CORRUPT: "its object does not hold the bytes that its hashes promise",
    Reason.BINARY: "it is not text",
    Reason.UNDECODABLE: "its encoding could not be told without loss",
    Reason.LICENSE_HEADER: "its own header names a license that is not permitted",
    Reason.LANGUAGE: "its language is unknown or was not asked for",
    Reason.GENERATED: "it is generated",
    Reason.SECRETS_BUDGET: "it holds more secrets or personal data than can be redacted sensibly",
    Reason.CONTAMINATED: "it holds benchmark texts",
    Reason.EXACT_DUPLICATE: "the same content is kept at another place",
    Reason.NEAR_DUPLICATE: "a similar content is kept in its place",
    Reason.REPEATED: "too much of it is blocks of lines that many other files hold",
    Reason.OVER_CAP: "the cap of its language was reached before it",
}
BY = {
    "name": "by its name",
    "usual": "what its name usually is, its content does not tell",
    "modeline": "by its mode line",
    "shebang": "by its `#!` line",
    "rule": "the name leaves several, a rule on its content decides",
    "classifier": "the name leaves several, statistics of its content decide",
    "xml": "by its XML declaration",
    "model": "by its content, the name says nothing",
    "nothing": "neither name nor content tells",
}
"""How a language was told, in words."""

_SHOWN = 5  # of candidates, members and evidence
_LONGEST_NOTICE = 200  # characters of what was not understood


def why(reason: str) -> str:
    """A reason in words; `quality.<rule>` names its rule."""
    name, _, rule = reason.partition(".")
    if name == Reason.QUALITY and rule.startswith("kind_"):
        return f"it is of the kind {rule.removeprefix('kind_')!r}, which quality.kinds drops"
    if name == Reason.QUALITY:
        return f"it fails the quality rule {rule!r} of the profile"
    return _WORDS[Reason(name)]


def render(story: Mapping[str, Any]) -> str:
    """The story for a person."""
    told = shown_safely(dict(story))
    lines = [f"{told['query']} in release {told['release']}"]
    items = told.get("occurrences", told.get("files", []))
    places = [line for item in items for line in _occurrence(told, item)]
    if "origin" in told and "content" in told:  # one file: its decision first
        lines += [*places, *_revision(told["origin"]), *_kept(told), *_about(told)]
    else:
        lines += [*_origin(told), *_kept(told), *_about(told), *places]
    shown = len(items)
    if told.get("found", 0) > shown:
        lines.append(f"  ... and {told['found'] - shown:,} more (--limit)")
    lines += [f"note: {note}" for note in told["notes"]]
    return "\n".join(lines)


def shown_safely(value: Any) -> Any:
    """A value with every text in it, at any depth, safe to print (`manifests.names.visible`)."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: shown_safely(item) for key, item in value.items()}
    return [shown_safely(item) for item in value] if isinstance(value, list) else value


def _origin(story: dict[str, Any]) -> Iterator[str]:
    if (several := story.get("origins")) is not None and several["found"] > 1:
        yield f"  {several['found']:,} origins have this {several['by']}: {', '.join(several['urls'])}; of the first of them:"
    origin = story.get("origin")
    if origin is None:
        return
    for name, value in origin.items():
        if name not in ("licenses", "network") and value is not None:
            yield f"  {name:<13} {value}"
    if (network := origin.get("network")) is not None:
        yield f"  {'network':<13} {network['id']}, {network['origins']:,} origins of this release"
    for item in origin.get("licenses", [])[:_SHOWN]:
        yield f"  {'license':<13} {_license(item)}"
    for name, amount in story.get("totals", {}).items():
        yield f"  {amount:>8,}  {name}"


def _revision(origin: dict[str, Any]) -> Iterator[str]:
    """Of which state of a repository a file is, and what holds in its directory."""
    dated = f" of {origin['revision_date']}" if origin["revision_date"] else ""
    branch = f", {origin['branch']}" if origin["branch"] else ""
    yield f"  found in revision {origin['revision']}{dated}{branch}"
    for item in origin.get("licenses", [])[:1]:
        yield f"  license: {_license(item)}"


def _license(item: dict[str, Any]) -> str:
    verdict = "permitted" if item["permitted"] else item["reason"]
    return f"{item['expression'] or 'none found'} in {item['directory'] or '/'} ({verdict}{_sources(item['evidence'])})"


def _sources(evidence: list[dict[str, Any]]) -> str:
    told = [
        f"{one['path']}: {one['expression']} by {one['detector']}, {one['rule']}" for one in evidence[:_SHOWN]
    ]
    return f"; {'; '.join(told)}" if told else ""


def _kept(story: dict[str, Any]) -> Iterator[str]:
    row = story.get("kept")
    if row is None:
        return
    files = story.get("files")
    verb = "the content is kept" if files and files[0].get("reason") is not None else "kept"
    yield (
        f"  {verb} as row {row['row_id']}, number {row['row']:,} of {row['shard']}: {row['path']} of {row['origin']}"
        f" ({row['language']}, {row['license_expression']})"
    )
    yield (
        f"  {row['num_occurrences']} occurrences in {row['num_origins']} origins;"
        f" stands for {row['cluster_size'] - 1} near-duplicates"
    )
    if (cluster := story.get("cluster")) is not None:
        for one in cluster["members"][:_SHOWN]:
            yield f"      {one['sha256']}  {_similar(one)}"
        if cluster["found"] > _SHOWN:
            yield f"      ... and {cluster['found'] - _SHOWN:,} more"
    if row["redactions"]:
        yield f"  {len(row['redactions'])} redactions: {_by_rule((one['kind'], one['rule'], 1) for one in row['redactions'])}"


def _by_rule(found: Iterable[tuple[str, str, int]]) -> str:
    """Numbers by kind, with the rules that found them."""
    kinds: dict[str, Counter[str]] = {}
    for kind, rule, n in found:
        kinds.setdefault(kind, Counter())[rule] += n
    return ", ".join(
        f"{rules.total()} {kind} ({', '.join(sorted(rules))})" for kind, rules in sorted(kinds.items())
    )


def _similar(one: dict[str, Any]) -> str:
    if one["similarity"] is None:
        return "same released text"
    return f"near-duplicate, similarity {_share(one['similarity'])}"


def _share(similarity: str) -> str:
    inter, _, union = similarity.removeprefix(ESTIMATED).partition("/")
    share = f"{int(inter) / max(1, int(union)):.3f}"
    if similarity.startswith(ESTIMATED):
        return f"about {share} (an estimate, not exact: {inter} of {union} values of the sketches are equal)"
    return f"{share} ({similarity} shingles)"


def _about(story: dict[str, Any]) -> Iterator[str]:
    if (first := story.get("earliest")) is not None:
        dated = first["revision_date"] or "date unknown"
        yield f"  earliest known: {dated}, {first['origin']}, {first['path']}"
    if (found := story.get("detected")) is not None:
        yield from _detected(found)
    for step in story.get("chain", []):
        end = f"kept in {step['shard']}" if step["kept"] else "not kept itself"
        yield f"  in its place: row {step['row_id']}, {_similar(step)}, {end}"
    for change in story.get("changes", []):
        more = ", ".join(
            f"{name} {change[name]}" for name in ("reason", "stand_in", "withdrawn_in") if change.get(name)
        )
        columns = f" in {', '.join(change['columns'])}" if change.get("columns") else ""
        yield f"  against the parent release: {change.get('change')}{columns}{f' ({more})' if more else ''}"


def _detected(found: dict[str, Any]) -> Iterator[str]:
    if found["encoding"] is not None:
        yield f"  encoding: {found['encoding']}"
    if found["undecoded"] is not None:
        yield f"  no text: {found['undecoded']}"
    for one in found["languages"]:
        generated = "; looks generated" if one["is_generated"] else ""
        yield f"  language: {one['language'] or 'unknown'} ({BY[one['by']]}: {one['name_class'] or 'no extension'}){generated}"
    if found["header"] is not None:
        yield f"  its own header: {found['header']}"
        for one in found["header_detections"][:_SHOWN]:
            place = f"bytes {one['start']:,} to {one['end']:,}"
            yield f"      {one['expression']} by {one['detector']}, {one['rule']}, score {one['score']:.6g}, {place}"
    if (left := found["header_open"]) is not None:
        place = f"bytes {left['start']:,} to {left['end']:,}"
        yield f"  its header says more of licenses, which was not understood ({place}): {_short(left['text'])}"
    for one in found["quality"] or ():
        limit = (
            f", above {one['above']}"
            if "above" in one
            else f", below {one['below']}"
            if "below" in one
            else ""
        )
        value = f"{one['value']:.6g}" if isinstance(one["value"], float) else one["value"]
        yield f"  fails quality.{one['rule']}: {one['signal']} is {value}{limit}"
    if found["findings"]:
        yield f"  findings: {_by_rule((one['kind'], one['rule'], one['count']) for one in found['findings'])}"
    for one in (found.get("spared") or ())[:_SHOWN]:
        yield f"  left: {one['count']} {one['kind']} by {one['rule']}: {one['why']}"
    for one in (found["benchmarks"] or ())[:_SHOWN]:
        share = f"{one['matched']} of {one['ngrams']} n-grams ({one['matched'] / one['ngrams']:.0%})"
        place = f"bytes {one['start']:,} to {one['end']:,}"
        yield f"  benchmark {one['benchmark']}, {one['item']}, {one['field']}: {share}, {place}"
        if one["quote"]:
            yield f"      from: {one['quote']}"
    for one in found["candidates"][:_SHOWN]:
        yield f"  compared with {one['sha256']}: similarity {_share(one['similarity'])}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_NOTICE else f"{line[:_LONGEST_NOTICE]} ..."


def _rank(standing: dict[str, Any]) -> str:
    """What the election looks at, in its order; then the shorter path, and the origin's name."""
    dated = (
        f"revision of {standing['revision_date']}"
        if standing["revision_date"]
        else "revision of unknown date"
    )
    fork = "a fork" if standing["is_fork"] else "not a fork"
    return f"{fork}, {standing['stars']:,} stars, {standing['forks']:,} forks, {dated}"


def _occurrence(story: dict[str, Any], item: dict[str, Any]) -> Iterator[str]:
    if "decision" not in item:  # without a work directory
        yield f"  kept     {item['path']} as row {item['row_id']} of {item['shard']}"
        return
    place = item["path"] if story.get("origin") else f"{item['origin']} {item['path']}"
    yield f"  {place}"
    if item["reason"] is None:
        row = item["row"]
        yield f"      kept as row {row['row_id']} of {row['shard']}" if row else "      kept"
    else:
        yield f"      dropped: {item['reason']}, {item['why']}"
    if item["detail"]:
        yield f"      detail: {item['detail']}"
    if len(story.get("occurrences", [])) > 1:
        yield f"      ranked by: {_rank(item['standing'])}"
    if item["reason"] == Reason.LICENSE and item["license"] is not None and "occurrences" in story:
        yield f"      license: {_license(item['license'])}"
    if item["stand_in"]:
        similarity = item["stand_in"]["similarity"]
        measured = f", similarity {_share(similarity)}" if similarity else ""
        yield f"      in its place: row {item['stand_in']['row_id']}{measured}"
