"""What a rule is: one type of secret or personal datum, as the tables in this folder and users' own files state it."""

from __future__ import annotations

from dataclasses import dataclass

#: What a finding can be, the most specific first; the order settles ties between overlapping findings.
KINDS = (
    "private_key",
    "key",
    "password",
    "credit_card",
    "bank_account",
    "national_id",
    "email",
    "ip_address",
    "phone",
    "name",
)

#: From the narrowest to the widest; each contains the rules of the ones before it.
SENSITIVITIES = ("low", "medium", "high")


class UnknownSensitivity(ValueError):
    """A sensitivity that is none of `SENSITIVITIES`."""


def sensitivity_level(sensitivity: str) -> int:
    """Position of `sensitivity` in `SENSITIVITIES`; raises `UnknownSensitivity`."""
    if sensitivity not in SENSITIVITIES:
        raise UnknownSensitivity(
            f"unknown sensitivity {sensitivity!r}: choose one of {', '.join(SENSITIVITIES)}"
        )
    return SENSITIVITIES.index(sensitivity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One type of secret or personal datum.

    A rule is written from its issuer's documentation (`source`), never from another tool's rule set.  Its `pattern` must
    be valid for RE2 and for Hyperscan alike (no look-around, no back-reference), so that every search is linear in the
    text; what a regular expression cannot say is left to the named verifier (`pii.verifiers`), which looks at the bytes
    around the match, may move the span, and may refuse it.

    Spans, patterns and keywords are about UTF-8 **bytes**.  If a pattern has a group, group 1 is the span.

    Attributes:
        id: stable name, reported as `rule`.
        kind: one of `KINDS`.
        tier: the lowest sensitivity at which the rule applies.
        pattern: expression for RE2 and Hyperscan, over bytes.
        keywords: lower-case literals of which every match contains at least one, in any case; empty if there is no such
            literal.  They replace Hyperscan where it is not installed.
        verifier: name in `pii.verifiers.VERIFIERS`.
        source: the issuer's documentation that the format was taken from.
        found: templates (`pii.rules.examples`) of texts in which the rule finds what `[[ ]]` encloses.
        not_found: templates of texts in which it finds nothing.
    """

    id: str
    kind: str
    tier: str
    pattern: bytes
    keywords: tuple[bytes, ...]
    verifier: str = "token"
    source: str
    found: tuple[str, ...] = ()
    not_found: tuple[str, ...] = ()
