"""The parent of a release: the one that `changes.parquet`, the tombstones and the changelog refer to.

Nothing else depends on it: rows, ledger and totals are a function of the input alone. It is looked at before any work is
done, and only as far as it is needed: its manifest, that all its files are there, and each file that is read against its
checksum. Whether it is intact as a whole is `pipeline verify`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.canonical import MAX_BYTES
from manifests.changes import Counts
from manifests.checksums import sha256_file
from manifests.errors import ManifestError, VersionError
from manifests.facts import FileFacts, Parent, ShardFacts
from manifests.manifest import Manifest
from manifests.names import CHANGELOG, CHECKSUMS, CONFIG_FILE, MANIFEST, REMOVALS_FILE
from manifests.release_writer import sums_of
from manifests.schema import SCHEMA_VERSION
from manifests.versions import check_order, check_step, needed_step
from pipeline.engine.keys import digest
from pipeline.engine.store import Store, TooLargeError
from pipeline.errors import ConfigError, IntegrityError

MAX_TEXT_BYTES = 64 << 20
"""Of a parent's CHANGELOG.md and config.yaml."""


@dataclass(frozen=True)
class ParentRelease:
    """A release whose manifest has been checked, and whose files are all there with the right sizes."""

    place: Store
    manifest: Manifest
    changelog: bytes
    config_yaml: bytes

    @property
    def reference(self) -> Parent:
        """What the new manifest says of it."""
        return Parent(version=self.manifest.version, digest=self.manifest.digest)

    @property
    def removals(self) -> FileFacts | None:
        """Its `removals.jsonl`; None where it has none, being without a parent itself."""
        return next((file for file in self.manifest.files if file.path == REMOVALS_FILE), None)


def open_parent(address: str, *, name: str, version: str, place: Store) -> ParentRelease:
    """Open the parent of the release `name` `version` that will lie at `place`.

    Raises ConfigError when it cannot be the parent of that release, IntegrityError when it is damaged or not whole.
    """
    parent = Store(address.rstrip("/") or "/")
    shown = f"--parent {address}"
    same = parent.root == place.root if parent.root is not None else parent.uri == place.uri.rstrip("/")
    if same:
        raise ConfigError(f"{shown}: that is the release to be made itself; give the one before it")
    data = _manifest(parent, shown)
    try:
        manifest = Manifest.parse(data)
    except ManifestError as error:
        if error.where == "$.schema_version":
            raise ConfigError(f"{shown}: {error}") from error
        raise IntegrityError(f"{shown}: {error}; run `pipeline verify` on it, or fetch it again") from error
    if manifest.name != name:
        raise ConfigError(
            f"{shown} is a release of {manifest.name!r}, this one is of {name!r}: the parent is an earlier release of"
            " the same dataset (`name` in the configuration)"
        )
    try:
        check_order(version, manifest.version)
    except VersionError as error:
        raise ConfigError(f"--version {version}: {error}") from error
    _check_whole(parent, manifest, data, shown)
    return ParentRelease(
        parent,
        manifest,
        read_listed(parent, manifest, CHANGELOG, shown),
        read_listed(parent, manifest, CONFIG_FILE, shown),
    )


def _manifest(parent: Store, shown: str) -> bytes:
    try:
        return parent.read(MANIFEST, at_most=MAX_BYTES)
    except FileNotFoundError:
        raise ConfigError(
            f"{shown} is not a release: it has no {MANIFEST}; an upload that is not finished gets it last"
        ) from None
    except TooLargeError as error:
        raise IntegrityError(f"{shown}: {MANIFEST}: {error}") from error


def _check_whole(parent: Store, manifest: Manifest, data: bytes, shown: str) -> None:
    sizes = {entry.key: entry.size for entry in parent.list()}
    if CHECKSUMS not in sizes:
        raise IntegrityError(f"{shown}: {CHECKSUMS} is missing; was it fully written?")
    for path, facts in manifest.listed().items():
        if sizes.get(path) != facts.bytes:
            what = "is missing" if path not in sizes else f"has {sizes[path]:,} bytes, not {facts.bytes:,}"
            raise IntegrityError(f"{shown}: {path} {what}; is it fully uploaded? Fetch it again")
    expected = sums_of(manifest, data)
    if sizes[CHECKSUMS] != len(expected) or parent.read(CHECKSUMS) != expected:
        raise IntegrityError(
            f"{shown}: {CHECKSUMS} does not follow from {MANIFEST}: one of the two was altered"
        )


def read_listed(place: Store, manifest: Manifest, path: str, shown: str) -> bytes:
    """The bytes of a small file of a release, checked against the manifest; IntegrityError when it is none of it."""
    facts = manifest.listed().get(path)
    if facts is None:
        raise IntegrityError(f"{shown}: the manifest does not list {path}; this is no complete release")
    if facts.bytes > MAX_TEXT_BYTES:
        raise IntegrityError(f"{shown}: {path} has {facts.bytes:,} bytes, more than {MAX_TEXT_BYTES:,}")
    data = place.read(path, at_most=facts.bytes)
    if hashlib.sha256(data).hexdigest() != facts.sha256:
        raise IntegrityError(f"{shown}: {path} is not the file that the manifest describes; fetch it again")
    return data


def checked_file(place: Store, facts: ShardFacts | FileFacts, scratch: Path) -> Path:
    """A file of a release on this machine's disk, its size and SHA-256 checked; fetched to `scratch` where it is not."""
    path = scratch if place.root is None else place.path(facts.path)
    where = f"{place.uri}/{facts.path}"
    try:
        if place.root is None:
            place.fetch(facts.path, scratch)
        found = sha256_file(path)
    except FileNotFoundError:
        raise IntegrityError(f"{where} is missing; fetch the release again") from None
    if found != (facts.sha256, facts.bytes):
        raise IntegrityError(f"{where} is not the file that its manifest describes; fetch it again")
    return path


# ------------------------------------------------------------------------------------------------- version rules


def check_version_before(version: str, parent: ParentRelease, license_policy: str) -> None:
    """Refuse, before any work, a version that is too small a step whatever the rows will be. Raises ConfigError."""
    needed, why = needed_step(
        schema=parent.manifest.schema_version != SCHEMA_VERSION,
        license_policy=parent.manifest.digests.policies.get("license") != license_policy,
    )
    _check(version, parent, needed, why)


def check_version_after(
    version: str, parent: ParentRelease, facts: Mapping[str, Any], counts: Counts
) -> None:
    """Refuse, before anything is published, a version that is too small a step for the rows that differ."""
    needed, why = needed_step(
        schema=parent.manifest.schema_version != SCHEMA_VERSION,
        license_policy=parent.manifest.digests.policies.get("license") != facts["policies"]["license"],
        only_opt_outs=not differing(parent, facts) - {"opt_out"},
        counts=counts,
    )
    _check(version, parent, needed, why)


def _check(version: str, parent: ParentRelease, needed: Any, why: str) -> None:
    try:
        check_step(version, parent.manifest.version, needed, why)
    except VersionError as error:
        raise ConfigError(f"--version {version}: {error}; nothing was released") from error


def differing(parent: ParentRelease, facts: Mapping[str, Any]) -> set[str]:
    """What rows depend on, and is not as it was for the parent: `inputs`, `configuration`, `code`, ..., and policies."""
    known = parent.manifest.digests
    pairs = {
        "inputs": (dict(parent.manifest.inputs), facts["inputs"]),
        "configuration": (known.configuration, digest(facts["config"])),
        "code": (known.code, facts["code"]),
        "detectors": (dict(known.detectors), facts["detectors"]),
        "libraries": (dict(known.libraries), facts["libraries"]),
    }
    for name in sorted({*known.policies, *facts["policies"]}):
        pairs[name] = (known.policies.get(name), facts["policies"].get(name))
    return {name for name, (before, now) in pairs.items() if before != now}
