"""Figures of what was kept, and of what near-duplicates took, for `stats.json` and `report.html`.

    kept, annotations, near-duplicates ─▶ counters, best rows, origins    figures.rows      by content
    origins ─▶ counters, best origins, alarms                             figures.origins   by origin
    roots, fork networks                                                  pipeline.stages.repositories
    all of them ─▶ one JSON object                                        figures           small by design

Counters add up, best rows and origins are the best of the best: bounded per bucket, the same for any number of buckets.
The result is what `manifests.row_figures` counts from the rows of the release, and what these do not tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from manifests.statistics import (
    ALARM_LEAST,
    ALARM_PERCENT,
    FIRST_YEAR,
    GROUP_LIMITS,
    LAST_YEAR,
    LINE_LIMITS,
    SIZE_LIMITS,
    TOP_ORIGINS,
    TOP_ROWS,
    histogram,
)
from pipeline.content.names import escape_paths
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.row_ids import row_id
from pipeline.stages.license_review import EXCERPT_ORIGINS, commonest
from pipeline.stages.repositories import largest as largest_repositories
from pipeline.stages.repositories import repositories_wave
from pipeline.stages.secrets import RELEASED_OF, TextForm, released_stores
from pipeline.stages.text_signals import SIGNALS_OF
from pipeline.stages.texts import TEXT_OF
from pipeline.tables import COUNTERS

BEST_ROWS = pa.schema(
    [
        ("list", pa.string()),  # largest_clusters | most_copied
        ("value", pa.int64()),
        ("sha256", pa.string()),
        ("language", pa.string()),
        ("origin", pa.string()),
        ("path", pa.binary()),
        ("length_bytes", pa.int64()),
        ("num_lines", pa.int64()),
    ]
)
ORIGINS = pa.schema(
    [
        ("route", pa.string()),  # sha256 of the origin
        ("origin", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),  # of the originals
        ("entered", pa.int64()),  # contents elected from it that came to the search for near-duplicates
        ("dropped", pa.int64()),  # of them
    ]
)
BEST_ORIGINS = pa.schema([("list", pa.string()), *[f for f in ORIGINS if f.name != "route"]])
RESULT = pa.schema([("figures", pa.string())])

_KEPT = [
    "sha256", "num_occurrences", "path", "length", "is_vendor", "origin", "revision_date", "language", "is_generated",
    "cluster_size",
]  # fmt: skip
_LISTS = {"largest_clusters": "cluster_size", "most_copied": "num_occurrences"}
_CLASSES = {
    "file_sizes": ("length", SIZE_LIMITS, 0),
    "lines": ("num_lines", LINE_LIMITS, 0),
    "copies": ("num_occurrences", GROUP_LIMITS, 1),
    "clusters": ("cluster_size", GROUP_LIMITS, 1),
}
# Microseconds that DuckDB has a calendar for; a date outside of them is implausible anyway.
_YEAR = f"""case when revision_date is null then 'unknown'
    when revision_date not between -62135596800000000 and 253402300799999999 then 'implausible'
    when year(make_timestamp(revision_date)) between {FIRST_YEAR} and {LAST_YEAR}
    then year(make_timestamp(revision_date))::varchar else 'implausible' end"""


def count_rows(task: Task) -> Mapping[str, pa.Table]:
    """Count the kept contents of the bucket, and the contents that came to the search for near-duplicates."""
    kept = task.read("kept", _KEPT)
    table = task.sql(
        """
        select k.*, t.encoding, q.num_lines, r.redactions, r.spared, r.explained, r.pragmas
        from k join t using (sha256) join q using (sha256) join r using (sha256)
        """,
        k=kept,
        t=TEXT_OF.open(task).read(["encoding"], wanted=kept),
        q=SIGNALS_OF.open(task).read(["num_lines"], wanted=kept),
        r=RELEASED_OF.open(task).read(["redactions", "spared", "explained", "pragmas"], wanted=kept),
    )
    require_all("released", kept.num_rows, table.num_rows)
    entered, replaced = _searched(task)
    near = task.sql(
        "select e.language, e.origin, r.sha256 is not null as gone from e left join r using (sha256)",
        e=entered,
        r=replaced,
    )
    best = [_best_rows(task, table, name, column) for name, column in _LISTS.items()]
    return {
        "counters": pa.concat_tables([_counters(task, table), _near_counters(task, near)]),
        "best": pa.concat_tables(best),
        "origins": task.sql(
            """
            select sha256(origin) as route, origin, sum(rows)::bigint as rows, sum(bytes)::bigint as bytes,
                sum(entered)::bigint as entered, sum(dropped)::bigint as dropped
            from (
                select origin, 1 as rows, length as bytes, 0 as entered, 0 as dropped from k
                union all select origin, 0, 0, 1, gone::int from n
            ) group by origin
            """,
            k=table,
            n=near,
        ).cast(ORIGINS),
    }


def _searched(task: Task) -> tuple[pa.Table, pa.Table]:
    """The contents that near-duplicates were sought among, and those that were found; none where it is off."""
    if not task.refs["replaced"]:
        nothing = pa.schema([("sha256", pa.string()), ("language", pa.string()), ("origin", pa.string())])
        return nothing.empty_table(), nothing.empty_table()
    columns = ["sha256", "language", "origin"]
    return task.read("entered", columns), task.read("replaced", ["sha256"])


def _counters(task: Task, table: pa.Table) -> pa.Table:
    classes = [
        f"select '{name}', ({' + '.join(f'({column} >= {bound})::int' for bound in limits)})::varchar, 1, 0 from t"
        for name, (column, limits, _) in _CLASSES.items()
    ]
    sums = {
        "original_bytes": "length",
        "generated_rows": "is_generated::int",
        "vendored_rows": "is_vendor::int",
        "copies_represented": "num_occurrences - 1",
        "near_duplicates_represented": "cluster_size - 1",
        "redacted_rows": "(len(redactions) > 0)::int",
        "pragmas": "pragmas",
    }
    lines = [f"select 'sums', '{name}', 0, {value} from t" for name, value in sums.items()]
    return task.sql(
        f"""
        with one(section, name, rows, amount) as (
            select 'encodings', encoding, 1, 0 from t
            union all select 'years', {_YEAR}, 1, 0 from t
            union all select 'redactions', kind, 1, n from (
                select sha256, s.kind as kind, count(*) as n from (select sha256, unnest(redactions) as s from t)
                group by sha256, s.kind
            )
            union all select 'secret_rules', rule, 1, n from (
                select sha256, s.kind || ' ' || s.rule as rule, count(*) as n
                from (select sha256, unnest(redactions) as s from t) group by sha256, s.kind, s.rule
            )
            union all select 'secret_languages', s.kind || ' ' || language, 1, 1
                from (select language, unnest(redactions) as s from t)
            union all select 'secrets_explained', s.why, 1, s.findings from (select unnest(explained) as s from t)
            union all select 'secrets_spared', s.why, 1, 1 from (select unnest(spared) as s from t)
            {" ".join("union all " + line for line in [*classes, *lines])}
        )
        select section, name, sum(rows)::bigint as rows, sum(amount)::bigint as amount from one group by section, name
        """,
        t=table,
    ).cast(COUNTERS)


def _near_counters(task: Task, near: pa.Table) -> pa.Table:
    return task.sql(
        """
        select 'near' as section, language as name, count(*)::bigint as rows, sum(gone::int)::bigint as amount
        from n group by language
        """,
        n=near,
    ).cast(COUNTERS)


def _best_rows(task: Task, table: pa.Table, name: str, column: str) -> pa.Table:
    return task.sql(
        f"""
        select '{name}' as list, {column} as value, sha256, language, origin, path, length as length_bytes, num_lines
        from t where {column} > 1 order by value desc, sha256 limit {TOP_ROWS}
        """,
        t=table,
    ).cast(BEST_ROWS)


def count_origins(task: Task) -> Mapping[str, pa.Table]:
    """Add up the origins of the bucket. An origin without rows is counted and never named: a release says nothing of it."""
    table = task.sql(
        """
        select origin, sum(rows)::bigint as rows, sum(bytes)::bigint as bytes, sum(entered)::bigint as entered,
            sum(dropped)::bigint as dropped,
        from t group by origin
        """,
        t=task.read("origins"),
    )
    alarm = f"entered >= {ALARM_LEAST} and 100 * dropped > {ALARM_PERCENT} * entered"
    counters = task.sql(
        f"""
        select 'origins' as section, 'with_rows' as name, count(*) filter (where rows > 0) as rows,
            0::bigint as amount from t
        union all select 'origins', 'alarms_without_rows', count(*) filter (where rows = 0 and {alarm}), 0 from t
        """,
        t=table,
    )
    best = task.sql(
        f"""
        (select 'rows' as list, * from t where rows > 0 order by rows desc, origin limit {TOP_ORIGINS})
        union all (select 'alarms', * from t where rows > 0 and {alarm} order by dropped desc, origin limit {TOP_ORIGINS})
        """,
        t=table,
    )
    return {"counters": counters.cast(COUNTERS), "best": best.select(BEST_ORIGINS.names).cast(BEST_ORIGINS)}


def merge(task: Task) -> Mapping[str, pa.Table]:
    """All figures as one JSON object: `rows` (as manifests.row_figures has them), `near` (null where it is off),
    `repositories`.
    """
    counters: dict[str, dict[str, tuple[int, int]]] = {}
    summed = task.sql(
        "select section, name, sum(rows)::bigint as rows, sum(amount)::bigint as amount from t group by section, name",
        t=task.read_all("counters"),
    )
    for one in summed.to_pylist():
        counters.setdefault(one["section"], {})[one["name"]] = one["rows"], one["amount"]
    rows = task.read_all("best_rows")
    lists = {name: _rows_of(task, rows, name, column) for name, column in _LISTS.items()}
    origins = task.read_all("best_origins")
    sums = {name: amount for name, (_, amount) in counters.get("sums", {}).items()}
    names = (
        "original_bytes", "redacted_rows", "generated_rows", "vendored_rows", "copies_represented",
        "near_duplicates_represented",
    )  # fmt: skip
    figures = {
        **{name: sums.get(name, 0) for name in names},
        "encodings": {name: rows for name, (rows, _) in counters.get("encodings", {}).items()},
        "redactions": {
            kind: {"spans": spans, "rows": rows}
            for kind, (rows, spans) in counters.get("redactions", {}).items()
        },
        "years": {year: rows for year, (rows, _) in counters.get("years", {}).items()},
        **{
            name: histogram(limits, _class_rows(counters.get(name, {}), limits), first=first)
            for name, (_, limits, first) in _CLASSES.items()
        },
        **lists,
        "origins_with_rows": counters["origins"]["with_rows"][0],
        "top_origins": _origins_of(task, origins, "rows", "rows", ["origin", "rows", "bytes"]),
    }
    near = None
    if task.config["near"]:
        shown = ["origin", "rows", "entered", "dropped"]
        near = {
            "languages": {
                name: {"entered": entered, "dropped": dropped}
                for name, (entered, dropped) in counters.get("near", {}).items()
            },
            "origins": {
                "alarms": _origins_of(task, origins, "alarms", "dropped", shown),
                "alarms_without_rows": counters["origins"]["alarms_without_rows"][0],
            },
        }
    told = {
        "rows": figures,
        "near": near,
        "unknown_licenses": _unknown(task, counters),
        "secrets": _secrets(counters),
        "repositories": {name: _repositories(task, counters, name) for name in ("roots", "networks")},
    }
    return {"figures": pa.table([[json.dumps(told, sort_keys=True)]], schema=RESULT)}


def _unknown(task: Task, counters: Mapping[str, Mapping[str, tuple[int, int]]]) -> dict[str, Any]:
    """The commonest license texts that nobody recognised. A rare one could tell whose it is: its words stay unsaid."""
    texts, files = counters.get("unknown_licenses", {}).get("files", (0, 0))
    return {
        "texts": texts,
        "files": files,
        "shown_from": EXCERPT_ORIGINS,
        "most": [
            {**one, "excerpt": one["excerpt"] if one["origins"] >= EXCERPT_ORIGINS else None}
            for one in commonest(task, task.read_all("unknown")).to_pylist()
        ],
    }


def _secrets(counters: Mapping[str, Mapping[str, tuple[int, int]]]) -> dict[str, Any]:
    """Redactions by rule and by language, and what was found and left: spans, by why."""
    languages: dict[str, dict[str, int]] = {}
    for name, (_, spans) in sorted(counters.get("secret_languages", {}).items()):
        kind, _, language = name.partition(" ")
        languages.setdefault(language, {})[kind] = spans
    rules: dict[str, dict[str, Any]] = {}
    for name, (rows, spans) in sorted(counters.get("secret_rules", {}).items()):
        kind, _, rule = name.partition(" ")
        named = rule if rule not in rules else f"{rule} ({kind})"
        rules[named] = {"kind": kind, "spans": spans, "rows": rows}
    return {
        "languages": languages,
        "rules": rules,
        **{
            name: {why: spans for why, (_, spans) in counters.get(f"secrets_{name}", {}).items()}
            for name in ("explained", "spared")
        },
        "pragmas": counters.get("sums", {}).get("pragmas", (0, 0))[1],
    }


def _repositories(
    task: Task, counters: Mapping[str, Mapping[str, tuple[int, int]]], name: str
) -> dict[str, Any]:
    """How many roots or networks have several origins, with what is in them, and the largest ones."""
    found = counters.get(name, {})
    best = largest_repositories(task, task.read_all("repositories")).to_pylist()
    return {
        "found": found.get("origins", (0, 0))[0],
        **{key: found.get(key, (0, 0))[1] for key in ("origins", "occurrences", "rows")},
        "largest": [
            {key: one[key] for key in ("origin", "origins", "occurrences", "rows")}
            for one in best
            if one["list"] == name
        ],
    }


def _class_rows(found: Mapping[str, tuple[int, int]], limits: Sequence[int]) -> list[int]:
    return [found.get(str(place), (0, 0))[0] for place in range(len(limits) + 1)]


def _rows_of(task: Task, rows: pa.Table, name: str, column: str) -> list[dict[str, Any]]:
    best = task.sql(
        f"select * from t where list = '{name}' order by value desc, sha256 limit {TOP_ROWS}", t=rows
    )
    paths = escape_paths(best["path"].combine_chunks().cast(pa.binary())).to_pylist()
    return [
        {
            "row_id": row_id(one["sha256"]),
            "language": one["language"],
            "origin": one["origin"],
            "path": path,
            "length_bytes": one["length_bytes"],
            "num_lines": one["num_lines"],
            column: one["value"],
        }
        for one, path in zip(best.to_pylist(), paths, strict=True)
    ]


def _origins_of(
    task: Task, origins: pa.Table, name: str, column: str, shown: Sequence[str]
) -> list[dict[str, Any]]:
    best = task.sql(
        f"select {', '.join(shown)} from t where list = '{name}' order by {column} desc, origin limit {TOP_ORIGINS}",
        t=origins,
    )
    return list(best.to_pylist())


def figures_wave(
    runner: Runner,
    kept: Done,
    searched: Done,
    near: Done | None,
    *,
    files: Done,
    roots: Done,
    origins: Done,
    unknown: Done,
    text_form: TextForm,
) -> Done:
    """Count. `searched` holds the contents that near-duplicates were sought among (`winners`), `near` those found;
    `files` are those of all roots, `origins` is the origin ledger, `unknown` has the license texts that nobody recognised.
    """
    by_row = runner.run(
        Stage(
            name="figures.rows",
            run=count_rows,
            inputs={
                "kept": kept.ref("kept"),
                "entered": searched.ref("winners"),
                "replaced": [] if near is None else [near.ref("replaced")],
                **text_form.inputs,
            },
            outputs={
                "counters": Output(schema=COUNTERS, order=("section", "name")),
                "best": Output(schema=BEST_ROWS, order=("list", "value", "sha256")),
                "origins": Output(schema=ORIGINS, order=("route",), route="route"),
            },
            config={
                "stores": {
                    **released_stores(text_form),
                    "text": TEXT_OF.key(),
                    "signals": SIGNALS_OF.key(notebooks=text_form.notebooks),
                }
            },
        )
    )
    by_origin = runner.run(
        Stage(
            name="figures.origins",
            run=count_origins,
            inputs={"origins": by_row.ref("origins")},
            outputs={
                "counters": Output(schema=COUNTERS, order=("section", "name")),
                "best": Output(schema=BEST_ORIGINS, order=("list", "rows", "origin")),
            },
        )
    )
    counters, largest = repositories_wave(
        runner,
        files=files.ref("files"),
        roots=roots.ref("roots"),
        origins_of_roots=origins.ref("by_root"),
        rows=by_row.ref("origins"),
    )
    return runner.run(
        Stage(
            name="figures",
            run=merge,
            inputs={
                "counters": [
                    by_row.ref("counters"),
                    by_origin.ref("counters"),
                    unknown.ref("counters"),
                    *counters,
                ],
                "best_rows": by_row.ref("best"),
                "best_origins": by_origin.ref("best"),
                "repositories": largest,
                "unknown": unknown.ref("unknown"),
            },
            outputs={"figures": Output(schema=RESULT, order=())},
            units="one",
            config={"near": near is not None},
        )
    )
