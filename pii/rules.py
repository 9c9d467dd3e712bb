"""The rule table: what counts as a secret or as personal data, one declarative entry per type.

A rule is written from its issuer's documentation (`source`), never from another tool's rule set.  Its
`pattern` must be valid for RE2 and for Hyperscan alike (no look-around, no back-reference), so that every
search is linear in the text; what a regular expression cannot say is left to the named verifier
(`pii.verifiers`), which looks at the bytes around the match, may move the span, and may refuse it.

Spans, patterns and keywords are about UTF-8 **bytes**.  If a pattern has a group, group 1 is the span.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import metadata

#: What a finding can be, the most specific first; the order settles ties between overlapping findings.
KINDS = (
    "private_key",
    "key",
    "password",
    "credit_card",
    "national_id",
    "email",
    "ip_address",
    "phone",
    "name",
)

#: From the narrowest to the widest; each contains the rules of the ones before it.
SENSITIVITIES = ("low", "medium", "high")

#: Version of the library that the gate of `high` runs: it decides findings, so it belongs to the digest.
DETECT_SECRETS_VERSION = metadata.version("detect-secrets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One type of secret or personal datum.

    Attributes:
        id: stable name, reported as `rule`.
        kind: one of `KINDS`.
        tier: the lowest sensitivity at which the rule applies.
        pattern: expression for RE2 and Hyperscan, over bytes.
        keywords: lower-case literals of which every match contains at least one, in any case; empty if there
        is
            no such literal.  They replace Hyperscan where it is not installed.
        verifier: name in `pii.verifiers.VERIFIERS`.
        source: the issuer's documentation that the format was taken from.
    """

    id: str
    kind: str
    tier: str
    pattern: bytes
    keywords: tuple[bytes, ...]
    verifier: str = "token"
    source: str


def _low(
    id: str, pattern: bytes, keyword: bytes | tuple[bytes, ...], source: str, verifier: str = "token"
) -> Rule:
    """A token with a distinctive prefix: the common case."""
    return Rule(
        id=id,
        kind="key",
        tier="low",
        pattern=pattern,
        keywords=(keyword,) if isinstance(keyword, bytes) else keyword,
        verifier=verifier,
        source=source,
    )


_T = rb"[A-Za-z0-9]"
_U = rb"[A-Za-z0-9_-]"
# The rest of a name, an assignment in some language, and a quoted value without spaces and expressions.
_ASSIGNED = (
    rb"(?i:_?[a-z0-9]{0,12})[\"']?\]?[ \t]{0,8}(?:=|:|:=|=>)[ \t]{0,8}"
    rb"[\"']([^\"'\x00-\x20<>{}()$]{8,128})[\"']"
)

RULES: tuple[Rule, ...] = (
    Rule(
        id="pem-private-key",
        kind="private_key",
        tier="low",
        pattern=rb"-{4,5} ?BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)? ?-{4,5}",
        keywords=(b"private key",),
        verifier="pem_block",
        source="RFC 7468 (textual encodings), RFC 4880 6.2 (PGP armor), RFC 4716 (SSH2), PROTOCOL.key",
    ),
    Rule(
        id="putty-private-key",
        kind="private_key",
        tier="low",
        pattern=rb"PuTTY-User-Key-File-[1-3]: [a-z0-9-]+",
        keywords=(b"putty-user-key-file-",),
        verifier="putty_block",
        source="PuTTY user manual, appendix C: PPK file format",
    ),
    _low(
        "github-token",
        rb"gh[pousr]_" + _T + rb"{36}",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
        "GitHub: behind the new authentication token formats (prefix, base62, CRC32)",
        "github_token",
    ),
    _low(
        "github-fine-grained-token",
        rb"github_pat_" + _T + rb"{22}_" + _T + rb"{59}",
        b"github_pat_",
        "GitHub docs: about authentication, token prefixes",
    ),
    _low(
        "gitlab-token",
        rb"gl(?:pat|dt|ft|soat|rt|cbt|ptt|imt|oas|agent)-" + _U + rb"{20,}",
        (b"glpat", b"gldt", b"glft", b"glsoat", b"glrt", b"glcbt", b"glptt", b"glimt", b"gloas", b"glagent"),
        "GitLab docs: token overview, token prefixes",
    ),
    _low(
        "slack-token",
        rb"xox[abeoprs]-[0-9A-Za-z]{1,14}-[0-9A-Za-z-]{8,240}",
        b"xox",
        "Slack API docs: token types",
    ),
    _low(
        "slack-app-token",
        rb"xapp-[0-9]-[A-Z0-9]{8,14}-[0-9]{8,16}-[a-f0-9]{40,80}",
        b"xapp-",
        "Slack API docs",
    ),
    _low(
        "slack-webhook",
        rb"hooks\.slack\.com/(?:services|workflows)/([A-Z0-9]{8,14}/[A-Z0-9]{8,14}/[0-9]{0,24}/?"
        + _T
        + rb"{16,64})",
        b"hooks.slack.com",
        "Slack API docs: incoming webhooks",
    ),
    _low(
        "aws-access-key-id",
        rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
        (b"akia", b"asia", b"abia", b"acca"),
        "AWS IAM user guide: IAM identifiers, unique id prefixes (base32 after the prefix)",
    ),
    _low("google-api-key", rb"AIza" + _U + rb"{35}", b"aiza", "Google Cloud docs: API keys"),
    _low(
        "google-oauth-secret", rb"GOCSPX-" + _U + rb"{28}", b"gocspx-", "Google identity docs: OAuth clients"
    ),
    _low("google-oauth-token", rb"ya29\." + _U + rb"{30,}", b"ya29.", "Google identity docs: access tokens"),
    _low(
        "stripe-key",
        rb"(?:sk|rk)_live_" + _T + rb"{24,}",
        b"k_live_",
        "Stripe docs: API keys",
    ),
    _low("stripe-webhook-secret", rb"whsec_[A-Za-z0-9+/]{32,}", b"whsec_", "Stripe docs: webhook signatures"),
    _low("npm-token", rb"npm_" + _T + rb"{36}", b"npm_", "GitHub changelog: npm access token format"),
    _low(
        "pypi-token",
        rb"pypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZw)" + _U + rb"{50,}",
        b"pypi-age",
        "PyPI docs: API token, macaroon with its location",
    ),
    _low("rubygems-key", rb"rubygems_[a-f0-9]{48}", b"rubygems_", "RubyGems guides: API key scopes"),
    _low("crates-token", rb"cio" + _T + rb"{32}", b"cio", "crates.io: token format"),
    _low(
        "openai-key",
        rb"sk-" + _U + rb"{20,}T3BlbkFJ" + _U + rb"{20,}",
        b"t3blbkfj",
        "OpenAI platform docs: API keys",
    ),
    _low("anthropic-key", rb"sk-ant-[a-z]{2,8}[0-9]{2}-" + _U + rb"{80,}", b"sk-ant-", "Anthropic API docs"),
    _low("huggingface-token", rb"hf_[A-Za-z]{34}", b"hf_", "Hugging Face docs: user access tokens"),
    _low(
        "sendgrid-key",
        rb"SG\." + _U + rb"{22}\." + _U + rb"{43}",
        b"sg.",
        "SendGrid docs: API keys",
    ),
    _low("twilio-key", rb"SK[0-9a-f]{32}", b"sk", "Twilio docs: API keys, SID format"),
    _low(
        "telegram-bot-token",
        rb"[0-9]{8,10}:AA" + _U + rb"{33}",
        b":aa",
        "Telegram Bot API: authorizing your bot",
    ),
    _low("digitalocean-token", rb"do[opr]_v1_[a-f0-9]{64}", b"_v1_", "DigitalOcean: token prefixes"),
    _low("shopify-token", rb"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", b"shp", "Shopify docs: access tokens"),
    _low("square-token", rb"sq0(?:atp-" + _U + rb"{22}|csp-" + _U + rb"{43})", b"sq0", "Square docs: OAuth"),
    _low("databricks-token", rb"dapi[a-f0-9]{32}", b"dapi", "Databricks docs: personal access tokens"),
    _low("docker-hub-token", rb"dckr_(?:pat|oat)_" + _U + rb"{27,}", b"dckr_", "Docker docs: access tokens"),
    _low(
        "vault-token",
        rb"hv[sbr]\." + _U + rb"{24,}",
        (b"hvs.", b"hvb.", b"hvr."),
        "HashiCorp Vault docs: tokens",
    ),
    _low(
        "terraform-token",
        _T + rb"{14}\.atlasv1\." + _U + rb"{60,}",
        b".atlasv1.",
        "HCP Terraform docs: API tokens",
    ),
    _low("grafana-token", rb"glsa_" + _T + rb"{32}_[a-f0-9]{8}", b"glsa_", "Grafana docs: service accounts"),
    _low("linear-key", rb"lin_api_" + _T + rb"{40}", b"lin_api_", "Linear docs: personal API keys"),
    _low("postman-key", rb"PMAK-[a-f0-9]{24}-[a-f0-9]{34}", b"pmak-", "Postman docs: API keys"),
    _low("newrelic-key", rb"NRAK-[A-Z0-9]{27}", b"nrak-", "New Relic docs: API keys"),
    _low("mailchimp-key", rb"[0-9a-f]{32}-us[0-9]{1,2}", b"-us", "Mailchimp docs: API keys and data centres"),
    _low(
        "discord-webhook",
        rb"discord(?:app)?\.com/api/(?:v[0-9]{1,2}/)?webhooks/([0-9]{17,20}/" + _U + rb"{60,})",
        b"/webhooks/",
        "Discord developer docs: webhooks",
    ),
    _low(
        "azure-storage-key",
        rb"AccountKey=([A-Za-z0-9+/]{86}==)",
        b"accountkey=",
        "Azure Storage docs: connection strings (512-bit key in base64)",
    ),
    _low(
        "age-secret-key",
        rb"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
        b"age-secret-key-1",
        "age: file format, Bech32 identities",
    ),
    _low(
        "json-web-token",
        rb"eyJ" + _U + rb"{10,}\.eyJ" + _U + rb"{8,}\." + _U + rb"{20,}",
        b".eyj",
        "RFC 7519 (JWT), RFC 7515 (JWS compact form)",
        "json_web_token",
    ),
    Rule(
        id="url-credentials",
        kind="password",
        tier="low",
        pattern=rb"[A-Za-z]://[^\x00-\x20:/?#@'\"<>\\]{0,64}:([^\x00-\x20:/?#@'\"<>\\]{3,128})@[A-Za-z0-9\[]",
        keywords=(b"://",),
        verifier="url_password",
        source="RFC 3986 3.2.1 (user information)",
    ),
    Rule(
        id="email",
        kind="email",
        tier="medium",
        pattern=rb"[A-Za-z0-9_+%-]@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+",
        keywords=(b"@",),
        verifier="email",
        source="RFC 5321 4.5.3.1 (sizes), RFC 5322 3.4.1 (dot-atom), RFC 2606 (reserved names)",
    ),
    Rule(
        id="ipv4",
        kind="ip_address",
        tier="medium",
        pattern=rb"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
        keywords=(),
        verifier="ipv4",
        source="RFC 791; special ranges: IANA special-purpose registry, RFC 5737",
    ),
    Rule(
        id="ipv6",
        kind="ip_address",
        tier="medium",
        pattern=rb"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,40}",
        keywords=(b":",),
        verifier="ipv6",
        source="RFC 4291 (global unicast 2000::/3); RFC 3849, RFC 9637 (documentation)",
    ),
    Rule(
        id="credit-card",
        kind="credit_card",
        tier="medium",
        pattern=rb"[3-6][0-9]{3}[ -]?[0-9]{4,6}[ -]?[0-9]{4,5}[ -]?[0-9]{0,4}",
        keywords=(b"card", b"visa", b"amex", b"credit", b"cc", b"pan"),
        verifier="credit_card",
        source="ISO/IEC 7812-1 (Luhn), issuers' number ranges",
    ),
    Rule(
        id="aws-secret-access-key",
        kind="key",
        tier="medium",
        pattern=rb"(?i:secret_?(?:access)?_?key)[\"']?\]?[ \t]{0,4}[:=][ \t]{0,4}[\"']?([A-Za-z0-9/+]{40})",
        keywords=(b"secret",),
        verifier="random_value",
        source="AWS IAM user guide: managing access keys",
    ),
    Rule(
        id="assigned-password",
        kind="password",
        tier="medium",
        pattern=rb"(?i:passwd|password|passphrase|pwd)" + _ASSIGNED,
        keywords=(b"pass", b"pwd"),
        verifier="assigned_value",
        source="own: a name for passwords that is given a quoted value of letters and digits",
    ),
    Rule(
        id="assigned-key",
        kind="key",
        tier="medium",
        pattern=rb"(?i:secret|token|api_?key|access_?key|auth_?key|private_?key)" + _ASSIGNED,
        keywords=(b"secret", b"token", b"key"),
        verifier="assigned_value",
        source="own: a name for keys that is given a quoted, random-looking value",
    ),
)


def rules_of(sensitivity: str) -> tuple[Rule, ...]:
    """The rules that apply at `sensitivity`, in table order.

    Raises:
        UnknownSensitivity: the name is none of `SENSITIVITIES`.
    """
    level = sensitivity_level(sensitivity)
    return tuple(r for r in RULES if SENSITIVITIES.index(r.tier) <= level)


class UnknownSensitivity(ValueError):
    """A sensitivity that is none of `SENSITIVITIES`."""


def sensitivity_level(sensitivity: str) -> int:
    """Position of `sensitivity` in `SENSITIVITIES`; raises `UnknownSensitivity`."""
    if sensitivity not in SENSITIVITIES:
        raise UnknownSensitivity(
            f"unknown sensitivity {sensitivity!r}: choose one of {', '.join(SENSITIVITIES)}"
        )
    return SENSITIVITIES.index(sensitivity)


def rules_digest() -> str:
    """SHA-256 (hex) over the table and the version of detect-secrets: changes when findings may change.

    The code of verifiers is not covered; who caches findings adds a digest of this package's sources.
    """
    table = [
        [r.id, r.kind, r.tier, r.pattern.decode("ascii"), [k.decode("ascii") for k in r.keywords], r.verifier]
        for r in RULES
    ]
    text = json.dumps([list(KINDS), table, DETECT_SECRETS_VERSION], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
