"""Key files: a private key that only its owner can read, and its public half beside it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from manifests import signing
from manifests.errors import SignatureError
from pipeline.errors import ConfigError, SourceError

PASSPHRASE = "STACKMILL_KEY_PASSPHRASE"
"""Environment variable with the passphrase of an encrypted private key."""

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, repr=False)
class SigningKey:
    """A private key in memory. Never shown, never logged."""

    private: Ed25519PrivateKey

    @property
    def id(self) -> str:
        """The key id, of the public half."""
        return signing.key_id(self.private.public_key())


def make_keys(path: Path) -> tuple[SigningKey, Path]:
    """Write a new key pair, `path` (mode 600, encrypted if the environment has a passphrase) and `path`.pub.

    Raises ConfigError rather than overwrite a file, SourceError where the disk refuses.
    """
    key, public = signing.new_key(), path.with_name(f"{path.name}.pub")
    for file in (path, public):
        if os.path.lexists(file):
            raise ConfigError(f"{file} exists; a key is never overwritten: give another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, signing.private_pem(key, _passphrase()), 0o600)
        _write(public, signing.public_pem(key.public_key()), 0o644)
    except OSError as error:
        raise SourceError(f"{path}: the key cannot be written: {error.strerror or error}") from error
    return SigningKey(key), public


def _write(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask is
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _passphrase() -> bytes | None:
    return os.environb.get(PASSPHRASE.encode()) or None


def load_signing_key(path: Path) -> SigningKey:
    """Read a private key. Raises ConfigError for a file that others can read, or that is no Ed25519 key."""
    try:
        # Not blocking: a pipe of that name would wait for a writer for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_BYTES) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path}: not a file")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"{path}: mode {stat.S_IMODE(mode):o}: others than its owner can reach this private key;"
            f" run `chmod 600 {path}`, and make a new key if somebody may have read it"
        )
    try:
        return SigningKey(signing.load_private_key(data, _passphrase()))
    except SignatureError as error:
        raise ConfigError(f"{path}: {error} (the passphrase is read from {PASSPHRASE})") from error
