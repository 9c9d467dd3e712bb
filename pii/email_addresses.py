"""E-mail addresses: the grammar of RFC 5321 and 5322 as far as addresses are written in source text, less what is nobody's.

Not personal, and left: reserved names (RFC 2606, 6761) and stand-ins of documentation, accounts of services (`git`,
`noreply`, RFC 2142's mailboxes for operations), the login in front of a host (`ssh jdoe@host`, `scheme://jdoe@host`,
`jdoe@host:/path`), what a program fills in (`%s@`, `$user@`, `{{user}}@`).
"""

from __future__ import annotations

import re
import unicodedata

from pii.boundaries import line_before
from pii.top_level import COUNTRIES, INTERNATIONAL, USUAL, WORDS

Span = tuple[int, int]

# RFC 5321 4.5.3.1: 64 octets in front of the @, 255 behind it; RFC 1035: 63 per label.
_LOCAL_MAX, _DOMAIN_MAX = 64, 255
_LOCAL = re.compile(rb"(?:(?:[A-Za-z0-9._%+-]*\.)?(?<![A-Za-z0-9])[DdLlNnOo]')?[A-Za-z0-9._%+\x80-\xff-]+\Z")
_QUOTED = re.compile(rb"(?<![A-Za-z0-9_])\"[A-Za-z0-9 ._%+-]{1,62}\"\Z")
_LABEL = re.compile(rb"[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,61}[A-Za-z0-9\x80-\xff])?\Z")
_DOMAIN = re.compile(rb"[A-Za-z0-9.\x80-\xff-]*")
_PUNCTUATION = b"._%+-"

# RFC 2606 and RFC 6761 reserve these; the second line is used inside networks only (RFC 6762 G, ICANN for `internal`).
_RESERVED = frozenset(
    b"""
    example test invalid localhost
    local internal lan home corp intranet private localdomain
    """.split()
)
# Names that documentation uses all the same, and the hosts of code forges that hide addresses.
_STAND_IN = frozenset(
    b"""
    example.com example.net example.org example.edu domain.com domain.tld domain.org domain.net yourdomain.com
    mydomain.com somedomain.com your-domain.com my-domain.com otherdomain.com foo.com foo.org foo.net bar.com bar.org
    bar.net foobar.com baz.com qux.com company.com yourcompany.com mycompany.com somecompany.com acme.com email.com
    test.com test.org test.net testing.com mail.com site.com website.com mysite.com yoursite.com host.com server.com
    somewhere.com somehost.com myhost.com hostname.com b.com b.c.com
    users.noreply.github.com noreply.github.com users.noreply.gitlab.com noreply.gitlab.com noreply.codeberg.org
    """.split()
)
# Accounts of services, not of people: RFC 2142 sections 4 and 5, and what programs write from.
_ROLE = frozenset(
    b"""
    git hg svn cvs bzr root noreply no-reply no_reply donotreply do-not-reply nobody localhost
    abuse noc security postmaster hostmaster webmaster usenet news www uucp ftp daemon mailer-daemon
    """.split()
)
_ROLE_BEGINS = (b"noreply", b"no-reply", b"no.reply", b"no_reply", b"donotreply", b"do-not-reply", b"git+")

# Percent-encoded bytes that no local part holds: all but `+`, `-`, `.` and `_`.
_DELIMITER = re.compile(rb"%(?!2[BbDdEe]|5[Ff])[0-9A-Fa-f]{2}")
_FORMAT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SHELL = re.compile(rb"\b(?:ssh|scp|sftp|rsync|mosh|sshfs|ssh-copy-id|autossh|rlogin)\b[^\n@]{0,60}\Z")
_REMOTE_PATH = re.compile(rb":(?:[/~]|\./|\$|[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-])")
_RETINA = re.compile(rb"[0-9](?:\.[0-9])?x\b")
_CODE = re.compile(rb"\(|\[[0-9a-z_\"':-]")

# What may stand around an address under a top-level domain that is a word too.
_OPENS = re.compile(rb"(?:\A|[\s\"'`<>(\[:,;=|])\Z")
_CLOSES = re.compile(rb"[\s\"'`<>)\],;|]|\\[nrt]|[.!?](?:\s|\Z)|\Z")


def email_span(body: bytes, start: int, end: int) -> Span | None:
    """The address around a match that begins one byte in front of the @."""
    return _address(body, start + 1, start + 2)


def email_encoded_span(body: bytes, start: int, end: int) -> Span | None:
    r"""The same where the @ is written as a character reference or an escape: `&#64;`, `%40`, `\u0040`, `\x40`."""
    sign = _ENCODED_AT.match(body, start + 1)
    return None if sign is None else _address(body, sign.start(), sign.end())


_ENCODED_AT = re.compile(rb"&#0{0,3}64;|&#[xX]0{0,2}40;|&commat;|%40|\\u0{0,2}0040|\\u\{40\}|\\x40")
_SPELLED = re.compile(
    rb"([A-Za-z0-9][A-Za-z0-9._+-]{0,63})"
    rb"(?:[ \t]*[\[({<][ \t]*(?i:at|@)[ \t]*[\])}>][ \t]*|[ \t]+(?:at|AT)[ \t]+|_AT_)"
    rb"([A-Za-z0-9-]{1,63}(?:"
    rb"(?:[ \t]*[\[({<][ \t]*(?i:dot|\.)[ \t]*[\])}>][ \t]*|[ \t]+(?:dot|DOT)[ \t]+|_DOT_|\.)"
    rb"[A-Za-z0-9-]{1,63}){1,4})"
)
_DOT = re.compile(rb"[ \t]*[\[({<][ \t]*(?:dot|\.)[ \t]*[\])}>][ \t]*|[ \t]+dot[ \t]+|_dot_", re.IGNORECASE)
_BARE_AT = re.compile(rb"[ \t]+at[ \t]+")


def email_spelled_span(body: bytes, start: int, end: int) -> Span | None:
    """An address written out: `name [at] domain [dot] org`, `name at domain dot org`, `name AT domain.org`.

    A bare `at` needs a spelled dot as well, and an upper-case one a local part that is no capitalised word: else it is
    a sentence.
    """
    found = _SPELLED.match(body, start, end)
    if found is None:
        return None
    local, rest = found[1], found[2]
    dotted = _DOT.search(rest) is not None
    between = body[found.end(1) : found.start(2)]
    if _BARE_AT.fullmatch(between) and not dotted:
        return None
    if between.strip() == b"AT" and not dotted and (local.isupper() or local.istitle()):
        return None
    written = local + b"@" + _DOT.sub(b".", rest)
    span = _address(written, len(local), len(local) + 1)
    if span is None or span[0] != 0:
        return None
    # A tail that is no domain ("... dot org. The") is given up by dropping labels: count them from the front.
    labels = written[len(local) + 1 : span[1]].count(b".") + 1
    parts = [m.end() for m in re.finditer(rb"[A-Za-z0-9-]+", _blanked(rest))]
    return start, found.start(2) + parts[labels - 1]


def _blanked(rest: bytes) -> bytes:
    """`rest` with every spelled dot replaced by as many spaces."""
    return _DOT.sub(lambda m: b" " * len(m.group()), rest)


def _address(body: bytes, at: int, behind: int) -> Span | None:
    """The address whose sign is `body[at:behind]`, if it is one and may be somebody's."""
    found = _DOMAIN.match(body, behind, behind + _DOMAIN_MAX + 1)
    name = _domain(found.group() if found else b"")
    if name is None:
        return None
    end = behind + len(name)
    lower = name.lower()
    labels = lower.split(b".")
    if labels[-1] in _RESERVED or _stands_in(labels):
        return None
    begin = _local_begin(body, at)
    if begin is None:
        return None
    local = body[begin:at].strip(b'"').lower()
    if local in _ROLE or local.startswith(_ROLE_BEGINS):
        return None
    if len(local) == 1 and len(lower) <= 4:
        return None  # two letters and a country: compressed data
    if _RETINA.match(lower) or _is_version(labels) or _CODE.match(body, end):
        return None
    if labels[-1] in WORDS and not (
        _OPENS.search(body[max(0, begin - 1) : begin]) and _CLOSES.match(body, end)
    ):
        return None
    if _is_login(body, begin, end):
        return None
    return begin, end


def _local_begin(body: bytes, at: int) -> int | None:
    """Where the local part in front of `at` begins; None if there is none, or a program fills it in."""
    window = body[max(0, at - _LOCAL_MAX - 2) : at]
    found = _LOCAL.search(window)
    if found is None:
        quoted = _QUOTED.search(window)
        return None if quoted is None else at - len(quoted.group())
    begin = at - len(found.group())
    if at - begin > _LOCAL_MAX:
        return None
    if begin and body[begin - 1 : begin] == b"\\":
        begin += _escaped(body, begin)
    begin = _script_begin(body, begin, at)
    for escape in _DELIMITER.finditer(body, begin, at):
        begin = escape.end()  # `%3Cann@host%3E`
    while begin < at and body[begin] in _PUNCTUATION:
        begin += 1
        if body[begin - 1 : begin] == b"%":
            return None  # `%s@host`
    local = body[begin:at]
    if not local or b".." in local or local.endswith(b".") or _FORMAT.search(local):
        return None
    if body[begin - 1 : begin] in (b"$", b"@") and begin:
        return None  # a variable; a handle of the Fediverse
    return begin


def _escaped(body: bytes, begin: int) -> int:
    r"""Bytes at `begin` that belong to an escape whose backslash is in front: `\n`, `\x3c`, `\u003c`."""
    if body[begin : begin + 1] == b"x":
        return 3
    if body[begin : begin + 1] == b"u":
        return 5
    return 1 if body[begin : begin + 1] in (b"n", b"r", b"t", b"b", b"f", b"v", b"0") else 0


def _script_begin(body: bytes, begin: int, at: int) -> int:
    """`begin`, moved behind punctuation beyond ASCII and behind East Asian text that runs into a Latin address."""
    local = body[begin:at]
    if local.isascii():
        return begin
    text = local.decode("utf-8", "replace")
    cut = 0
    for i, c in enumerate(text):
        if c > "\x7f" and unicodedata.category(c)[0] not in "LMN":
            cut = i + 1
        elif i and c.isascii() and c.isalnum() and text[i - 1] >= "\u2e80":
            cut = i
    return at - len(text[cut:].encode("utf-8")) if "\ufffd" not in text else at


def _domain(run: bytes) -> bytes | None:
    """The longest beginning of `run` that is a domain name under a delegated top-level domain."""
    labels = run.split(b".")
    while len(labels) > 1:
        last = _label_end(labels[-1], labels[:-1])
        if last is not None:
            labels[-1] = last
            break
        labels.pop()  # "a@b.com.The next sentence" ends with the domain
    if len(labels) < 2 or not all(_LABEL.match(label) for label in labels):
        return None
    if not all(_is_word(label) for label in labels):
        return None
    return b".".join(labels)


def _label_end(label: bytes, before: list[bytes]) -> bytes | None:
    """`label`, or its Latin beginning where text of another script follows, if it is a top-level domain."""
    label = label.rstrip(b"-")
    lower = label.lower()
    if not label.isascii():
        if lower in INTERNATIONAL:
            return label
        ascii_part = re.match(rb"[A-Za-z]+", label)
        if ascii_part is None or not before[-1].isascii():
            return None
        label, lower = ascii_part.group(), ascii_part.group().lower()
    known = (
        lower in COUNTRIES or lower in USUAL or lower in WORDS or lower in _RESERVED or lower in INTERNATIONAL
    )
    return label if known else None


def _is_word(label: bytes) -> bool:
    """Whether a label holds letters, digits and marks only."""
    if label.isascii():
        return True
    try:
        text = label.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c == "-" or unicodedata.category(c)[0] in "LMN" for c in text)


def _stands_in(labels: list[bytes]) -> bool:
    return any(b".".join(labels[i:]) in _STAND_IN for i in range(len(labels) - 1)) or b"example" in labels


def _is_version(labels: list[bytes]) -> bool:
    """`pkg@1.0.dev`: numbers only, but not a name like 163.com."""
    rest = labels[:-1]
    return all(label.isdigit() for label in rest) and not (len(rest) == 1 and 3 <= len(rest[0]) <= 6)


def _is_login(body: bytes, begin: int, end: int) -> bool:
    """A user at a host: in the authority of a URL, in front of a remote path, or as the argument of a shell."""
    if _REMOTE_PATH.match(body, end):
        return True
    before = line_before(body, begin, 120)
    scheme = before.rfind(b"://")
    if scheme >= 0 and before[max(0, scheme - 6) : scheme] != b"mailto":
        between = before[scheme + 3 :]
        if not re.search(rb"[\s'\"<>/?#,;]", between):
            return True
    return _SHELL.search(before) is not None
