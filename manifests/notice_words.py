"""What licenses ask for and how they fit together, in short sentences: facts to start from, no advice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_DUTIES = (
    (
        r"MIT|MIT-0|X11|ISC|0BSD|BSD-.*|Zlib|NCSA|HPND.*|PostgreSQL|Unicode-.*|curl|NTP|BSL-1\.0|Libpng|libpng-2\.0",
        "Notice of copyright and text of the license stay with copies. (MIT-0 and 0BSD ask for nothing; BSL-1.0 and Zlib for"
        " nothing in compiled form, and Zlib that altered source is marked.) BSD licenses with three clauses or more forbid"
        " to advertise with the holders' names; BSD-4-Clause asks for an acknowledgement in advertising.",
    ),
    (
        r"Apache-.*|ECL-2\.0",
        "Text of the license, notices of copyright, patent, trademark and attribution, and the content of NOTICE files stay"
        " with copies; changed files say so. A patent license ends for who sues over patents in the work.",
    ),
    (
        r"Python-2\.0.*|PSF-2\.0|CNRI-Python.*",
        "The agreement and its notice of copyright stay with copies; changed versions sum up what was changed.",
    ),
    (r"Artistic-.*", "Changed versions are marked and named otherwise, or their source is given."),
    (
        r"CC-BY-[0-9.]+.*",
        "Credit: the author, the title, a link to the license, and what was changed. No limits may be added.",
    ),
    (
        r"CC0-1\.0|Unlicense|WTFPL|.*public-domain.*|PDDL-1\.0",
        "Nothing is asked for. Patents and trademarks are not granted by CC0-1.0.",
    ),
    (
        r"MPL-.*|EPL-.*|CDDL-.*|CPL-.*|LGPL-.*|OFL-1\.1|MS-RL|EUPL-.*|CC-BY-SA-.*",
        "Weak or file-wise copyleft: changes to the covered files, or works based on them, are passed on under the same license"
        " with their source.",
    ),
    (r"NONE", "No license was found: nothing is granted beyond what the law of copyright leaves free."),
)

_FITS = (
    (
        r"Apache-2\.0",
        "`Apache-2.0` does not go together with `GPL-2.0-only`; with `GPL-3.0` it does, in that direction (both as the Free"
        " Software Foundation and the Apache Software Foundation see it).",
    ),
    (r"BSD-4-Clause.*", "The advertising clause of `BSD-4-Clause` does not go together with any GPL."),
    (
        r"Apache-1\..*|OpenSSL|PHP-3\..*",
        "`Apache-1.x`, `OpenSSL` and `PHP-3.x` do not go together with any GPL.",
    ),
    (r"CDDL-.*|EPL-1\.0|MPL-1\..*", "`CDDL`, `EPL-1.0` and `MPL-1.x` do not go together with any GPL."),
    (
        r"CC-BY-3\.0.*|CC-BY-2\..*",
        "`CC-BY` before 4.0 is made for works that are no software, and is not held to go together with a GPL.",
    ),
)


def duties(expressions: Iterable[str]) -> list[str]:
    """What the licenses named by these expressions ask for, as items of a list: the ids, then the words."""
    named = _ids(expressions)
    told = [(_matching(pattern, named), words) for pattern, words in _DUTIES]
    rest = sorted(set(named) - {one for ids, _ in told for one in ids})
    items = [f"{_shown(ids)}: {words}" for ids, words in told if ids]
    return [*items, f"{_shown(rest)}: read their texts."] if rest else items


def fits(expressions: Mapping[str, int]) -> list[str]:
    """How the licenses of these rows fit together, as items of a list."""
    named = _ids(expressions)
    items = [words for pattern, words in _FITS if _matching(pattern, named)]
    joined = sum(rows for expression, rows in expressions.items() if " AND " in expression)
    chosen = sum(rows for expression, rows in expressions.items() if " OR " in expression)
    if joined:
        items.append(f"{joined:,} rows have an expression with `AND`: the duties of all its parts apply.")
    if chosen:
        items.append(f"{chosen:,} rows have an expression with `OR`: one of its branches may be chosen.")
    return items


def _ids(expressions: Iterable[str]) -> list[str]:
    found: set[str] = set()
    for expression in expressions:
        words = expression.replace("(", " ").replace(")", " ").split()
        found.update(
            word for before, word in zip(["", *words], words, strict=False)
            if before != "WITH" and word not in ("AND", "OR", "WITH")
        )  # fmt: skip
    return sorted(found)


def _matching(pattern: str, named: Iterable[str]) -> list[str]:
    return [one for one in named if re.fullmatch(pattern, one)]


_NAMED = 12  # ids that one item names


def _shown(ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(f"`{one}`" for one in ids[:_NAMED]) + more
