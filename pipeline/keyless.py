"""Signing without a key of one's own, through sigstore (https://www.sigstore.dev): optional, and needs its services.

The same in-toto statement as in `manifest.json.sig`, in a sigstore bundle beside it, `manifest.json.sigstore.json`: signed with
a key that lives for minutes, whose certificate names an identity (an e-mail address, or a workflow of a CI service) and
whose use stands in a public log. Who checks it names the identity and its issuer instead of a public key.

Needs the extra `sigstore`. Signing and the first check need the network; the public log keeps the identity for ever.
"""

from __future__ import annotations

import hashlib
from typing import Any

from manifests import canonical, signing
from manifests.errors import CanonicalError
from manifests.manifest import Manifest
from manifests.names import MANIFEST, SIGSTORE_BUNDLE
from pipeline.attestation import provenance
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.publish import address_of


def _library() -> Any:
    try:
        import sigstore.dsse
        import sigstore.errors
        import sigstore.models
        import sigstore.oidc
        import sigstore.sign
        import sigstore.verify
        import sigstore.verify.policy
    except ImportError as error:
        raise ConfigError(
            "sigstore is not installed: pip install 'stackmill[sigstore]' -c constraints.txt, or sign with --key"
        ) from error
    return sigstore


def statement_bytes(manifest: bytes) -> bytes:
    """The statement to be signed, for the bytes of a manifest."""
    return canonical.dumps(signing.statement(manifest, provenance(Manifest.parse(manifest))))


def sign_keyless(place: Store, *, token: str | None = None) -> str:
    """Put a sigstore bundle beside the manifest of the release at `place`; returns the identity that it names.

    `token`: an OpenID Connect identity token; None: that of the CI service, else the browser asks. Raises ConfigError for
    no release, a token that is none, or a missing library; SourceError where sigstore's services cannot be reached.
    """
    library = _library()
    try:
        data = place.read(MANIFEST)
    except FileNotFoundError:
        raise ConfigError(f"{address_of(place)} is not a release: it has no {MANIFEST}") from None
    statement = library.dsse.Statement(statement_bytes(data))
    try:
        trust = library.models.ClientTrustConfig.production()
        raw = token or library.oidc.detect_credential()
        identity = (
            library.oidc.IdentityToken(raw)
            if raw
            else library.oidc.Issuer(trust.signing_config.get_oidc_url()).identity_token()
        )
        with library.sign.SigningContext.from_trust_config(trust).signer(identity) as signer:
            bundle = signer.sign_dsse(statement)
    except library.oidc.IdentityError as error:
        raise ConfigError(f"sigstore: the identity token cannot be used: {error}") from error
    except (library.errors.Error, library.oidc.IssuerError, OSError) as error:
        raise SourceError(f"sigstore: {error}; nothing was signed") from error
    place.put(SIGSTORE_BUNDLE, bundle.to_json().encode())
    return str(identity.identity)


def check_keyless(
    bundle: bytes, manifest: bytes, *, identity: str, issuer: str, offline: bool = False
) -> None:
    """Check that `identity`, as `issuer` knows it, has signed exactly these bytes of a manifest.

    `offline` uses the trust roots that the library last fetched. Raises IntegrityError naming what does not hold, SourceError
    where the trust roots cannot be had.
    """
    library = _library()
    try:
        parsed = library.models.Bundle.from_json(bundle)
    except (library.errors.Error, ValueError) as error:
        raise IntegrityError(f"{SIGSTORE_BUNDLE}: not a sigstore bundle: {error}") from error
    try:
        verifier = library.verify.Verifier.production(offline=offline)
    except (library.errors.Error, OSError) as error:
        raise SourceError(f"sigstore: the trust roots cannot be had: {error}") from error
    policy = library.verify.policy.Identity(identity=identity, issuer=issuer)
    try:
        kind, payload = verifier.verify_dsse(parsed, policy)
        found = canonical.load(payload, max_bytes=signing.MAX_ENVELOPE_BYTES)
    except (library.errors.Error, CanonicalError) as error:
        raise IntegrityError(f"{SIGSTORE_BUNDLE}: {error}") from error
    subject = [{"name": MANIFEST, "digest": {"sha256": hashlib.sha256(manifest).hexdigest()}}]
    if kind != signing.PAYLOAD_TYPE or not isinstance(found, dict) or found.get("subject") != subject:
        raise IntegrityError(f"{SIGSTORE_BUNDLE}: the signature is of another {MANIFEST} than this one")
