"""Verifiers of issuers' tokens: checksums right and broken, places of fixed parts, what looks drawn at random."""

import base64
import random
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pii.matcher import Matcher, matcher_for
from pii.rules import rule_table
from pii.rules.examples import ALPHABETS, expand
from pii.verify_tokens import (
    aws_account,
    aws_key_id,
    azure_account_key,
    azure_key,
    blob,
    crc32_token,
    entra_secret,
    keyed_uuid,
    looks_random,
    sas_signature,
    token,
)

BASE62 = ALPHABETS["base62"]
RULES = {r.id: r for r in rule_table()}


def made(template, seed="t"):
    return expand(template, seed)[0]


def whole(verify, value, before=b'"', after=b'"'):
    """Whether `verify` takes all of `value` between quotes."""
    body = before + value + after
    return verify(body, len(before), len(before) + len(value)) == (len(before), len(before) + len(value))


def found(rule, body):
    return [body[s:e] for s, e, *_ in matcher_for((RULES[rule],)).findings(body)]


PREFIXES = st.sampled_from(["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "npm_"])


@given(PREFIXES, st.text(BASE62, min_size=30, max_size=30))
def test_a_crc32_token_holds_the_checksum_of_its_random_part(prefix, random_part):
    body = made(f"{prefix}{random_part}{{crc32}}")
    value, digits = zlib.crc32(random_part.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = BASE62[digit] + digits
    assert body.decode().endswith(digits)
    assert whole(crc32_token, body) == whole(token, body)


@given(PREFIXES, st.integers(4, 39), st.sampled_from(BASE62), st.integers(0, 99))
def test_a_crc32_token_with_one_character_changed_is_none(prefix, at, other, seed):
    body = made(prefix + "{base62:30}{crc32}", str(seed))
    assert whole(crc32_token, body)
    changed = body[:at] + other.encode() + body[at + 1 :]
    assert whole(crc32_token, changed) == (changed == body)


@given(
    st.sampled_from(["AKIA", "ASIA", "ABIA", "ACCA"]), st.integers(0, 2**40 - 1), st.integers(0, 2**39 - 1)
)
def test_the_account_in_an_aws_key_id(prefix, account, rest):
    bits = 1 << 79 | account << 39 | rest
    key_id = prefix.encode() + base64.b32encode(bits.to_bytes(10, "big"))
    assert aws_account(key_id) == account
    if whole(token, key_id):
        assert whole(aws_key_id, key_id) == (account < 10**12)


@given(st.integers(0, 2**79 - 1))
def test_an_old_aws_key_id_holds_no_account(bits):
    key_id = b"AKIA" + base64.b32encode(bits.to_bytes(10, "big"))
    assert aws_account(key_id) is None
    assert whole(aws_key_id, key_id) == whole(token, key_id)


AZURE = {  # characters before the signature, and what follows it
    "azure-identifiable-key-512": ("{base64:%d}APIM{base64:5}Q==", 76),
    "azure-identifiable-key-256": ("{base64:%d}+AEhB{base64:5}=", 33),
    "azure-function-key": ("{base64url:%d}AzFu{base64url:5}w==", 44),
    "azure-search-key": ("{base62:%d}AzSeC{base62:5}", 42),
    "azure-container-registry-key": ("{base64:%d}+ACRB{base62:5}", 42),
    "azure-annotated-key": ("{base62:%d}JQQJ99BDA{base62:15}AZDO{base62:4}", 52),
}


@pytest.mark.parametrize("rule", AZURE)
def test_the_signature_of_an_azure_key_has_one_place(rule):
    template, before = AZURE[rule]
    for seed in map(str, range(20)):
        value = made(template % before, seed)
        assert found(rule, b'k = "' + value + b'"') == [value]
        assert found(rule, value) == [value]
        for other in (before - 1, before + 1, 1):
            assert found(rule, b'k = "' + made(template % other, seed) + b'"') == []
        assert found(rule, b'k = "' + value + b'x"') == []


def test_an_azure_key_is_no_known_signature():
    body = made("{base64:76}ABCD{base64:5}Q==")
    assert azure_key(body, 76, len(body)) is None


def test_the_published_keys_of_emulators_are_none():
    for start in (b"Eby8vdM02xNOc", b"C2y6yDjf5/R+o"):
        assert not whole(azure_account_key, start + made("{base64:73}=="), b"AccountKey=", b";")
    assert whole(azure_account_key, made("{base64:86}=="), b"AccountKey=", b";")


@pytest.mark.parametrize(("signature", "length"), [("7Q~", 31), ("8Q~", 34)])
def test_an_entra_secret_has_31_to_34_characters_behind_its_signature(signature, length):
    for seed in map(str, range(20)):
        head, value = "{base62:3}", signature + "{base62:%d}"
        body = b"'" + made(head + value % length, seed) + b"'"
        assert entra_secret(body, 4, len(body) - 1) == (1, len(body) - 1)
        for n in (30, 35):
            body = b"'" + made(head + value % n, seed) + b"'"
            assert found("entra-client-secret", body) == []
    assert entra_secret(b"8Q~", 0, 3) is None


def test_a_shared_access_signature_has_other_fields():
    signature = made("{base62:43}%3D")
    for line in (b"?sv=2022-11-02&sig=%s", b"?sig=%s&se=2030", b"a&amp;sr=c&amp;sig=%s"):
        body = line % signature
        start = body.index(signature)
        assert sas_signature(body, start, start + len(signature)) == (start, start + len(signature))
    for line in (b"sig=%s", b"se=1\nsig=%s", b"?use=1&sig=%s\n&se=1"):
        body = line % signature
        start = body.index(signature)
        assert sas_signature(body, start, start + len(signature)) is None


def test_a_pypi_token_names_its_location():
    for start, location in (("AgEIcHlwaS5vcmc", b"pypi.org"), ("AgENdGVzdC5weXBpLm9yZw", b"test.pypi.org")):
        held = base64.urlsafe_b64decode(start + "A" * (-len(start) % 4))
        assert held.startswith(b"\x02\x01" + bytes([len(location)]) + location)  # version, field, length


def test_blobs():
    assert whole(blob, made("IQoJ{of:/*10}{base64:300}"))
    assert not whole(blob, made("IQoJ{of:x*300}"))
    assert not whole(blob, made("{base64:100}EXAMPLE{base64:100}"))
    assert not whole(blob, made("{base64:100}"), b"x", b"'") and not whole(blob, made("{base64:5000}"))


def test_a_uuid_that_is_a_secret():
    assert whole(keyed_uuid, made("{uuid}"), b"TOKEN=", b"\n")
    for after in (b"-1", b"a"):
        assert not whole(keyed_uuid, made("{uuid}"), b"TOKEN=", after)
    assert not whole(keyed_uuid, b"00000000-0000-0000-0000-000000000001", b"TOKEN=", b"\n")


@pytest.mark.parametrize(
    ("alphabet", "length", "missed"),
    [
        ("hex", 32, 0.002),
        ("hex", 40, 0.001),
        ("base32lower", 28, 0.01),
        ("lower36", 20, 0.01),
        ("upper36", 16, 0.02),
        ("base62", 16, 0.02),
        ("base62", 20, 0.01),
        ("base62", 32, 0.001),
        ("base64url", 44, 0.001),
    ],
)
def test_what_is_random_looks_random(alphabet, length, missed):
    g = random.Random(f"{alphabet}{length}")
    values = ["".join(g.choices(ALPHABETS[alphabet], k=length)).encode() for _ in range(4000)]
    assert sum(not looks_random(v) for v in values) <= missed * len(values)


@pytest.mark.parametrize(
    "name",
    [
        b"get_the_secret_key_from_environment",
        b"processorArchitectureKeyName",
        b"AWS_SECRET_ACCESS_KEY_VALUE",
        b"your-32-character-long-api-token-goes-here",
        b"kubernetes-dashboard-certificate-holder",
        b"12345678901234567890123456789012",
        b"deadbeefdeadbeefdeadbeefdeadbeef",
        b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        b"abcdefghijklmnopqrstuvwxyz012345",
    ],
    ids=range(9),
)
def test_what_is_written_does_not(name):
    assert not looks_random(name)


def test_templates_hold_for_any_random_values():
    rules = [r for r in rule_table() if r.found]
    matcher = Matcher(tuple(rules))
    missed, false, tried = Counter(), Counter(), 0
    for rule in rules:
        for seed in map(str, range(4)):
            tried += len(rule.found)
            for template in rule.found:
                body, span = expand(template, seed)
                missed[rule.id] += (*span, rule.kind, rule.id) not in matcher.findings(body)
            for template in rule.not_found:
                false[rule.id] += rule.id in {f[3] for f in matcher.findings(expand(template, seed)[0])}
    # what must look random may fail to, and a false example may look random, once in a while
    for wrong in (missed, false):
        assert sum(wrong.values()) <= tried // 100 and max(wrong.values()) <= 4, wrong.most_common(4)
