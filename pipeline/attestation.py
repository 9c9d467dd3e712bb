"""What a signature says beside "this manifest": how the release was made, as SLSA provenance (https://slsa.dev/spec/v1.0/provenance).

All that may differ from machine to machine stands here, or in the work directory, and in no released byte: the commit and
whether its tree was clean, the versions of Python and of all libraries, the system, when the run began and ended.
"""

from __future__ import annotations

import contextlib
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pipeline
from manifests import signing
from manifests.manifest import Manifest
from manifests.names import MANIFEST, SIGNATURE
from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.keys import SigningKey
from pipeline.publish import address_of

BUILD_TYPE = "urn:stackmill:release:2"
_GIT_SECONDS = 10


def provenance(manifest: Manifest, *, run: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The predicate for a release. `run`: what the run that made it says of itself; None: it is signed afterwards."""
    archive = {"name": "archive", "annotations": dict(manifest.inputs)}
    parent = manifest.parent
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "name": manifest.name,
                "version": manifest.version,
                "configuration_digest": manifest.digests.configuration,
                "opt_out_head": manifest.opt_out_head,
            },
            "resolvedDependencies": [
                archive,
                *([{"name": "parent", "digest": {"sha256": parent.digest}}] if parent is not None else []),
                *([_source()] if run is not None else []),
            ],
        },
        "runDetails": {
            "builder": {
                "id": "urn:stackmill:release" if run is not None else "urn:stackmill:sign",
                "version": _versions(),
            },
            "metadata": dict(run or {}),
        },
    }


def times(started: datetime, seconds: float) -> dict[str, str]:
    """`startedOn` and `finishedOn` of a run, UTC."""
    ended = datetime.fromtimestamp(started.timestamp() + seconds, UTC)
    return {"startedOn": _moment(started), "finishedOn": _moment(ended)}


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _source() -> dict[str, Any]:
    """The commit that the product runs from, where it runs from a git checkout."""
    root = Path(pipeline.__file__).parents[1]
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if not commit:
        return {"name": "source", "annotations": {"installed": _version_of("stackmill")}}
    changed = _git(root, "status", "--porcelain")
    return {
        "name": "source",
        "digest": {"gitCommit": commit},
        "annotations": {"dirty": changed != "", "installed": _version_of("stackmill")},
    }


def _git(root: Path, *arguments: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
        )
        return done.stdout.strip()
    return None


def _versions() -> dict[str, str]:
    """Of Python, the system, and every library that the product requires."""
    named = {
        str(requirement).split(">=")[0].split("<")[0].split(";")[0].strip() for requirement in _required()
    }
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: _version_of(name) for name in sorted(named)},
    }


def _required() -> list[str]:
    with contextlib.suppress(PackageNotFoundError):
        return [line for line in requires("stackmill") or () if "extra ==" not in line]
    return []


def _version_of(name: str) -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version(name)
    return "not installed"


def sign_release(place: Store, key: SigningKey, *, run: Mapping[str, Any] | None = None) -> str:
    """Put a signature of `key` beside the manifest of the release at `place`; returns `signed`, `added` or `already`.

    Further keys sign the same statement, which stays as the first signer made it. Raises ConfigError where there is no
    release or its signature file is none of ours.
    """
    try:
        data = place.read(MANIFEST)
    except FileNotFoundError:
        raise ConfigError(f"{address_of(place)} is not a release: it has no {MANIFEST}") from None
    manifest = Manifest.parse(data)
    try:
        there = place.read(SIGNATURE, at_most=signing.MAX_ENVELOPE_BYTES)
    except FileNotFoundError:
        place.put(SIGNATURE, signing.sign(data, provenance(manifest, run=run), key.private))
        return "signed"
    try:
        made = signing.cosign(there, data, key.private)
    except signing.SignatureError as error:
        raise ConfigError(
            f"{address_of(place)}: {SIGNATURE}: {error}; verify the release, and remove that file to sign it anew"
        ) from error
    if made == there:
        return "already"
    place.put(SIGNATURE, made)
    return "added"
