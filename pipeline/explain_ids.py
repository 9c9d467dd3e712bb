"""What a user may ask `explain` for: any of the ids by which a file or a repository is known."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from pipeline.errors import ConfigError

_HEX = re.compile(r"[0-9a-f]+")
_SWHID_KINDS = {"cnt": "content", "dir": "root", "rev": "revision", "snp": "snapshot", "ori": "origin"}
_TAKEN = (
    "give a SWHID (swh:1:cnt:..., also of a root directory, revision, snapshot or origin), a sha256, a sha1, a sha1_git,"
    " a row id, or an origin's URL"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for. `kinds`: what the id may be, in the order in which it is tried; sha256 also means the released text."""

    kinds: tuple[str, ...]  # content (sha1_git) | sha1 | sha256 | row | origin | root | revision | snapshot
    value: str  # hex; of an origin the SHA-1 of its URL
    url: str | None = None
    origin: str | None = None  # of a SWHID's qualifiers: where it was seen
    path: bytes | None = None


def parse(identifier: str) -> Asked:
    """The meaning of an id. Raises ConfigError for what is none."""
    text = identifier.strip()
    if text.lower().startswith("swh:1:"):
        return _swhid(identifier, text)
    if "://" in text or text.startswith("pkg:"):
        return Asked(kinds=("origin",), value=origin_id(text), url=text)
    text = text.lower()
    kinds = {
        40: ("content", "sha1", "root", "revision", "snapshot"),
        64: ("sha256",),
        32: ("row",),
    }.get(len(text))
    if kinds is None or not _HEX.fullmatch(text):
        raise ConfigError(f"{identifier!r} is not an id: {_TAKEN}")
    return Asked(kinds=kinds, value=text)


def _swhid(identifier: str, text: str) -> Asked:
    core, *qualifiers = text.split(";")
    kind, _, digits = core[len("swh:1:") :].lower().partition(":")
    if kind not in _SWHID_KINDS:
        raise ConfigError(
            f"{identifier}: only contents, root directories, revisions, snapshots and origins can be explained"
            " (swh:1:cnt:, dir, rev, snp, ori)"
        )
    if len(digits) != 40 or not _HEX.fullmatch(digits):
        raise ConfigError(f"{identifier} is not a SWHID: 40 hex digits are missing")
    asked = Asked(kinds=(_SWHID_KINDS[kind],), value=digits)
    for qualifier in qualifiers:
        name, _, value = qualifier.partition("=")
        data = unquote_to_bytes(value.encode(errors="surrogateescape"))
        if name == "origin":
            asked = replace(asked, origin=data.decode(errors="surrogateescape"))
        elif name == "path":
            asked = replace(asked, path=data.removeprefix(b"/"))
    return asked


def origin_id(url: str) -> str:
    """The id of an origin: SHA-1 of its URL."""
    return hashlib.sha1(url.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
