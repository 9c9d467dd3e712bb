"""Passwords of connection strings: what is written out is found, what stands for a password is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pii.matcher import matcher_for
from pii.rules import rule_table
from pii.rules.examples import expand
from pii.verify_connections import connection_password, random_password

RULES = {r.id: r for r in rule_table()}
#: rule: a text with `%s` where the password goes
FORMS = {
    "database-url": 'x = "postgresql://app:%s@db.internal:5432/x"\n',
    "jdbc-password": '"jdbc:mysql://h:3306/d?user=app&password=%s&useSSL=false"',
    "jdbc-oracle-password": '"jdbc:oracle:thin:app/%s@//h:1521/s"',
    "ado-net-password": '"Server=h;Database=d;User Id=app;Password=%s;"',
    "libpq-password": '"host=h user=app password=%s dbname=d"',
    "database-password-variable": "export PGPASSWORD=%s\n",
    "database-image-password": "      MYSQL_ROOT_PASSWORD: %s\n",
    "sql-identified-by": "CREATE USER a IDENTIFIED BY '%s';",
    "sql-with-password": "ALTER ROLE app WITH PASSWORD '%s';",
    "database-client-password": "mysql -h h -u root -p%s db\n",
    "go-mysql-dsn": '"app:%s@tcp(h:3306)/d"',
    "redis-requirepass": "requirepass %s\n",
    "kafka-jaas-password": 'PlainLoginModule required username="a" password="%s";',
    "snowflake-password": "SNOWFLAKE_PASSWORD=%s\n",
}
STANDS_FOR_ONE = [
    "password",
    "Passw0rd!",
    "myPassword",
    "my-secret-pw",
    "your_strong_password",
    "dbpass123",
    "changeme",
    "secret",
    "postgres",
    "${DB_PASSWORD}",
    "$DB_PASSWORD",
    "%DB_PASSWORD%",
    "{password}",
    "{{ db.password }}",
    "%s",
    "%(password)s",
    "<password>",
    "[YOUR-PASSWORD]",
    "**********",
    "xxxxxxxxxxxx",
    "...",
    "$(cat /run/secrets/db)",
    "#{ENV['PW']}",
    "s3cr3t",
]


def found(rule, text):
    body = text.encode()
    return [body[s:e].decode() for s, e, *_ in matcher_for((RULES[rule],)).findings(body)]


@pytest.mark.parametrize("rule", FORMS)
def test_a_password_that_is_written_out_is_found(rule):
    for number in range(10):
        for template in ("{base62:12}", "k{base62:20}", "q9!{base62:9}", "{hex:32}"):
            value = expand(template, f"{rule}{number}")[0].decode()
            assert found(rule, FORMS[rule] % value) == [value]


@pytest.mark.parametrize("rule", FORMS)
def test_what_stands_for_a_password_is_not(rule):
    for number, text in enumerate(STANDS_FOR_ONE):
        assert found(rule, FORMS[rule].replace("%s", text)) == [], f"stand-in {number}"


@pytest.mark.parametrize("text", ["settings.DB_PASSWORD", "db_password", "getPassword()", "config.get('pw')"])
def test_names_of_the_program_are_no_random_passwords(text):
    body = text.encode()
    assert random_password(body, 0, len(body)) is None


@given(st.binary(max_size=200))
def test_a_random_password_is_a_connection_password(value):
    if random_password(value, 0, len(value)) is not None:
        assert connection_password(value, 0, len(value)) == (0, len(value))
    assert len(value) <= 128 or connection_password(value, 0, len(value)) is None


@pytest.mark.parametrize(
    "text",
    [
        "connect(host=host, user=user, password=password)",
        "def f(self, host, user=None, password=None):",
        'conn = f"host={host} user={user} password={password}"',
        "Login failed: user=%s password=%s",
        "mysql -u root -p < dump.sql",
        "docker exec -i db mysql -uroot -p$MYSQL_ROOT_PASSWORD",
        "redis-cli -h localhost -p 6379 -n 1",
        "# requirepass foobared",
        "if requirepass is not None:",
        "scheme://host:8080/path@version",
        "npm run build:prod@tcp",
    ],
    ids=range(11),
)
def test_code_without_passwords(text):
    for rule in FORMS:
        assert found(rule, text) == []
