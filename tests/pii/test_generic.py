"""Assignments: many names, syntaxes and alphabets; a value is found whole or refused for a reason."""

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, URL64, rand

from pii import Settings, scan_one

LOWER, DIGITS = string.ascii_lowercase, string.digits
KEY_NAMES = [
    "api_key",
    "apiKey",
    "API_KEY",
    "client_secret",
    "SECRET_KEY",
    "accessToken",
    "auth_token",
    "signingKey",
]
PASSWORD_NAMES = [
    "password",
    "DB_PASSWORD",
    "dbPassword",
    "user_pwd",
    "DB_PASS",
    "passphrase",
    "adminPassword",
]
QUOTED = {
    "python": '{n} = "{v}"',
    "python-type": "{n}: str = '{v}'",
    "python-bytes": '{n} = b"{v}"',
    "python-environ": 'os.environ["{n}"] = "{v}"',
    "python-default": '{n} = os.getenv("X", "{v}")',
    "argument": 'connect(host="h", {n}="{v}")',
    "javascript": "const {n} = '{v}';",
    "javascript-template": "let {n} = `{v}`;",
    "javascript-or": 'x = process.env.{n} || "{v}";',
    "typescript": 'private {n}: string = "{v}";',
    "java": 'private static final String {n} = "{v}";',
    "setter": 'c.set_{n}("{v}");',
    "property": 'p.setProperty("{n}", "{v}");',
    "kotlin": 'val {n}: String = "{v}"',
    "go": '{n} := "{v}"',
    "go-var": 'var {n} string = "{v}"',
    "csharp": 'string {n} = @"{v}";',
    "c": 'const char *{n} = "{v}";',
    "c-array": 'char {n}[] = "{v}";',
    "c-define": '#define {n} "{v}"',
    "php": "'{n}' => '{v}',",
    "php-define": "define('{n}', '{v}');",
    "php-variable": "${n} = '{v}';",
    "ruby": ":{n} => '{v}'",
    "ruby-hash": "{n}: '{v}',",
    "rust": 'let {n}: &str = "{v}";',
    "rust-from": 'let {n} = String::from("{v}");',
    "swift": 'let {n} = "{v}"',
    "shell": 'export {n}="{v}"',
    "powershell": '$env:{n} = "{v}"',
    "json": '{{"{n}": "{v}"}}',
    "json-escaped": 'body: "{{\\"{n}\\": \\"{v}\\"}}"',
    "yaml": "{n}: '{v}'",
    "toml": '[x]\n{n} = "{v}"',
    "xml-attribute": '<server {n}="{v}" host="x"/>',
    "xml-add": '<add key="{n}" value="{v}"/>',
    "html-entity": "{n}=&quot;{v}&quot;",
    "docker": 'ENV {n}="{v}"',
    "option": 'tool --{n} "{v}"',
    "compare": 'if ({n} == "{v}") {{',
}
UNQUOTED = {
    "env": "{n}={v}",
    "export": "export {n}={v}",
    "yaml": "{n}: {v}",
    "yaml-nested": "a:\n  {n}: {v}\nb: c",
    "ini": "[x]\n{n} = {v}",
    "properties": "app.{n}={v}",
    "docker": "ENV {n} {v}",
    "docker-run": "docker run -e {n}={v} image",
    "option": "tool --{n}={v} x",
    "helm": "helm install --set auth.{n}={v} x",
    "batch": "set {n}={v}",
    "comment": "{n}={v} # used by x",
    "table": "| {n} | {v} |",
}
ALPHABETS = {"base62": ALNUM, "hex": HEX, "lower36": LOWER + DIGITS, "base64url": URL64}


def values(kind, seed):
    g = random.Random(seed)
    for name, alphabet in ALPHABETS.items():
        for n in (20, 32, 40) if kind == "key" else (10, 12, 16):
            yield rand(alphabet, n, g.randrange(10**6) + len(name))


@pytest.mark.parametrize(
    "form", [*(("quoted", f) for f in QUOTED), *(("unquoted", f) for f in UNQUOTED)], ids="-".join
)
@pytest.mark.parametrize("kind", ["key", "password"])
def test_values_are_found_whole(form, kind):
    where, which = form
    template = (QUOTED if where == "quoted" else UNQUOTED)[which]
    level = Settings(sensitivity="medium" if where == "quoted" else "high")
    missed, total = [], 0
    for name in KEY_NAMES if kind == "key" else PASSWORD_NAMES:
        for value in values(kind, f"{form}{name}"):
            body = ("a = 1\n" + template.format(n=name, v=value) + "\nb = 2\n").encode()
            start = body.index(value.encode())
            spans = [f[:2] for f in scan_one(body, level) if f[2] in ("key", "password")]
            total += 1
            if (start, start + len(value)) not in spans:
                missed.append((name, len(value)))
    assert len(missed) <= 0.05 * total, missed


WORDLIKE = ["sunflower", "bluewhale", "correcthorse", "tiger-lily", "Monday.morning7", "river_stone42"]


@pytest.mark.parametrize("value", WORDLIKE, ids=range(len(WORDLIKE)))
def test_passwords_of_words(value):
    body = f'db_password = "{value}"\n'.encode()
    found = scan_one(body, Settings(sensitivity="high"))
    if value.isalpha() or value[-1].isdigit():
        assert [f[:2] for f in found] == [(15, 15 + len(value))]
    else:
        assert (
            found == []
        )  # names joined like an identifier: recorded as words where detect-secrets finds them


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*QUOTED.values(), *UNQUOTED.values()]),
    st.sampled_from([*KEY_NAMES, *PASSWORD_NAMES, "x", "token_type"]),
    st.text(max_size=40),
)
def test_any_value_in_any_syntax(template, name, value):
    body = template.format(n=name, v=value).encode("utf-8", "surrogatepass")
    for start, end, *_ in scan_one(body, Settings(sensitivity="high")):
        assert 0 <= start < end <= len(body)


@pytest.mark.parametrize(
    "unit", ["password=", 'password="', "key: ", "token = f(", "<password>", "pass " * 3, '"secret", ']
)
def test_hostile_repetitions(unit):
    assert isinstance(scan_one((unit * (60_000 // len(unit))).encode(), Settings(sensitivity="high")), list)


@pytest.mark.parametrize(
    "line",
    [
        'password = os.environ["DB_PASSWORD"]',
        "password = getpass.getpass('Password2: ')",
        "token = self.tokens[0].value2",
        "const { password, token1 } = req.body;",
        "password: string;",
        "password?: string | undefined",
        "def login(user: str, password: str = None) -> Token2:",
        "if (password == null || password.length < 8) {",
        'passwordField = form["password_field1"]',
        "<input type='password' name='password' id='password1'>",
        "password=$DB_PASSWORD1",
        "password: ${{ secrets.DB_PASSWORD1 }}",
        "password = var.db_password1",
        "password: !Ref DatabasePassword1",
        "token = jwt.encode(payload1, key2)",
        "key = sha256(x1)",
        "password = user_input1",
        "the password must have 8 characters or more",
        'token_url = "https://h.test/oauth2/v1/token"',
        'PASSWORD_REGEX = "^(?=.*[a-z])(?=.*[0-9]).{8,}$"',
        'secretKeyRef: {name: "db-secret2", key: "password1"}',
        'translations["auth.password1.reset"] = "Reset your password1"',
        'passwordEncoding = "utf-8"',
        'api_key_id = "key_name_2"',
    ],
    ids=range(24),
)
def test_no_secret(line):
    assert scan_one(line.encode(), Settings(sensitivity="high")) == []
