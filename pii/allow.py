"""Allow-list files: findings that are left as they are, each entry with its reason.

allow:
  - reason: addresses of the maintainers, published on purpose
    kinds: [email]
    paths: ["MAINTAINERS", "docs/**"]
  - reason: the token of the example server, withdrawn
    values: [9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08]   # SHA-256 of its bytes
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import yaml

from pii.settings import Allow

_KEYS = tuple(f.name for f in fields(Allow))
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class BadAllowList(ValueError):
    """An allow-list that cannot be used; names the file, the entry and what is wrong with it."""


def load_allow(text: str, name: str) -> tuple[Allow, ...]:
    """The entries of an allow-list file's text; `name` is what errors call the file.

    Raises:
        BadAllowList: not YAML of the form above, or an entry without reason or object.
    """
    try:
        held = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadAllowList(f"{name}{at}: not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(held, dict) or set(held) != {"allow"}:
        raise BadAllowList(f"{name}: an allow-list file has one key, `allow`, with a list")
    return allow_entries(held["allow"], name)


def allow_entries(held: object, name: str) -> tuple[Allow, ...]:
    """The entries of a list as YAML gives it; raises `BadAllowList`."""
    if not isinstance(held, list):
        raise BadAllowList(f"{name}: `allow` is a list of entries")
    out = []
    for number, entry in enumerate(held, 1):
        try:
            out.append(_entry(entry))
        except ValueError as error:
            raise BadAllowList(f"{name}, entry {number}: {error}") from None
    return tuple(out)


def _entry(entry: Any) -> Allow:
    if not isinstance(entry, dict):
        raise ValueError("an entry is a mapping")
    if unknown := sorted(str(k) for k in entry if k not in _KEYS):
        raise ValueError(f"unknown key {unknown[0]!r}; keys are {', '.join(_KEYS)}")
    if not isinstance(entry.get("reason"), str):
        raise ValueError("`reason` must be a text")
    lists: dict[str, tuple[str, ...]] = {}
    for key in _KEYS[1:]:
        given = entry.get(key, [])
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise ValueError(f"`{key}` must be a list of texts")
        lists[key] = tuple(given)
    if bad := [v for v in lists["values"] if not _DIGEST.match(v)]:
        # What stands there may be the secret itself: it is not repeated.
        raise ValueError(
            f"{len(bad)} of `values` are no SHA-256 digests in lower-case hex; values never stand in this file"
        )
    return Allow(reason=entry["reason"], **lists)
