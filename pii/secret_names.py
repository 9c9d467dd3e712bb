"""Names that secrets are given: which word of a name says secret, and which says that the value is something else."""

from __future__ import annotations

import re
from typing import NamedTuple

SECRET_WORD = re.compile(
    rb"key|secret|token|passw|pwd|auth|credential|bearer|signature|private|api", re.IGNORECASE
)

_PASSWORD = (
    rb"(?i:pass(?:wo?r?d|phrase|code|wort|wd)s?|pwd|pswd|contrase\xc3\xb1a|contrasena|senha|motdepasse|mot_de_passe|kennwort|"
    rb"(?:db|user|smtp|mail|my|admin|root|ftp|sql|pg)pass(?![a-z]))|"
    # `pass` alone is a word of its own: no `compass`, no `passenger`
    rb"(?<![A-Za-z])[Pp]ass(?![a-z])|(?<=[a-z0-9])Pass(?![a-z])|(?<![A-Za-z])PASS(?![A-Z])"
)
# no `tokenizer`, `keyboard`, `author`
_KEY = (
    rb"(?i:secret|token(?!iz)|credentials?|bearer|authorization|salt|pepper)|"
    rb"[Aa]uth(?![a-z])|AUTH(?![A-Z])|(?<!mon)(?<!hoc)(?<!tur)(?<!whis)[Kk]ey(?![a-z])|KEY(?![A-Z])"
)
_WORD = re.compile(rb"(?P<password>" + _PASSWORD + rb")|(?P<key>" + _KEY + rb")")
_PART = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")

# What stands behind (or for a few: before) the secret word when the value is about the secret, not the secret.
_ABOUT = frozenset(
    b"""
    name names label labels field fields type types id ids url urls uri uris endpoint path paths file files filename
    dir directory folder ref reference hint title text message msg error errors warning placeholder regex pattern
    format length len size min max policy policies header headers param params parameter prefix suffix count ttl expiry
    expires expiration expired timeout lifetime age class classname selector column env var variable variables attr
    attribute property prop props version algorithm algo alg method mode kind role scope scopes status state strength
    help description desc icon link page view form input element button template example rules rule validator validation
    issuer audience provider manager mgr service handler factory builder parser reader writer store storage cache index
    position location source target usage options option config configuration settings setting arn bucket namespace
    mount volume required enabled disabled confirmation confirm reset change changed update updated forgot forgotten
    recovery strategy request response callback func function fn interface impl test spec table schema model map list
    encode decode replace split strip trim startswith endswith starts ends get find match matches includes contains indexof
    join equals compare substring slice vector vectors states layer proj weight weights bias mask padding last used at date
    array set event action changepassword wrong invalid missing mismatch weak strong show hide toggle visible
    """.split()
)
_PUBLIC = frozenset(
    b"""
    public primary foreign sort partition hash range cache index lookup dict map object translation i18n message locale
    csrf xsrf row unique composite natural surrogate hot short cut keyboard next page pagination continuation sync
    cancel cancellation site verification verify verifying sort order group json meta registry storage
    """.split()
)


class Name(NamedTuple):
    """What a name says about its value.

    `kind`: password, key, or empty for neither; `about`: the value is about a secret (its length, its label); `digest`: it
    is the digest of one; `public`: it is a key that is no secret.
    """

    kind: str
    about: bool
    digest: bool
    public: bool = False


def parts(name: bytes) -> list[bytes]:
    """The words of an identifier, lower case."""
    return [p.lower() for p in _PART.findall(name)]


_VERB = re.compile(rb"[ \t]+[A-Za-z]")
_NO_NAME = Name("", False, False)
_DIGESTS = frozenset((b"hash", b"hashed", b"digest", b"md5", b"sha", b"sha1", b"sha256", b"bcrypt", b"crypt"))
_IDENTIFIER = re.compile(rb"[A-Za-z0-9_$.\x80-\xff-]+")


def name_before(before: bytes) -> Name:
    """The name that the value behind `before` (the line in front of it) is given: the last one with a secret word."""
    line = before[-160:]
    found = None
    for match in _IDENTIFIER.finditer(line):
        if _WORD.search(match.group()):
            found = match
    if found is None:
        return _NO_NAME
    name = found.group()
    if name.lower() == b"pass" and _VERB.match(line, found.end()):
        return _NO_NAME  # "pass engine='x'" in prose
    word = list(_WORD.finditer(name))[-1]
    kind = "password" if any(m["password"] for m in _WORD.finditer(name)) else "key"
    behind = parts(name[word.end() :])
    front = parts(name[: word.start()])
    if word["password"] and word.group().lower() == b"pass" and behind and not behind[0].isdigit():
        return _NO_NAME  # the verb: `pass_zero`, `passDown`
    if kind == "key" and (b"public" in front or b"pub" in front or (front and front[-1] in _PUBLIC)):
        return Name("", False, False, True)
    digest = not _DIGESTS.isdisjoint(behind + front)
    return Name(kind, not _ABOUT.isdisjoint(behind), digest)
