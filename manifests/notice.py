"""`NOTICE.md`: the licenses of a release in full, and how to find the notices that they ask to keep.

License texts are not copied: they differ from file to file (the line of copyright is part of most), and each row leads to
the very file that its evidence was found in.
"""

from __future__ import annotations

from manifests.card_facts import CardFacts
from manifests.croissant import license_urls
from manifests.manifest import Manifest
from manifests.markdown import bullets, link, plain

FILE = "NOTICE.md"


def notice(manifest: Manifest, text: CardFacts | None = None) -> bytes:
    """Return the bytes of `NOTICE.md`."""
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
        "## How sure is it",
        text.license_policy,
        bullets(text.limits),
    ]
    return ("\n\n".join(sections) + "\n").encode("utf-8")
