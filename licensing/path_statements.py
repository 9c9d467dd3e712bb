"""Statements that name the files they speak for: `debian/copyright` and `.reuse/dep5` (DEP-5), `REUSE.toml`, `X.license`.

A detector gives such a statement as a detection whose rule is `files` and a JSON list of patterns (`rule_of`). They are
relative to the directory that the statement is about (`debian/copyright`: the one above `debian`). In a pattern `**` is any
text, `*` any without a slash, `?` one character, and a backslash takes the next character as it is.

Of several statements in one file that name the same path the last one holds: both formats say so. A statement on a whole
directory speaks for that directory as a manifest in it would. Files that other patterns name have a place of their own
(`place_files`): their path behind a slash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from licensing.expressions import REMARK, conjunction, ids
from licensing.names import place_of, split
from licensing.tags import DETECTOR as TAG

MAX_PATTERNS = 2_048
"""Patterns of one file that are heeded, and MAX_PATTERN characters of each; who states more is not understood."""

MAX_PATTERN = 400
EVERYTHING = "**"

_PREFIX = "files "
STATING = r"(?s)(?:\A|/)(?:debian/copyright|\.reuse/dep5|REUSE\.toml|[^/]*\.license)\z"
"""Paths of files that may state something of paths."""

_WILD = re.compile(r"(?s)\\.|\*\*|\*|\?|[^\\*?]+|\\")
_SIDECAR = re.compile(rb"(?s)[^/]*[^/.][^/]*\.[A-Za-z][A-Za-z0-9]{0,9}\.license")


@dataclass(frozen=True)
class Claim:
    """What is stated of one place (a directory, or a file behind a slash)."""

    place: bytes
    expression: str | None
    detections: Sequence[dict[str, Any]]


def rule_of(patterns: Iterable[str]) -> str:
    """The rule of a detection that speaks for the paths of these patterns."""
    return _PREFIX + json.dumps(list(patterns), ensure_ascii=True)


def patterns_of(rule: str) -> list[str] | None:
    """The patterns of such a rule; None for another rule."""
    if not rule.startswith(_PREFIX):
        return None
    try:
        patterns = json.loads(rule.removeprefix(_PREFIX))
    except ValueError:
        return None
    return patterns if isinstance(patterns, list) and all(isinstance(p, str) for p in patterns) else None


def literal(text: str) -> str:
    """A pattern that is this text and nothing else."""
    return re.sub(r"([\\*?])", r"\\\1", text)


def is_sidecar(path: bytes, detections: Sequence[dict[str, Any]]) -> bool:
    """Whether `X.license` is REUSE's sheet of the file `X`: named so, and saying nothing but its tags."""
    if not path.endswith(b".license") or not _SIDECAR.fullmatch(path.rpartition(b"/")[2]):
        return False
    tagged = {i for d in detections if d["detector"] == TAG for i in ids(d["expression"])}
    return bool(tagged) and all(set(ids(d["expression"])) <= {*tagged, REMARK} for d in detections)


def claims_in(
    path: bytes, detections: Sequence[dict[str, Any]]
) -> tuple[list[Claim], Sequence[dict[str, Any]]]:
    """Claims of the file at `path` about whole directories, and the detections in it that speak for its own directory.

    What else is said in the file (a rider) holds for all that it claims.
    """
    stated, others = _stated(path, detections)
    if not stated:
        return [], detections
    base = base_of(path)
    directories: dict[bytes, dict[str, Any] | None] = {}
    for pattern, detection in stated:
        if (directory := _directory(pattern)) is None:
            continue
        # A later statement on a directory takes the place of an earlier one on what lies below it.
        for known in [
            d for d in directories if not directory or d == directory or d.startswith(directory + b"/")
        ]:
            del directories[known]
        directories[directory] = detection
    places = {_join(base, directory): detection for directory, detection in directories.items()}
    return [_claim(place, detection, others) for place, detection in sorted(places.items())], others


def place_files(files: pa.Table, evidence: pa.Table) -> tuple[pa.Array, pa.Table]:
    """The place of each of `files` (columns root, directory, path), and the evidence with what is stated of single files.

    `evidence` is in attribution.EVIDENCE_FILES; the rows that are added have the place of a file as their `dir`. A file of
    which nothing is stated by its name is at its directory.
    """
    directories = files["directory"].combine_chunks().cast(pa.binary())
    names = evidence["path"].combine_chunks().cast(pa.binary())
    stating = evidence.filter(pc.match_substring_regex(names, STATING)).to_pylist()
    if not stating:
        return directories, evidence
    places, added = directories.to_pylist(), []
    roots, paths = files["root"].combine_chunks(), files["path"].combine_chunks().cast(pa.binary())
    for root in sorted({row["root"] for row in stating}):
        rows = pc.indices_nonzero(pc.equal(roots, root))
        here = paths.take(rows)
        claims = _of_files([row for row in stating if row["root"] == root], here)
        for number, stated in sorted(claims.items()):
            place = place_of(here[number].as_py())
            places[rows[number].as_py()] = place
            added += [{**row, "dir": place} for row in stated]
    more = pa.Table.from_pylist(added, schema=evidence.schema)
    return pa.array(places, pa.binary()), pa.concat_tables([evidence, more])


def base_of(path: bytes) -> bytes:
    """The directory that the statements of the file at `path` are about."""
    directory = path.rpartition(b"/")[0]
    above, _, name = directory.rpartition(b"/")
    return above if name in (b"debian", b".reuse") else directory


def _of_files(stating: list[dict[str, Any]], paths: pa.Array) -> dict[int, list[dict[str, Any]]]:
    """Row of `paths` -> the evidence that speaks for that file by name: of the nearest file that names it."""
    by_base: dict[bytes, list[dict[str, Any]]] = {}
    for row in stating:
        by_base.setdefault(base_of(row["path"]), []).append(row)
    found: dict[int, list[dict[str, Any]]] = {}
    named: set[int] = set()
    for base in sorted(by_base, key=lambda b: (-len(split(b)) if b else 0, b)):
        prefix = base + b"/" if base else b""
        rows = pc.indices_nonzero(pc.starts_with(paths, pattern=prefix))
        here = paths.take(rows)
        taken: set[int] = set()
        for row in sorted(by_base[base], key=lambda r: r["path"]):
            stated, others = _stated(row["path"], row["detections"])
            if is_sidecar(row["path"], row["detections"]):
                stated, others = [(literal_bytes(row["path"], prefix), None)], row["detections"]
            last: dict[int, int] = {}
            for number, (pattern, _) in enumerate(stated):
                matches = pc.match_substring_regex(here, _regex(prefix, pattern))
                last.update(dict.fromkeys(rows.filter(matches).to_pylist(), number))
            for at, number in last.items():
                taken.add(at)
                pattern, detection = stated[number]
                if at not in named and _directory(pattern) is None:
                    claim = _claim(b"", detection, others)
                    told = {"expression": claim.expression, "detections": claim.detections}
                    found.setdefault(at, []).append({**row, **told})
        named |= taken
    return found


def _stated(
    path: bytes, detections: Sequence[dict[str, Any]]
) -> tuple[list[tuple[str, dict[str, Any] | None]], list[dict[str, Any]]]:
    """(pattern, detection) in the order of the file, and the other detections that hold for all it claims: riders."""
    stated: list[tuple[str, dict[str, Any] | None]] = []
    others = []
    for detection in detections:
        patterns = patterns_of(detection["rule"])
        if patterns is None:
            others.append(detection)
        else:
            stated += [(pattern, detection) for pattern in patterns]
    return stated, others


def _claim(place: bytes, detection: dict[str, Any] | None, others: Sequence[dict[str, Any]]) -> Claim:
    told = [*([] if detection is None else [detection]), *others]
    return Claim(place, stated_by(told), told)


def stated_by(detections: Iterable[dict[str, Any]]) -> str | None:
    """What detections state together; a remark states nothing."""
    return conjunction(d["expression"] for d in detections if d["expression"] != REMARK)


def literal_bytes(path: bytes, prefix: bytes) -> str:
    """The pattern of a sidecar's file; each byte that is not UTF-8 is shown as the pattern sees it, see `_regex`."""
    return literal(path.removeprefix(prefix).removesuffix(b".license").decode("utf-8", "surrogateescape"))


def _directory(pattern: str) -> bytes | None:
    """The directory that a pattern names with all that is below it; None for other patterns."""
    if pattern == EVERYTHING:
        return b""
    if not pattern.endswith("/**"):
        return None
    tokens = _WILD.findall(pattern[:-3])
    if any(token in ("*", "**", "?") for token in tokens):
        return None
    return "".join(t[1:] if t[0] == "\\" else t for t in tokens).encode("utf-8", "surrogateescape")


def _regex(prefix: bytes, pattern: str) -> str:
    """RE2 in Latin-1, as Arrow matches bytes: each character of the expression stands for one byte of the path."""
    parts = ["".join(f"\\x{b:02x}" for b in prefix)]
    for token in _WILD.findall(pattern):
        wild = {"**": "(?s:.*)", "*": "[^/]*", "?": "(?s:.)"}.get(token)
        text = token[1:] if token[0] == "\\" and len(token) > 1 else token
        parts.append(wild or "".join(f"\\x{b:02x}" for b in text.encode("utf-8", "surrogateescape")))
    return "\\A" + "".join(parts) + "\\z"


def _join(base: bytes, directory: bytes) -> bytes:
    return base + b"/" + directory if base and directory else base or directory
