"""`NOTICE.md`: the licenses of a release in full, and how to find the notices that they ask to keep.

License texts are not copied: they differ from file to file (the line of copyright is part of most), and each row leads to
the very file that its evidence was found in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from manifests.card_facts import CardFacts
from manifests.croissant import license_urls
from manifests.manifest import Manifest
from manifests.markdown import bullets, code, link, plain
from manifests.names import NOTICES_FILE
from manifests.notice_words import duties, fits
from manifests.notices import SHOWN, Noticed

FILE = "NOTICE.md"


_LICENSES = 100
"""License expressions whose repositories are named; the file beside it has all."""


def notice(
    manifest: Manifest, text: CardFacts | None = None, noticed: Mapping[str, Noticed] | None = None
) -> bytes:
    """Return the bytes of `NOTICE.md`. `noticed`: figures of `notices.parquet`, where the release has it."""
    from manifests.prose import license_table

    text = CardFacts() if text is None else text
    licenses = manifest.contents.licenses
    publisher = f" The publisher's words on licenses: {link(text.license_link)}" if text.license_link else ""
    sections = [
        f"# Licenses of {plain(manifest.name)} {manifest.version}",
        f"{manifest.totals.kept:,} files under {len(licenses):,} license expressions. Each file keeps the license that its row"
        " names; there is no license over the whole, and none of these files is relicensed." + publisher,
        "## By expression",
        license_table(licenses),
        "Texts of the licenses that are named:",
        bullets([link(address) for address in license_urls(manifest)]) or "none of SPDX's list.",
        "## Attribution",
        "Most of these licenses ask that the notice of copyright and the license stay with the code. For each row:",
        bullets(
            [
                "`origin`, `revision_id` and `path` say where the file is from: this is the attribution;",
                "`license_expression` is the license, `detected_licenses` what was found in all directories above;",
                "`license_evidence` lists the license files that decided: `path` in the same repository, and `swhid` of that"
                " very file. `https://archive.softwareheritage.org/` followed by the SWHID shows it, notice and all;",
                "a notice in the file itself is part of `content`, unless a rule took a part of it for personal data:"
                " `redactions` says so, and `swhid` leads to the original.",
            ]
        ),
        "The notices of a part of the rows, here in DuckDB:",
        "```sql\nSELECT DISTINCT origin, revision_id, license_expression, e.path AS license_file, e.swhid\n"
        "FROM (SELECT *, unnest(license_evidence) AS e FROM 'data/*/*.parquet')\nORDER BY ALL;\n```",
        *(_by_license(manifest, noticed) if noticed is not None else ()),
        "## What the licenses ask for",
        "In short, and no advice: the texts decide.",
        bullets(duties(licenses)),
        *(["## How they fit together", bullets(told)] if (told := fits(licenses)) else []),
        "## How sure is it",
        text.license_policy,
        bullets(text.limits),
    ]
    return ("\n\n".join(sections) + "\n").encode("utf-8")


def _by_license(manifest: Manifest, noticed: Mapping[str, Noticed]) -> Iterator[str]:
    """The repositories and copyright lines of each license, as far as a page can hold them."""
    yield "## By license"
    yield (
        f"`{NOTICES_FILE}` has all of it: for each repository and license file that rows rest on, and for each NOTICE file above"
        " them, the copyright lines in it (without e-mail addresses; `swhid` leads to the file as it is). The lines name"
        " people because their licenses ask for that; who opts out is left out of the next release."
    )
    rows = manifest.contents.licenses
    ordered = sorted(noticed, key=lambda expression: (-rows.get(expression, 0), expression))
    for expression in ordered[:_LICENSES]:
        one = noticed[expression]
        yield f"### {code(expression)}"
        yield f"{rows.get(expression, 0):,} files of {one.origins:,} repositories" + (
            f", {SHOWN} of which are:" if one.origins > SHOWN else ":"
        )
        yield bullets([plain(origin) for origin in one.first])
        if one.lines:
            yield "Copyright lines" + (f", the first {SHOWN}:" if len(one.lines) == SHOWN else ":")
            yield bullets([plain(line) for line in one.lines])
    if len(ordered) > _LICENSES:
        yield f"{len(ordered) - _LICENSES:,} more expressions are in `{NOTICES_FILE}` only."
