"""Rules as data: what counts as a secret or as personal data, one declarative entry per type (`data/*.yaml`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata

from pii.rules.load import BadRule, load_rules, rule_table
from pii.rules.model import KINDS, SENSITIVITIES, Rule, UnknownSensitivity, sensitivity_level

__all__ = [
    "DETECT_SECRETS_VERSION",
    "KINDS",
    "SENSITIVITIES",
    "BadRule",
    "Rule",
    "UnknownSensitivity",
    "digest_of",
    "load_rules",
    "rule_table",
    "rules_digest",
    "sensitivity_level",
]

#: Version of the library that the gate of `high` runs: it decides findings, so it belongs to the digest.
DETECT_SECRETS_VERSION = metadata.version("detect-secrets")


def digest_of(rules: Iterable[Rule]) -> str:
    """SHA-256 (hex) over what rules find: changes when findings may change, not with sources and examples."""
    table = [
        [r.id, r.kind, r.tier, r.pattern.decode("ascii"), [k.decode("ascii") for k in r.keywords], r.verifier]
        for r in rules
    ]
    text = json.dumps([list(KINDS), table], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def rules_digest() -> str:
    """SHA-256 (hex) over the product's table and the version of detect-secrets.

    The code of verifiers is not covered; who caches findings adds a digest of this package's sources.
    """
    return hashlib.sha256(f"{digest_of(rule_table())} {DETECT_SECRETS_VERSION}".encode("ascii")).hexdigest()
