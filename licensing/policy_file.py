"""A license policy file: what a user changes in the pinned list. YAML; every key may be left out.

    add: [MPL-2.0, GPL-2.0-only WITH Classpath-exception-2.0]   # ids, or pairs with an exception, permitted in addition
    remove: [BSD-4-Clause]           # ids no longer permitted; wins over all else
    add_exceptions: []               # exceptions that may stand after WITH
    allow: [weak_copyleft]           # also `unlicensed`: code without any license, in rows of the type `no_license`
    vendored: own                    # own | inherit: whose license a vendored directory has that holds none

A name that nobody knows is an error: a misspelt id in `remove` would go on being permitted. Ids of one's own begin with
`LicenseRef-`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

LISTS = ("add", "remove", "add_exceptions")
ALLOWED = ("weak_copyleft", "unlicensed")
VENDORED = ("own", "inherit")
KEYS = (*LISTS, "allow", "vendored")

_MAX_BYTES = 1 << 20
"""Of a policy file."""


class PolicyError(ValueError):
    """A policy file cannot be used as given."""


def read_change(path: Path, pinned: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a policy file, checked against the pinned list. Raises PolicyError, naming file and key."""
    where = f"license policy {path}"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise PolicyError(f"{where}: larger than {_MAX_BYTES:,} bytes")
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise PolicyError(f"{where}: cannot be read as YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PolicyError(f"{where}: expected a mapping with the keys {', '.join(KEYS)}")
    exceptions = list(pinned["exceptions"])
    known = [name for part in ("permitted", "refused", "removed", "ignored") for name in pinned[part]]
    for key, value in content.items():
        if key not in KEYS:
            raise PolicyError(
                f"{where}: unknown key {key!r}{_meant(str(key), KEYS)}; known: {', '.join(KEYS)}"
            )
        if key == "vendored":
            if value not in VENDORED:
                raise PolicyError(f"{where}: vendored is {value!r}; write one of {', '.join(VENDORED)}")
            continue
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            raise PolicyError(f"{where}: {key} must be a list of names")
        for name in value:
            if key == "allow":
                _check(f"{where}: allow", name, ALLOWED, fold=False)
                continue
            license_id, _, exception = " ".join(name.split()).partition(" WITH ")
            if key == "add_exceptions":
                _check(f"{where}: {key}", name, exceptions)
            elif exception:
                _check(f"{where}: {key}", license_id, known)
                _check(f"{where}: {key}", exception, exceptions)
            else:
                _check(f"{where}: {key}", name, [*known, *exceptions])
    return content


def _check(where: str, name: str, known: Iterable[str], *, fold: bool = True) -> None:
    """Raise PolicyError for a name that is not known; ids are compared without regard to case."""
    names = list(known)
    if name in names or (
        fold and (name.lower() in {n.lower() for n in names} or name.startswith("LicenseRef-"))
    ):
        return
    shown = "" if fold else f"; known: {', '.join(names)}"
    raise PolicyError(f"{where}: {name!r} is not known{_meant(name, names)}{shown}")


def _meant(word: str, known: Iterable[str]) -> str:
    by_fold = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_fold, n=1, cutoff=0.6)
    return f", did you mean {by_fold[close[0]]!r}?" if close else ""
