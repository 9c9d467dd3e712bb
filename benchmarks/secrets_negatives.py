"""Hard negatives: what looks like a secret or like personal data and is none, labelled by its class.

    python benchmarks/secrets_negatives.py [--seed N] [--each N] [--digest]

Written before the rules were tuned and frozen by digest like secrets_planted.py; imports nothing of `pii`. Forms
follow the formats' own documentation: Git, lock files of npm, yarn, pnpm, Poetry, Cargo, Go, Bundler, Composer, ...,
Subresource Integrity, RFC 4122/9562, RFC 5737/3849/2606 (documentation addresses and domains), RFC 1918 and IANA's
special-purpose registries, source maps, NIST's test-vector files, the card networks' published test numbers, the
regulators' ranges of phone numbers for fiction. Every class counts the same number of labelled spans.

A label covers what a careless rule would report. A finding that overlaps one is a false positive.
"""

# ruff: noqa: E501 (tables of forms: one kind a line)

from __future__ import annotations

import argparse
import base64
import json
import sysconfig
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from secrets_draw import (
    BASE36,
    BASE64,
    DIGITS,
    LOWER,
    Document,
    Draw,
    Snippet,
    as_file,
    digest,
    hosts,
    mark,
    place,
)
from secrets_people import luhn, person

SEED = 11
EACH = 40

_WORDS = ("account", "user", "request", "session", "handler", "factory", "manager", "config", "token", "auth", "cache", "state", "event", "service", "client", "context", "password", "reset", "provider", "builder", "response", "policy", "secret", "access", "key", "index", "stream", "worker", "metric", "schema")  # fmt: skip
_PACKAGES = (
    "left-pad",
    "lodash",
    "react-dom",
    "serde",
    "tokio",
    "requests",
    "numpy",
    "rails",
    "rack",
    "symfony/console",
    "golang.org/x/crypto",
    "github.com/pkg/errors",
    "express",
    "vue",
    "flask",
)
_NAMES = (
    "password",
    "passwd",
    "db_password",
    "api_key",
    "apiKey",
    "secret_key",
    "SECRET_KEY",
    "auth_token",
    "client_secret",
    "access_token",
    "private_key",
    "DB_PASSWORD",
    "API_TOKEN",
)


def _package(d: Draw) -> str:
    return d.pick(_PACKAGES).split("/")[-1]


def _version(d: Draw) -> str:
    return f"{d.below(20)}.{d.below(30)}.{d.below(30)}"


def _camel(d: Draw, low: int, high: int) -> str:
    words = [d.pick(_WORDS) for _ in range(d.between(low, high))]
    return words[0] + "".join(w.title() for w in words[1:])


def _fill(template: str, d: Draw) -> str:
    parts = {
        "{hex32}": lambda: d.hex(32), "{hex40}": lambda: d.hex(40), "{hex64}": lambda: d.hex(64), "{hex128}": lambda: d.hex(128), "{hex7}": lambda: d.hex(7), "{hex12}": lambda: d.hex(12), "{hex8}": lambda: d.hex(8), "{hex20}": lambda: d.hex(20), "{HEX32}": lambda: d.hex(32).upper(),
        "{uuid}": d.uuid, "{UUID}": lambda: d.uuid().upper(), "{b32}": lambda: d.b64(32), "{b64}": lambda: d.b64(64), "{b48}": lambda: d.b64(48), "{b20}": lambda: d.b64(20), "{b400}": lambda: d.b64(d.between(200, 600)), "{pkg}": lambda: _package(d), "{ver}": lambda: _version(d), "{word}": d.word, "{host}": d.host,
        "{name}": lambda: d.pick(_NAMES), "{int}": lambda: d.digits(2, 4), "{octet}": lambda: str(d.below(256)), "{camel}": lambda: _camel(d, 4, 7), "{a11}": lambda: d.url64(11), "{a62_20}": lambda: d.a62(20), "{a62_33}": lambda: d.url64(33), "{date}": lambda: f"20{d.between(10, 26)}-{d.between(1, 12):02d}-{d.between(1, 28):02d}", "{person}": lambda: person(d),
    }  # fmt: skip
    for key, make in parts.items():
        while key in template:
            template = template.replace(key, make(), 1)
    return template


# Classes whose examples are lines: each template has its labelled part in [[ ]].
LINES: dict[str, tuple[str, ...]] = {
    "commit_id": ("commit [[{hex40}]]", "https://github.com/{word}/{word}/commit/[[{hex40}]]", 'rev = "[[{hex40}]]"', "uses: actions/checkout@[[{hex40}]] # v4", "Fixes regression of [[{hex40}]].", "GIT_COMMIT=[[{hex40}]]", "git+https://github.com/{word}/{word}@[[{hex40}]]#egg={word}", 'GIT_TAG [[{hex40}]]', "revision: '[[{hex40}]]'", "This reverts commit [[{hex40}]].", '"gitHead": "[[{hex40}]]",', "Subproject commit [[{hex40}]]", "index [[{hex7}..{hex7}]] 100644", "From [[{hex40}]] Mon Sep 17 00:00:00 2001", "{hex7} [[{hex40}]] merge"),
    "md5_digest": ("[[{hex32}]]  {pkg}-{ver}.tar.gz", 'md5 = "[[{hex32}]]"', "MD5 (file.iso) = [[{hex32}]]", "'md5': '[[{hex32}]]',", "Content-MD5: [[{hex32}]]", "#md5=[[{hex32}]]", 'ETag: "[[{hex32}]]"', "assert md5(data) == '[[{hex32}]]'", "checksum: [[{hex32}]]", "MD5SUM=[[{hex32}]]"),
    "sha1_digest": ("[[{hex40}]]  {pkg}.zip", 'sha1 = "[[{hex40}]]"', '"shasum": "[[{hex40}]]",', "sha1: [[{hex40}]]", "assertEqual(sha1(x).hexdigest(), '[[{hex40}]]')", "<sha1>[[{hex40}]]</sha1>", "SHA1([[{hex40}]])", '"digest": "sha1:[[{hex40}]]"'),
    "sha256_digest": ("[[{hex64}]]  {pkg}-{ver}.whl", 'sha256 = "[[{hex64}]]",', "FROM python@sha256:[[{hex64}]]", "{pkg}=={ver} --hash=sha256:[[{hex64}]]", '  sha256 "[[{hex64}]]"', "SHA256=[[{hex64}]]", "url#sha256=[[{hex64}]]", '"sha256": "[[{hex64}]]",', "checksum = '[[{hex64}]]'", "expected_hash = \"[[{hex64}]]\"", "digest: sha256:[[{hex64}]]", "sha256sums=('[[{hex64}]]')", "image: nginx@sha256:[[{hex64}]]", "integrity: sha256-[[{b32}]]"),
    "sha512_digest": ("[[{hex128}]]  {pkg}.tgz", 'sha512 = "[[{hex128}]]"', "sha512sums=(\"[[{hex128}]]\")", "SHA512 (x) = [[{hex128}]]", '"sha512": "[[{hex128}]]"', "--hash=sha512:[[{hex128}]]"),
    "uuid": ('id = "[[{uuid}]]"', "[[{uuid}]]", '"uuid": "[[{uuid}]]",', '[Guid("[[{UUID}]]")]', "<ProjectGuid>{[[{UUID}]]}</ProjectGuid>", "request-id: [[{uuid}]]", "UUID.fromString(\"[[{uuid}]]\")", "/users/[[{uuid}]]/edit", "session started ([[{uuid}]])", "guid: [[{uuid}]]", "TENANT_ID=[[{uuid}]]", "urn:uuid:[[{uuid}]]", "correlationId='[[{uuid}]]'", "resource \"[[{uuid}]]\" {"),
    "npm_lock": ('      "integrity": "sha512-[[{b64}]]",', '      "resolved": "https://registry.npmjs.org/{pkg}/-/{pkg}-{ver}.tgz",\n      "integrity": "sha1-[[{b20}]]"', '"integrity": "sha512-[[{b64}]]"', '    "node_modules/{pkg}": {\n      "version": "{ver}",\n      "integrity": "sha512-[[{b64}]]",\n      "dev": true\n    },'),
    "yarn_lock": ('{pkg}@^{ver}:\n  version "{ver}"\n  resolved "https://registry.yarnpkg.com/{pkg}/-/{pkg}-{ver}.tgz#[[{hex40}]]"', "  integrity sha512-[[{b64}]]", '"{pkg}@npm:^{ver}":\n  version: {ver}\n  resolution: "{pkg}@npm:{ver}"\n  checksum: [[{hex128}]]\n  languageName: node', "  checksum: 10c0/[[{hex128}]]", "  resolved \"https://codeload.github.com/{word}/{word}/tar.gz/[[{hex40}]]\""),
    "pnpm_lock": ("  /{pkg}@{ver}:\n    resolution: {integrity: sha512-[[{b64}]]}\n    engines: {node: '>=12'}", "    resolution: {integrity: sha512-[[{b64}]]}", "    resolution: {tarball: https://codeload.github.com/{word}/{word}/tar.gz/[[{hex40}]]}"),
    "poetry_lock": ('    {file = "{pkg}-{ver}-py3-none-any.whl", hash = "sha256:[[{hex64}]]"},', 'content-hash = "[[{hex64}]]"', '{pkg} = [\n    {file = "{pkg}-{ver}.tar.gz", hash = "sha256:[[{hex64}]]"},\n]', '                "sha256:[[{hex64}]]",', '    { url = "https://files.pythonhosted.org/packages/{pkg}-{ver}.whl", hash = "sha256:[[{hex64}]]", size = 1234 },'),
    "cargo_lock": ('[[package]]\nname = "{pkg}"\nversion = "{ver}"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\nchecksum = "[[{hex64}]]"', 'checksum = "[[{hex64}]]"', 'source = "git+https://github.com/{word}/{word}?branch=main#[[{hex40}]]"', '"checksum {pkg} {ver} (registry+https://github.com/rust-lang/crates.io-index)" = "[[{hex64}]]"'),
    "go_sum": ("github.com/{word}/{word} v{ver} h1:[[{b32}]]", "github.com/{word}/{word} v{ver}/go.mod h1:[[{b32}]]", "golang.org/x/crypto v0.0.0-20200622213623-[[{hex12}]]/go.mod h1:{b32}", "\tgithub.com/{word}/{word} v0.0.0-20190101010101-[[{hex12}]] // indirect"),
    "gemfile_lock": ("  {pkg} ({ver}) sha256=[[{hex64}]]", "  revision: [[{hex40}]]", "CHECKSUMS\n  rails ({ver}) sha256=[[{hex64}]]"),
    "composer_lock": ('            "reference": "[[{hex40}]]"', '    "content-hash": "[[{hex32}]]",', '                "url": "https://api.github.com/repos/{word}/{word}/zipball/[[{hex40}]]",', '                "shasum": "[[{hex40}]]"'),
    "other_locks": ('      sha256: "[[{hex64}]]"', '  "{pkg}": {:hex, :{pkg}, "{ver}", "[[{hex64}]]", [:mix], [], "hexpm", "{hex64}"},', "  {pkg}: [[{hex40}]]", '        "narHash": "sha256-[[{b32}]]",', '        "rev": "[[{hex40}]]",', '        "contentHash": "[[{b64}]]"', '        "revision" : "[[{hex40}]]",', "  hash:\n    md5: [[{hex32}]]\n    sha256: {hex64}", '            <sha256 value="[[{hex64}]]" origin="Generated by Gradle"/>', '    "jsr:@std/{word}@{ver}": { "integrity": "[[{hex64}]]" }', '  h1:[[{b32}]]', '    "zh:[[{hex64}]]",', "PODFILE CHECKSUM: [[{hex40}]]"),
    "base64_image": ('<img src="data:image/png;base64,iVBORw0KGgo[[{b400}]]">', "background: url(data:image/gif;base64,R0lGODlh[[{b400}]]) no-repeat;", '"image/png": "iVBORw0KGgo[[{b400}]]\\n",', "ICON = 'data:image/svg+xml;base64,PHN2Zy[[{b400}]]'", "logo = b'/9j/4AAQSkZJRg[[{b400}]]'"),
    "base64_font": ("src: url('data:font/woff2;base64,d09GMgAB[[{b400}]]') format('woff2');", "@font-face{font-family:x;src:url(data:application/font-woff;charset=utf-8;base64,d09GRgAB[[{b400}]])}", "url(data:application/x-font-ttf;base64,AAEAAAA[[{b400}]])"),
    "source_map": ("//# sourceMappingURL=data:application/json;base64,eyJ2ZXJzaW9uIjozLCJ[[{b400}]]", '{"version":3,"sources":["a.js"],"names":[],"mappings":"[[AAAA;AACA,SAASA,EAAE,CAACC,CAAC,EAAE;EACb,OAAOD,GAAG;AACd,IAAI,IAAI,SAAS,GAAG,KAAK]]"}', '"mappings":"[[;;;;;;AAEA,IAAAA,QAAA,GAAAC,sBAAA,CAAAC,OAAA;AAAqD,SAAAD]]",'),
    "bundle_name": ('<script src="/static/js/main.[[{hex8}]].chunk.js"></script>', "<link href=/css/app.[[{hex20}]].css rel=stylesheet>", '"app.js": "/assets/app-[[{hex32}]].js",', "__webpack_require__.e(12).then(()=>import('./[[{hex20}]].js'))", ".css-[[{hex8}]]{color:red}", "vendors~main.[[{hex20}]].js"),
    "test_vector": ("COUNT = 0\nKEY = [[{hex32}]]\nIV = {hex32}\nPLAINTEXT = {hex64}\nCIPHERTEXT = {hex64}", "Msg = [[{hex128}]]\nMD = {hex64}", "Len = 512\nMsg = {hex128}\nMD = [[{hex64}]]", 'input: "abc", expected: "[[{hex64}]]"', "# test vector: [[{hex64}]]", '{"tcId": 1, "comment": "", "msg": "[[{hex40}]]", "sig": "{hex128}", "result": "valid"}', "assert crc == 0x[[{hex8}]]", 'sha256("hello") -> [[{hex64}]]'),
    "placeholder_x": ("{name} = [[xxxxxxxxxxxxxxxx]]", '{name}: "[[XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX]]"', "{name}=[[****************]]", "'{name}': '[[................]]'", '{name} = "[[xxxx-xxxx-xxxx]]"', "{name}: [[--------]]", '{name} = "[[0000000000000000]]"', "{name}='[[aaaaaaaaaaaaaaaaaaaa]]'", 'token = "ghp_[[xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]]"', "xoxb-[[xxxxxxxxxxxx-xxxxxxxxxxxx]]", "sk-[[XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX]]", '{name} = "[[1111111111]]"'),
    "placeholder_brackets": ("{name} = [[<your-token>]]", '{name}: "[[<API_KEY>]]"', "{name}=[[<insert password here>]]", "Authorization: Bearer [[<access_token>]]", '{name} = "[[[YOUR KEY]]]"', "https://[[<user>:<password>]]@{host}/", "{name}: [[<REDACTED>]]", "--{name} [[<secret>]]", "{name}='[[{token}]]'", "//registry.npmjs.org/:_authToken=[[<TOKEN>]]"),
    "placeholder_variable": ("{name}=[[${DB_PASSWORD}]]", "{name}: [[$SECRET]]", '{name} = "[[{{ vault_password }}]]"', "{name}: [[${{ secrets.DEPLOY_TOKEN }}]]", "{name} = [[%(password)s]]", "{name}: '[[%env(API_KEY)%]]'", '{name} = "[[$(cat /run/secrets/db)]]"', "{name}=[[@password@]]", "postgres://[[$USER:$PASS]]@{host}/db", "mysql://[[%s:%s]]@{host}/db", "https://[[${user}:${token}]]@{host}/x.git", '{name}: "[[#{ENV_TOKEN}]]"', "{name} = `[[${apiKey}]]`", "{name}: [[{{password}}]]", "set {name}=[[%SECRET%]]", '{name} = "[[__API_KEY__]]"'),
    "placeholder_word": ('{name} = "[[changeme]]"', "{name}: [[change-me-please]]", "{name} = '[[your-api-key-here]]'", '{name}="[[YOUR_API_KEY]]"', "{name}: [[REPLACE_ME]]", '{name} = "[[insert-token-here]]"', "{name}='[[example]]'", '{name} = "[[dummy]]"', "{name}: [[placeholder]]", "{name} = '[[TODO]]'", '{name} = "[[not-a-real-secret]]"', "{name}: '[[fake-token-for-tests]]'", '{name} = "[[mysecretpassword]]"', "{name}=[[secret]]", "{name}: [[password]]", "{name} = '[[test]]'", '{name} = "[[dummy-key]]"', "{name} = '[[your_password]]'", '"{name}": "[[my-secret-token]]"', "{name}: [[redacted]]", '{name} = "[[enter your key]]"'),
    "placeholder_issuer": ("aws_access_key_id = [[AKIA" + "IOSFODNN7" + "EXAMPLE]]", "aws_secret_access_key = [[wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY]]", "https://hooks.slack.com/services/[[T00000000/B00000000/" + "XXXXXXXXXXXXXXXXXXXXXXXX]]", "AccountKey=[[<your-account-key>]]", "sk_test_[[...]]", "https://[[user:password]]@example.com/", "postgres://[[postgres:postgres]]@localhost:5432/db", "redis://[[:password]]@localhost:6379", "mongodb://[[username:password]]@host:27017", "export GITHUB_TOKEN=[[ghp_...]]", "AIza[[...]]"),
    "empty_value": ('{name} = [[""]]', "{name}: [[null]]", "{name} = [[None]]", "{name}=[[false]]", "{name}: [[~]]", "{name} = [[nil]];", "{name}: [[undefined]],", "{name} = [[true]]", "'{name}' => [[NULL]],", "{name} = [[0]]"),
    "code_environment": ('{name} = [[os.environ["DB_PASSWORD"]]]', "{name} = [[os.getenv('API_KEY')]]", "{name}: [[process.env.API_TOKEN]],", '{name} = [[System.getenv("SECRET_KEY")]];', "{name} = [[ENV['DATABASE_PASSWORD']]]", "{name} = [[ENV.fetch('SECRET_TOKEN')]]", "{name} = [[getenv('DB_PASS')]];", '{name} := [[os.Getenv("TOKEN")]]', "{name} = [[env::var(\"API_KEY\")]].unwrap();", "{name} = [[import.meta.env.VITE_API_KEY]]", "{name} = [[Environment.GetEnvironmentVariable(\"KEY\")]];", "'{name}' => [[env('DB_PASSWORD')]],", "{name} = [[config('services.stripe.secret')]];"),
    "code_expression": ("{name} = [[settings.SECRET_KEY]]", "{name} = [[getpass.getpass()]]", "self.{name} = [[password]]", "{name} = [[request.form['password']]]", "{name} = [[generate_token(32)]]", "{name}: [[config.auth.password]],", "{name} = [[user.password_hash]]", "{name} = [[data.aws_secretsmanager_secret_version.db.secret_string]]", "{name} = [[var.db_password]]", "{name}: [[!vault]] |", "if {name} == [[other_password]]:", "{name} = [[hashlib.sha256(key).hexdigest()]]", "{name} = [[props.getProperty(\"db.password\")]];", "{name} = [[await getSecretValue(name)]];", "{name} = [[crypto.randomBytes(32).toString('hex')]];", "{name}: [[self.token_provider.current()]]", "{name} = [[credentials.get(\"password\")]]", "const {name} = [[useSelector(selectToken)]];", "{name} = [[args.password or default]]", "{name} = [[bcrypt.hashpw(password, salt)]]", "{name} = [[$this->container->getParameter]]('secret');", "return {name} ? [[decryptValue(token)]] : ''"),
    "code_type": ("{name}: [[string]];", "{name}: [[Optional[str]]] = None", "private String [[passwordEncoder]];", "{name} [[VARCHAR(255)]] NOT NULL,", "{name}: [[SecretStr]]", "  {name} [[types.StringType]]", "def login(user, {name}: [[str]]):", "{name}?: [[string | undefined]]", "final {name} [[TextEditingController]]();", "let {name}: [[Vec<u8>]];", "{name} = [[models.CharField(max_length=128)]]", "{name} = [[serializers.CharField(write_only=True)]]", "{name} = Field([[description=\"password of the user\"]])", "optional string {name} = [[12]];"),
    "prose": ("Enter your password: [[at least eight characters]]", "The token is [[invalid or expired]]", "{name}: [[the password that protects the key]]", "# the secret key: [[used for signing cookies]]", "password = [[plain text password]] of the user", "usage: login [--password [[PASSWORD]]] [--token TOKEN]", "Password must [[contain uppercase letters]]", "throw new Error('password: [[cannot be blank]]')", "token: [[The authentication token returned by the server]]"),
    "translation": ('"auth.password": "[[Mot de passe]]",', 'msgid "Password"\nmsgstr "[[Passwort]]"', "password: [[Contraseña]]", '"passwordReset": "[[Restablecer contraseña]]",', 'password_confirmation: "[[Bestätigung des Passworts]]"', "'forgot_password' => '[[Forgot your password?]]',", '"token": "[[Jeton]]",', "login.password = [[Hasło]]", '"secret": "[[Geheimnis]]",', "<string name=\"password_hint\">[[Enter password]]</string>", '"api_key_label": "[[API-Schlüssel eingeben]]",'),
    "camel_case": ("class [[{camel}]] {", "import { [[{camel}]] } from './x';", "new [[{camel}Impl]]();", '"[[{camel}]]",', "@Bean public Object [[{camel}]]() {", "'[[{camel}{camel}]]'", '"/[[{camel}/{camel}]]",', "x.[[{camel}]](y)"),
    "identifier_of_secret": ("[[password_reset_token_generator]] = PasswordResetTokenGenerator()", "class [[ApiKeyAuthentication]](BaseAuthentication):", "def [[get_secret_value]](self):", "PASSWORD_FIELD = '[[user_password_field]]'", "token_url = '[[/oauth/token]]'", 'SECRET_NAME = "[[prod/db/credentials]]"', "secret_name: [[my-app-tls]]", "PASSWORD_HASHERS = ['[[django.contrib.auth.hashers.PBKDF2PasswordHasher]]']", "password_file: [[/run/secrets/db_password]]", "key_path = '[[~/.ssh/id_rsa]]'", "tokenEndpoint: '[[https://login.{host}/oauth2/token]]'", "keyName: [[x-api-key]]", "token_type = '[[Bearer]]'", "api_key_header = '[[X-API-Key]]'", "secretKeyRef:\n  name: {word}\n  key: [[db-password]]", "passwordInput = '[[#password-input]]'", "apiKeyEnv: [[OPENAI_API_KEY]]", "key = '[[primary_key_column]]'"),
    "example_email": ("Author: x <[[user@example.com]]>", "email = '[[john@example.org]]'", "[[someone@example.net]]", "contact: [[admin@localhost]]", "'[[a@b.c]]'", "[[foo@bar.test]]", "[[test@test.example]]", "[[me@domain.invalid]]", "mail to [[{word}@{word}.example]]", "[[your.name@example.com]]", "'[[user@host.local]]'"),
    "noreply_email": ("Signed-off-by: x <[[{int}+{word}@users.noreply.github.com]]>", "Co-authored-by: bot <[[noreply@github.com]]>", "From: [[no-reply@{host}]]", "DEFAULT_FROM_EMAIL = '[[noreply@{host}]]'", "[[{int}-{word}@users.noreply.gitlab.com]]", "<[[49699333+dependabot[bot]@users.noreply.github.com]]>", "[[donotreply@{host}]]"),
    "not_email": ("git clone [[git@github.com:{word}/{word}.git]]", "url = [[git@gitlab.com:{word}/{word}.git]]", "[[icon@2x.png]]", "background: url([[img/logo@3x.jpg]]);", "[[@pytest.mark.parametrize]](x)", "[[@app.route]]('/')", '"[[{pkg}@{ver}]]"', "import x from '[[@{word}/core@{ver}]]'", "npm:[[{word}@npm.{word}@{ver}]]", "[[root@server]]:~# ls", "ssh [[user@host]]", "std::[[operator@x.y]]", "[[@media.only]]", "uses: [[actions/setup-node@v4.0.1]]", "[[@{word}:matrix.{host}]]", "[[medium.com/@{word}.{word}]]", "ssh-keygen -C [[user@hostname]]", "x = [[a@b.T]]", "[[rsync@backup]]:/data", "<[[20{int}0101120000.{int}@{word}.local]]>"),
    "private_ipv4": ("HOST = '[[10.{octet}.{octet}.{octet}]]'", "bind [[127.0.0.1]]", "http://[[192.168.{octet}.{octet}]]:8080/", "server [[172.16.{octet}.{octet}]];", "[[169.254.169.254]]", "listen [[0.0.0.0]]:80", "netmask [[255.255.255.0]]", "[[224.0.0.1]]", "[[255.255.255.255]]", "allow [[100.64.{octet}.{octet}]];", "subnet [[10.0.0.0]]/8", "'[[127.0.0.{octet}]]'", "gateway = \"[[192.168.0.1]]\"", "[[239.255.{octet}.{octet}]]", "[[198.18.{octet}.{octet}]]"),
    "documentation_ipv4": ("ping [[192.0.2.{octet}]]", "host: [[198.51.100.{octet}]]", "'[[203.0.113.{octet}]]'", "http://[[192.0.2.{octet}]]/", "[[203.0.113.{octet}]] - - \"GET /\""),
    "reserved_ipv6": ("listen [[::1]]", "[[fe80::{hex7}]]", "addr = '[[2001:db8::{int}]]'", "http://[[[2001:db8::{int}]]]:8080/", "[[ff02::1]]", "[[fc00::{int}]]", "[[fd12:3456:789a::1]]", "[[::ffff:10.0.0.1]]", "[[2001:0db8:85a3:0000:0000:8a2e:0370:7334]]", "'[[::]]'"),
    "not_ipv6": ("[[12:34:56:78:9a:bc]]", "at [[10:20:30:40]]", "[[std::vec::Vec]]", "[[a::b::c]]", "[[de:ad:be:ef:00:01]]", "fingerprint [[aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99]]", "[[ab::cd::ef]]()", "dur [[01:02:03]]", "ratio [[16:9]]", "[[face::add]](x)", "[[1:2:3:4:5]]", "x[[[::2]]]"),
    "version_number": ("version = \"[[1.2.{int}.{octet}]]\"", '[assembly: AssemblyVersion("[[4.{octet}.{octet}.12]]")]', "User-Agent: Mozilla/5.0 Chrome/[[91.0.{int}.{octet}]] Safari/537.36", "{pkg}==[[2.31.0.{octet}]]", "{pkg}-[[1.{octet}.0.4]].jar", "Version [[10.0.19041.{octet}]]", "<version>[[3.1.4.{octet}]]</version>", "v[[8.12.1.{octet}]]", "release [[2.0.1.{octet}]] (stable)", "FileVersion: [[6.1.76.{octet}]]", "tag: [[7.17.9.1]]", "ffmpeg [[4.2.7.{octet}]]", 'TargetFrameworkVersion "[[5.3.1.{octet}]]"', "build [[11.2.{octet}.3]]", "upgrade to [[12.1.3.{octet}]]", "(>= [[1.18.4.{octet}]])"),
    "oid_or_section": ("oid = '[[1.3.6.1.{octet}.1.311]]'", "see section [[4.{octet}.2.1]]", "[[1.2.840.113549.1.1.{int}]]", "snmpget -v2c -c public host [[1.3.6.1.2.1.1.{octet}.0]]", "RFC 1234 §[[3.2.{octet}.1]]", "OBJECT IDENTIFIER ::= [[2.5.29.{octet}]]", "chapter [[1.2.3.4]] of the manual", "step [[2.1.{octet}.3]]", ".. [[5.1.{octet}.2]] Overview", "id-ce [[2.5.4.{octet}]]"),
    "public_key": ("ssh-rsa [[AAAAB3NzaC1yc2EAAAADAQABAAAB{b400}]] key", "ssh-ed25519 [[AAAAC3NzaC1lZDI1NTE5AAAA{b32}]] key", "github.com ssh-rsa [[AAAAB3NzaC1yc2EAAAADAQABAAAB{b400}]]", "-----BEGIN PUBLIC KEY-----\n[[{b48}]]\n{b48}\n-----END PUBLIC KEY-----", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n[[{b48}]]\n{b48}\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----", "public_key = \"[[{b32}]]\"", "verify_key: [[{hex64}]]", "PublicKey = [[{b32}]]"),
    "certificate": ("-----BEGIN CERTIFICATE-----\n[[MIID{b48}]]\n{b48}\n{b48}\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE REQUEST-----\n[[MIIC{b48}]]\n{b48}\n-----END CERTIFICATE REQUEST-----", "-----BEGIN X509 CRL-----\n[[MIIB{b48}]]\n-----END X509 CRL-----", "certificate-authority-data: [[LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t{b400}]]", "-----BEGIN DH PARAMETERS-----\n[[MIIB{b48}]]\n-----END DH PARAMETERS-----", "-----BEGIN PGP SIGNATURE-----\n\n[[{b48}]]\n{b48}\n-----END PGP SIGNATURE-----", "pin-sha256=\"[[{b32}]]\"", "<X509Certificate>[[MIID{b400}]]</X509Certificate>"),
    "sri": ('<script src="https://cdn.jsdelivr.net/npm/{pkg}@{ver}" integrity="sha384-[[{b48}]]" crossorigin="anonymous"></script>', "integrity='sha512-[[{b64}]]'", "Content-Security-Policy: script-src 'sha256-[[{b32}]]'", '<link rel="stylesheet" href="x.css" integrity="sha256-[[{b32}]]">'),
    "documentation_phone": ("Phone: [[+1 202-555-0147]]", "call [[(555) 555-0123]]", "tel: [[555-0199]]", "phone = '[[+44 7700 900123]]'", "phone: [[+1-800-555-0100]]", "'[[123-456-7890]]'", "fax: [[000-000-0000]]", "tel: [[+61 491 570 006]]", "phone: [[(999) 999-9999]]", "phone: [[+1 (212) 555-0142]]"),
    "not_phone": ("isbn [[978-3-16-148410-0]]", "on [[{date}]]", "[[2019-03-12 10:20:30]]", "pages [[1234-5678]]", "range [[100-200-3000]]", "size [[1920 1080 60]]", "[[0800 1600 2400]]", "part number [[415-220-{int}]]", "phone_format = '[[###-###-####]]'", "x = [[1234567890]]", "timestamp [[1618033988]]", "id: [[4155552671]]", "RFC [[2822 2821 5322]]", "rev [[20190312.1045]]", "[[+1 -1 +2 -2]]", "port [[8080-8090]]"),
    "not_national_id": ("ssn = '[[123-45-6789]]'", "[[000-12-3456]]", "part [[123-45-{int}]]", "case no. [[987-65-4321]]", "ssn: '[[XXX-XX-XXXX]]'", "SSN_PATTERN = r'[[\\d{3}-\\d{2}-\\d{4}]]'", "ssn: [[999-99-9999]]", "aadhaar: [[xxxx xxxx xxxx]]", "cpf: '[[000.000.000-00]]'", "version [[110-22-3344]]a"),
    "copyright_name": ("Copyright (c) 2014 [[{person}]]", "# Copyright 2019 [[{person}]]. All rights reserved.", "(C) 2008-2011 [[{person}]]", "Copyright © 2021, [[{person}]]", " * Copyright (C) 1999 by [[{person}]]", "// SPDX-FileCopyrightText: 2020 [[{person}]]"),
    "not_name": ("Author: [[The Project Developers]]", "@author [[Apache Software Foundation]]", "author = '[[OpenSSL Team]]'", "__author__ = '[[various]]'", "@author [[unknown]]", "author: [[string]];", "author = [[models.ForeignKey(User)]]", "@author [[see AUTHORS file]]", "Author: [[Google LLC]]", "author: [[req.body.author]]"),
    "service_id": ("instance: i-[[0{hex8}{hex8}]]", "vpc-[[0{hex8}{hex8}]]", "https://www.youtube.com/watch?v=[[{a11}]]", "https://docs.google.com/document/d/1[[{a62_33}{a11}]]/edit", "arn:aws:iam::[[123456789012]]:role/deploy", "pod/{word}-[[{hex8}9-x7k2p]]", "container [[{hex64}]]", "UA-[[{int}567-1]]", "G-[[ABC{int}XYZ]]", "client_id = \"[[{uuid}]]\"", "figshare.com/ndownloader/files/[[{int}{int}]]", "doi:10.1000/[[{a62_20}]]", "objectId: ObjectId(\"[[{hex20}abcd]]\")", "https://gist.github.com/{word}/[[{hex32}]]", "trace_id=[[{hex32}]]", "layer [[{hex12}]]: Pull complete", "zoneId: '[[{hex32}]]'", "buildId: [[{hex40}]]", "etag: W/\"[[{hex20}]]\""),
    "url_without_secret": ("http://[[{host}:8080]]/path", "https://{host}/[[@{word}/{word}]]", "https://[[{host}/a:b@c]]/d", "ftp://[[anonymous]]@{host}/pub", "ssh://[[git@{host}]]:22/x.git", "https://[[user@{host}]]/x", "redis://[[localhost:6379]]/0", "postgres://[[localhost/test]]", "https://{host}?[[next=/a&token_type=x]]", "https://{host}/oauth?[[client_id=web&response_type=token]]", "mongodb://[[mongo1:27017,mongo2:27017]]/x", "svn+ssh://[[{host}/repo]]", "https://[[fonts.googleapis.com/css?family=Open+Sans:400,700]]"),
    "regular_expression": ("re.compile(r'[[password=([^&]+)]]')", "/[[token=[A-Za-z0-9_-]{20,}]]/", "pattern: '[[^[A-Za-z0-9+/]{40}={0,2}$]]'", 'API_KEY_RE = "[[sk-[a-zA-Z0-9]{48}]]"', "secret_pattern = r'[[(?i)secret[_-]?key]]'", "grep -E '[[AKIA[0-9A-Z]{16}]]'", "email_re = '[[[^@]+@[^@]+\\.[^@]+]]'", "password: [[/^(?=.*[a-z])(?=.*\\d).{8,}$/]],"),
    "alphabet": ("ALPHABET = '[[ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/]]'", 'chars = "[[0123456789abcdefghijklmnopqrstuvwxyz]]"', "BASE58 = '[[123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz]]'", 'hexdigits = "[[0123456789abcdefABCDEF]]"', "const keys = '[[qwertyuiopasdfghjklzxcvbnm]]';", "crockford = '[[0123456789ABCDEFGHJKMNPQRSTVWXYZ]]'", "_keyStr: \"[[ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=]]\",", "'[[abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_]]'"),
    "number_table": ("static const uint32_t t[] = { [[0x{hex8}, 0x{hex8}, 0x{hex8}, 0x{hex8}]] };", "    [[0x{hex8}, 0x{hex8}, 0x{hex8}]],", "serialVersionUID = [[-62{int}{int}{int}{int}]]L;", "x = [[0x{hex12}{hex8}]]n;", "[[3.14159265358979323846264338327950288419716939937510]]", "seed = [[{int}{int}{int}]]", "[[0.{int}{int}{int}{int}, 0.{int}{int}{int}{int}]]", "p = [[0xffffffffffffffffffffffffffffffffffffffffffffffffffffffff00000001]]", "n = [[{int}{int}{int}{int}{int}{int}{int}{int}]]"),
    "test_card": ("card = '[[4242424242424242]]'", "number: '[[4111 1111 1111 1111]]',", "[[5555555555554444]]", '"cardNumber": "[[4012888888881881]]"', "amex [[378282246310005]]", "[[6011111111111117]]", "card_number: [[5105105105105100]]", "[[3530111333300000]]", "fill_in 'Card', with: '[[4000000000000002]]'", "cc = \"[[0000 0000 0000 0000]]\"", "[[30569309025904]]", "visa [[4000056655665556]]"),
    "path_or_file": ("/usr/lib/x86_64-linux-gnu/[[lib{word}{word}.so.1.2.3]]", "import '[[../../components/{camel}/{camel}.module]]'", "org/apache/commons/[[{camel}/{camel}Test]].java", "C:\\Program Files\\[[{camel}\\{camel}]]", "'[[node_modules/@babel/plugin-transform-{word}/lib/index]]'", "key: '[[assets/images/{camel}.png]]'", "secret: [[/etc/ssl/private/server.key]]", "token: [[./path/to/token-file.txt]]"),
    "cookie_or_header_name": ("res.clearCookie('[[session_id]]')", "Cookie: [[theme=dark; lang=en]]", "Set-Cookie: [[foo=bar; Path=/]]", "Authorization: [[Bearer token]]", "headers['Authorization'] = '[[Basic ]]' + encoded", "WWW-Authenticate: [[Basic realm=\"Restricted Area\"]]", "Authorization: Bearer [[$TOKEN]]", "'X-CSRF-Token': [[getCookie('csrftoken')]],", "SESSION_COOKIE_NAME = '[[sessionid]]'"),
    "settings": ("PASSWORD_MIN_LENGTH = [[12]]", "token_expiry: [[3600]]", "ACCESS_TOKEN_LIFETIME = [[timedelta(minutes=5)]]", "password_policy: [[strong]]", "max_tokens: [[4096]]", "pad_token = '[[<pad>]]'", "eos_token: \"[[</s>]]\"", "tokenizer: [[bert-base-uncased]]", "token_type_ids = [[encoded['token_type_ids']]]", "secret_rotation = [[30d]]", "key_size = [[2048]]", "keyAlgorithm: [[RSA-SHA256]]", "use_auth_token=[[True]]", "token = [[tokens[i]]]", "key = '[[ArrowLeft]]'", "password.placeholder=[[Password]]", "keyboard: [[Ctrl+Shift+P]]", "num_key_value_heads: [[32]]"),
    "natural_words": ("password = \"[[correct horse]]\"", "key: '[[fontFamily]]'", "secret: [[annotation]]", "api_key: [[required]]", "token = '[[identifier]]'", "PRIVATE_KEY_HEADER = '[[private]]'", "key = \"[[background-color]]\"", "pass: [[second]]", "'token': '[[whitespace]]',", "private: [[true]]", "passed = [[assertions]]"),
}  # fmt: skip


def _marked(template: str, d: Draw, class_: str) -> str:
    """Fill a template and mark what stands between the outermost [[ and ]]."""
    text = template
    start = text.index("[[") if not text.startswith("[[package]]") else text.index("[[", 11)
    end = text.rindex("]]")
    while text[end : end + 3] == "]]]":  # a bracket that belongs to the value stands before the mark
        end += 1
    before, value, after = text[:start], text[start + 2 : end], text[end + 2 :]
    return _fill(before, d) + mark("negative", class_, _fill(value, d)) + _fill(after, d)


# ------------------------------------------------------------------------------------ classes made by functions


def _minified(d: Draw) -> str:
    """A bundle: one long line of code in which every name is short."""
    out = []
    for _ in range(d.between(60, 200)):
        a, b, c = (d.pick(LOWER) for _ in range(3))
        out.append(
            d.pick(
                [
                    f"function {a}({b},{c}){{return {b}[{c}]||({b}[{c}]={{}})}}",
                    f"{a}.exports={b}({d.below(9999)});",
                    f'{a}.{_camel(d, 2, 3)}="{_camel(d, 1, 2)}";',
                    f'!function({a}){{var {b}={{}};{a}.p=""}}({c});',
                    f"{a}=0x{d.hex(4)}^{b}>>>{d.below(31)},",
                    f'{a}("{d.hex(4)}").token={b};',
                    f"{a}.password={b}.value,",
                    f'case"{d.word()}":return{a}.key={c};',
                ]
            )
        )
    return mark("negative", "minified_bundle", "".join(out))


def _luhn_number(d: Draw) -> str:
    """Numbers of everyday use that happen to pass Luhn: times in milliseconds, orders, long ids."""
    form = d.below(5)
    if form == 0:
        body = "16" + d.text(DIGITS, 10)
    elif form == 1:
        body = "20" + f"{d.between(10, 26)}{d.between(1, 12):02d}{d.between(1, 28):02d}" + d.text(DIGITS, 7)
    else:
        body = d.pick("1789") + d.text(DIGITS, d.pick([13, 14, 17, 18]))
    number = mark("negative", "luhn_number", body + luhn(body))
    return d.pick(
        [
            f"timestamp: {number}",
            f'"created": {number},',
            f"order {number} shipped",
            f"id={number}",
            f"https://{d.host()}/item/{number}",
            f"x = {number}",
            f"{number}L",
            f"0.{number}",
            f'"id_str": "{number}",',
            f"job-{number}",
        ]
    )


def _data_blob(d: Draw) -> str:
    """Binary data as text: wrapped base64 of archives and models, pickles, compiled tables."""
    head = d.pick(["H4sIAAAAAAAA", "UEsDBBQAAAAI", "gASV", "eJzt", "AGFzbQEAAAAB", "JVBERi0xLjQK"])
    lines = [d.text(BASE64, 76) for _ in range(d.between(5, 20))]
    return "data = '''\n" + mark("negative", "data_blob", head + "\n".join(lines)) + "\n'''"


def _random_id(d: Draw) -> str:
    """Names of generated things: ULIDs, base36 and nano ids, hashed class names."""
    value = mark(
        "negative",
        "random_id",
        d.pick(
            [
                lambda: "01" + d.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24),
                lambda: d.url64(21),
                lambda: d.text(BASE36, 10),
                lambda: d.hex(24),
                lambda: "c" + d.text(BASE36, 24),
                lambda: d.a62(8),
            ]
        )(),
    )
    return d.pick(
        [
            f'"id": "{value}",',
            f"id = '{value}'",
            f'"_id": "{value}"',
            f"/items/{value}",
            f'data-reactid="{value}"',
            f'class="css-{value}"',
            f"node_id: {value}",
            f'"cell_type": "code", "id": "{value}"',
            f"ref={value}",
            f"msg {value} delivered",
        ]
    )


def _biology(d: Draw) -> str:
    """Sequences and coordinates: long runs of letters or digits in data files."""
    value = d.pick(
        [
            lambda: d.text("ACGT", 40, 80),
            lambda: d.text("ACDEFGHIKLMNPQRSTVWY", 40, 80),
            lambda: (
                "M" + "".join(f"{d.below(99)}.{d.below(99)} {d.below(99)}.{d.below(99)}L" for _ in range(12))
            ),
            lambda: ",".join(f"{d.below(999)}" for _ in range(30)),
            lambda: " ".join(d.hex(2) for _ in range(24)),
        ]
    )()
    return d.pick(
        [
            f'"{mark("negative", "sequence_data", value)}"',
            f">seq1\n{mark('negative', 'sequence_data', value)}",
            f'd="{mark("negative", "sequence_data", value)}"',
        ]
    )


def _escaped(d: Draw) -> str:
    """Text in other coatings: percent-encoding, \\x and \\u escapes, entities."""
    value = d.pick(
        [
            lambda: quote(f"{d.word()} & {d.word()} / {d.word()}=?{d.word()}", safe=""),
            lambda: "".join(f"\\x{d.hex(2)}" for _ in range(16)),
            lambda: "".join(f"\\u{d.hex(4)}" for _ in range(10)),
            lambda: "".join(f"&#{d.between(100, 999)};" for _ in range(8)),
            lambda: base64.b64encode(f"{d.word()} {d.word()} {d.word()}".encode()).decode(),
        ]
    )()
    return f's = "{mark("negative", "escaped_text", value)}"'


def _go_module(d: Draw) -> str:
    """Names of hosts, hashes of mirrors: lists of digests as a table."""
    return "\n".join(
        f"{mark('negative', 'digest_list', d.hex(d.pick([32, 40, 64])))}  {d.word()}/{d.word()}.{d.pick(['py', 'js', 'gz'])}"
        for _ in range(1)
    )


MADE: dict[str, Callable[[Draw], str]] = {
    "minified_bundle": _minified,
    "luhn_number": _luhn_number,
    "data_blob": _data_blob,
    "random_id": _random_id,
    "sequence_data": _biology,
    "escaped_text": _escaped,
    "digest_list": _go_module,
}


def _whole_file(class_: str, d: Draw) -> tuple[str, str] | None:
    """A lock file of its own around several entries, for the classes that live in such files."""
    names = {
        "npm_lock": "package-lock.json",
        "yarn_lock": "yarn.lock",
        "pnpm_lock": "pnpm-lock.yaml",
        "poetry_lock": "poetry.lock",
        "cargo_lock": "Cargo.lock",
        "go_sum": "go.sum",
        "gemfile_lock": "Gemfile.lock",
        "composer_lock": "composer.lock",
        "minified_bundle": "bundle.min.js",
        "certificate": "ca.pem",
        "test_vector": "vectors.rsp",
    }
    if class_ not in names:
        return None
    head = {
        "npm_lock": '{\n  "name": "x",\n  "lockfileVersion": 3,\n',
        "yarn_lock": "# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n",
        "pnpm_lock": "lockfileVersion: '6.0'\n\npackages:\n\n",
        "cargo_lock": "# This file is automatically @generated by Cargo.\nversion = 3\n\n",
        "composer_lock": '{\n    "_readme": ["This file locks the dependencies"],\n',
        "gemfile_lock": "GEM\n  remote: https://rubygems.org/\n  specs:\n",
    }.get(class_, "")
    return names[class_], head


def classes() -> list[str]:
    """Name the classes."""
    return sorted([*LINES, *MADE])


def negative(class_: str, d: Draw) -> str:
    """Make one marked text of a class."""
    return MADE[class_](d) if class_ in MADE else _marked(d.pick(LINES[class_]), d, class_)


def snippets(seed: int = SEED, each: int = EACH) -> list[tuple[str, Snippet]]:
    """Make `each` texts of every class; with a file name where they make a file of their own, five in each."""
    out: list[tuple[str, Snippet]] = []
    for class_ in classes():
        d = Draw("negatives", seed, class_)
        texts = [negative(class_, d) for _ in range(each)]
        file = _whole_file(class_, d)
        for i in range(0, each, 5):
            if file and i % 10 == 0:
                out.append((file[0], Snippet(file[1] + "\n".join(texts[i : i + 5]) + "\n", "hard negative")))
            else:
                out += [
                    ("", Snippet(text, "hard negative", ("lines", "lines", "comment", "long")))
                    for text in texts[i : i + 5]
                ]
    return out


def negatives(folder: Path | None = None, seed: int = SEED, each: int = EACH) -> list[Document]:
    """Place them like secrets_planted.planted: into files below `folder`, or as files of their own."""
    draw = Draw("placing negatives", seed)
    stock = hosts(folder or Path(sysconfig.get_path("purelib")), 1000)
    if not stock:
        raise ValueError("no text files to plant in")
    out: list[Document] = []
    waiting: list[Snippet] = []
    for i, (name, snippet) in enumerate(draw.shuffled(snippets(seed, each))):
        if name:
            out.append(as_file(f"{i:05d}/{name}", snippet))
        else:
            waiting.append(snippet)
    while waiting:
        name, body = stock[len(out) % len(stock)]
        out.append(place(draw, name, body, waiting[:4]))
        waiting = waiting[4:]
    return out


def snippets_digest(seed: int = SEED, each: int = EACH) -> str:
    """Digest of the snippets as files: what the freeze holds on every machine."""
    return digest(as_file(name, snippet) for name, snippet in snippets(seed, each))


def main() -> None:
    """Say what the set holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--each", type=int, default=EACH)
    parser.add_argument("--folder", type=Path)
    parser.add_argument(
        "--digest", action="store_true", help="of the snippets alone, the same on every machine"
    )
    args = parser.parse_args()
    if args.digest:
        print(snippets_digest(args.seed, args.each))
        return
    documents = negatives(args.folder, args.seed, args.each)
    print(
        json.dumps(
            {
                "documents": len(documents),
                "megabytes": round(sum(len(d.body) for d in documents) / 1e6, 2),
                "classes": len(classes()),
                "labels": sum(len(d.labels) for d in documents),
            }
        )
    )


if __name__ == "__main__":
    main()
