"""Parts of the section on duplicates that only the maker can tell: the search, equal repositories, and the signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.report.markup import Column, code, name, number, paragraph, share, table, text

Told = Mapping[str, Any]


def search(told: Told | None) -> str:
    """How near-duplicates were found; nothing where they were not sought."""
    found = None if told is None else told["search"]
    if found is None:
        return ""
    said = (
        f"{number(found['candidates'])} pairs of files agree in all {found['rows']} values of one of {found['bands']} bands of"
        f" their sketches. Near-duplicates are those of them with a Jaccard similarity of {text(found['threshold'])} or more."
    )
    if found["shortcut"] is not None:
        said += (
            f" <b>Not all of them were compared:</b> a pair whose sketches agree in {text(found['shortcut']['accept'])} or more"
            f" of their values was taken for near, one below {text(found['shortcut']['reject'])} was not."
        )
    if found["hot_buckets"]:
        said += (
            f" {number(found['hot_buckets'])} values of a band had more than {number(found['bucket_cap'])} files"
            f" ({number(found['hot_members'])} in all): there each file was paired with the {found['bucket_best']} best-ranked"
            f" only, and {number(found['pairs_not_made'])} pairs were not made."
        )
    return paragraph(said)


def repositories(told: Told | None) -> str:
    """Origins with the same root directory, and fork networks."""
    if told is None:
        return ""
    roots, networks = told["roots"], told["networks"]
    parts = ["<h3>Repositories that are copies</h3>"]
    if not roots["found"] and not networks["found"]:
        return "".join(
            [*parts, paragraph("No two origins have the same root directory or are forks of each other.")]
        )
    if roots["found"]:
        parts += [
            paragraph(
                f"{number(roots['found'])} root directories are each that of several origins, {number(roots['origins'])} in all;"
                f" {number(roots['occurrences'])} occurrences are at those that do not speak for their root."
            ),
            _largest(
                "Root directories with most copies",
                roots["largest"],
                "Origin that speaks for it",
                "Copies of files",
            ),
        ]
    if networks["found"]:
        parts += [
            paragraph(
                f"{number(networks['found'])} networks connect origins that are forks of each other or have the same root:"
                f" {number(networks['origins'])} origins with {number(networks['occurrences'])} occurrences and"
                f" {number(networks['rows'])} rows."
            ),
            _largest("Largest networks", networks["largest"], "Origin with most rows", "Occurrences"),
        ]
    return "".join(parts)


def signals(told: Told | None) -> str:
    """What `signals.parquet` has, in figures."""
    if told is None:
        return ""
    return _contained(told["containment"]) + _repeated(told["repeated"])


def _contained(found: Told | None) -> str:
    if found is None:
        return ""
    skipped = (
        f" {number(found['hot_hashes'])} sampled shingles are held by so many files that they were passed over."
        if found["hot_hashes"]
        else ""
    )
    return "<h3>Files in bigger ones</h3>" + paragraph(
        f"At least {text(found['least'])} of the shingles of {number(found['contained'])} rows lie in a bigger row, which"
        " <code>signals.parquet</code> names. None was dropped for it."
        f" {number(found['candidates'])} pairs share a sampled shingle that is rare, the {number(found['compared'])} likeliest"
        f" were compared.{skipped}"
    )


def _repeated(found: Told | None) -> str:
    if found is None:
        return ""
    limit = found["drop_above"]
    effect = (
        "None was dropped for it."
        if limit is None
        else f"Files with a share above {text(limit)} were dropped as <code>repeated</code>; the others are whole."
    )
    said = paragraph(
        f"{number(found['frequent_blocks'])} blocks of {found['lines']} lines are held by {number(found['contents'])} or more"
        f" files, of {number(found['origins'])} or more origins. {number(found['files'])} files that near-duplicates left have"
        f" such lines: {share(found['repeated_bytes'], found['line_bytes'])} of the text of all lines. {effect}"
    )
    lines = [
        [
            f'{name(one["path"])}, line {number(one["line"])} <span class="remark">{name(one["language"])};'
            f" {name(one['origin'])}; {code(one['row_id'])}</span>",
            number(one["lines"]),
            number(one["contents"]),
            number(one["origins"]),
        ]
        for one in found["most"][:10]
    ]
    columns = [Column("A row that has it"), *(Column(one, "number") for one in ("Lines", "Files", "Origins"))]
    return (
        "<h3>Repeated text</h3>"
        + said
        + (table("Blocks that most files have", columns, lines) if lines else "")
    )


def _largest(caption: str, found: list[dict[str, Any]], title: str, amount: str) -> str:
    columns = [Column(title), *(Column(one, "number") for one in ("Origins", amount, "Rows"))]
    lines = [
        [
            name(one["origin"])
            if one["origin"] is not None
            else '<span class="remark">none of them has a row</span>',
            number(one["origins"]),
            number(one["occurrences"]),
            number(one["rows"]),
        ]
        for one in found
    ]
    return table(caption, columns, lines)
