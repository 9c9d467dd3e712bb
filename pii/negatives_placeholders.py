"""Placeholders: values that stand for a secret instead of being one; and passwords that everybody knows.

A secret drawn at random may hold `0000`, `aaaa` or `test`; it is no placeholder for that.  So a test is either one that
a random value passes with a chance of less than one in a million (a dummy word of six letters), or it asks how much
of the value the dummy parts make up.
"""

from __future__ import annotations

import re

from pii.negatives_words import is_random

#: Bytes of a value that the tests read.
READ = 512

# Six letters and more: no random value holds one of these by chance.
_LONG_WORD = re.compile(
    rb"example|sample|placeholder|change[_-]?me|change[_-]?this|changeit|replace[_-]?(?:me|this|with)|redacted|foobar|"
    rb"deadbeef|your[_-]|insert[_-]|enter[_-]|todo[_-]|letmein|qwerty|hunter2|not[_-]?a[_-]?real|notreal|"
    rb"dummy[_-]?|censored|removed|masked|secret[_-]?here|key[_-]?here|token[_-]?here|password[_-]?here|goes[_-]here|"
    rb"lorem|ipsum|mysecret|my[_-]secret|mypassword|my[_-]password|mytoken|my[_-]token|my[_-]?api[_-]?key|"
    rb"loremipsum|test[_-]?(?:key|token|secret|password|pass)|fake[_-]?(?:key|token|secret|password)|"
    rb"undefined|cafebabe|abcdefgh|12345678|87654321",
    re.IGNORECASE,
)
_LONG_SHARE = 10  # a long word must make up a tenth of the value

# Shorter ones count by the share of the value that they make up, with runs of one character and with runs that count.
_SHORT_WORD = re.compile(
    rb"test|fake|mock|demo|dummy|null|none|todo|fixme|foo|bar|baz|qux|spam|eggs|password|passwd|passphrase|secret|token|key|pass|pwd|user|name|"
    rb"value|string|some|your|mine|my|the|api|auth|access|client|here|dev|local|default|invalid|bogus|blah|asdf|"
    rb"temp|tmp|beef|dead|cafe|babe|face|feed|"
    rb"x{3,}|\*{3,}|\.{3,}|_{3,}|-{3,}|#{3,}|\?{3,}|(.)\1{3,}",
    re.IGNORECASE | re.DOTALL,
)
_SEPARATORS = b"-_.:/+= "

# Such that random printable characters hardly ever have them.
_TEMPLATE = re.compile(
    rb"\$\{[A-Za-z_][\w.:?!+/ '\"()\[\]-]{2,128}\}|\{\{[^{}]{2,128}\}\}|#\{[A-Za-z_@][\w.:'\" ()\[\]-]{1,128}\}|"
    rb"\$\([A-Za-z][\w.:/$\" -]{2,128}\)|<%[=-]?[ \w].{1,128}%>|%\([A-Za-z_]\w{2,64}\)s|__[A-Z][A-Z0-9_]{2,64}__|"
    rb"\A<[^<>]*>\Z|\A\{\w*\}\Z|@[A-Z][A-Z0-9_]{3,64}@|%[A-Z][A-Z0-9_]{3,64}%|%env\([\w:]{1,64}\)%|\[\[[ \w].{1,128}\]\]",
    re.DOTALL,
)
_FIELD = re.compile(rb"\{([A-Za-z_][A-Za-z0-9_.\[\]()]{2,63})\}")
# Such that they do now and then: these count for values that are not random.
_TEMPLATE_WEAK = re.compile(
    rb"(?:\$\{|\{\{|#\{|\$\(|<%|\{%).*|[$%]\{?[A-Za-z_:][\w.:-]*\}?[^A-Za-z0-9]?|\[[A-Za-z _-]*\]|\{[A-Za-z0-9_.:!\[\]]*\}|"
    rb"%[sdrvqx]|.*%s|%[sd].*|[^{}]{0,32}\{[a-z0-9_]{0,32}\}[^{}]{0,32}",
    re.DOTALL,
)

# Passwords that documentation and test set-ups write, defaults of products, labels of input fields: they protect nothing.
_STOCK_PASSWORDS = frozenset(
    """
    pass passwd password pwd secret user username token pw foo bar baz test admin root guest postgres mysql mypass
    mypassword userpass passw0rd x-oauth-basic x-token-auth credentials key access_token api_key apikey changeme
    somepassword mysecretpassword hunter secretpassword userpassword dbpassword pass123 password123 hidden text string
    str bytes bool boolean number integer int object null none nil true false undefined required optional default
    password1 passphrase passcode private public unknown empty blank login master mongo mongodb redis rabbitmq elastic
    oracle sa toor tiger scott manager change_on_install
    vagrant docker alpine ubuntu debian pi raspberry qwerty qwerty123 letmein welcome welcome1 iloveyou
    monkey dragon 123 1234 12345 123456 1234567 12345678 123456789 1234567890 111111 000000 abc123 abcd1234 a1b2c3
    test123 test1234 testpass testpassword testing tester testuser admin123 admin1234 administrator root123 demo
    demopass example sample temp temppass dummy fake mock mockpassword fakepassword foobar foobarbaz bob alice
    passwort kennwort contrasena mot_de_passe motdepasse senha wachtwoord haslo hasło heslo lösenord salasana parola
    sifre şifre пароль 密码 密碼 パスワード 비밀번호 contraseña ***** ****** ******** secret123 s3cr3t secrets
    p@ssw0rd p@ssword p@ss pa$$word pa$$w0rd passwrd wrongpassword badpassword incorrect invalid wrong oldpassword
    newpassword plaintext base64 bearer basic digest md5 sha1 sha256 bcrypt scrypt argon2 pbkdf2 plain cleartext
    """.encode().split()
)


def is_template(value: bytes) -> bool:
    """Whether a value holds a variable of a template or a shell, or is one: `${VAR}`, `{{ x }}`, `%s`, `<token>`."""
    value = value[:READ]
    if _TEMPLATE.search(value) or any(not is_random(name, 0.0) for name in _FIELD.findall(value)):
        return True
    return bool(_TEMPLATE_WEAK.fullmatch(value)) and not is_random(value)


def is_placeholder(value: bytes) -> bool:
    """Whether `value` stands for a secret instead of being one: `xxxx`, `${VAR}`, `changeme`."""
    value = value[:READ]
    n = len(value)
    if n == 0 or len(set(value)) <= (3 if n >= 10 else 2) or is_template(value):
        return True
    covered = sum(len(w) for w in _LONG_WORD.findall(value))
    if covered and covered * _LONG_SHARE >= n:
        return True
    return 2 * _dummy(value) > n


def _dummy(value: bytes) -> int:
    """Bytes of a value (separators aside) that are dummy words, one character again and again, or counting."""
    marked = bytearray(len(value))
    for m in _SHORT_WORD.finditer(value):
        # Words shorter than four letters stand in too many random values to count alone.
        if m.end() - m.start() >= 4 or _alone(value, m.start(), m.end()):
            marked[m.start() : m.end()] = b"\1" * (m.end() - m.start())
    for start, end in _counting(value, 4):
        marked[start:end] = b"\1" * (end - start)
    total = sum(marked)
    if total:
        total += sum(value[i] in _SEPARATORS for i in range(len(value)) if not marked[i])
    return total


def _alone(value: bytes, start: int, end: int) -> bool:
    """Whether a part of a value stands between separators, capitals or borders."""
    before, after = value[start - 1 : start], value[end : end + 1]
    return not (before.isalnum() and value[start : start + 1].islower()) and not after.islower()


def _counting(value: bytes, least: int) -> list[tuple[int, int]]:
    """Runs of at least `least` bytes of which each is one more, or each one less, than the one before."""
    out: list[tuple[int, int]] = []
    begin, step = 0, 0
    for i in range(1, len(value) + 1):
        d = value[i] - value[i - 1] if i < len(value) else 0
        if d not in (1, -1) or (step and d != step):
            if i - begin >= least and step:
                out.append((begin, i))
            begin, step = (i - 1, d) if d in (1, -1) else (i, 0)
        else:
            step = d
    return out


def counts_up(value: bytes, run: int = 8) -> bool:
    """Whether `run` successive bytes each are one more than the last: an alphabet, a digit row."""
    length = 1
    for i in range(1, len(value)):
        length = length + 1 if value[i] == value[i - 1] + 1 else 1
        if length >= run:
            return True
    return False


def is_stock_password(value: bytes) -> bool:
    """Whether a password is one of those that documentation and test set-ups write: it protects nothing."""
    return value[:READ].lower().rstrip(b"!.:*") in _STOCK_PASSWORDS
