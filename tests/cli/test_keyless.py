"""Signing through sigstore, as far as it goes without its services: what is handed to the library, and what it answers.

The services themselves (a certificate for an identity, the public log) are not there in tests; those calls are stood in
for. The statement, the bundle's form and all errors go through the real library.
"""

from __future__ import annotations

import builtins
import importlib.util
import json
import types
from pathlib import Path

import pytest

from manifests import signing
from manifests.names import MANIFEST, SIGSTORE_BUNDLE
from pipeline import keyless
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError, SourceError

pytest.importorskip("sigstore", reason="the extra `sigstore` is not installed")
import sigstore.dsse
import sigstore.errors
import sigstore.models
import sigstore.oidc
import sigstore.sign
import sigstore.verify

FACTORY = Path(__file__).parents[1] / "manifests" / "release_factory.py"


@pytest.fixture
def release_dir(tmp_path):
    spec = importlib.util.spec_from_file_location("release_factory", FACTORY)
    factory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(factory)
    return factory.make_release(tmp_path / "releases", rows={"Python": 3})


@pytest.fixture
def services(monkeypatch):
    """Sigstore's services, answering: every statement is signed for `ci@example.org`, and verifies."""
    asked = []

    class Signer:
        def sign_dsse(self, statement):
            assert isinstance(statement, sigstore.dsse.Statement)
            asked.append(statement)
            return types.SimpleNamespace(to_json=lambda: json.dumps({"signed": statement._contents.decode()}))

    class Context:
        def signer(self, token):
            asked.append(token.identity)
            return __import__("contextlib").nullcontext(Signer())

    monkeypatch.setattr(sigstore.models.ClientTrustConfig, "production", lambda: object())
    monkeypatch.setattr(sigstore.sign.SigningContext, "from_trust_config", lambda trust: Context())
    monkeypatch.setattr(sigstore.oidc, "detect_credential", lambda: "token of the CI service")
    monkeypatch.setattr(
        sigstore.oidc, "IdentityToken", lambda raw: types.SimpleNamespace(identity="ci@example.org")
    )
    return asked


def test_the_statement_is_one_that_the_library_accepts(release_dir, services):
    place = Store(str(release_dir))
    assert keyless.sign_keyless(place) == "ci@example.org"
    identity, statement = services
    assert identity == "ci@example.org"
    signed = json.loads(json.loads(place.read(SIGSTORE_BUNDLE))["signed"])
    assert statement._inner.predicate_type == signing.PREDICATE_TYPE == signed["predicateType"]
    assert signed["subject"] == signing.statement(place.read(MANIFEST), {})["subject"]


def test_a_release_with_a_bundle_still_verifies(release_dir, services):
    from manifests.verify import verify_release

    keyless.sign_keyless(Store(str(release_dir)))
    assert verify_release(release_dir).ok


class Verified:
    """A verifier for which every bundle holds, and has this payload."""

    def __init__(self, payload: bytes, kind: str = signing.PAYLOAD_TYPE) -> None:
        self._answer = (kind, payload)

    def verify_dsse(self, bundle, policy):
        assert policy._identity == "ci@example.org"
        return self._answer


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (lambda manifest: keyless.statement_bytes(manifest).replace(b"manifest.json", b"other.json"), None),
        (lambda _: b"{}", None),
        (lambda _: b"[", None),
        (keyless.statement_bytes, "text/plain"),
    ],
    ids=["other file", "empty", "no JSON", "other type"],
)
def test_a_verified_bundle_must_be_about_this_manifest(release_dir, monkeypatch, payload, kind):
    manifest = (release_dir / MANIFEST).read_bytes()
    monkeypatch.setattr(sigstore.models.Bundle, "from_json", lambda raw: object())
    wanted = {"identity": "ci@example.org", "issuer": "https://example.org"}
    good = Verified(keyless.statement_bytes(manifest))
    monkeypatch.setattr(sigstore.verify.Verifier, "production", lambda offline: good)
    keyless.check_keyless(b"{}", manifest, **wanted)
    with pytest.raises(IntegrityError, match="another"):
        keyless.check_keyless(b"{}", manifest + b" ", **wanted)
    bad = Verified(payload(manifest), kind or signing.PAYLOAD_TYPE)
    monkeypatch.setattr(sigstore.verify.Verifier, "production", lambda offline: bad)
    with pytest.raises(IntegrityError, match=SIGSTORE_BUNDLE):
        keyless.check_keyless(b"{}", manifest, **wanted)


@pytest.mark.parametrize("bundle", [b"", b"{}", b"[]", b'{"mediaType": "x"}', b"\xff"])
def test_what_is_no_bundle(bundle):
    """Through the real library."""
    with pytest.raises(IntegrityError, match="not a sigstore bundle"):
        keyless.check_keyless(bundle, b"{}", identity="a", issuer="b")


def test_services_that_do_not_answer(release_dir, monkeypatch):
    def fails(*_, **__):
        raise sigstore.errors.NetworkError("no route")

    monkeypatch.setattr(sigstore.models.ClientTrustConfig, "production", fails)
    with pytest.raises(SourceError, match="nothing was signed"):
        keyless.sign_keyless(Store(str(release_dir)))
    assert not (release_dir / SIGSTORE_BUNDLE).exists()


def test_no_release_and_no_library(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="not a release"):
        keyless.sign_keyless(Store(str(tmp_path)))
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == "sigstore":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"stackmill\[sigstore\]"):
        keyless.sign_keyless(Store(str(tmp_path)))
