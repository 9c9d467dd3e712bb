"""What `pipeline verify` needs of the world: trusted keys, pins, parents, manifests, sigstore; and proofs of rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manifests.canonical import MAX_BYTES, dumps
from manifests.errors import ManifestsError, ReleaseError
from manifests.faults import Fault, Report, SignatureState
from manifests.manifest import Manifest
from manifests.names import IDS_FILE, MANIFEST, SIGNATURE, SIGSTORE_BUNDLE
from manifests.places import Place
from manifests.proofs import (
    MAX_PROOF_BYTES,
    RowFacts,
    check_row_content,
    check_row_id,
    check_row_proof,
    prove_row,
)
from manifests.signing import MAX_ENVELOPE_BYTES, load_trusted_keys
from manifests.trust import (
    Expected,
    Pin,
    check_expected,
    check_signature,
    dump_pins,
    load_pins,
)
from manifests.versions import Version
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.keyless import check_keyless
from pipeline.release_place import release_place

TRUSTED_KEYS = "STACKMILL_TRUSTED_KEYS"
"""Environment variable: file of trusted public keys, used where no option names one."""


def trusted_keys(file: Path | None) -> Mapping[str, Any]:
    """The keys in a file, or in that of the environment, or none. Raises ConfigError."""
    named = os.environ.get(TRUSTED_KEYS) if file is None else str(file)
    if not named:
        return {}
    try:
        return load_trusted_keys(_bytes(Path(named), MAX_ENVELOPE_BYTES))
    except ManifestsError as error:
        raise ConfigError(f"{named}: {error}") from error


def _bytes(file: Path, at_most: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(at_most + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    if len(data) > at_most:
        raise ConfigError(f"{file}: larger than {at_most:,} bytes")
    return data


def pins_of(file: Path | None) -> dict[str, Pin]:
    """The pins in a file; none where there is no file yet. Raises ConfigError."""
    if file is None or not file.exists():
        return {}
    try:
        return load_pins(_bytes(file, 1 << 20))
    except ReleaseError as error:
        raise ConfigError(f"{file}: {error}") from error


def pin(file: Path, report: Report) -> None:
    """Remember a release that was verified without a fault. A pin never goes back."""
    assert report.name is not None and report.version is not None and report.digest is not None
    pins = pins_of(file)
    known = pins.get(report.name)
    if known is None or Version(report.version) > Version(known.version):
        Store(str(file.absolute().parent)).put(
            file.name, dump_pins({**pins, report.name: Pin(report.version, report.digest)})
        )


@dataclass(frozen=True)
class Head:
    """The manifest of a release and what lies beside it; nothing else of the release is read."""

    data: bytes
    envelope: bytes | None
    bundle: bytes | None
    place: Place | None
    """None where a file `manifest.json` was given."""


def head_of(address: str) -> Head:
    """The head of a release in a folder, on S3, or of a `manifest.json` by itself. Raises ConfigError for none."""
    file = Path(address)
    if "://" not in address and file.is_file():
        beside = [
            file.with_name(file.name + name.removeprefix(MANIFEST)) for name in (SIGNATURE, SIGSTORE_BUNDLE)
        ]
        found = [_bytes(path, MAX_ENVELOPE_BYTES) if path.is_file() else None for path in beside]
        return Head(_bytes(file, MAX_BYTES), found[0], found[1], None)
    place = release_place(address)
    data = _member(place, address, MANIFEST, MAX_BYTES)
    if data is None:
        raise ConfigError(f"{address} is not a release: it has no {MANIFEST}")
    rest = [_member(place, address, name, MAX_ENVELOPE_BYTES) for name in (SIGNATURE, SIGSTORE_BUNDLE)]
    return Head(data, rest[0], rest[1], place)


def _member(place: Place, address: str, name: str, at_most: int) -> bytes | None:
    try:
        with place.open(name, whole=True) as file:
            data = file.read(at_most + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IntegrityError(f"{address}: {name}: cannot be read: {error.strerror or error}") from error
    if len(data) > at_most:
        raise IntegrityError(f"{address}: {name}: larger than {at_most:,} bytes")
    return data


def manifest_at(address: str) -> Manifest:
    """The manifest of a release, such as a parent. Raises ConfigError where there is none that can be read."""
    try:
        return Manifest.parse(head_of(address).data)
    except ManifestsError as error:
        raise ConfigError(f"{address}: {error}") from error


def check_identity(address: str, head: Head, *, identity: str, issuer: str) -> None:
    """Check the sigstore bundle of a release. Raises IntegrityError naming it."""
    if head.bundle is None:
        raise IntegrityError(f"{address}: {SIGSTORE_BUNDLE}: missing; nobody has signed it through sigstore")
    check_keyless(head.bundle, head.data, identity=identity, issuer=issuer)


@dataclass(frozen=True)
class RowAnswer:
    """A checked proof of a row, and who signed the manifest that it was checked against."""

    facts: RowFacts
    proof: dict[str, Any] | None
    """None where it was given, not made."""
    version: str
    digest: str
    signature: SignatureState
    key_ids: tuple[str, ...]


def row_of(address: str, row_id: str, expected: Expected) -> RowAnswer:
    """Make and check the proof of a row: reads the manifest, ids.parquet, and one row group where the row is there.

    Raises ConfigError for an id that is none, IntegrityError naming the file where something does not hold.
    """
    head = head_of(address)
    if head.place is None:
        raise ConfigError(f"{address}: a proof is made from a release, not from its manifest alone")
    try:
        check_row_id(row_id)
    except ReleaseError as error:
        raise ConfigError(str(error)) from error
    manifest, state, key_ids = _trusted(address, head, expected)
    try:
        with head.place.open(IDS_FILE, whole=True) as ids:
            proof = prove_row(ids, row_id, manifest)
        facts = check_row_proof(dumps(proof), manifest)
        if facts.present and facts.shard is not None:
            if facts.shard not in {shard.path for shard in manifest.shards}:
                raise ReleaseError(f"{IDS_FILE}: names a shard that the manifest does not have")
            with head.place.open(facts.shard, whole=False) as shard:
                check_row_content(shard, facts)
    except ReleaseError as error:
        raise IntegrityError(f"{address}: {error}") from error
    except OSError as error:
        raise IntegrityError(f"{address}: {IDS_FILE} or a shard cannot be read: {error}") from error
    return RowAnswer(facts, proof, manifest.version, manifest.digest, state, key_ids)


def proof_of(address: str, file: Path, expected: Expected) -> RowAnswer:
    """Check a proof in a file against the manifest at `address`, which may be the file `manifest.json` alone."""
    data = _bytes(file, MAX_PROOF_BYTES)
    manifest, state, key_ids = _trusted(address, head_of(address), expected)
    try:
        facts = check_row_proof(data, manifest)
    except ReleaseError as error:
        raise IntegrityError(f"{file}: {error}") from error
    return RowAnswer(facts, None, manifest.version, manifest.digest, state, key_ids)


def _trusted(
    address: str, head: Head, expected: Expected
) -> tuple[Manifest, SignatureState, tuple[str, ...]]:
    state, key_ids, faults = check_signature(head.data, head.envelope, expected)
    try:
        manifest = Manifest.parse(head.data)
    except ManifestsError as error:
        raise IntegrityError(f"{address}: {error}") from error
    faults += check_expected(manifest, head.data, expected)
    if faults:
        first: Fault = min(faults)
        raise IntegrityError(f"{address}: {first.path}: {first.code}: {first.message}")
    return manifest, state, key_ids


def expectations(
    *,
    keys: Path | None,
    signed: bool,
    digest: str | None,
    at_least: str | None,
    pins: Path | None,
    parent: str | None,
) -> Expected:
    """What the options say of a release. Naming a file of keys asks for a signature; the environment does not.

    Raises ConfigError for what cannot be read, or is no digest or version.
    """
    if digest is not None and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise ConfigError("--digest: not 64 lower-case hex digits")
    try:
        if at_least is not None:
            Version(at_least)
    except ManifestsError as error:
        raise ConfigError(f"--at-least: {error}") from error
    expected = Expected(
        keys=trusted_keys(keys), signed=signed or keys is not None, digest=digest, at_least=at_least
    )
    return replace(expected, pins=pins_of(pins), parent=None if parent is None else manifest_at(parent))
