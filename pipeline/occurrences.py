"""The ledger as what it stands for: one row per occurrence (origin, path, content), with its one decision.

On disk it is factored: a row per (root, path), and the origins that have the root. Here the two are multiplied out, in
DuckDB and as they are asked for, so that forks that share a root cost nothing until somebody reads them. The rule is the one
by which `pipeline.stages.ledger` counts:

- of an origin that opted out every file is `opted_out`, but for what is no file or could not be listed;
- a kept row stands for one occurrence, that of the origin which speaks for the root; at the root's other origins it is an
  exact duplicate of it. The same holds for a row that was dropped for another content's sake: the other origins'
  occurrences are duplicates of the one that lost.
"""

from __future__ import annotations

from collections.abc import Collection

from pipeline.row_ids import ROW_ID_SQL
from pipeline.tables import BEFORE_OPTOUT, ONCE, STAGES, Reason

_BEFORE_OPTOUT, _ONCE = (", ".join(f"'{reason}'" for reason in listed) for listed in (BEFORE_OPTOUT, ONCE))
COLUMNS = (
    "origin",
    "root",
    "path",
    "kind",
    "swhid",
    "sha1_git",
    "sha1",
    "sha256",
    "length",
    "language",
    "decision",
    "stage",
    "reason",
    "detail",
    "evidence",
    "row_id",
    "stand_in",
    "stand_in_row_id",
    "similarity",
)
"""Of an occurrence, in this order; docs/explain.md says what each is."""


def _stage(reason: str) -> str:
    cases = " ".join(
        f"when split_part({reason}, '.', 1) in ({', '.join(repr(str(one)) for one in reasons)}) then '{name}'"
        for name, reasons in STAGES.items()
    )
    return f"case {cases} end"


_EVIDENCE = f"""
    case
        when reason is null then 'ids.parquet ' || row_id
        when reason = '{Reason.OPTED_OUT}' then 'origins ' || origin_id
        when stage = 'graph' then 'files ' || root
        when stage = 'licenses' then 'attributions ' || root
        when reason in ('{Reason.MISSING}', '{Reason.CORRUPT}') then 'fetch ' || sha256
        when reason in ('{Reason.LANGUAGE}', '{Reason.GENERATED}') then 'annotations/language ' || sha256
        when reason = '{Reason.SECRETS_BUDGET}' then 'annotations/released ' || sha256
        when reason = '{Reason.NEAR_DUPLICATE}' then 'candidates ' || sha256 || ' ' || stand_in
        when reason = '{Reason.REPEATED}' then 'annotations/blocks ' || sha256
        when reason = '{Reason.OVER_CAP}' then 'caps ' || sha256
        when stage = 'election' then 'contents ' || coalesce(stand_in, sha256)
        else 'annotations/text ' || sha256
    end
"""


def expanded(ledger: str, places: str, *, where: str = "true") -> str:
    """The query for all occurrences of two tables, of the same roots: the ledger and the index's `places`.

    `where` is a condition on `COLUMNS`. Paths are bytes; they are escaped by whoever shows them.
    """
    return f"""
        select {", ".join(COLUMNS)} from (
            select *, {_EVIDENCE} as evidence from (
                select *, {_stage("reason")} as stage, case when reason is null then 'kept' else 'dropped' end as decision,
                    case when reason is null then {ROW_ID_SQL.format(sha256="sha256")} end as row_id,
                    case when stand_in is not null then {ROW_ID_SQL.format(sha256="stand_in")} end as stand_in_row_id
                from (
                    select p.origin, p.origin_id, l.root, l.path, l.kind, l.sha1_git, l.sha1, l.sha256, l.length, l.language,
                        case when l.kind = 'file' then 'swh:1:cnt:' || l.sha1_git end as swhid,
                        p.opted_out and coalesce(l.reason not in ({_BEFORE_OPTOUT}), true) as gone,
                        not gone and not p.speaks
                            and (l.reason is null or l.reason in ({_ONCE})) as copy,
                        case when gone then '{Reason.OPTED_OUT}' when copy then '{Reason.EXACT_DUPLICATE}'
                            else l.reason end as reason,
                        case when gone then null when copy then 'same repository content at another origin'
                            else l.detail end as detail,
                        case when gone then null when copy then l.sha256 else l.stand_in end as stand_in,
                        case when not gone and not copy then l.similarity end as similarity
                    from {ledger} l join {places} p on p.root = l.root
                )
            )
        ) where {where}
    """


def condition(
    *,
    decisions: Collection[str] = (),
    stages: Collection[str] = (),
    reasons: Collection[str] = (),
    origins: Collection[str] = (),
    languages: Collection[str] = (),
    path_prefix: str | None = None,
) -> str:
    """A condition on occurrences; what is not given does not matter. `quality` means every `quality.<rule>`."""
    parts = [
        _one_of("decision", decisions),
        _one_of("stage", stages),
        _one_of("origin", origins),
        _one_of("language", languages),
    ]
    if reasons:
        family = _one_of("split_part(reason, '.', 1)", reasons)
        parts.append(f"({_one_of('reason', reasons)} or {family})")
    if path_prefix is not None:
        text = path_prefix.encode()
        parts.append(f"starts_with(hex(path), '{text.hex().upper()}')")
    return " and ".join(part for part in parts if part) or "true"


def _one_of(column: str, values: Collection[str]) -> str:
    return f"{column} in ({', '.join(quoted(value) for value in sorted(values))})" if values else ""


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
