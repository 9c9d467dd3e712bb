"""Signatures: made and checked, refused when anything differs, and readable by tools that are not ours."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import canonical, signing
from manifests.errors import SignatureError

MANIFEST = b'{"name":"test"}'
PREDICATE = {"buildDefinition": {"buildType": "urn:test"}, "runDetails": {"builder": {"id": "urn:test"}}}
KEY, OTHER = signing.new_key(), signing.new_key()
KEYS = {signing.key_id(KEY.public_key()): KEY.public_key()}
ENVELOPE = signing.sign(MANIFEST, PREDICATE, KEY)


def edited(envelope: bytes = ENVELOPE, **changes) -> bytes:
    return canonical.dumps({**canonical.load(envelope), **changes})


def test_a_signature_holds_for_these_bytes_and_this_key():
    found = signing.check_envelope(ENVELOPE, MANIFEST, KEYS)
    assert found.key_id == signing.key_id(KEY.public_key())
    assert found.key_ids == (found.key_id,) == signing.named_keys(ENVELOPE)
    assert found.predicate == PREDICATE


def test_signing_is_deterministic():
    assert signing.sign(MANIFEST, PREDICATE, KEY) == ENVELOPE


def test_another_manifest_or_another_key():
    with pytest.raises(SignatureError, match="another manifest"):
        signing.check_envelope(ENVELOPE, MANIFEST + b" ", KEYS)
    with pytest.raises(SignatureError, match="none of the 1 trusted keys"):
        signing.check_envelope(signing.sign(MANIFEST, PREDICATE, OTHER), MANIFEST, KEYS)


def test_a_key_id_is_only_a_hint():
    """Breach: whoever writes the name of a trusted key into his envelope is trusted."""
    forged = canonical.load(signing.sign(MANIFEST, PREDICATE, OTHER))
    forged["signatures"][0]["keyid"] = next(iter(KEYS))
    with pytest.raises(SignatureError, match="does not hold"):
        signing.check_envelope(canonical.dumps(forged), MANIFEST, KEYS)


def test_one_trusted_signature_among_several_is_enough():
    both = canonical.load(ENVELOPE)
    both["signatures"] = (
        canonical.load(signing.sign(MANIFEST, PREDICATE, OTHER))["signatures"] + both["signatures"]
    )
    found = signing.check_envelope(canonical.dumps(both), MANIFEST, KEYS)
    assert found.key_id in KEYS and len(found.key_ids) == 2


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 255))
def test_no_byte_of_an_envelope_can_be_altered(position, change):
    altered = bytearray(ENVELOPE)
    altered[position] ^= change
    try:
        found = signing.check_envelope(bytes(altered), MANIFEST, KEYS)
    except SignatureError:
        return
    assert found.predicate == PREDICATE, "only what base64 does not say can differ: its unused last bits"


@pytest.mark.parametrize(
    ("envelope", "match"),
    [
        (b"", "not JSON"),
        (b"[]", "not a DSSE envelope"),
        (b"[" * 100_000, "nested"),
        (edited(payloadType="text/plain"), "the payload is"),
        (edited(payloadType=7), "the payload is"),
        (edited(payload="*"), "base64"),
        (edited(payload=None), "not a string"),
        (edited(signatures=[]), "1 to 64"),
        (edited(signatures={}), "1 to 64"),
        (edited(signatures=[{"keyid": "../x", "sig": ""}]), "keyid"),
        (edited(signatures=[{"keyid": "0" * 64, "sig": "", "cert": ""}]), "keyid"),
        (edited(signatures=canonical.load(ENVELOPE)["signatures"] * 65), "1 to 64"),
    ],
    ids=[
        "nothing", "a list", "deep", "other type", "no type", "no base64", "no payload", "unsigned", "no list", "key id",
        "more fields", "many",
    ],
)  # fmt: skip
def test_what_is_no_envelope(envelope, match):
    with pytest.raises(SignatureError, match=match):
        signing.check_envelope(envelope, MANIFEST, KEYS)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "not a statement"),
        ({"predicateType": "https://example.org/x"}, "not a statement"),
        ({"predicate": []}, "not an object"),
        ({"subject": []}, "another manifest"),
        ({"subject": [{"name": "other.json", "digest": {"sha256": hashlib.sha256(MANIFEST).hexdigest()}}]}, "another"),
        ({"more": 1}, "not an in-toto statement"),
    ],
)  # fmt: skip
def test_a_trusted_key_that_signed_something_else(changes, match):
    payload = canonical.dumps({**signing.statement(MANIFEST, PREDICATE), **changes})
    signature = KEY.sign(signing.pre_authentication_encoding(signing.PAYLOAD_TYPE, payload))
    entry = {"keyid": next(iter(KEYS)), "sig": base64.b64encode(signature).decode()}
    envelope = edited(payload=base64.b64encode(payload).decode(), signatures=[entry])
    with pytest.raises(SignatureError, match=match):
        signing.check_envelope(envelope, MANIFEST, KEYS)


def test_keys_there_and_back():
    plain, secret = signing.private_pem(KEY), signing.private_pem(KEY, b"words")
    for data, passphrase in ((plain, None), (secret, b"words")):
        assert signing.key_id(signing.load_private_key(data, passphrase).public_key()) in KEYS
    for data, passphrase in ((plain, b"words"), (secret, None), (secret, b"wrong"), (b"nothing", None)):
        with pytest.raises(SignatureError) as caught:
            signing.load_private_key(data, passphrase)
        assert plain.splitlines()[1].decode() not in str(caught.value)


def test_cosigning_another_manifest_is_refused():
    with pytest.raises(SignatureError, match="another manifest"):
        signing.cosign(ENVELOPE, b"{}", OTHER)


def test_a_file_of_trusted_keys():
    one, two = (signing.public_pem(key.public_key()) for key in (KEY, OTHER))
    found = signing.load_trusted_keys(
        b"# releases 2.x\n" + one + b"\r\n\n# older\n" + two.replace(b"\n", b"\r\n")
    )
    assert set(found) == {signing.key_id(KEY.public_key()), signing.key_id(OTHER.public_key())}


def _pem(key) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no public key"),
        (b"ssh-ed25519 AAAA", "no public key"),
        (signing.private_pem(KEY), "private key"),
        (_pem(KEY.public_key())[:60], "no END"),
        (_pem(KEY.public_key())[:60] + b"\n" + _pem(KEY.public_key()), "before the one above"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (_pem(ec.generate_private_key(ec.SECP256R1()).public_key()), "not Ed25519"),
    ],
    ids=["empty", "ssh", "private", "cut off", "in one another", "no key in it", "elliptic curve"],
)  # fmt: skip
def test_what_is_no_file_of_trusted_keys(data, match):
    with pytest.raises(SignatureError, match=match):
        signing.load_trusted_keys(data)


def test_a_private_key_of_another_algorithm():
    data = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(SignatureError, match="not Ed25519"):
        signing.load_private_key(data)


def test_openssl_checks_it_too(tmp_path):
    """The envelope needs none of our software: PAE, base64 and Ed25519 as everyone has them."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    envelope = json.loads(ENVELOPE)
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    (tmp_path / "signed").write_bytes(f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload)
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "key.pem").write_bytes(signing.public_pem(KEY.public_key()))
    command = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in signed -sigfile sig"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Verified Successfully" in done.stdout, done.stderr
    assert json.loads(payload)["subject"][0]["digest"]["sha256"] == hashlib.sha256(MANIFEST).hexdigest()


def test_a_key_made_by_openssl_is_read():
    assert isinstance(signing.new_key(), ed25519.Ed25519PrivateKey)
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    data = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True
    ).stdout
    key = signing.load_private_key(data)
    assert signing.check_envelope(
        signing.sign(MANIFEST, {}, key), MANIFEST, {signing.key_id(key.public_key()): key.public_key()}
    )
