"""Names of persons in author tags, comments and package metadata; the kind is looked for only where a configuration says so.

Kept: lines of copyright and SPDX file tags (licences ask that they stay), organisations where a word says so (Inc., GmbH,
Foundation, Team, ...), stand-ins (`Your Name`, `unknown`).  A list of names is one finding.  Names are told by their
surroundings only: a name in a sentence is not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pii.boundaries import line_before

Span = tuple[int, int]

# A word of a name: letters of any script, with apostrophes, hyphens and points inside, or an initial with its point.
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_\u0000]|['\u2019\u00b7.-](?=[^\W\d_]))*\.?")
_BETWEEN_WORDS = re.compile(r"[ \u00a0]{1,2}")
_BETWEEN_NAMES = re.compile(
    r"[ \t]?(?:,|;|/|&|\band\b|\bund\b|\bet\b|\by\b)(?:[ \t]{1,3}and\b)?[ \t]{1,3}", re.IGNORECASE
)
_PARTICLES = frozenset(
    b"van von de der den da di del della la le du des dos das do bin ibn al el y ter ten zu zur af av".decode().split(
        " "
    )
)
_ORGANISATION = frozenset(
    b"""
    inc ltd s.a b.v s.r.l s.p.a llc llp plc gmbh ag corp corporation company co limited foundation project projects
    contributors team teams
    developers authors group university universit\xc3\xa4t universit\xc3\xa9 universidad institute institut laboratory labs
    lab community committee consortium association society organization organisation technologies technology software
    systems solutions services networks research department school college alliance initiative federation agency
    government ministry bank studio studios media press publishing center centre partners enterprises holdings
    maintainers maintainer copyright license licence google microsoft facebook meta amazon apple ibm oracle intel nvidia
    mozilla apache github gitlab openai redhat canonical
    """.decode("utf-8").split()
)
_STAND_INS = frozenset(
    b"""
    unknown anonymous none null undefined nobody somebody someone everyone various todo tbd n/a na me you us
    person user username author authors name names person people admin administrator root system bot example sample
    your my the a an this that these see default generated automatically auto self foo bar string str int bool
    true false list tuple dict object type number any optional required value field text
    """.decode().split()
)
_KEPT_LINE = re.compile(
    rb"copyright|\(c\)|\xc2\xa9|&copy;|SPDX-File|SPDX-License|licen[sc]ed? |"
    rb"this product includes|software (?:written|developed) by",
    re.IGNORECASE,
)
_MOST = 120


def _is_kept(body: bytes, start: int) -> bool:
    """Whether the line at `start` is one of copyright or of a licence."""
    stop = body.find(b"\n", start, start + _MOST)
    behind = body[start : stop if stop >= 0 else start + _MOST]
    return bool(_KEPT_LINE.search(line_before(body, start, _MOST)) or _KEPT_LINE.search(behind))


def _text(body: bytes, start: int, end: int) -> str:
    return body[start : min(end, start + _MOST)].decode("utf-8", "replace").replace("\ufffd", "\0")


def _words(text: str, at: int) -> list[tuple[int, int]]:
    """The words of a name at the beginning of `text[at:]`: capitalised or without case, particles between."""
    spans: list[tuple[int, int]] = []
    end = at
    while len(spans) < 6 and (found := _WORD.match(text, at)):
        word = found.group()
        if word.islower() and word[0].isascii() and word.rstrip(".") not in _PARTICLES:
            break
        spans.append(found.span())
        end = found.end()
        if word.endswith(".") and len(word) > 4:
            spans[-1] = (found.start(), end - 1)
            break  # the end of a sentence; initials and `Jr.` are shorter
        gap = _BETWEEN_WORDS.match(text, end)
        if gap is None:
            break
        at = gap.end()
    if spans and (text[end : end + 1].isalnum() or text[end : end + 1] == "_"):
        return []  # `Py3 ...`: no name
    while spans and text[spans[-1][0] : spans[-1][1]] in _PARTICLES:
        spans.pop()
    return spans


def _is_person(words: list[str]) -> bool:
    """Whether words may be a person's name: not an organisation's, no stand-in, not all in capitals."""
    lower = [w.strip(".").lower() for w in words]
    if (
        not words
        or any(w in _ORGANISATION for w in lower)
        or lower[0] in _STAND_INS
        or lower[-1] in _STAND_INS
    ):
        return False
    if len(words) == 1 and words[0].isascii() and words[0].isupper():
        return False
    return sum(map(len, words)) >= 2 and not all(len(w) > 3 and w.isupper() for w in words)


def _names(text: str, least: int) -> tuple[int, int] | None:
    """(characters, words of the first name) of a list of names at the beginning of `text`; None without one."""
    end, first = 0, 0
    at = 0
    while True:
        spans = _words(text, at)
        words = [text[a:b] for a, b in spans]
        if len(words) < (least if not first else 2) or not _is_person(words):
            break
        first = first or len(words)
        end = spans[-1][1]
        gap = _BETWEEN_NAMES.match(text, end)
        if gap is None:
            break
        at = gap.end()
    if not end or _FIRM_FOLLOWS.match(text, end):
        return None
    if text[end - 1] == "." and not _is_initial(text, end):
        end -= 1  # the full stop of a sentence
    return end, first


_FIRM_FOLLOWS = re.compile(r",? (?:Inc|Ltd|LLC|GmbH|Corp|S\.A|B\.V|Co)\b")


def _is_initial(text: str, end: int) -> bool:
    return end >= 2 and text[end - 2].isupper() and (end == 2 or not text[end - 3].isalpha())


_HANDLE = re.compile(rb"@?([A-Za-z][A-Za-z0-9._-]{1,38})[ \t]*(?=[,;)\]>*<(\r\n]|\Z)")
_PLACEHOLDER = re.compile(rb"[A-Z]+_[0-9]+\Z")  # what stands where a name was
_FILE_OR_SITE = re.compile(r"\.(?:com|org|net|io|de|py|js|md|txt)\Z")


def name_or_handle(body: bytes, start: int, end: int) -> Span | None:
    """Behind a tag that only ever holds authors: names, else one login."""
    return _named(body, start, end, least=1) or _handle(body, start, end)


def _handle(body: bytes, start: int, end: int) -> Span | None:
    found = _HANDLE.match(body, start, end)
    if found is None or _is_kept(body, start):
        return None
    word = found[1].decode("ascii").rstrip(".").lower()
    if _PLACEHOLDER.match(found[1]):
        return None
    if word in _STAND_INS or word in _ORGANISATION or _FILE_OR_SITE.search(word):
        return None
    return found.start(1), found.start(1) + len(word)


def name_in_text(body: bytes, start: int, end: int) -> Span | None:
    """Behind a label that may also be code or a heading: two words at least, or one with an address behind it."""
    span = _named(body, start, end, least=2)
    if span is None:
        one = _named(body, start, end, least=1)
        if one is None or not re.match(rb"[ \t]{1,2}[<(][^\n>)]{0,64}[@/]", body[one[1] : one[1] + 80]):
            return None
        span = one
    return (
        None
        if re.match(rb"[ \t]*(?:[{;(=]|\[\])", body[span[1] : span[1] + 4])
        and not _mail_follows(body, span[1])
        else span
    )


def _mail_follows(body: bytes, end: int) -> bool:
    return re.match(rb"[ \t]{0,2}[<(][^\n>)]{0,64}(?:@|at|://)", body[end : end + 80]) is not None


_LINE_BEGINS = re.compile(
    rb"[^A-Za-z0-9]*(?:(?:file|originally|initially|was|script|module)[ \t])*\Z", re.IGNORECASE
)
_SENTENCE = re.compile(
    rb"(?:written|contributed|developed|authored|maintained|coded|patch)[ \t]by[ \t:]*\Z", re.IGNORECASE
)
_VERB_BY = re.compile(rb"[A-Za-z]+[ \t]by[ \t:]*\Z")


def name_in_sentence(body: bytes, start: int, end: int) -> Span | None:
    """Behind `created by` and the like: at the beginning of a line, or of words that only people do."""
    before = line_before(body, start, _MOST)
    verb = _VERB_BY.search(before)
    if verb is None or not (_SENTENCE.search(before) or _LINE_BEGINS.fullmatch(before[: verb.start()])):
        return None
    return name_in_text(body, start, end)


def name_in_quotes(body: bytes, start: int, end: int) -> Span | None:
    """The beginning of a quoted value that a key for authors has: a capitalised word at least."""
    return _named(body, start, end, least=1)


def _named(body: bytes, start: int, end: int, *, least: int) -> Span | None:
    text = _text(body, start, end)
    found = _names(text, least)
    if found is None or _is_kept(body, start):
        return None
    return start, start + len(text[: found[0]].encode("utf-8"))


_BEFORE_MAIL = re.compile(r"(?:\A|[^\w.'\u2019-])((?:[^\W\d_][\w.'\u2019-]*[ \u00a0]){1,5})\Z")


def name_before_email(body: bytes, start: int, end: int) -> Span | None:
    """`Jo Doe <` in front of an address: two words at least, and not on a line of copyright."""
    before = line_before(body, start, 80)
    if _is_kept(body, start):
        return None
    text = before.decode("utf-8", "replace").replace("\ufffd", "\0")
    if text.rstrip(" ").endswith('"'):
        text = text.rstrip(" ")[:-1] + " "  # "Jo Doe" <...
        quote = 1 + (len(before) - len(before.rstrip(b" ")))
    else:
        quote = 0
    found = _BEFORE_MAIL.search(text)
    if found is None:
        return None
    words = found[1].split()
    # Words of a sentence in front ("by Jo Doe <") are lower-case: the name begins behind the last that is no particle.
    for i in range(len(words) - 1, -1, -1):
        if words[i].islower() and words[i][0].isascii() and words[i] not in _PARTICLES:
            words = words[i + 1 :]
            break
    while words and words[0] in _PARTICLES:
        words = words[1:]
    if len(words) < 2 or not _is_person(words):
        return None
    name = " ".join(words)
    stop = start - (quote or len(before) - len(before.rstrip(b" ")))
    begin = stop - len(name.encode("utf-8"))
    return (begin, stop) if body[begin:stop] == name.encode("utf-8") else None


_TOPICS = frozenset(
    b"""
    bug bugs issue issues later perf performance docs doc test tests testing security cleanup refactor feature python
    python2 python3 py2 py3 windows linux macos mac ios android v1 v2 v3 next now future opt optimize optimization
    api ui ux sql http https ssl fix fixme all anyone someone everyone user owner you name me team upstream release
    deprecated deprecation migration i18n l10n a11y types typing style design
    """.decode().split()
)


def todo_owner(body: bytes, start: int, end: int) -> Span | None:
    """The login in `TODO(login)`: no topic, no number of an issue."""
    value = body[start:end].decode("ascii")
    word = value.lower().lstrip("@")
    if value.isupper() or _ORGANISATION.intersection(re.split("[._-]", word)):
        return None
    if word in _TOPICS or word in _STAND_INS or re.search(r"\d{3}|^[A-Z]+-\d|[./]\d", value):
        return None
    return start, end


_ACCOUNTS = frozenset(
    b"""
    user users username your-username yourusername youruser your_user youruser1 name yourname me myname myuser myself
    you someone somebody anyone nobody admin administrator root guest default public shared all ubuntu debian centos
    ec2-user fedora opc vagrant docker node app runner runneradmin travis circleci jenkins gitlab-runner gitpod vscode
    codespace jovyan nonroot www-data git postgres mysql oracle hadoop spark airflow pi linuxbrew builder build ci
    buildkite appveyor vsts vssadministrator containeradministrator azureuser cloudshell-user test tester testuser
    ray foo bar baz example demo dev developer home local xxx alice bob joe john jane johndoe janedoe john.doe jane.doe jdoe
    """.decode().split()
)


_HOME = re.compile(rb"(?:\A|[^A-Za-z0-9_.-])(?:/home/|/Users/)\Z|[A-Za-z]:[/\\]{1,2}Users[/\\]{1,2}\Z")


def home_path_user(body: bytes, start: int, end: int) -> Span | None:
    """The account in the path of a home folder, unless it is one of images, services or documentation."""
    if not _HOME.search(body[max(0, start - 12) : start]):
        return None  # a page of a site
    word = body[start:end].decode("ascii").lower()
    return None if word in _ACCOUNTS or _PLACEHOLDER.match(body[start:end]) else (start, end)


NAMES: dict[str, Callable[[bytes, int, int], Span | None]] = {
    "name_or_handle": name_or_handle,
    "name_in_text": name_in_text,
    "name_in_sentence": name_in_sentence,
    "name_in_quotes": name_in_quotes,
    "name_before_email": name_before_email,
    "todo_owner": todo_owner,
    "home_path_user": home_path_user,
}
