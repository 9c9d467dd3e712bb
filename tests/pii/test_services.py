"""Verifiers of services' credentials: right ones are found, broken ones are not."""

import base64
import json
import re
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, URL64, rand

from pii import scan_one
from pii import verify_services as module
from pii.rules import load_rules, rule_table
from pii.rules.examples import expand
from pii.settings import Settings
from pii.verifiers import VERIFIERS

LOW, MEDIUM = Settings(sensitivity="low"), Settings(sensitivity="medium")
FOLDER = files("pii.rules") / "data"
RULES = [
    rule
    for name in ("messaging", "payment", "ai", "services", "files", "web", "keys")
    for rule in load_rules((FOLDER / f"{name}.yaml").read_text("utf-8"), name)
]


def rules_found(text, level=LOW):
    return {f[3] for f in scan_one(text.encode(), level)}


def b64(value, url=False):
    held = value if isinstance(value, bytes) else value.encode()
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(held).decode()
    return text.rstrip("=") if url else text


def token(header, payload, signature=None):
    return ".".join(
        [b64(json.dumps(header), True), b64(json.dumps(payload), True), signature or rand(URL64, 43)]
    )


# --- web tokens --------------------------------------------------------------------------------------------------


def test_a_web_token_is_two_json_objects_of_which_the_first_names_an_algorithm():
    good = [
        token({"alg": "HS256", "typ": "JWT"}, {"sub": "ann", "iat": 1700000000}),
        token({"typ": "JWT", "kid": "k1", "alg": "EdDSA"}, {"n": "ü" * 40}),
        token({"alg": "RS256"}, {"x": list(range(200))}, rand(URL64, 342)),
    ]
    bad = [
        token({"typ": "JWT"}, {"sub": "ann"}),
        token({"alg": 7}, {"sub": "ann"}),
        token({"alg": "HS256"}, {"sub": "1234567890", "name": "J"}),
        token({"alg": "HS256"}, {"iss": "joe", "http://example.com/is_root": True}),
        token({"alg": "HS256"}, {"some": "payload"}),
        ".".join([b64('{"alg":"HS256"}', True), b64('{"sub":"ann"', True), rand(URL64, 43)]),
        ".".join([b64('{"alg":"HS256"}', True), b64('["a","b","c"]', True), rand(URL64, 43)]),
        ".".join([b64('{"alg":"HS256"}', True), b64('{"sub":"' + "[" * 3000, True), rand(URL64, 43)]),
    ]
    for number, text in enumerate(good):
        (found,) = scan_one(f"token={text}\n".encode(), LOW)
        assert found[:2] == (6, 6 + len(text)) and found[3] == "json-web-token", number
    for number, text in enumerate(bad):
        assert rules_found(f"token={text}\n") == set(), number


def test_a_long_payload_is_read_in_part_and_found_whole():
    text = token({"alg": "HS256"}, {"sub": rand(ALNUM, 20_000)})
    (found,) = scan_one(text.encode(), LOW)
    assert found[:2] == (0, len(text))


def test_an_encrypted_web_token_names_both_algorithms():
    def jwe(header):
        return ".".join(
            [
                b64(json.dumps(header), True),
                rand(URL64, 342),
                rand(URL64, 16),
                rand(URL64, 90),
                rand(URL64, 22),
            ]
        )

    good = jwe({"alg": "RSA-OAEP", "enc": "A256GCM"})
    assert scan_one(good.encode(), LOW) == [(0, len(good), "key", "json-web-encryption")]
    assert rules_found(jwe({"alg": "RSA-OAEP"})) == rules_found(jwe({"enc": "A256GCM"})) == set()


# --- user and password -------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters=":"),
        min_size=1,
        max_size=12,
    )
)
def test_a_basic_header_decodes_to_user_and_password(user):
    password = rand(ALNUM, 14)
    good, no_colon = b64(f"{user}:{password}"), b64(f"{user}{password}")
    assert rules_found(f"Authorization: Basic {good}\n") == {"authorization-basic"}
    assert rules_found(f'{{"auth": "{good}"}}') == {"docker-auth"}
    assert rules_found(f"Authorization: Basic {no_colon}\n") == set()


@pytest.mark.parametrize(
    "held",
    ["user:password", "Aladdin:open sesame", "ann:", "admin:${PASSWORD}", "s6BhdRkqt3:abc1def2ghi"],
    ids=["stock", "rfc7617", "empty", "variable", "rfc6749"],
)
def test_stock_and_documented_credentials_are_left(held):
    assert rules_found(f"Authorization: Basic {b64(held)}\n") == set()


def test_binary_and_broken_base64_is_no_credential():
    for value in (
        b64(b"\xff\xfe\x00:abc\x80defg"),
        b64("ann:a\nb\x00cdef"),
        "A" * 41,
        "abc",
        rand(ALNUM, 40),
    ):
        assert rules_found(f"Authorization: Basic {value}\n") == set()


# --- tokens that decode ------------------------------------------------------------------------------------------


def test_a_bot_token_begins_with_a_snowflake():
    tail = f".{rand(URL64, 6)}.{rand(URL64, 27)}"
    for digits in ("1" + rand("0123456789", 16), "9" + rand("0123456789", 17), "1" + rand("0123456789", 18)):
        text = b64(digits, True) + tail
        assert scan_one(f"'{text}'".encode(), LOW) == [(1, 1 + len(text), "key", "discord-bot-token")]
    for first in (b64("1234567890" * 2 + "1", True), b64("12345678901234567x", True), rand(ALNUM, 24)):
        assert rules_found(first + tail) == set()


def test_checked_sums():
    """A token with one character changed is none."""
    for rule in rule_table():
        if rule.verifier not in ("matrix_token", "extended_key"):
            continue
        body, span = expand(rule.found[0], rule.id)
        verify = VERIFIERS[rule.verifier]
        assert verify(body, *span) == span
        for at in range(span[0] + 5, span[1] - 8, 7):
            other = b"b" if body[at : at + 1] != b"b" else b"c"
            assert verify(body[:at] + other + body[at + 1 :], *span) is None


@pytest.mark.parametrize(
    "verifier", ["intercom_token", "pubnub_key", "workos_key", "neptune_token", "secret_map_token"]
)
def test_what_decodes_to_something_else_is_none(verifier):
    (rule,) = (r for r in rule_table() if r.verifier == verifier)
    for template in rule.found:
        body, (start, end) = expand(template, rule.id)
        assert VERIFIERS[verifier](body, start, end) == (start, end)
        middle = start + (end - start) // 3
        assert VERIFIERS[verifier](body[:middle] + b"~~" + body[middle + 2 :], start, end) is None


def test_private_members_need_their_key_type():
    value = rand(URL64, 43)
    for text in (
        f'{{"kty":"OKP","crv":"Ed25519","d":"{value}","x":"{rand(URL64, 43)}"}}',
        f'{{"d": "{value}", "kty": "EC"}}',
    ):
        (found,) = scan_one(text.encode(), LOW)
        assert text[found[0] : found[1]] == value and found[2] == "private_key"
    assert rules_found(f'{{"d": "{value}"}}, {{"kty": "EC"}}') == set()


def test_a_kubernetes_value_needs_its_kind():
    manifest = f"apiVersion: v1\nkind: Secret\ndata:\n  password: {b64(rand(ALNUM, 14))}\n"
    assert rules_found(manifest, MEDIUM) == {"kubernetes-secret"}
    assert rules_found(manifest.replace("Secret", "ConfigMap"), MEDIUM) == set()


# --- random or made of words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alphabet", "length"),
    [(ALNUM, 24), (HEX, 32), ("abcdefghijklmnopqrstuvwxyz0123456789", 30), (URL64, 43)],
    ids=["base62", "hex", "base36", "base64url"],
)
def test_random_values_look_random(alphabet, length):
    accepted = sum(module.random_looking(rand(alphabet, length, seed).encode()) for seed in range(1000))
    assert accepted >= 975


@pytest.mark.parametrize(
    "value",
    [
        "getAuthorizationTokenFromSession",
        "token_endpoint_auth_methods_supported",
        "some-module-name-with-version-2",
        "JobTrackerStatusUpdateHandler1",
        "this.configuration.secretKey1",
        "abcdefghijklmnopqrstuvwxyz012345",
        "x" * 40,
        "0" * 32,
        "your-api-key-goes-here-123456789",
    ],
)
def test_names_and_placeholders_do_not_look_random(value):
    assert not module.random_looking(value.encode())


PLAIN = [
    "key-{hex:40}",
    "cache-key-{hex:32}",
    '"integrity": "sha512-{base64:86}=="',
    "https://x.org/files/live_{hex:40}.png",
    "commit {hex:40}",
    "md5: {hex:32}",
    "{uuid:}",
    "latest_{hex:35}",
    "import sk_{lower:27}",
    "EAA{base64:60}/{base64:60}",
    "data:image/png;base64,iVBORw0KGgo{base64:400}",
    "sk-learn-contrib-package-of-many-people-12",
]


@pytest.mark.parametrize("template", PLAIN)
def test_digests_names_and_data_are_left(template):
    for seed in range(40):
        body, _ = expand(template, str(seed))
        assert scan_one(body, LOW) == [], seed


# --- all rules of these files ------------------------------------------------------------------------------------

CONTEXTS = [
    "{}",
    '"{}"',
    "'{}',",
    "x: {}\n",
    "<a>{}</a>",
    "`{}`",
    "({})",
    "[{}]",
    '\\"{}\\"',
    "{};",
    "a={}&b=1",
    "é {} 漢",
]


# Tokens without a group: the value is the whole match.
TOKENS = [
    r
    for r in RULES
    if r.tier == "low"
    and r.verifier in ("token", "lone_token")
    and not re.search(rb"(?<!\\)\((?!\?)", r.pattern)
]


@pytest.mark.parametrize("rule", TOKENS, ids=lambda r: r.id)
def test_a_token_is_found_in_every_context(rule):
    body, (start, end) = expand(rule.found[0], rule.id)
    value = body[start:end].decode()
    for context in CONTEXTS:
        before, after = context.split("{}")
        text = (before + value + after).encode()
        found = scan_one(text, LOW)
        at = len(before.encode())
        assert [f[:2] for f in found] == [(at, at + len(value))], context


def test_every_rule_cites_its_source_and_has_templates():
    assert len(RULES) >= 230
    for rule in RULES:
        assert len(rule.source) >= 20 and len(rule.found) >= 2 and len(rule.not_found) >= 2, rule.id


@pytest.mark.parametrize(
    "unit",
    [
        "sk-",
        "live_",
        "key-",
        "eyJ",
        "Basic ",
        "Bearer ",
        "machine a login ",
        "curl -u a:",
        "mysql -p",
        "hooks/",
        "$2b$10$",
        "xprv",
        "LS0tLS1CRUdJTi",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
        '"d":"',
        "password: ",
        "user=a password=",
        "sig=",
        "KEY=base64:",
    ],
)
@pytest.mark.parametrize("level", [LOW, MEDIUM], ids=["low", "medium"])
def test_hostile_repetitions_end(unit, level):
    body = (unit * (200_000 // len(unit))).encode()
    assert scan_one(body, level) is not None
