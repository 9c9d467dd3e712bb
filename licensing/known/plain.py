"""What stands in license files and states no terms: copyright lines, "all rights reserved", bare titles.

Only what is certainly one of these: a line that begins as a copyright statement and goes on with anything
but years, names and addresses stays, and so does a title with any word that is not in the list. A word of
`_TERMS` in a line is enough to keep it, so "Copyright 2024 Jane, non-commercial use only" is no copyright
line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARK = re.compile(
    r"(?:\bcopyright\b(?:\s*(?:\(c\)|©|&copy;|notice|statement)|\s+by\b)*|©|&copy;|\(c\)(?=\s*(?:by\s+)?(?:copyright|\d{4}|[<\[{]))"
    r"|\bcopr\.)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"[^\w(©&]{0,40}(?:(?:portions|parts|some parts|rem|dnl)\b[\s,:]{0,4}"
    r"(?:are\s+|of\s+this\s+\w+\s+(?:are\s+)?)?)?",
    re.IGNORECASE,
)
_RESERVED = re.compile(r"\ball\s{1,40}rights\s{1,40}reserved\b\.?", re.IGNORECASE)
_ADDRESS = re.compile(
    r"<[^<>\s]{3,200}>|\(?\bhttps?://[^\s<>()]{1,300}\)?|[\w.+-]{1,100}@[\w-]{1,100}(?:\.[\w-]{1,100}){1,6}"
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019.&-][^\W_]+){0,8}")
_MARKER = re.compile(
    r"(?:^|(?<=\n))[^\S\n]{0,80}(?:[*#/;%!>|-]{1,3}[^\S\n]{1,80})?"
    r"(\(?(?:\d{1,2}|[a-zA-Z]|i{1,3}|iv|vi{0,3})[.)]|[o])(?=[^\S\n])"
)
SENTENCE_END = re.compile(r"[.;:!?](?=\s)\s*(?=[A-Z])(?<!\binc\.\s)", re.IGNORECASE)

_AROUND = " \t\r\n\v\f*#/;%!>|=_~-"
"""What frames a line: white space, comment marks, underlines."""

MAX_LINE = 400
"""Characters of a line that can be a copyright line."""

MAX_NAMES = 40
"""Words of one copyright line."""

_TITLES = frozenset(
    {
        "license",
        "licenses",
        "the license",
        "license text",
        "full license text",
        "software license",
        "license agreement",
        "copyright",
        "copyright notice",
        "copyright notices",
        "copyright and license",
        "license and copyright",
        "license information",
        "licensing",
        "license terms",
        "begin license",
        "end license",
        "terms and conditions",
    }
)

_TERMS_TEXT = """
    accept acknowledge acknowledged agree agreement agreements ai allow allowed allows although anyone
    apply applies approval authorized ban banned because business can cannot charge commercial commercially
    comply condition conditions confidential consent copied copies copy copyleft copying contact cost damages
    deal deny derivative derivatives derived disclose distribute distributed distributes distributing
    distribution do does educational entitled ethical evaluation evil except exception excluding exclude
    excludes exclusive exclusively exempt fee fees fit forbid forbidden forbids free freely govern governed
    government grant granted grants gratis hereby however if internal judicial law lawful learning liability
    liable licence licenced licences license licensed licensee licenses licensing licensor limit limitation
    limited-to machine may merge military mit-licensed modification modifications modified modify must never
    no non non-commercial noncommercial nor not notice notwithstanding obey obligation obtain obtaining only
    otherwise patent patents pay paid payment permission permissions permit permits permitted personal price
    private profit prohibit prohibited prohibits proprietary provided provides domain publication publish
    purchase purpose purposes receive redistribute redistributed redistribution refrain released remove
    request require required requires research resell restrict restricted restriction restrictions retain
    royalties royalty same satisfy sell selling shall should sold sole solely source-available sublicense
    subject such sue terminate terminated terms third this trademark trademarks trade training transfer unless
    unlawful until use used user users uses using violate void waive warranties warranty weapon weapons what
    whatever when where which who will without would you your
"""
_TERMS = frozenset(_TERMS_TEXT.split())
"""A line with one of these is read as terms, whatever else it looks like."""

_ALSO_NAMES = frozenset(
    {"business", "fit", "free", "government", "grant", "law", "may", "price", "research", "trade", "will"}
)
"""Of these, what people and institutions are called, too, where only the first letter is a capital."""

_HOLDER_WORDS_TEXT = """
    & a al and any assigns at author author's authors authors' b behalf bv by co company contributing
    contributor contributors contributors' contributor(s) copyright copyrights corp corporation de department
    der developer developers di dos du e email employees et family for foundation from fullname given
    gmbh group her his holder holders i in inc incorporated individual individuals initial institute its la
    laboratory laboratories le listed ll llc ltd maintainer maintainers member members name names national
    number of on or org organisation organization original other others owner owners own participants party
    pending people present programmer project s sa san science see society software supplier suppliers team
    the their them to university van von with year years yyyy present-day now authors-file file
    reserved rights all date first last current
"""
_HOLDER_WORDS = frozenset(_HOLDER_WORDS_TEXT.split())
_CONNECTING = frozenset({"the", "this", "is", "an", "and", "of", "it", "s"})
"""Words that say nothing by themselves: all that remains of "The MIT License" when "MIT License" is known."""

_IN_SLOTS = frozenset({"nor", "this", "such", "respective", "specific"})
"""Allowed in the places inside a license where the holder is named: "nor the names of this project's ..."."""

_HOLDER_WORD_LIMIT = 4
"""Words in lower case that nobody knows, in one line: nicknames, projects in lower case."""

_CONTINUED = re.compile(r"[\s>]*(?:,|and|&)\s*$", re.IGNORECASE)


def spans(text: str) -> list[tuple[int, int]]:
    """What is left out of `text`, as spans of characters, by position and disjoint."""
    found = [match.span() for match in _RESERVED.finditer(text)]
    position = 0
    previous_blank = True
    in_statement = False
    after_stop = True
    for line in text.splitlines(keepends=True):
        end = position + len(line)
        stripped = line.strip(_AROUND)
        if not stripped:
            previous_blank = after_stop = True
            position = end
            continue
        if is_copyright_line(stripped) or (in_statement and not previous_blank and _is_names_line(stripped)):
            found.append((position, end))
            in_statement = True
        else:
            in_statement = False
            if is_title(stripped):
                found.append((position, end))
            elif after_stop:
                marker = _MARKER.match(line)
                if marker:
                    found.append((position + marker.start(1), position + marker.end(1)))
        after_stop = (
            in_statement
            or stripped[-1] in ".:?)\"'"
            or line.rstrip().endswith((";", "!"))
            or stripped.endswith((" and", " or", ",and", ",or"))
        )
        previous_blank = False
        position = end
    return _disjoint(found)


def is_title(line: str) -> bool:
    """Whether a line is a heading that says no more than that a license follows."""
    if len(line) > 60:
        return False
    words = " ".join(word.lower() for word in re.findall(r"[^\W_]+", line))
    return words.replace("licence", "license") in _TITLES or not words


def is_copyright_line(line: str) -> bool:
    """Whether a line is a copyright statement and nothing else."""
    if len(line) > MAX_LINE:
        return False
    lead = _LEAD.match(line)
    start = lead.end() if lead else 0
    mark = _MARK.match(line, start)
    return mark is not None and _names_only(line[mark.end() :])


def _is_names_line(line: str) -> bool:
    """Whether a line can be the rest of the copyright statement in the line before."""
    return len(line) <= MAX_LINE and not _MARKER.match(line) and _names_only(line, strict=True)


def names_holder(words: list[str]) -> bool:
    """Whether words, as they stand in the text, can be the name of a holder."""
    return _are_names([word for word in words if word.lower() not in _IN_SLOTS], limit=_HOLDER_WORD_LIMIT)


def _names_only(rest: str, strict: bool = False) -> bool:
    rest = _RESERVED.sub(" ", _ADDRESS.sub(" ", rest))
    words = _WORD.findall(rest)
    return _are_names(words, limit=0 if strict else _HOLDER_WORD_LIMIT)


def _are_names(words: list[str], limit: int) -> bool:
    if len(words) > MAX_NAMES:
        return False
    unknown = 0
    for word in words:
        lower = word.lower()
        if lower in _ALSO_NAMES and word.istitle():
            continue
        if lower in _TERMS or any(part in _TERMS for part in re.split(r"['\u2019.&-]", lower)):
            return False
        if lower in _HOLDER_WORDS or any(c.isdigit() for c in word):
            continue
        if not word[0].isupper():
            unknown += 1
    return unknown <= limit


_LICENSE_NAMES_TEXT = """
    affero afl agpl apache artistic boost bsd bsl cc cc0 cddl cecill commons copyright cpl creative cla dco eclipse
    epl eula eupl fdl fsf gfdl gnu gpl gplv2 gplv3 icu isc ijg jdom lgpl lgplv2 lgplv3 libpng mit mozilla mpl mplv2
    ncsa nokia odbl ofl openssl openldap php psf psfl qpl rights ruby spdx sspl tcl unlicense w3c wtfpl x11 xfree86
    zlib zope zpl
"""
_LICENSE_NAMES = frozenset(_LICENSE_NAMES_TEXT.split())
_CALLING_FOR_MORE = _TERMS | _LICENSE_NAMES
_NOT_NAMES = frozenset(
    {
        "apache",
        "boost",
        "cc",
        "commons",
        "creative",
        "eclipse",
        "icu",
        "isc",
        "mozilla",
        "nokia",
        "php",
        "rights",
        "ruby",
        "tcl",
    }
)
"""Of these, what other things are called, too: alone they name no license."""


def speaks_of_terms(words: Iterable[str]) -> bool:
    """Whether any of `words` (lower case) can belong to terms or to the name of a license."""
    return any(word in _CALLING_FOR_MORE or word.rstrip("+0123456789") in _CALLING_FOR_MORE for word in words)


def names_license(words: Iterable[str]) -> bool:
    """Whether one of `words` (lower case) names a license, whatever stands around it."""
    return any(word in _LICENSE_NAMES and word not in _NOT_NAMES for word in words)


def connects(words: Sequence[str]) -> bool:
    """Whether words that remain between known parts say nothing by themselves."""
    return len(words) <= 3 and all(word in _CONNECTING for word in words)


def _disjoint(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result
