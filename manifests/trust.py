"""Is it the release that was meant: signed by whom, with which digest, not older than the one seen last.

Checksums and Merkle roots show that a release agrees with its manifest. What is checked here is the manifest itself,
against what its reader knows from elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from manifests import canonical
from manifests.errors import CanonicalError, PathError, ReleaseError, SignatureError
from manifests.faults import Fault, SignatureState
from manifests.manifest import Manifest
from manifests.names import MANIFEST, SIGNATURE, check_name, check_version
from manifests.signing import check_envelope, named_keys
from manifests.versions import Version

PIN_VERSION = 1
"""Version of the file of pins."""


@dataclass(frozen=True)
class Pin:
    """A release as it was last verified."""

    version: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the reader knows of the release from elsewhere. All of it may be left out."""

    keys: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)
    """Key id -> trusted key."""
    signed: bool = False
    """Whether an unsigned release, or a signature that cannot be checked, is a fault."""
    digest: str | None = None
    """SHA-256 of `manifest.json`, hex."""
    at_least: str | None = None
    """The oldest version that is accepted."""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """Name of a data set -> its newest release that was verified before."""
    parent: Manifest | None = None
    """The release that this one is said to follow."""


def check_signature(
    manifest: bytes, envelope: bytes | None, expected: Expected
) -> tuple[SignatureState, tuple[str, ...], list[Fault]]:
    """Check the envelope, None where there is none; returns its state, the key ids that it names, and faults."""
    if envelope is None:
        missing = [Fault(SIGNATURE, "missing", "the release is not signed, and a signature is required")]
        return "UNSIGNED", (), missing if expected.signed else []
    try:
        if not expected.keys:
            named = named_keys(envelope)
            unchecked = [
                Fault(
                    SIGNATURE,
                    "signature",
                    "a signature is required, and no trusted key was given to check it",
                )
            ]
            return "not checked", named, unchecked if expected.signed else []
        facts = check_envelope(envelope, manifest, expected.keys)
    except SignatureError as error:
        return "refused", (), [Fault(SIGNATURE, "signature", str(error))]
    return "trusted", (facts.key_id, *(key for key in facts.key_ids if key != facts.key_id)), []


def check_expected(manifest: Manifest, data: bytes, expected: Expected) -> Iterator[Fault]:
    """Yield what in a manifest, whose bytes are `data`, is not as expected."""
    digest = hashlib.sha256(data).hexdigest()
    if expected.digest is not None and digest != expected.digest:
        yield Fault(MANIFEST, "digest", f"the release's digest is {digest}, expected is {expected.digest}")
    order = Version(manifest.version)
    if expected.at_least is not None and order < Version(expected.at_least):
        yield Fault(
            MANIFEST,
            "rollback",
            f"version {manifest.version} is older than {expected.at_least}, the least wanted",
        )
    pin = expected.pins.get(manifest.name)
    if pin is not None and order < Version(pin.version):
        yield Fault(
            MANIFEST,
            "rollback",
            f"version {manifest.version} is older than {pin.version}, which was verified before",
        )
    elif pin is not None and order == Version(pin.version) and digest != pin.digest:
        yield Fault(
            MANIFEST,
            "rollback",
            f"version {manifest.version} was verified before with digest {pin.digest}, and is {digest} now",
        )
    if expected.parent is not None:
        yield from _check_parent(manifest, expected.parent)


def _check_parent(manifest: Manifest, parent: Manifest) -> Iterator[Fault]:
    named = manifest.parent
    if named is None:
        yield Fault(MANIFEST, "parent", f"names no parent, given is {parent.version}")
    elif named.digest != parent.digest:
        yield Fault(
            MANIFEST,
            "parent",
            f"its parent is {named.version} with digest {named.digest}, given is {parent.version} with {parent.digest}",
        )
    elif named.version != parent.version or manifest.name != parent.name:
        yield Fault(
            MANIFEST,
            "parent",
            f"its parent is {manifest.name} {named.version}, given is {parent.name} {parent.version}",
        )


def load_pins(data: bytes) -> dict[str, Pin]:
    """Read a file of pins, as `dump_pins` makes it. Raises `ReleaseError`."""
    try:
        value = canonical.load(data, max_bytes=1 << 20)
        if not isinstance(value, dict) or value.get("pin_version") != PIN_VERSION:
            raise ReleaseError(f"not a file of pins of version {PIN_VERSION}")
        pins = {
            check_name(name): Pin(check_version(entry["version"]), _digest(entry["digest"]))
            for name, entry in value["releases"].items()
        }
    except (CanonicalError, PathError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"not a file of pins: {error}") from error
    return pins


def _digest(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ReleaseError("not a file of pins: a digest is not 64 hex digits")
    return value


def dump_pins(pins: Mapping[str, Pin]) -> bytes:
    """Return the bytes of a file of pins: canonical JSON."""
    return canonical.dumps(
        {"pin_version": PIN_VERSION, "releases": {name: vars(pin) for name, pin in pins.items()}}
    )
