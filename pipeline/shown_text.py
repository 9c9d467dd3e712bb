"""Pieces of files as they are shown beside a release (review pages, notices, evidence): nothing in them is a secret.

They are looked at by the widest tier, whatever a release is redacted by, with its own rules where these are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from pii.redact import redact_batch
from pii.scan import scan, scan_one
from pii.settings import OFF_BY_DEFAULT, Policy, Settings

STRICTEST = Settings(sensitivity="high")

_HOLDERS = ("email", "name", "phone")


def strictest(policy: Policy) -> Settings:
    """Settings that find whatever the policy finds at any place, and more: nothing is allowed."""
    named = [policy.base.kinds, *(one.kinds for _, one in policy.languages)]
    asked = {kind for kinds in named for kind, level in kinds if level != "off"}
    return replace(
        STRICTEST,
        rules=policy.base.rules,
        kinds=tuple((kind, "high") for kind in OFF_BY_DEFAULT if kind in asked),
    )


def with_holders(settings: Settings = STRICTEST) -> Settings:
    """The same for notices: licenses ask that the holders stay named, who are often told by their addresses."""
    return replace(settings, kinds=tuple((kind, "off") for kind in _HOLDERS))


def safe_texts(texts: Sequence[str | None], settings: Settings = STRICTEST) -> list[str | None]:
    """The texts with a placeholder in the place of each finding."""
    bodies = pa.array(
        [None if one is None else one.encode("utf-8", "replace") for one in texts], pa.large_binary()
    )
    released, _ = redact_batch(bodies, scan(bodies, settings))
    return list(released.to_pylist())


def masked(body: bytes, settings: Settings = STRICTEST) -> bytes:
    """The bytes with stars in the place of each finding, of the same length and with the same line breaks."""
    out = bytearray(body)
    for start, end, _, _ in scan_one(body, settings):
        out[start:end] = bytes(byte if byte in b"\r\n" else 42 for byte in body[start:end])
    return bytes(out)
