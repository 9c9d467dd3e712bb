"""What a verification finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

SignatureState: TypeAlias = Literal["UNSIGNED", "not checked", "trusted", "refused"]
"""No signature file; one, but no trusted key was given; the signature of a trusted key holds; it does not."""


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong."""

    path: str
    """Path in the release; bytes that are not UTF-8 are shown as \\xNN."""
    code: str
    """`missing`, `extra`, `not_a_file`, `size`, `sha256`, `sums`, `manifest`, `parquet`, `schema`, `rows`, `groups`,
    `content`, `redaction`, `ids`, `merkle`, `figures`, `card`, `unreadable`, `signature`, `digest`, `rollback`,
    `parent`."""
    message: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of a verification."""

    faults: tuple[Fault, ...]
    """Sorted by path; empty means that the release is what its manifest says."""
    figures: dict[str, int]
    """`files`, `bytes`, `shards`, `languages`, `rows`, `text_bytes`, as the manifest has them."""
    digest: str | None
    """SHA-256 of `manifest.json`; None if there is no such file."""
    version: str | None
    name: str | None = None
    signature: SignatureState = "UNSIGNED"
    key_ids: tuple[str, ...] = ()
    """That the signature names; where it is `trusted`, the trusted key is the first."""
    sigstore: bool = False
    """Whether a sigstore bundle is there; it is not checked here."""
    shards_opened: int = 0
    """Shards whose bytes and rows were checked: all, or a sample."""
    seed: str | None = None
    """Of the sample (`manifests.sample`); None where all shards were to be checked."""
    ignored: tuple[str, ...] = ()
    """Files beside the release that the Hub's client puts there: no part of it, and not looked at."""

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    @property
    def signed(self) -> bool:
        """Whether a signature file is there."""
        return self.signature != "UNSIGNED"
