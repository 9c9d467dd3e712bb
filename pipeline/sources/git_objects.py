"""Reading git's own objects: trees, commits and tags from their raw bytes.

Every parser is total over what git itself accepts into a repository: a form that the fields cannot express is
kept as `raw_manifest`. ValueError only when the links of the object (tree, parents, target) cannot be told.
"""

from __future__ import annotations

import re
from dataclasses import replace

from pipeline.sources.swhid import GIT_TYPES, Entry, Release, Revision, Timestamp, directory_manifest

_HEX_ID = re.compile(rb"[0-9a-f]{40}")
_PERSON = re.compile(rb"(?s)(.*?)(?: (-?[0-9]{1,19}) ([+-]?[0-9]+))?")
_OBJECT_TYPES = {git: ours for ours, git in GIT_TYPES.items()}
_LONGEST_OFFSET = 16  # bytes; `+HHMM` is 5, the rest is nonsense that is kept as a raw manifest


def parse_tree(raw: bytes) -> tuple[list[Entry], bytes | None]:
    """(entries, raw manifest when the entries alone do not give these bytes back)."""
    entries: list[Entry] = []
    position = 0
    while position < len(raw):
        end = raw.find(b"\x00", position)
        mode, blank, name = raw[position:end].partition(b" ")
        target = raw[end + 1 : end + 21]
        if end < 0 or not blank or len(target) != 20 or not re.fullmatch(rb"[0-7]{1,7}", mode):
            raise ValueError("not a tree")
        entries.append(Entry(name, int(mode, 8), target.hex()))
        position = end + 21
    try:
        usual = directory_manifest(entries) == raw
    except ValueError:
        usual = False
    return entries, None if usual else raw


def parse_commit(raw: bytes) -> Revision:
    """The revision of a commit."""
    headers, message = _split(raw)
    tree = _link(headers[:1], b"tree")
    rest, parents = headers[1:], []
    while rest and rest[0][0] == b"parent":
        parents.append(_link(rest[:1], b"parent"))
        rest = rest[1:]
    author = committer = date = committer_date = None
    if rest and rest[0][0] == b"author":
        author, date = _person(rest[0][1])
        rest = rest[1:]
    if rest and rest[0][0] == b"committer":
        committer, committer_date = _person(rest[0][1])
        rest = rest[1:]
    revision = Revision(
        directory=tree,
        parents=tuple(parents),
        author=author,
        date=date,
        committer=committer,
        committer_date=committer_date,
        extra_headers=tuple(rest),
        message=message,
    )
    return revision if revision.manifest() == raw else replace(revision, raw_manifest=raw)


def parse_tag(raw: bytes) -> Release:
    """The release of an annotated tag."""
    headers, message = _split(raw)
    target = _link(headers[:1], b"object")
    named = dict(reversed(headers))
    target_type = _OBJECT_TYPES.get(named.get(b"type", b"").decode("ascii", "replace"))
    if target_type is None:
        raise ValueError("not a tag: unknown type of its target")
    author = date = None
    if b"tagger" in named:
        author, date = _person(named[b"tagger"])
    release = Release(
        name=named.get(b"tag", b""),
        target=target,
        target_type=target_type,
        author=author,
        date=date,
        message=message,
    )
    return release if release.manifest() == raw else replace(release, raw_manifest=raw)


def _split(raw: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
    """Headers, those over several lines joined by newlines, and the message (None without a blank line)."""
    head, blank, message = raw.partition(b"\n\n")
    headers: list[tuple[bytes, list[bytes]]] = []
    for line in head.removesuffix(b"\n").split(b"\n"):
        if line.startswith(b" ") and headers:
            headers[-1][1].append(line[1:])
        else:
            key, _, value = line.partition(b" ")
            headers.append((key, [value]))
    return [(key, b"\n".join(values)) for key, values in headers], message if blank else None


def _link(headers: list[tuple[bytes, bytes]], key: bytes) -> str:
    if not headers or headers[0][0] != key or not _HEX_ID.fullmatch(headers[0][1]):
        raise ValueError(f"its {key.decode()} line is missing or damaged")
    return headers[0][1].decode("ascii")


def _person(value: bytes) -> tuple[bytes, Timestamp | None]:
    match = _PERSON.fullmatch(value)
    assert match is not None  # the first group takes anything
    if match[2] is None or len(match[3]) > _LONGEST_OFFSET:
        return value, None
    return match[1], Timestamp(seconds=int(match[2]), offset=match[3])
