"""Names of licenses as people write them in package manifests, to SPDX.

`from_text("Apache License, Version 2.0")` is "Apache-2.0". A name that the table does not know gives None: a
guess would be no evidence. Names without a version ("Apache Software License", "BSD") are read as the
ecosystems use them today; GPL without a version is GPL-1.0-or-later, as its own text says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from licensing.expressions import (
    MAX_EXPRESSION,
    InvalidExpressionError,
    canonical,
    conjunction,
    disjunction,
    is_known,
)

PROPRIETARY = "LicenseRef-stackmill-proprietary"
"""Declared to be not for use by others."""

_TABLE = {
    "MIT": "mit|expat|mit expat|x11|mit x11|expat mit x11",
    "MIT-0": "mit no attribution|mit 0",
    "Apache-2.0": "apache|apache 2.0|apache 2|asl 2.0|asl 2|apl 2.0|al 2.0|apache public 2.0|apache public 2",
    "Apache-1.1": "apache 1.1",
    "BSD-3-Clause": "bsd|bsd 3 clause|3 clause bsd|bsd 3|bsd3|new bsd|modified bsd|revised bsd|bsd new"
    "|bsd style|edl 1.0|edl 1|eclipse distribution 1.0|eclipse distribution",
    "BSD-2-Clause": "bsd 2 clause|2 clause bsd|bsd 2|bsd2|simplified bsd|freebsd|2 bsd",
    "BSD-4-Clause": "bsd 4 clause|4 clause bsd|original bsd",
    "0BSD": "0bsd|zero clause bsd|bsd zero clause|bsd 0 clause",
    "ISC": "isc|iscl",
    "Zlib": "zlib|zlib libpng",
    "Python-2.0": "python foundation|psf|psfl|python|psf 2.0|psf 2|python foundation 2|psf based",
    "Unlicense": "unlicense|un",
    "CC0-1.0": "cc0|cc0 1.0|cc0 1.0 universal|cc0 1.0 universal public domain dedication"
    "|public domain per creative commons cc0",
    "LicenseRef-scancode-public-domain": "public domain|pd",
    "BSL-1.0": "boost 1.0|boost|bsl 1.0",
    "ZPL-2.1": "zope public|zpl 2.1|zpl|zope public 2.1",
    "WTFPL": "wtfpl|do what the fuck you want to public",
    "PostgreSQL": "postgresql",
    "NCSA": "university of illinois ncsa open source|university of illinois/ncsa open source|ncsa",
    "HPND": "historical permission notice and disclaimer|hpnd",
    "UPL-1.0": "universal permissive|upl|upl 1.0",
    "MulanPSL-2.0": "mulan permissive 2|mulan psl 2",
    "Artistic-2.0": "artistic 2.0|artistic 2",
    "Artistic-1.0": "artistic|artistic 1|artistic 1.0",
    "OLDAP-2.8": "openldap 2.8|openldap public 2.8",
    "CPL-1.0": "cpl 1.0|common public 1.0|cpl",
    "OFL-1.1": "ofl 1.1|sil 1.1|sil ofl 1.1|sil open font 1.1|open font",
    "CC-BY-4.0": "cc by 4.0|creative commons attribution 4.0|creative commons attribution 4.0 international",
    "CC-BY-SA-4.0": "cc by sa 4.0|creative commons attribution share alike 4.0",
    "GFDL-1.3-no-invariants-only": "gfdl niv 1.3",
    "MPL-2.0": "mpl 2.0|mpl 2|mozilla public 2.0|mozilla public 2|mpl|mozilla public|mozilla public mpl 2.0",
    "MPL-1.1": "mpl 1.1|mozilla public 1.1",
    "EPL-1.0": "epl 1.0|epl 1|eclipse public 1.0",
    "EPL-2.0": "epl 2.0|epl 2|eclipse public 2.0|eclipse public 2|epl|eclipse public",
    "EUPL-1.2": "eupl 1.2|european union public 1.2",
    "CDDL-1.0": "cddl|cddl 1.0|common development and distribution 1.0|common development and distribution",
    "AFL-3.0": "afl|academic free|afl 3.0",
    PROPRIETARY: "proprietary|other proprietary|commercial|all rights reserved|closed source|freeware"
    "|shareware|free for non commercial use|free for educational use|free for home use"
    "|free to use but restricted",
}

_GNU = {
    "GPL": "gpl|gnu general public|gnu gpl|general public",
    "LGPL": "lgpl|gnu lesser general public|gnu lgpl|lesser general public"
    "|gnu library or lesser general public|gnu library general public",
    "AGPL": "agpl|gnu affero general public|gnu agpl|affero general public",
}

_GNU_VERSIONS = {
    "GPL": {"": "GPL-1.0-or-later", "1": "GPL-1.0", "2": "GPL-2.0", "3": "GPL-3.0"},
    "LGPL": {"": "LGPL-2.0-or-later", "2": "LGPL-2.0", "2.1": "LGPL-2.1", "3": "LGPL-3.0"},
    "AGPL": {"": "AGPL-3.0-or-later", "1": "AGPL-1.0", "3": "AGPL-3.0"},
}

_EXCEPTIONS = {
    "classpath": "Classpath-exception-2.0",
    "llvm": "LLVM-exception",
    "autoconf": "Autoconf-exception-generic",
    "bison": "Bison-exception-2.2",
    "libtool": "Libtool-exception",
    "texinfo": "Texinfo-exception",
    "font": "Font-exception-2.0",
    "gcc runtime library": "GCC-exception-3.1",
    "linux syscall note": "Linux-syscall-note",
}
"""Exceptions by the names that people give them after "with"."""

_NAMES = {name: spdx for spdx, names in _TABLE.items() for name in names.split("|")}
_GNU_NAMES = {name: family for family, names in _GNU.items() for name in names.split("|")}

_FILLER = re.compile(r"\b(?:the|licen[cs]ed?|software|version|ver|under|terms|osi approved)\b")
_EXCEPTION = re.compile(
    r"(?P<license>.*?),?[\s-]+(?:with|w/)[\s-]+(?:the\s+)?(?P<name>[a-z][a-z -]{1,40}?)[\s-]+exceptions?",
    re.IGNORECASE,
)
_POINTER = re.compile(
    r"[,;.]?\s*\(?\b(?:see|refer to|as in|as described in)\b[^()]{0,80}\)?\s*$|\s*\*+$", re.IGNORECASE
)
"""What follows a name and is none: where the text is, or the asterisk of a checker that guessed."""
_LATER = re.compile(r"\s*(?:\+|\bor (?:\(at your option\) )?(?:any )?later\b|\bor newer\b|\bor above\b)\s*$")


def from_text(text: str) -> str | None:
    """Canonical SPDX expression of a declared license, or None where the words are not known."""
    text = " ".join(text.split())
    if not text or len(text) > MAX_EXPRESSION:
        return None
    text = _POINTER.sub("", text)
    for known in (_single(text), _expression(text)):
        if known:
            return known
    choice = [
        _single(part) for part in re.split(r"\s+or\s+(?!later|newer|any|above|lesser)|/|\|", text, flags=re.I)
    ]
    if len(choice) > 1:
        return None if None in choice else disjunction(part for part in choice if part)
    all_of = [_single(part) for part in re.split(r"\s+and\s+|,\s*|;\s*|&", text, flags=re.I) if part.strip()]
    if len(all_of) > 1:
        return None if None in all_of else conjunction(part for part in all_of if part)
    return None


def from_classifiers(classifiers: Iterable[str]) -> str | None:
    """AND of the licenses named by Python's `License ::` classifiers; None if none is known.

    The classifiers do not say whether several are a choice, so none is assumed.
    """
    found = (_single(classifier.rpartition("::")[2]) for classifier in classifiers)
    return conjunction(expression for expression in found if expression)


def _expression(text: str) -> str | None:
    try:
        expression = canonical(text.replace("/", " OR "))
    except InvalidExpressionError:
        return None
    return expression if is_known(expression) else None


def _single(text: str) -> str | None:
    """The SPDX id of one license name, which may have an exception."""
    if (excepted := _EXCEPTION.fullmatch(text.strip())) is not None:
        base = _single(excepted["license"])
        exception = _EXCEPTIONS.get(excepted["name"].lower().replace("-", " "))
        return canonical(f"{base} WITH {exception}") if base and exception and " " not in base else None
    name = re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", text.lower())
    name = _FILLER.sub(" ", name)
    later = bool(_LATER.search(name))
    name = re.sub(r"[^a-z0-9.+/-]+", " ", _LATER.sub("", name)).replace("/", " ").replace("-", " ")
    name = " ".join(re.sub(r"\bv\.?\s*(?=[0-9])|(?<=[a-z])v(?=[0-9])", " ", name).split()).strip(". ")
    if name in _NAMES:
        return _NAMES[name].replace("-only", "-or-later") if later else _NAMES[name]
    match = re.fullmatch(r"(.*?)\s*([0-9](?:\.[0-9]+)*)?(?:\s*(only))?", name)
    family = _GNU_NAMES.get(match.group(1).strip()) if match else None
    if match and family:
        version = re.sub(r"\.0$", "", match.group(2) or "")
        spdx = _GNU_VERSIONS[family].get(version)
        if spdx and version:
            return f"{spdx}-{'or-later' if later else 'only'}"
        return spdx
    return _expression(text.strip()) if " " not in text.strip() else None
