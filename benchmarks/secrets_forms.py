"""How secrets stand in files: assignments of many languages, headers, URLs, configuration files.

Part of what is frozen by digest. Sources: the languages' references; RFC 3986 and RFC 7617 (user info, Basic),
PostgreSQL's manual (.pgpass, connection strings), GNU inetutils (.netrc), npm's, Docker's, Kubernetes' and
Terraform's manuals, RFC 6265 (cookies). Imports nothing of `pii`.
"""

# ruff: noqa: E501 (tables of forms: one kind a line)

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

from secrets_blocks import pem_lines
from secrets_draw import BASE36, BASE62, DIGITS, LOWER, UPPER, Draw, Snippet, mark
from secrets_tokens import TOKENS, Token, jwt

# {s} snake_case, {S} UPPER_CASE, {c} camelCase, {C} PascalCase, {k} kebab-case, {d} dotted; {v} the value.
QUOTED = {
    "python": ['{S} = "{v}"', "{s} = '{v}'", '{s}: str = "{v}"', 'client = Client({s}="{v}", timeout=30)', 'os.environ["{S}"] = "{v}"', 'config["{s}"] = "{v}"', 'parser.add_argument("--{k}", default="{v}")', "self.{s} = '{v}'", 'settings = dict({s}="{v}", debug=True)', 'data = {"{s}": "{v}", "debug": False}', 'os.environ.get("{S}", "{v}")', 'os.getenv("{S}") or "{v}"', "{S} = r'{v}'", '{S} = """{v}"""'],
    "javascript": ['const {c} = "{v}";', "let {c} = '{v}'", "const {c} = `{v}`;", "  {c}: '{v}',", 'process.env.{S} = "{v}";', 'export const {S}: string = "{v}";', "module.exports.{c} = '{v}';", 'const {c} = process.env.{S} || "{v}";', "headers: { '{k}': '{v}' },", 'this.{c}="{v}",this.x=1;'],
    "java": ['private static final String {S} = "{v}";', 'String {c} = "{v}";', 'properties.setProperty("{d}", "{v}");', 'builder.{c}("{v}").build();', 'map.put("{c}", "{v}");'],
    "kotlin": ['val {c} = "{v}"', 'buildConfigField("String", "{S}", "\\"{v}\\"")'],
    "go": ['{c} := "{v}"', 'const {C} = "{v}"', 'os.Setenv("{S}", "{v}")', '\t{C}: "{v}",', "var {c} string = `{v}`"],
    "rust": ['let {s} = "{v}";', 'const {S}: &str = "{v}";', '{s}: "{v}".to_string(),'],
    "c": ['#define {S} "{v}"', 'static const char *{s} = "{v}";', 'const char {s}[] = "{v}";', 'std::string {c}("{v}");'],
    "csharp": ['public const string {C} = "{v}";', 'var {c} = "{v}";', 'string {c} = @"{v}";', 'Environment.SetEnvironmentVariable("{S}", "{v}");'],
    "php": ["${s} = '{v}';", "define('{S}', '{v}');", "    '{s}' => '{v}',", 'putenv("{S}={v}");'],
    "ruby": ["{s} = '{v}'", "{s}: '{v}',", ":{s} => '{v}',", "ENV['{S}'] = '{v}'", "{S} = '{v}'.freeze", "config.{s} = '{v}'"],
    "other": ["my ${s} = '{v}';", 'let {c} = "{v}"', 'NSString *{c} = @"{v}";', '{s} <- "{v}"', 'local {s} = "{v}"', "final {c} = '{v}';", 'config :app, {s}: "{v}"', '(def {k} "{v}")', '${C} = "{v}"', '$env:{S} = "{v}"', 'Dim {c} As String = "{v}"', "SET {s} = '{v}';"],
    "shell": ['{S}="{v}"', "{S}='{v}'", 'export {S}="{v}"', "./run --{k}='{v}' --verbose"],
    "yaml": ['{s}: "{v}"', "  {c}: '{v}'", '- name: {S}\n  value: "{v}"'],
    "json": ['"{c}": "{v}",', '{"{s}":"{v}"}', '    "{k}" : "{v}"', r'"{\"{s}\": \"{v}\"}"'],
    "toml": ['{s} = "{v}"', "{k} = '{v}'"],
    "terraform": ['  {s} = "{v}"', 'variable "{s}" {\n  default = "{v}"\n}'],
}  # fmt: skip
PLAIN = {
    "shell": ["export {S}={v}", "{S}={v}", "./run --{k}={v} --verbose", "./run --{k} {v}", "set {S}={v}"],
    "docker": ["ENV {S}={v}", "ENV {S} {v}", "ARG {S}={v}", "docker run -e {S}={v} image"],
    "yaml": ["{s}: {v}", "  {k}: {v}", "- name: {S}\n  value: {v}"],
    "ini": ["{s}={v}", "{s} = {v}", "[main]\n{k} = {v}"],
    "properties": ["{d}={v}", "{d}: {v}", "spring.{d} = {v}"],
    "xml": ["<{c}>{v}</{c}>", '<entry key="{d}">{v}</entry>', '<property name="{d}" value="{v}"/>', '<string name="{s}">{v}</string>', '<add key="{C}" value="{v}" />', "<key>{C}</key>\n<string>{v}</string>"],
    "makefile": ["{S} := {v}"],
    "text": ["{s}: {v}", "`{S}={v}`", "| {s} | {v} |", "old {s} = {v} (rotate)"],
    "html": ['<input type="hidden" name="{s}" value="{v}">', '<meta name="{k}" content="{v}">'],
}  # fmt: skip
ALONE = {
    "header": ["Authorization: Bearer {v}", 'curl -H "Authorization: token {v}" https://{h}/v1/user', "headers = {'Authorization': 'Bearer {v}'}"],
    "code": ['print("{v}")', 'login("{v}", True)', '["{v}", "b"]', "'{v}',", "({v})", "x = f('{v}')"],
    "line": ["{v}", "{v}"],
    "text": ["using {v} for now", "<td>{v}</td>", "a,{v},b", "* {v}"],
    "url": ["https://{h}/v2/items?key={v}", "https://{h}/v2?x=1&token={v}&page=2", "git clone https://oauth2:{v}@{h}/group/app.git"],
}  # fmt: skip
_UNQUOTABLE = re.compile(r"[^A-Za-z0-9_.\-+/=~:$]")


def named(template: str, name: str, value: str) -> str:
    """Fill a template."""
    words = name.split()
    forms = {
        "s": "_".join(words), "S": "_".join(words).upper(), "k": "-".join(words), "d": ".".join(words),
        "c": words[0] + "".join(w.title() for w in words[1:]), "C": "".join(w.title() for w in words),
    }  # fmt: skip
    template = re.sub(r"\{([sSkdcC])\}", lambda m: forms[m[1]], template)
    return template.replace("{v}", value)


def assigned(draw: Draw, kind: str, type_: str, name: str, value: str, *, plain: bool) -> Snippet:
    """Assign a value in some language; `plain`: it may stand without quotes."""
    forms = QUOTED if not plain or draw.chance(0.6) else PLAIN
    language = draw.pick(sorted(forms))
    return Snippet(
        named(draw.pick(forms[language]), name, mark(kind, type_, value)), f"{language} assignment"
    )


def token(draw: Draw, which: Token) -> Snippet:
    """Put an issuer's token into code or text; without a name if its own form tells what it is."""
    value = which.make(draw)
    plain = not _UNQUOTABLE.search(value)
    if which.alone and " " not in value and draw.chance(0.4):
        form = draw.pick(sorted(ALONE))
        if form == "url" and re.search("[+/=$:]", value):
            form = "header"
        return Snippet(
            draw.pick(ALONE[form])
            .replace("{h}", draw.host())
            .replace("{v}", mark(which.kind, which.type, value)),
            f"alone in {form}",
        )
    return assigned(
        draw, which.kind, which.type, draw.pick(which.names), value, plain=plain and "$" not in value
    )


# ---------------------------------------------------------------------------------------------- passwords


def password(draw: Draw, special: str = "!@#%^*_-+=.?") -> str:
    """Make a password as people and generators make them: 8 to 32 characters; never a word of a dictionary alone."""
    form = draw.below(5)
    if form == 0:
        return draw.word(2, 3).title() + draw.digits(2, 4) + draw.pick(special)
    if form == 1:
        return draw.a62(10, 24) + draw.digits(1)
    if form == 2:
        return draw.text(BASE62 + special, 12, 32) + draw.digits(1) + draw.pick(LOWER) + draw.pick(UPPER)
    if form == 3:
        return (
            draw.word(2, 2).replace("a", "4").replace("e", "3").replace("o", "0")
            + draw.pick("_.-")
            + draw.word(2, 3)
            + draw.digits(2)
        )
    return "-".join(draw.word(2, 3) for _ in range(draw.between(3, 5))) + draw.digits(1)


PASSWORD_NAMES = ("password", "db password", "database password", "admin password", "mysql root password", "postgres password", "smtp password", "ftp password", "redis password", "passwd", "pwd", "user pass", "root password", "keystore password", "ldap bind password", "email host password", "wifi password", "sudo pass", "proxy password", "passphrase")  # fmt: skip
SECRET_NAMES = ("secret key", "api key", "api token", "access token", "auth token", "client secret", "app secret", "jwt secret", "session secret", "encryption key", "signing key", "private key", "secret", "token", "apikey", "consumer secret", "webhook secret", "hmac key", "master key", "credentials")  # fmt: skip


def assigned_password(draw: Draw) -> Snippet:
    """Assign a password."""
    value = password(draw)
    return assigned(
        draw,
        "password",
        "assigned_password",
        draw.pick(PASSWORD_NAMES),
        value,
        plain=not _UNQUOTABLE.search(value),
    )


def assigned_secret(draw: Draw) -> Snippet:
    """Assign a random key under a general name."""
    value = draw.pick(
        [draw.hex(32), draw.hex(64), draw.a62(20, 48), draw.b64(draw.pick([24, 32, 48])), draw.url64(32, 43)]
    )
    return assigned(draw, "key", "assigned_secret", draw.pick(SECRET_NAMES), value, plain=True)


def framework_key(draw: Draw) -> Snippet:
    """Keys that frameworks write into their settings."""
    special = "!@#%^&*(-_=+)"

    def key(value: str) -> str:
        return mark("key", "framework_key", value)

    text, context = draw.pick([
        (f"SECRET_KEY = 'django-insecure-{key(draw.text(LOWER + DIGITS + special, 50))}'", "django"),
        (f'SECRET_KEY = "{key(draw.text(LOWER + DIGITS + special, 50))}"', "django"),
        (f"app.secret_key = '{key(draw.hex(48))}'", "flask"),
        (f"  secret_key_base: {key(draw.hex(128))}", "rails"),
        (f"APP_KEY=base64:{key(draw.b64(32))}", "laravel"),
        (f"define('AUTH_KEY', '{key(draw.text(BASE62 + special + ' ;:,.', 64))}');", "wordpress"),
        (f"define( 'NONCE_SALT',       '{key(draw.text(BASE62 + special + ' ;:,.', 64))}' );", "wordpress"),
        (f"[Interface]\nPrivateKey = {key(draw.b64(32))}\nAddress = 10.0.0.2/24", "wireguard"),
        (f"PRIVATE_KEY=0x{key(draw.hex(64))}", "ethereum"),
        (f"Fernet(b'{key(base64.urlsafe_b64encode(draw.bytes(32)).decode())}')", "fernet"),
        (f"storePassword={mark('password', 'framework_key', password(draw, '!_-'))}", "gradle"),
    ])  # fmt: skip
    return Snippet(text, context, ("lines",) if "\n" in text else ("lines", "first", "last"))


def bare_entropy(draw: Draw) -> Snippet:
    """A random string in quotes that no word near it explains."""
    value = draw.pick([draw.b64(draw.pick([24, 30, 36, 48])), draw.hex(32, 64), draw.a62(32, 48)])
    return Snippet(
        draw.pick(['x = "{}"', "call('{}')", '  - "{}"', '["{}"]', 'const a = "{}";']).replace(
            "{}", mark("key", "bare_entropy", value)
        ),
        "no name",
    )


# ---------------------------------------------------------------------------------------------- URLs


def _user(draw: Draw) -> str:
    return draw.pick(["admin", "root", "app", "deploy", draw.word(), "svc-" + draw.word()])


def url_password(draw: Draw) -> Snippet:
    """A password in the user info of a URL, or in another form of a connection string; the label is the password."""
    raw = password(draw, "!*_-.")
    if draw.chance(0.2):
        raw += draw.pick("@#/:")
    secret = mark(
        "password",
        "connection_string" if (form := draw.below(14)) > 2 else "basic_auth_url",
        quote(raw, safe="!*_-."),
    )
    plain = mark("password", "connection_string", re.sub(r"[^A-Za-z0-9_.!*-]", "x", raw))
    user, host, base = _user(draw), draw.host(), draw.word()
    text = [
        f"https://{user}:{secret}@{host}/path/file.json",
        f"git clone https://{user}:{secret}@{host}/team/{base}.git",
        f"{draw.pick(['ftp', 'sftp', 'http', 'smtp', 'ldap', 'rtsp'])}://{user}:{secret}@{host}:{draw.between(21, 9000)}",
        f"{draw.pick(['postgres', 'postgresql', 'postgresql+psycopg2', 'mysql', 'mysql+pymysql', 'mariadb', 'cockroachdb'])}://{user}:{secret}@{host}:5432/{base}",
        f"{draw.pick(['mongodb', 'mongodb+srv'])}://{user}:{secret}@{host}/{base}?retryWrites=true",
        f"{draw.pick(['redis', 'rediss'])}://{draw.pick(['', 'default'])}:{secret}@{host}:6379/0",
        f"{draw.pick(['amqp', 'amqps', 'nats', 'clickhouse', 'mssql+pyodbc', 'couchbase'])}://{user}:{secret}@{host}/{base}",
        f"jdbc:sqlserver://{host}:1433;databaseName={base};user={user};password={plain};encrypt=true",
        f"jdbc:{draw.pick(['mysql', 'postgresql'])}://{host}/{base}?user={user}&password={plain}&ssl=true",
        f"jdbc:oracle:thin:{user}/{plain}@{host}:1521:{base}",
        f"Server={host};Database={base};{draw.pick(['User Id', 'Uid', 'UID'])}={user};{draw.pick(['Password', 'Pwd', 'PWD'])}={plain};",
        f"host={host} port=5432 dbname={base} user={user} password={plain} sslmode=require",
        f"mysql -h {host} -u {user} -p{plain} {base}",
        f"sshpass -p '{plain}' ssh {user}@{host}",
    ][form]
    wrap = (
        draw.pick(['url = "{}"', "{}", "DATABASE_URL={}", "  dsn: '{}'", "# {}", '"uri": "{}",'])
        if form < 12
        else "{}"
    )
    return Snippet(wrap.replace("{}", text), "URL" if form < 7 else "connection string")


def cloud_string(draw: Draw) -> Snippet:
    """Connection strings and signed URLs of clouds; webhooks; the label is the secret part."""
    host, word = draw.host(), draw.word()

    def key(type_: str, value: str) -> str:
        return mark("key", type_, value)

    text = draw.pick([
        lambda: f"DefaultEndpointsProtocol=https;AccountName={word};AccountKey={key('azure_connection_string', draw.b64(64))};EndpointSuffix=core.windows.net",
        lambda: f"AccountEndpoint=https://{word}.documents.azure.com:443/;AccountKey={key('azure_connection_string', draw.b64(64))};",
        lambda: f"Endpoint=sb://{word}.servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey={key('azure_connection_string', draw.b64(32))}",
        lambda: f"HostName={word}.azure-devices.net;DeviceId=dev1;SharedAccessKey={key('azure_connection_string', draw.b64(32))}",
        lambda: f"https://{word}.blob.core.windows.net/data?sv=2022-11-02&ss=b&srt=co&sp=rl&se=2030-01-01T00:00:00Z&spr=https&sig={key('azure_sas', quote(draw.b64(32), safe=''))}",
        lambda: f"https://{word}.azurewebsites.net/api/run?code={key('azure_function_key', draw.url64(54) + '==')}",
        lambda: f"{'https://hooks.slack'}.com/services/{key('slack_webhook', 'T' + draw.text(UPPER + DIGITS, 8, 10) + '/B' + draw.text(UPPER + DIGITS, 8, 10) + '/' + draw.a62(24))}",
        lambda: f"https://{draw.pick(['discord', 'discord', 'canary.discord'])}.com/api/webhooks/{draw.digits(18, 19)}/{key('discord_webhook', draw.url64(68))}",
        lambda: f"https://{word}.webhook.office.com/webhookb2/{key('teams_webhook', f'{draw.uuid()}@{draw.uuid()}/IncomingWebhook/{draw.hex(32)}/{draw.uuid()}')}",
        lambda: f"https://hooks.zapier.com/hooks/catch/{key('zapier_webhook', draw.digits(6, 8) + '/' + draw.text(BASE36, 7))}/",
        lambda: f"cloudinary://{draw.digits(15)}:{key('cloudinary_url', draw.url64(27))}@{word}",
        lambda: f"https://{key('sentry_dsn_secret', draw.hex(32) + ':' + draw.hex(32))}@sentry.{host}/{draw.digits(3)}",
    ])()  # fmt: skip
    wrap = draw.pick(
        [
            'url = "{}"',
            "{}",
            "CONNECTION_STRING={}",
            "  value: '{}'",
            "# {}",
            '"connectionString": "{}",',
            "curl -X POST {}",
        ]
    )
    return Snippet(wrap.replace("{}", text), "cloud string")


def cookie(draw: Draw) -> Snippet:
    """Session cookies and Authorization headers."""

    def key(value: str) -> str:
        return mark("key", "cookie", value)

    text = draw.pick([
        lambda: f"Cookie: sessionid={key(draw.text(BASE36, 32))}; theme=dark",
        lambda: f"Set-Cookie: PHPSESSID={key(draw.text(BASE36, 26))}; path=/; HttpOnly",
        lambda: f"Cookie: JSESSIONID={key(draw.hex(32).upper())}",
        lambda: f"Set-Cookie: connect.sid=s%3A{key(draw.url64(32) + '.' + quote(draw.b64(32), safe=''))}; Path=/",
        lambda: f"-b 'session={key(base64.urlsafe_b64encode(draw.bytes(24)).decode().rstrip('=') + '.' + draw.url64(6) + '.' + draw.url64(27))}'",
        lambda: f'"Cookie": "auth_token={key(draw.hex(40))}; lang=en",',
        lambda: f"Authorization: Basic {mark('password', 'basic_auth_header', base64.b64encode(f'{_user(draw)}:{password(draw)}'.encode()).decode())}",
        lambda: f"-H 'Authorization: Bearer {mark('key', 'bearer_header', draw.url64(32, 64))}'",
        lambda: f'req.setRequestHeader("Authorization", "Basic {mark("password", "basic_auth_header", base64.b64encode(f"{_user(draw)}:{password(draw)}".encode()).decode())}");',
        lambda: f"X-API-Key: {mark('key', 'api_key_header', draw.a62(32, 40))}",
        lambda: f"Authorization: Bearer {mark('key', 'jwt', jwt(draw))}",
    ])()  # fmt: skip
    return Snippet(text, "header")


# ---------------------------------------------------------------------------------------------- files


def config_file(draw: Draw) -> tuple[str, Snippet]:
    """A configuration file that holds a credential, and its name."""
    user, host, word = _user(draw), draw.host(), draw.word()
    plain = re.sub(r"[^A-Za-z0-9_.!*-]", "x", password(draw, "!*_-."))

    def secret(type_: str, value: str = plain) -> str:
        return mark("password", type_, value)

    def key(type_: str, value: str) -> str:
        return mark("key", type_, value)

    pem64 = base64.b64encode("\n".join([*pem_lines(draw, "RSA PRIVATE KEY"), ""]).encode()).decode()
    hashed = draw.text(BASE62 + "./", 86)
    files = [
        (".netrc", "netrc", f"machine {host}\n  login {user}\n  password {secret('netrc')}\n"),
        ("_netrc", "netrc", f"machine {host} login {user} password {secret('netrc')}\n"),
        (".pgpass", "pgpass", f"# hostname:port:database:username:password\n{host}:5432:{word}:{user}:{secret('pgpass')}\n"),
        (".npmrc", "npmrc", f"registry=https://{host}/npm/\n//{host}/npm/:_authToken={key('npmrc', draw.pick([draw.uuid(), draw.a62(40)]))}\nalways-auth=true\n"),
        (".npmrc", "npmrc", f"//{host}/npm/:_password={secret('npmrc', base64.b64encode(plain.encode()).decode())}\n//{host}/npm/:username={user}\n"),
        (".npmrc", "npmrc", f"_auth={secret('npmrc', base64.b64encode(f'{user}:{plain}'.encode()).decode())}\n"),
        ("config.json", "docker auth", json.dumps({"auths": {host: {"auth": "@"}}}, indent=draw.pick([None, 2, 4])).replace("@", secret("docker_auth", base64.b64encode(f"{user}:{plain}".encode()).decode())) + "\n"),
        ("kubeconfig", "kubeconfig", f"apiVersion: v1\nkind: Config\nusers:\n- name: {user}\n  user:\n    client-key-data: {mark('private_key', 'kubeconfig_key_data', pem64)}\n"),
        ("kubeconfig", "kubeconfig", f"apiVersion: v1\nusers:\n- name: {user}\n  user:\n    token: {key('kubeconfig_token', draw.a62(32, 48))}\n"),
        ("kubeconfig", "kubeconfig", f"users:\n- name: {user}\n  user:\n    username: {user}\n    password: {secret('kubeconfig_password')}\n"),
        ("secret.yaml", "kubernetes secret", f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {word}\ntype: Opaque\ndata:\n  password: {secret('kubernetes_secret', base64.b64encode(plain.encode()).decode())}\n"),
        ("terraform.tfvars", "terraform", f'region      = "eu-west-1"\ndb_password = "{secret("terraform")}"\n'),
        ("main.tf", "terraform", f'resource "aws_db_instance" "{word}" {{\n  username = "{user}"\n  password = "{secret("terraform")}"\n}}\n'),
        ("terraform.tfstate", "terraform", f'{{"version": 4, "resources": [{{"instances": [{{"attributes": {{"username": "{user}", "password": "{secret("terraform")}"}}}}]}}]}}\n'),
        ("credentials", "aws credentials", f"[default]\naws_access_key_id = {key('aws_access_key_id', TOKENS[0].make(draw))}\naws_secret_access_key = {key('aws_secret_access_key', TOKENS[1].make(draw))}\n"),
        (".pypirc", "pypirc", f"[pypi]\nusername = {user}\npassword = {secret('pypirc')}\n"),
        (".git-credentials", "git credentials", f"https://{user}:{secret('git_credentials')}@{host}\n"),
        (".my.cnf", "my.cnf", f"[client]\nuser={user}\npassword={secret('my_cnf')}\nhost={host}\n"),
        ("settings.xml", "maven", f"<settings>\n  <servers>\n    <server>\n      <id>{word}</id>\n      <username>{user}</username>\n      <password>{secret('maven')}</password>\n    </server>\n  </servers>\n</settings>\n"),
        ("gradle.properties", "gradle", f"signing.keyId={draw.hex(8).upper()}\nsigning.password={secret('gradle')}\nossrhPassword={secret('gradle', plain + '9')}\n"),
        ("shadow", "shadow", f"{user}:$6${draw.a62(8)}${mark('password', 'password_hash', hashed)}:19000:0:99999:7:::\n"),
        (".htpasswd", "htpasswd", f"{user}:{mark('password', 'password_hash', '$apr1$' + draw.a62(8) + '$' + draw.text(BASE62 + './', 22))}\n"),
        (".htpasswd", "htpasswd", f"{user}:{mark('password', 'password_hash', '$2y$10$' + draw.text(BASE62 + './', 53))}\n"),
        ("wp-config.php", "wordpress", f"<?php\ndefine( 'DB_USER', '{user}' );\ndefine( 'DB_PASSWORD', '{secret('wordpress')}' );\n"),
        ("docker-compose.yml", "compose", f"services:\n  db:\n    image: postgres:15\n    environment:\n      - POSTGRES_USER={user}\n      - POSTGRES_PASSWORD={secret('compose')}\n"),
        ("appsettings.json", "appsettings", json.dumps({"ConnectionStrings": {"Default": f"Server={host};Database={word};User Id={user};Password=@;"}}, indent=2).replace("@", secret("appsettings")) + "\n"),
        ("application.properties", "spring", f"spring.datasource.username={user}\nspring.datasource.password={secret('spring')}\n"),
        ("config.yaml", "YAML nested", f"database:\n  primary:\n    user: {user}\n    password: {secret('yaml_nested')}\n"),
        ("NuGet.config", "nuget", f'<packageSourceCredentials>\n  <{word}>\n    <add key="Username" value="{user}" />\n    <add key="ClearTextPassword" value="{secret("nuget_config")}" />\n  </{word}>\n</packageSourceCredentials>\n'),
        ("wpa_supplicant.conf", "wifi", f'network={{\n    ssid="{word}"\n    psk="{secret("wifi")}"\n}}\n'),
    ]  # fmt: skip
    name, context, text = draw.pick(files)
    return name, Snippet(
        text.rstrip("\n") if draw.chance(0.3) else text, context, ("lines", "lines", "first", "last")
    )
