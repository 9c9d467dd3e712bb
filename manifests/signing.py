"""Who made a release: an Ed25519 signature over `manifest.json`, in `manifest.json.sig`.

The file is a DSSE envelope (https://github.com/secure-systems-lab/dsse, version 1) around an in-toto Statement v1
(https://github.com/in-toto/attestation) whose one subject is `manifest.json` by its SHA-256: the release's digest. The
predicate is SLSA provenance v1: how the release was made, which may differ from machine to machine and is therefore in
no digest. Other tools that know DSSE and in-toto read it as it is.

A key is known by its id: the SHA-256 of its public half in DER (SubjectPublicKeyInfo), 64 hex digits. Public and private
keys are PEM files, as openssl writes and reads them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from manifests import canonical
from manifests.errors import CanonicalError, SignatureError
from manifests.names import MANIFEST

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"

MAX_ENVELOPE_BYTES = 4 << 20
"""Largest envelope that is read: a predicate holds some kilobytes."""

MAX_SIGNATURES = 64
"""Most signatures of an envelope that are tried."""

_PEM_BEGIN, _PEM_END = b"-----BEGIN ", b"-----END "


@dataclass(frozen=True, kw_only=True)
class SignatureFacts:
    """What a checked envelope says."""

    key_id: str
    """Of the trusted key whose signature holds; the smallest, if several do."""
    key_ids: tuple[str, ...]
    """All key ids that the envelope names, trusted or not, sorted."""
    predicate: Mapping[str, Any]
    """SLSA provenance; said by the holder of the key, checked by nobody else."""


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id of a public key: SHA-256 of its SubjectPublicKeyInfo, hex."""
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(encoding, form)).hexdigest()


def new_key() -> Ed25519PrivateKey:
    """Return a new private key, from the operating system's random numbers."""
    return Ed25519PrivateKey.generate()


def private_pem(key: Ed25519PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return a private key as PEM (PKCS #8), encrypted where there is a passphrase."""
    protection: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Return a public key as PEM (SubjectPublicKeyInfo)."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_private_key(data: bytes, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Read a private key from PEM. Raises `SignatureError`, which never quotes the data."""
    try:
        key = serialization.load_pem_private_key(data, passphrase or None)
    except TypeError as error:  # encrypted and no passphrase, or the other way round
        wanted = "is encrypted: its passphrase is needed" if not passphrase else "is not encrypted"
        raise SignatureError(f"the private key {wanted}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        what = "is not PEM, or the passphrase is wrong" if passphrase else "is not a private key in PEM form"
        raise SignatureError(f"the file {what}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"the private key is {_algorithm(key)}, not Ed25519")
    return key


def load_trusted_keys(data: bytes) -> dict[str, Ed25519PublicKey]:
    """Read public keys, key id -> key, from a file of one or more PEM blocks; other lines are comments.

    Raises `SignatureError` for a block that is no Ed25519 public key (a private key above all), and for no block at
    all: a list that trusts nobody is a mistake.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    block: list[bytes] | None = None
    for number, line in enumerate(data.splitlines(), 1):
        if line.startswith(_PEM_BEGIN):
            if block is not None:
                raise SignatureError(f"line {number}: a key begins before the one above has ended")
            if b"PRIVATE" in line:
                raise SignatureError(
                    f"line {number}: a private key; a file of trusted keys holds public ones, and is shown to others"
                )
            block = []
        if block is not None:
            block.append(line)
        if line.startswith(_PEM_END) and block is not None:
            key = _public_key(b"\n".join(block) + b"\n", number)
            keys[key_id(key)] = key
            block = None
    if block is not None:
        raise SignatureError("the last key has no END line")
    if not keys:
        raise SignatureError(
            "there is no public key in the file: it should hold '-----BEGIN PUBLIC KEY-----'"
        )
    return keys


def _public_key(block: bytes, line: int) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"the block that ends in line {line} is not a public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"the key that ends in line {line} is {_algorithm(key)}, not Ed25519")
    return key


def _algorithm(key: object) -> str:
    return type(key).__name__.strip("_").removesuffix("Key").removesuffix("Private").removesuffix("Public")


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's PAE, which leaves no doubt where type and payload end."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def statement(manifest: bytes, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the in-toto statement about the bytes of a `manifest.json`."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": MANIFEST, "digest": {"sha256": hashlib.sha256(manifest).hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(predicate),
    }


def sign(manifest: bytes, predicate: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """Return the envelope for the bytes of a `manifest.json`: canonical JSON, the same for the same arguments."""
    try:
        payload = canonical.dumps(statement(manifest, predicate))
    except CanonicalError as error:
        raise SignatureError(f"the predicate cannot be signed: {error}") from error
    return _envelope(payload, [_signed(payload, key)])


def cosign(envelope: bytes, manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return an envelope with a further signature, of `key`, over the same statement; one that it has already stays.

    The signatures that are there are not checked, the statement is: it must be about this `manifest.json`.
    """
    payload, signatures = _read(envelope)
    _statement_about(payload, manifest)
    mine = _signed(payload, key)
    others = [entry for entry in signatures if entry[0] != mine[0]]
    if len(others) >= MAX_SIGNATURES:
        raise SignatureError(
            f"the envelope has {len(others)} signatures already, and cannot take another one"
        )
    return _envelope(payload, sorted([*others, mine]))


def _signed(payload: bytes, key: Ed25519PrivateKey) -> tuple[str, bytes]:
    return key_id(key.public_key()), key.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))


def _envelope(payload: bytes, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    entries = [{"keyid": name, "sig": base64.b64encode(value).decode()} for name, value in signatures]
    return canonical.dumps(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": entries,
        }
    )


def named_keys(envelope: bytes) -> tuple[str, ...]:
    """Return the key ids that an envelope names, sorted; nothing is checked. Raises `SignatureError` if it is none."""
    return tuple(sorted({named for named, _ in _read(envelope)[1]}))


def check_envelope(envelope: bytes, manifest: bytes, keys: Mapping[str, Ed25519PublicKey]) -> SignatureFacts:
    """Check that one of the trusted `keys` has signed exactly these bytes of a `manifest.json`.

    The signature is checked before the payload is read. A key id is a hint only: a signature is tried with the trusted
    key of that name. Raises `SignatureError` naming what does not hold.
    """
    payload, signatures = _read(envelope)
    signed = pre_authentication_encoding(PAYLOAD_TYPE, payload)
    holds = sorted(
        {named for named, value in signatures if named in keys and _holds(keys[named], value, signed)}
    )
    named = tuple(sorted({name for name, _ in signatures}))
    if not holds:
        if any(name in keys for name in named):
            raise SignatureError("the signature of a trusted key does not hold: the envelope was altered")
        raise SignatureError(
            f"signed by {', '.join(name[:16] for name in named)}, none of the"
            f" {len(keys)} trusted keys ({', '.join(sorted(name[:16] for name in keys)[:5])})"
        )
    found = _statement_about(payload, manifest)
    return SignatureFacts(key_id=holds[0], key_ids=named, predicate=found["predicate"])


def _holds(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _read(envelope: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Payload and (key id, signature) of an envelope."""
    value = _load(envelope, "the envelope")
    if not isinstance(value, dict) or set(value) != {"payloadType", "payload", "signatures"}:
        raise SignatureError("not a DSSE envelope: an object of payloadType, payload and signatures")
    if value["payloadType"] != PAYLOAD_TYPE:
        raise SignatureError(f"the payload is {ascii(value['payloadType'])[:80]}, not {PAYLOAD_TYPE}")
    entries = value["signatures"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_SIGNATURES:
        raise SignatureError(f"not a list of 1 to {MAX_SIGNATURES} signatures")
    signatures = []
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"keyid", "sig"} or not _is_key_id(entry["keyid"]):
            raise SignatureError("a signature is not an object of keyid (64 hex digits) and sig")
        signatures.append((entry["keyid"], _decoded(entry["sig"])))
    return _decoded(value["payload"]), signatures


def _is_key_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise SignatureError("payload or signature is not a string")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError("payload or signature is not base64") from error


def _statement(payload: bytes) -> dict[str, Any]:
    value = _load(payload, "the signed statement")
    if not isinstance(value, dict) or set(value) != {"_type", "subject", "predicateType", "predicate"}:
        raise SignatureError("the payload is not an in-toto statement")
    if (value["_type"], value["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise SignatureError(f"the payload is not a statement of {STATEMENT_TYPE} with {PREDICATE_TYPE}")
    if not isinstance(value["predicate"], dict):
        raise SignatureError("the predicate is not an object")
    return value


def _statement_about(payload: bytes, manifest: bytes) -> dict[str, Any]:
    found = _statement(payload)
    digest = hashlib.sha256(manifest).hexdigest()
    if found["subject"] != [{"name": MANIFEST, "digest": {"sha256": digest}}]:
        raise SignatureError(f"the signature is of another {MANIFEST} than this one ({digest[:16]}...)")
    return found


def _load(data: bytes, what: str) -> Any:
    try:
        return canonical.load(data, max_bytes=MAX_ENVELOPE_BYTES)
    except CanonicalError as error:
        raise SignatureError(f"{what}: {error}") from error
