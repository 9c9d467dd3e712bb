"""Secrets and personal data in source text: found as byte spans, replaced by typed placeholders.

    findings = scan(texts, Settings())                    # one row per finding: doc, start, end, kind, rule, spared
    released, redactions = redact_batch(texts, findings)  # the released texts, and where they were changed

Pure: Arrow in, Arrow out; a finding depends on the bytes of its text and its `Settings` only.  Rules are data
(`pii.rules`); detect-secrets runs behind a gate at its own output (`pii.detect_secrets_gate`).  Values appear
in no result, message or log.
"""

from pii.redact import redact_batch, redact_one
from pii.rules import KINDS, SENSITIVITIES, rules_digest
from pii.scan import Scanned, counts_per_kind, scan, scan_folder, scan_one, scan_text
from pii.settings import DEFAULT_SENSITIVITY, Allow, Override, Policy, Settings

__all__ = [
    "DEFAULT_SENSITIVITY",
    "KINDS",
    "SENSITIVITIES",
    "Allow",
    "Override",
    "Policy",
    "Scanned",
    "Settings",
    "counts_per_kind",
    "redact_batch",
    "redact_one",
    "rules_digest",
    "scan",
    "scan_folder",
    "scan_one",
    "scan_text",
]
