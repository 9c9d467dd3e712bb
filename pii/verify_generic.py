r"""Verifiers of values that only their surroundings make secrets: in URLs, behind secret-like names.

The expressions of `generic.yaml` find a name, an operator and the first byte of a value; here the value is read to its
end (at most `VALUE_MAX` bytes), the whole name is looked at, and what is no secret is refused (`pii.negatives`).
Quoted: the value ends at the quote that it began with, escaped (`\"`) where that one was.  Unquoted: at white space or
punctuation, and what follows must not make it an expression.
"""

from __future__ import annotations

import re

from pii.boundaries import closes_here, line_before
from pii.negatives import (
    entropy,
    is_attribute,
    is_data,
    is_expression,
    is_location,
    is_phrase,
    is_placeholder,
    is_random,
    is_stock_password,
    is_template,
    is_test_vector,
    is_uuid,
    is_words,
)
from pii.secret_names import Name, name_before

Span = tuple[int, int]

#: Bytes of a value that is given to a name; longer ones are data.
VALUE_MAX = 256

# Shortest values: of a password, of a key (shorter ones cannot be told from codes).
_PASSWORD_MIN, _KEY_MIN = 5, 10
# Of a key in a URL or header: badges and cursors are shorter.
_NAMED_KEY_MIN = 16


def url_password(body: bytes, start: int, end: int) -> Span | None:
    """The password of `scheme://user:password@host`, unless it is a variable or a stock word."""
    value = body[start:end]
    if is_stock_password(value) or is_placeholder(value) or value[:1] in b"$%{[<*" or b"{" in value:
        return None
    return start, end


def random_value(body: bytes, start: int, end: int) -> Span | None:
    """A value of fixed length from a random source: it ends here, and is neither placeholder nor words."""
    value = body[start:end]
    if not closes_here(body, end) or is_placeholder(value) or is_words(value) or entropy(value) < 4.0:
        return None
    return start, end


def quoted_password(body: bytes, start: int, end: int) -> Span | None:
    """A quoted value given to a name for passwords: letters mixed with digits or signs, or random letters."""
    line = _line(body, start)
    found = None if _CITED.search(line) and not _DEFINED.search(line) else _quoted(body, start)
    if (
        found
        and _LISTED.search(line)
        and not (is_random(body[slice(*found)]) or _has_sign(body[slice(*found)]))
    ):
        return None
    return found and _password(body, *found, wordlike=False)


def quoted_word_password(body: bytes, start: int, end: int) -> Span | None:
    """The same for passwords that are words, as long as they are no stock words, labels or identifiers."""
    found = _quoted(body, start)
    return found and _password(body, *found, wordlike=True)


def quoted_key(body: bytes, start: int, end: int) -> Span | None:
    """A quoted, random-looking value given to a name for keys."""
    found = _quoted(body, start)
    return found and _key(body, *found)


def unquoted_password(body: bytes, start: int, end: int) -> Span | None:
    """An unquoted value given to a name for passwords in configuration, command lines or code."""
    found = _unquoted(body, start)
    if found is None:
        return None
    value = body[found[0] : found[1]]
    form = _form(body, *found)
    spaced = body[start - 1 : start].isspace() and not _OPERATOR.search(_line(body, start))
    if spaced and form != "option":
        return None  # words side by side
    if form == "code" and not (_has_sign(value) or is_random(value, -12.0)):
        return None
    if (
        form == "ini"
        and _VARIABLE.match(value)
        and not is_random(value)
        and _SCRIPT.fullmatch(_line(body, start))
    ):
        return None  # as a statement of a script reads
    if (
        form == "yaml"
        and not _mixed(value)
        and not is_random(value)
        and not _CONSTANT.search(_line(body, start))
    ):
        return None
    return _password(
        body, *found, wordlike=form != "code" and not spaced and not _PASS.search(_line(body, start))
    )


def unquoted_key(body: bytes, start: int, end: int) -> Span | None:
    """An unquoted, random-looking value given to a name for keys."""
    stop = _STOP.search(body, start, start + VALUE_MAX + 1)
    short = body[start : stop.start() if stop else start + VALUE_MAX]
    if len(short) < _KEY_MIN or not is_random(short):
        return None  # nearly all that the expression finds: words
    if _IN_URL.search(_line(body, start)):
        return None  # `query-parameter` knows better
    found = _unquoted(body, start)
    return found and _key(body, *found, bits=-12.0)


def element_password(body: bytes, start: int, end: int) -> Span | None:
    """The text of an XML element named for passwords."""
    found = _element(body, start)
    return found and _password(body, *found, wordlike=False, name=_element_name(body, start))


def element_key(body: bytes, start: int, end: int) -> Span | None:
    """The text of an XML element named for keys."""
    found = _element(body, start)
    return found and _key(body, *found, name=_element_name(body, start))


def named_password(body: bytes, start: int, end: int) -> Span | None:
    """A value where the syntax alone says that a password stands (`IDENTIFIED BY '...'`)."""
    found = (
        _quoted(body, start) if body[start - 1 : start] in _QUOTES else _unquoted(body, start, anywhere=True)
    )
    return found and _password(body, *found, wordlike=True, name=Name("password", False, False))


def named_key(body: bytes, start: int, end: int) -> Span | None:
    """A value where the syntax alone says that a key stands (a query parameter, a header)."""
    found = (
        _quoted(body, start) if body[start - 1 : start] in _QUOTES else _unquoted(body, start, anywhere=True)
    )
    return found and _key(body, *found, name=Name("key", False, False), least=_NAMED_KEY_MIN)


# A word and a quotation: no operator, and the name is no constant, field or option.
_CITED = re.compile(rb"(?i:pass[a-z]*|pwd)[ \t]+(?:[A-Za-z.\[\]]+[ \t]*)?[\"'\x60]\Z")
_DEFINED = re.compile(
    rb"^[ \t]*(?:#[ \t]*define|ENV|ARG|setx?)[ \t]|-[A-Za-z][\w-]*[ \t]+[\"'\x60]\Z|[A-Z]{2}_PASS[A-Z]*[ \t]"
)
# The next of several arguments: one more name, if it is not random.
_LISTED = re.compile(rb",[ \t]*[\"'\x60]\Z")
_QUOTES = (b'"', b"'", b"`")


def _quoted(body: bytes, start: int) -> Span | None:
    """The value that begins behind the quote at `start - 1`, to the next one like it in the same line."""
    quote = body[start - 1 : start]
    if quote == b";":  # &quot;
        quote = b"&quot;"
    elif body[start - 2 : start - 1] == b"\\":
        quote = b"\\" + quote
    at = start
    while True:
        at = body.find(quote, at, start + VALUE_MAX + len(quote))
        if at < 0:
            return None
        back = 0
        while len(quote) == 1 and body[at - 1 - back : at - back] == b"\\" and at - back > start:
            back += 1
        if back % 2 == 0:
            break
        at += 1
    value = body[start:at]
    if not value or any(c < 32 for c in value):
        return None
    return start, at


_STOP = re.compile(rb"[\s\"'\x60,;&()\[\]{}<>\\|]")
_BEHIND = re.compile(
    rb"[ \t]*(?:[#;,)\]}>\"'\x60&|\\<].*|//.*|--.*|[ \t]-{1,2}[A-Za-z].*|[ \t]\w[\w.-]*[=:].*)?\Z", re.DOTALL
)


def _unquoted(body: bytes, start: int, *, anywhere: bool = False) -> Span | None:
    """The value that begins at `start`, to white space or punctuation; None if what follows makes it code."""
    stop = _STOP.search(body, start, start + VALUE_MAX + 1)
    end = stop.start() if stop else len(body)
    if stop is None and len(body) > start + VALUE_MAX:
        return None
    form = _form(body, start, end)
    if form in ("env", "ini", "yaml"):  # the whole of the line, punctuation and all
        line_end = body.find(b"\n", start, start + VALUE_MAX + 1)
        line_end = len(body) if line_end < 0 and len(body) <= start + VALUE_MAX else line_end
        if line_end > end:
            rest = body[end:line_end].rstrip()
            if not re.search(rb"[\s()\[\]{}<>\"'\x60\\]", rest) and rest.rstrip(b",;"):
                end += len(rest)
    value = body[start:end].rstrip(b".,:;")
    end = start + len(value)
    if body[end : end + 1] in (b"(", b"[", b"{", b"<"):
        return None
    line_end = body.find(b"\n", end, end + 200)
    behind = body[end : line_end if line_end >= 0 else end + 200]
    if not anywhere and form not in ("option", "env") and not _BEHIND.match(behind):
        return None  # words follow: a sentence, an operation
    return (start, end) if value else None


_ENV = re.compile(
    rb"(?:^[ \t]*(?:- )?|^[ \t]*(?:export|set|setx|ENV|ARG|declare(?: -x)?|typeset(?: -x)?|environment=)[ \t]+|[\"'(\x60]|"
    rb"(?:^|[ \t\"'])(?:-e|-D|--env|--set|--build-arg)[ \t=]?)[\"']?[A-Za-z_][\w.-]*=\Z"
)
_YAML = re.compile(rb"[ \t]*(?:- )?[\"']?[A-Za-z_][\w. -]*[\"']?:[ \t]+\Z")
_INI = re.compile(rb"(?:[A-Za-z_][\w.-]*[ \t]*[=:]|[A-Z][A-Z0-9_]*[ \t]*[:?]=)[ \t]*\Z")
_OPTION = re.compile(
    rb"(?:^|[\s\"'\x60(\[])-{1,2}[A-Za-z][\w-]*[= ]\Z|^[ \t]*(?:ENV|set|setx|machine .*|login .*)[ \t].*\Z"
)
_OPERATOR = re.compile(rb"[=:>|][ \t]*\Z")
_IN_URL = re.compile(rb"://[^\s\"'<>]{0,120}[?&;][\w.-]{1,40}=\Z")
_SCRIPT = re.compile(rb"[a-z_][A-Za-z0-9_]*[ \t]+=[ \t]+")
_VARIABLE = re.compile(rb"[A-Za-z_][A-Za-z0-9_.]*\Z")
_PASS = re.compile(rb"(?i:pass)[ \t]*[=:][ \t]*\Z")
# `User=bob;Password=...;Database=x`
_SETTING = re.compile(rb";[A-Za-z][A-Za-z _]{1,30}=")
_SETTINGS = re.compile(rb"[A-Za-z]=[^;=]{1,64};[ ]?[A-Za-z][A-Za-z _]{1,30}=\Z")
_CONSTANT = re.compile(rb"[A-Z]{2,}_?[A-Z]*[\"']?[ \t]*[:=]")


def _line(body: bytes, start: int) -> bytes:
    return line_before(body, start, 160)


def _form(body: bytes, start: int, end: int) -> str:
    """What kind of line an unquoted value stands in: env, yaml, ini, option, or else code."""
    line = _line(body, start)
    if _ENV.search(line):
        return "env"
    if _OPTION.search(line):
        return "option"
    behind = body[end : end + 40].split(b"\n")[0].strip()
    clear = not behind or behind[:1] == b"#"
    if _SETTING.match(body[end : end + 40]) or _SETTINGS.search(line):
        return "option"
    if clear and _YAML.fullmatch(line):
        return "yaml"
    if clear and _INI.fullmatch(line):
        return "ini"
    return "code"


def _element_name(body: bytes, start: int) -> Name:
    """The name that an element has, in its tag or in the element before it (`<key>`)."""
    return name_before(body[max(0, start - 160) : start].replace(b"key>", b""))


def _element(body: bytes, start: int) -> Span | None:
    end = body.find(b"</", start, start + VALUE_MAX)
    value = body[start:end].rstrip() if end >= 0 else b""
    return (start, start + len(value)) if value and not re.search(rb"[<>\s]", value) else None


_LETTERS = re.compile(rb"[A-Za-z\x80-\xff]")
_DIGIT = re.compile(rb"[0-9]")
_SIGN = re.compile(rb"[^A-Za-z0-9_.:/ \x80-\xff-]")
_CRYPT = re.compile(
    rb"\$(?:1|2[abxy]?|5|6|y|argon2[a-z]{1,2}|pbkdf2|scrypt|apr1)\$|\{(?:SHA|SSHA|MD5|CRYPT|PBKDF2)|pbkdf2[_:]|sha(?:1|256|512)[$:]|bcrypt[$:]|crypt:"
)


def _has_sign(value: bytes) -> bool:
    return bool(_SIGN.search(value))


def _mixed(value: bytes) -> bool:
    """Letters, and digits or signs that identifiers do not have."""
    return bool(_LETTERS.search(value)) and bool(_DIGIT.search(value) or _SIGN.search(value))


def _harmless(body: bytes, start: int, end: int, value: bytes) -> str | None:
    """The name of what makes a value neither a password nor a key, whatever it is given to; None for nothing."""
    if is_template(value):
        return "template"
    if is_placeholder(value):
        return "placeholder"
    if is_stock_password(value):
        return "stock-password"
    if is_uuid(value):
        return "uuid"
    if _is_format(value):
        return "format"
    if _CRYPT.match(value):
        return "digest"  # of a password
    if is_test_vector(body, start, end):
        return "test-vector"
    if is_attribute(value):
        return "code"
    if _CLASS_PATH.match(value) and is_words(value.replace(b"\\", b"/")):
        return "code"
    if not is_random(value):
        if is_location(value):
            return "location"
        if is_expression(value):
            return "code"
    return None


_CLASS_PATH = re.compile(rb"\w+(?:\\{1,2}\w+)+\Z")


def assignment_explanation(body: bytes, start: int, end: int, name: Name) -> str | None:
    """The name of what explains a quoted value that is given to a secret-like name; None for nothing.

    For a finding of detect-secrets' keyword plugin: what our rules would refuse at `high`, with the reason.
    """
    value = body[start:end]
    if why := _harmless(body, start, end, value):
        return why
    if is_phrase(value):
        return "phrase"
    if name.public:
        return "public-value"
    if name.digest:
        return "digest"
    if is_random(value):
        return None
    if name.about or _TITLE.match(value) or (name.kind != "password" and _WORD.match(value)):
        return "words"
    if _CAMEL.match(value) or (is_words(value) and (name.kind != "password" or _is_identifier(value))):
        return "words"
    return None


_CAMEL = re.compile(rb"[a-z]+(?:[A-Z][a-z]+)+\Z")
# A word as labels write it; a word in any letters.
_TITLE = re.compile(rb"[A-Z][a-z\x80-\xff]+\Z|[A-Za-z]*[\x80-\xff][A-Za-z\x80-\xff]*\Z")
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+\Z")


def _is_identifier(value: bytes) -> bool:
    """Whether a value is several words as names join them; people end passwords, not names, with digits."""
    return bool(_IDENTIFIER.match(value)) and not _ends_with_digits(value)


def _ends_with_digits(value: bytes) -> bool:
    return bool(_DIGIT.match(value.rstrip(b".!?*#$@")[-1:]))


_IDENTIFIER = re.compile(rb"[A-Za-z_][A-Za-z0-9]*(?:[._:/\\-][A-Za-z0-9._:/\\-]*|[a-z][A-Z].*)\Z")
# Dates, versions, encodings, calls, sums of indices.
_FORMAT = re.compile(
    rb"(?:[YMDHhmsdy/:. -]{6,}|[a-z]{1,8}(?:,[a-z]{1,8})*->[a-z]{0,8}|\[?[A-Za-z_][\w.]{2,}\([\w'\", .]*\)\]?)\Z|"
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}|[v^~]?[0-9]+\.[0-9]+\.[0-9]+|(?i:utf-?(?:8|16|32)|latin-?1|iso-?8859)|"
    rb".*(?:0-9a-f|0-9A-F|0-9a-z|0-9A-Z|a-zA-Z|A-Za-z|a-z0-9|A-Z0-9)"
)
#: What regular expressions are made of; random printable characters seldom hold two.
_REGEX = re.compile(rb"\\[dwsDWSb]|\[\^?[a-zA-Z0-9]-[a-zA-Z0-9]|\(\?[:=!<P]|\.[*+]|\)[+*?]|\][+*{]|\A\^|\$\Z")


def _is_format(value: bytes) -> bool:
    return bool(_FORMAT.match(value)) or len(_REGEX.findall(value)) >= max(2, len(value) // 12)


def _password(body: bytes, start: int, end: int, *, wordlike: bool, name: Name | None = None) -> Span | None:
    value, name = body[start:end], name or name_before(_line(body, start))
    if len(value) < _PASSWORD_MIN or name.kind != "password" or name.digest:
        return None
    if _harmless(body, start, end, value):
        return None
    if name.about and not (_mixed(value) and is_random(value)):
        return None
    if b" " in value and (is_phrase(value) or not _mixed(value)):
        return None
    if is_words(value) and not _ends_with_digits(value) and (not wordlike or _is_identifier(value)):
        return None
    if not is_random(value) and (
        _TITLE.match(value) or not (_mixed(value) or (wordlike and not _is_identifier(value)))
    ):
        return None
    return start, end


_PLAIN = re.compile(rb"[A-Za-z0-9+/=_.~:-]+\Z")
_NO_LETTERS = re.compile(rb"[^A-Za-z0-9]+")


def _key(
    body: bytes, start: int, end: int, *, bits: float = -6.0, name: Name | None = None, least: int = _KEY_MIN
) -> Span | None:
    value = body[start:end]
    if len(value) < least or b" " in value or not value.isascii() or not _LETTERS.search(value):
        return None
    if not _DIGIT.search(value):
        bits = -16.0
    if not is_random(value, bits):
        return None
    name = name or name_before(_line(body, start))
    if not name.kind or name.digest or (name.about and not is_random(value, -16.0)):
        return None
    # Signs are rare in names, so that a list or a call has a low score too: letters and digits must look random alone.
    if not _PLAIN.match(value) and (len(value) < 20 or not is_random(_NO_LETTERS.sub(b"", value), bits)):
        return None
    if _harmless(body, start, end, value) or is_words(value) or is_data(value, line_before(body, start, 80)):
        return None
    return start, end
