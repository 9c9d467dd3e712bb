"""What is no secret: both ways, placeholders that look like secrets and secrets that look like placeholders."""

import base64
import random
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, URL64, UUID, rand

from pii import Settings, negatives, scan_text
from pii.explained import EXPLANATIONS, explanation
from pii.negatives import (
    is_data,
    is_digest,
    is_encoded_text,
    is_phrase,
    is_placeholder,
    is_stock_password,
    is_test_vector,
    is_words,
)
from pii.secret_names import name_before
from pii.verify_generic import assignment_explanation
from pii.word_model import score

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALPHABETS = {
    "hex": HEX,
    "HEX": HEX.upper(),
    "lower": LOWER,
    "upper": UPPER,
    "letters": LOWER + UPPER,
    "lower36": LOWER + DIGITS,
    "upper36": UPPER + DIGITS,
    "base32": UPPER + "234567",
    "base58": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
    "base62": ALNUM,
    "base64": ALNUM + "+/",
    "base64url": URL64,
    "printable": "".join(map(chr, range(33, 127))),
}
LENGTHS = (8, 10, 12, 16, 20, 24, 32, 40, 64)

#: Every test that may drop a secret drawn at random, as the rules apply it.
TESTS = {
    "placeholder": is_placeholder,
    "stock": is_stock_password,
    "words": is_words,
    "phrase": is_phrase,
    "data": lambda v: is_data(v, b'api_token = "'),
    "digest": lambda v: is_digest(v, b'api_token = "'),
    "text": is_encoded_text,
}


def mistaken(per_cell, seed):
    """{(alphabet, length): {test: how many}} of `per_cell` random tokens each."""
    g = random.Random(seed)
    out = {}
    for name, alphabet in ALPHABETS.items():
        for n in LENGTHS:
            tokens = ["".join(g.choices(alphabet, k=n)).encode() for _ in range(per_cell)]
            counts = {test: sum(bool(f(t)) for t in tokens) for test, f in TESTS.items()}
            out[name, n] = {test: c for test, c in counts.items() if c}
    return out


def test_random_tokens_are_not_explained_away():
    cells = mistaken(120, seed=1)
    total = sum(sum(c.values()) for c in cells.values())
    assert total <= 0.001 * 120 * len(cells), cells


@pytest.mark.slow
def test_of_100_000_random_tokens_at_most_one_in_a_thousand_is_explained_away():
    n = 860  # 13 alphabets, 9 lengths
    cells = mistaken(n, seed=2)
    total = sum(sum(c.values()) for c in cells.values())
    print("\n".join(f"{a:10} {k:3} {c}" for (a, k), c in cells.items() if c), total, n * len(cells))
    assert n * len(cells) >= 100_000
    assert total <= 0.001 * n * len(cells)
    assert all(sum(c.values()) <= 0.005 * n for c in cells.values()), cells


@pytest.mark.parametrize(
    "dummy",
    ["0000", "aaaa", "test", "Test", "xxxx", "1234", "abcd", "fake", "null", "beef", "key", "foo", "____"],
)
@pytest.mark.parametrize("at", [0, 11, 24])
def test_a_secret_that_holds_a_dummy_is_no_placeholder(dummy, at):
    token = rand(ALNUM, 28, seed=len(dummy))
    value = (token[:at] + dummy + token[at:]).encode()
    assert not is_placeholder(value) and not is_words(value)


PLACEHOLDERS = [
    "x" * 40,
    "XXXX-XXXX-XXXX",
    "sk-" + "x" * 48,
    "AK" + "IA" + "X" * 16,
    "AK" + "IA" + "IOSFODNN7" + "EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
    "<your-token>",
    "<TOKEN>",
    "<KEY_12>",
    "${DB_PASSWORD}",
    "$(cat /run/secret)",
    "{{ .Values.token }}",
    "{{password}}",
    "#{ENV['TOKEN']}",
    "<%= token %>",
    "%(password)s",
    "%s",
    "%PASSWORD%",
    "@DB_PASSWORD@",
    "__API_KEY__",
    "[[ token ]]",
    "changeme",
    "change-me-please",
    "ChangeMe123!",
    "your-api-key-here",
    "YOUR_API_KEY",
    "my-secret-token",
    "insert_token_here",
    "REDACTED",
    "****************",
    "................",
    "________________",
    "0000000000000000",
    "1234567890",
    "123456789012345678901234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "0123456789abcdef",
    "deadbeefdeadbeef",
    "test-token",
    "fake-secret-key",
    "dummy_password_1",
    "qwertyuiop",
    "foobarbaz",
    "sample_key_123",
    "{token}",
    "{0}",
    "$password",
    "f1f1f1f1f1f1f1f1"[:0] + "1111222233334444",
]


@pytest.mark.parametrize("value", PLACEHOLDERS, ids=range(len(PLACEHOLDERS)))
def test_placeholders(value):
    assert is_placeholder(value.encode())


WORDS = [
    "someVeryLongCamelCaseIdentifierOfAModule2",
    "src/components/button/button_group_item-v2",
    "auth.errors.password_too_short",
    "com.company.project.security.TokenProvider",
    "application/vnd.api+json",
    "test_that_secrets_are_not_logged_twice",
    "X-Amz-Security-Token",
    "AWS_SECRET_ACCESS_KEY",
    "btn-primary-outline-large",
    "HttpSessionCsrfTokenRepository",
]


@pytest.mark.parametrize("value", WORDS, ids=range(len(WORDS)))
def test_words(value):
    assert is_words(value.encode())


def test_a_random_part_makes_words_a_secret():
    assert not is_words(f"prod-database-password-{rand(ALNUM, 24)}".encode())
    assert not is_words(f"session-{rand(HEX, 32)}".encode())


B64 = ALNUM + "+/"
LOCK_FILES = {
    "package-lock": f'"node_modules/a": {{\n  "version": "1.0.0",\n  "integrity": "sha512-{rand(B64, 86)}=="\n}}',
    "package-lock-sha1": f'  "integrity": "sha1-{rand(B64, 27)}="',
    "yarn": f'a@^1.0:\n  version "1.0.0"\n  resolved "https://h.test/a/-/a-1.0.0.tgz#{rand(HEX, 40)}"\n'
    f"  integrity sha512-{rand(B64, 86)}==\n",
    "yarn-berry": f'"a@npm:^1.0.0":\n  version: 1.0.0\n  checksum: 10c0/{rand(HEX, 128)}\n',
    "pnpm": f"  /a@1.0.0:\n    resolution: {{integrity: sha512-{rand(B64, 86)}==}}\n",
    "poetry": f'files = [\n    {{file = "a-1.0.tar.gz", hash = "sha256:{rand(HEX, 64)}"}},\n]\n'
    f'content-hash = "{rand(HEX, 64, 2)}"',
    "pipfile": f'{{"_meta": {{"hash": {{"sha256": "{rand(HEX, 64)}"}}}}, "a": {{"hashes": ["sha256:{rand(HEX, 64, 2)}"]}}}}',
    "uv": f'sdist = {{ url = "https://h.test/{rand(HEX, 60)}/a.tar.gz", hash = "sha256:{rand(HEX, 64)}", size = 7 }}',
    "requirements": f"a==1.0 \\\n    --hash=sha256:{rand(HEX, 64)} \\\n    --hash=sha256:{rand(HEX, 64, 2)}\n",
    "cargo": f'[[package]]\nname = "a"\nsource = "registry+https://h.test/index"\nchecksum = "{rand(HEX, 64)}"\n',
    "go-sum": f"h.test/x/net v0.1.0 h1:{rand(B64, 43)}=\nh.test/x/net v0.1.0/go.mod h1:{rand(B64, 43, 2)}=\n",
    "gemfile": f"CHECKSUMS\n  a (1.0.0) sha256={rand(HEX, 64)}\n\nGIT\n  revision: {rand(HEX, 40)}\n",
    "composer": f'"source": {{"type": "git", "reference": "{rand(HEX, 40)}"}}, "dist": {{"shasum": "{rand(HEX, 40, 2)}"}}',
    "mix": f'"a": {{:hex, :a, "1.0.0", "{rand(HEX, 64)}", [:mix], [], "hexpm", "{rand(HEX, 64, 2)}"}},',
    "podfile": f"SPEC CHECKSUMS:\n  A: {rand(HEX, 40)}\n\nPODFILE CHECKSUM: {rand(HEX, 40, 2)}\n",
    "flake": f'"narHash": "sha256-{rand(B64, 43)}=", "rev": "{rand(HEX, 40)}", "lastModified": 1700000000',
    "gradle": f'<artifact name="a-1.0.jar">\n  <sha256 value="{rand(HEX, 64)}" origin="x"/>\n</artifact>',
    "bun": f'"a": ["a@1.0.0", "", {{}}, "sha512-{rand(B64, 86)}=="],',
    "deno": f'"jsr:@a/b@1.0.0": {{"integrity": "{rand(HEX, 64)}"}}, "https://h.test/x.ts": "{rand(HEX, 64, 2)}"',
    "sri": f'<script src="https://h.test/a.js" integrity="sha384-{rand(B64, 64)}" crossorigin="anonymous"></script>',
    "submodule": f"160000 commit {rand(HEX, 40)}\tlib/a\n",
    "commit": f"Reverts {rand(HEX, 40)} (see {rand(HEX, 12)}).",
    "docker": f"FROM python@sha256:{rand(HEX, 64)}\n",
    "action": f"- uses: actions/checkout@{rand(HEX, 40)}\n",
    "uuid": f'id = "{UUID}"\n<guid>{UUID}</guid>\n',
    "png": f'<img src="data:image/png;base64,iVBORw0KGgo{rand(B64, 100)}">',
    "font": f"src: url('data:font/woff2;base64,d09GMg{rand(B64, 100)}');",
    "public-key": f'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{rand(B64, 48)} "host"',
    "certificate": f'"x5c": ["MIIB{rand(B64, 300)}"]',
    "object-id": f'ObjectId("{rand(HEX, 24)}")',
    "analytics": "gtag('config', 'UA-12345678-1'); gtm = 'GTM-AB12CD3';",
    "isbn": 'isbn = "978-3-16-148410-0"',
    "vector": f'key: "{rand(HEX, 64)}",\nnonce: "{rand(HEX, 24)}",\nplaintext: "{rand(HEX, 80)}",\n'
    f'ciphertext: "{rand(HEX, 80, 2)}",',
    "page": f'"NextToken": "{rand(B64, 60)}"',
    "key-id": f'"keyId": "{rand(B64, 43)}="',
    "translation": '"password": "Passwort", "secret": "Geheimnis", "token.label": "Ihr Token"',
    "code": 'password = os.environ["DB_PASSWORD"]\ntoken = config.get_token()\nsecret: str = settings.SECRET_KEY\n',
    "minified": 'a.passwordInput="passwordInput",b.tokenName="csrfTokenName";',
    "go-nil": "if v.Password != nil {\n\treturn errNoPassword\n}\n",
    "public": f'publicKey = "{rand(B64, 44)}"\nverify_key = "{rand(HEX, 64)}"\n',
    "assembly": f'<bindingRedirect publicKeyToken="{rand(HEX, 16)}" />',
    "alphabet": 'ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"',
}


@pytest.mark.parametrize("name", LOCK_FILES)
def test_nothing_is_found_in(name):
    found = scan_text(LOCK_FILES[name].encode(), Settings()).findings
    assert [f[3] for f in found] == []


def test_a_key_beside_a_digest_is_found():
    text = f'"integrity": "sha512-{rand(B64, 86)}==",\n"api_key": "{rand(ALNUM, 32)}",\n'.encode()
    assert [f[2] for f in scan_text(text).findings] == ["key"]


def test_a_test_vector_needs_its_words():
    line = f'key: "{rand(HEX, 64)}",\n'.encode()
    start = line.index(b'"') + 1
    assert not is_test_vector(line, start, start + 64)
    assert is_test_vector(line + b'nonce: "00",\nplaintext: "00"', start, start + 64)


BYTES = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=40).map(lambda s: s.encode("utf-8", "surrogatepass")),
    st.lists(
        st.sampled_from([*(p.encode() for p in PLACEHOLDERS), b"${", b"}}", b"%", b"\\d", b"[a-z]", b"\xff"])
    ).map(b"".join),
)


@settings(max_examples=300, deadline=None)
@given(BYTES, BYTES)
@example(b"", b"")
def test_tests_take_any_bytes_and_are_functions_of_them(value, before):
    for name in negatives.__all__:
        test = getattr(negatives, name)
        if name in ("in_block", "is_test_vector"):
            assert test(before + value, len(before), len(before + value)) in (True, False)
        elif name in ("is_data", "is_digest", "is_identifier"):
            assert test(value, before) in (True, False)
        elif name != "entropy":
            assert test(value) in (True, False)
    assert score(value) == score(value)
    for hexadecimal in (True, False):
        why = explanation(before + value, len(before), len(before + value), hexadecimal=hexadecimal)
        assert why is None or why in EXPLANATIONS
    why = assignment_explanation(before + value, len(before), len(before + value), name_before(before))
    assert why is None or why in EXPLANATIONS


@pytest.mark.parametrize(
    "unit", [b"a", b"${", b"{{", b"(?", b"\\d", b"x.", b"<a", b"\\", b"= ", b'"', b"-a ", b"key="]
)
def test_long_values_are_read_in_part(unit):
    # Bounded: what a test reads of a value does not grow with it, so this ends at once.
    value = unit * 200_000
    for test in (
        is_placeholder,
        is_words,
        is_phrase,
        is_encoded_text,
        negatives.is_expression,
        negatives.is_location,
    ):
        test(value)
    name_before(value)


def test_base64_of_text_is_told_from_random():
    assert is_encoded_text(base64.b64encode(b'{"name": "x", "n": 1}'))
    assert not is_encoded_text(rand(B64, 40).encode())


def test_the_score_bounds_how_often_random_reads_as_words():
    # P(score >= T) <= 2^-T for what is drawn at random from the alphabet that the value shows.
    g = random.Random(3)
    for alphabet in (LOWER, LOWER + UPPER, ALNUM, HEX):
        high = sum(score("".join(g.choices(alphabet, k=10)).encode())[0] >= 5 for _ in range(3000))
        assert high <= 3000 * 2**-5


@pytest.mark.parametrize(
    ("name", "kind", "about", "public"),
    [
        ("db_password", "password", False, False),
        ("dbPass", "password", False, False),
        ("SMTP_PASS", "password", False, False),
        ("passwordLabel", "password", True, False),
        ("secret_name", "key", True, False),
        ("api_key", "key", False, False),
        ("STRIPE_SECRET_KEY", "key", False, False),
        ("public_key", "", False, True),
        ("cacheKey", "", False, True),
        ("nextToken", "", False, True),
        ("compass", "", False, False),
        ("bypass", "", False, False),
        ("pass_zero", "", False, False),
        ("tokenizer", "", False, False),
        ("keyboard", "", False, False),
        ("author", "", False, False),
    ],
)
def test_names(name, kind, about, public):
    held = name_before(f'x = 1; {name} = "'.encode())
    assert (held.kind, held.about, held.public) == (kind, about, public)
