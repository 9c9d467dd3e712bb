"""Software Heritage identifiers (SWHIDs) with hashlib alone: the git object formats, plus the snapshot.

`swh:1:<tag>:<id>` names an object by the SHA-1 of `<git type> <length>\\0<manifest>`. Contents, directories,
revisions and releases have the same ids as git's blobs, trees, commits and tags; a snapshot (the branches of
an origin at one visit) is Software Heritage's own. Format: https://www.swhid.org, version 1.2, chapter 5.

Ids are lower-case hex strings; names, messages and people are bytes, as git has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.tables import PERMS_DIRECTORY, PERMS_SUBMODULE

TAGS = {"content": "cnt", "directory": "dir", "revision": "rev", "release": "rel", "snapshot": "snp"}
"""Object type -> the tag in its SWHID."""

GIT_TYPES = {"content": "blob", "directory": "tree", "revision": "commit", "release": "tag"}
"""Object type -> git's name for it; `snapshot` has none and is hashed under its own name."""

_FORMAT_BITS = 0o170000  # the file type in a mode, as in stat.S_IFMT


def swhid(object_type: str, object_id: str) -> str:
    """The core SWHID of an object, e.g. `swh:1:cnt:ce013625030ba8dba906f756967f9e9ca394464a`."""
    return f"swh:1:{TAGS[object_type]}:{object_id}"


def object_id(object_type: str, manifest: bytes) -> str:
    """The id (hex) of the object with this manifest."""
    header = b"%s %d\x00" % (GIT_TYPES.get(object_type, object_type).encode("ascii"), len(manifest))
    return hashlib.sha1(header + manifest, usedforsecurity=False).hexdigest()


# ------------------------------------------------------------------------------------------------- contents


class ContentHashes(NamedTuple):
    """All hashes (hex) of one content, and its length in bytes."""

    sha1: str
    sha1_git: str
    sha256: str
    blake2s256: str
    length: int


class ContentHasher:
    """Computes all hashes of a content of known length in one pass over its chunks."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._git = hashlib.sha1(b"blob %d\x00" % length, usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._blake2s = hashlib.blake2s()
        self._seen = 0

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the content."""
        self._seen += len(chunk)
        for digest in (self._sha1, self._git, self._sha256, self._blake2s):
            digest.update(chunk)

    def result(self) -> ContentHashes:
        """The hashes; ValueError if another number of bytes came than was announced."""
        if self._seen != self._length:
            raise ValueError(f"content of {self._seen} bytes was announced with {self._length}")
        return ContentHashes(
            self._sha1.hexdigest(),
            self._git.hexdigest(),
            self._sha256.hexdigest(),
            self._blake2s.hexdigest(),
            self._length,
        )


def hash_content(body: bytes) -> ContentHashes:
    """All hashes of a content that is in memory."""
    hasher = ContentHasher(len(body))
    hasher.update(body)
    return hasher.result()


# ---------------------------------------------------------------------------------------------- directories


class Entry(NamedTuple):
    """One entry of a directory: its name, git mode and the id of what it points to."""

    name: bytes
    perms: int
    target: str

    @property
    def type(self) -> str:
        """`dir`, `rev` (a submodule) or `file` (symbolic links too)."""
        form = self.perms & _FORMAT_BITS
        return "dir" if form == PERMS_DIRECTORY else "rev" if form == PERMS_SUBMODULE else "file"


def directory_manifest(entries: Iterable[Entry]) -> bytes:
    """The manifest of a directory, entries in git's order: a directory sorts as if its name ended in `/`.

    ValueError for a name that occurs twice or that a tree cannot hold (empty, with NUL or `/`).
    """
    ordered = sorted(entries, key=lambda e: e.name + b"/" if e.type == "dir" else e.name)
    seen: set[bytes] = set()
    for entry in ordered:
        if not entry.name or b"\x00" in entry.name or b"/" in entry.name or entry.name in seen:
            raise ValueError(f"a directory cannot hold the name {entry.name!r}, or not twice")
        seen.add(entry.name)
    return b"".join(b"%o %s\x00%s" % (e.perms, e.name, bytes.fromhex(e.target)) for e in ordered)


def directory_id(entries: Iterable[Entry]) -> str:
    """The id of the directory with these entries."""
    return object_id("directory", directory_manifest(entries))


# --------------------------------------------------------------------------------------- revisions, releases


@dataclass(frozen=True, kw_only=True)
class Timestamp:
    """A date as git writes it: seconds since the epoch (any sign) and the raw UTC offset, e.g. `+0200`."""

    seconds: int
    offset: bytes = b"+0000"

    @property
    def offset_minutes(self) -> int:
        """The offset in minutes; 0 when it is not `[+-]HHMM` (nonsense lives in the raw bytes only)."""
        sign, digits = self.offset[:1], self.offset[1:]
        if sign not in (b"+", b"-") or len(digits) != 4 or not digits.isdigit() or int(digits[2:]) > 59:
            return 0
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        return -minutes if sign == b"-" else minutes

    def manifest(self) -> bytes:
        """As it stands in a commit or tag, behind the person."""
        return b"%d %s" % (self.seconds, self.offset)


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A commit. `author` and `committer` are the full `Name <address>`; a missing one has no date either.

    `raw_manifest` is set when the fields cannot give the exact bytes back (a commit that git itself would not
    write, yet that exists): the id is then that of the raw bytes.
    """

    directory: str
    parents: tuple[str, ...] = ()
    author: bytes | None = None
    date: Timestamp | None = None
    committer: bytes | None = None
    committer_date: Timestamp | None = None
    extra_headers: tuple[tuple[bytes, bytes], ...] = ()
    message: bytes | None = None
    type: str = "git"
    raw_manifest: bytes | None = None

    def manifest(self) -> bytes:
        """The bytes that the id is computed of."""
        if self.raw_manifest is not None:
            return self.raw_manifest
        lines = [b"tree " + self.directory.encode("ascii")]
        lines += [b"parent " + parent.encode("ascii") for parent in self.parents]
        lines += _person_line(b"author", self.author, self.date)
        lines += _person_line(b"committer", self.committer, self.committer_date)
        # A header value of several lines continues with lines that start with one space (gpgsig, mergetag).
        lines += [key + b" " + value.replace(b"\n", b"\n ") for key, value in self.extra_headers]
        return _with_message(lines, self.message)

    @property
    def id(self) -> str:
        """The id (hex) of the revision."""
        return object_id("revision", self.manifest())


@dataclass(frozen=True, kw_only=True)
class Release:
    """An annotated tag; see `Revision` for `author` and `raw_manifest`."""

    name: bytes
    target: str
    target_type: str  # revision | directory | content | release
    author: bytes | None = None
    date: Timestamp | None = None
    message: bytes | None = None
    raw_manifest: bytes | None = None

    def manifest(self) -> bytes:
        """The bytes that the id is computed of."""
        if self.raw_manifest is not None:
            return self.raw_manifest
        lines = [
            b"object " + self.target.encode("ascii"),
            b"type " + GIT_TYPES[self.target_type].encode("ascii"),
            b"tag " + self.name,
        ]
        lines += _person_line(b"tagger", self.author, self.date)
        return _with_message(lines, self.message)

    @property
    def id(self) -> str:
        """The id (hex) of the release."""
        return object_id("release", self.manifest())


def _person_line(key: bytes, person: bytes | None, date: Timestamp | None) -> list[bytes]:
    if person is None:
        return []
    return [key + b" " + person + (b"" if date is None else b" " + date.manifest())]


def _with_message(lines: list[bytes], message: bytes | None) -> bytes:
    head = b"\n".join(lines) + b"\n"
    return head if message is None else head + b"\n" + message


# ------------------------------------------------------------------------------------------------ snapshots


class Branch(NamedTuple):
    """What a branch points to: an id, or for an alias the NAME (bytes) of another branch."""

    target: str | bytes
    target_type: str  # content | directory | revision | release | snapshot | alias


def snapshot_manifest(branches: dict[bytes, Branch | None]) -> bytes:
    """The manifest of a snapshot; None is a dangling branch: a name that is known to point to nothing.

    Branches in byte order of their names, each `<type> <name>\\0<length>:<target>`.
    """
    parts = []
    for name in sorted(branches):
        branch = branches[name]
        if branch is None:
            kind, target = b"dangling", b""
        else:
            kind = branch.target_type.encode("ascii")
            target = branch.target if isinstance(branch.target, bytes) else bytes.fromhex(branch.target)
        parts.append(b"%s %s\x00%d:%s" % (kind, name, len(target), target))
    return b"".join(parts)


def snapshot_id(branches: dict[bytes, Branch | None]) -> str:
    """The id of the snapshot with these branches."""
    return object_id("snapshot", snapshot_manifest(branches))


def origin_id(url: str) -> str:
    """The id of an origin in the graph tables: the SHA-1 (hex) of its URL."""
    return hashlib.sha1(url.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
