"""Look-ups for `pipeline explain` and `pipeline ledger`: small tables that stay in the bucket of the id that is asked for.

A routed table is read from as many objects as there are buckets; what answers one question must be one object, sorted by the
id, so that Parquet's statistics lead to the row group. Nothing here decides anything, and no released byte depends on it.

    ledger ─▶ index.contents ─▶ index      content, SHA-256, SHA-1, released text, root, revision, snapshot -> where to look
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.stages.ledger import BY_CONTENT
from pipeline.tables import EDGES, ORIGINS, REPLACED

SHA256 = pa.schema([("sha256", pa.string()), ("sha1_git", pa.string())])
SHA1 = pa.schema([("sha1", pa.string()), ("sha1_git", pa.string())])
NAMES = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),  # snapshot | revision
        ("origin_id", pa.string()),
        ("origin", pa.string()),
    ]
)
"""Which origins were read at a snapshot or revision."""

CANDIDATES = pa.schema(
    [
        ("sha256", pa.string()),
        ("other", pa.string()),
        ("inter", pa.int64()),
        ("union", pa.int64()),
        ("estimated", pa.bool_()),  # from the sketches
    ]
)
"""Compared pairs, in both directions."""

FATES = pa.schema(
    [
        *SHA256,
        ("stand_in", pa.string()),  # sha256 of what is kept, or was replaced in its turn; null: nothing
        ("reason", pa.string()),
        ("similarity", pa.string()),
    ]
)
"""A content by its SHA-256, and what stands in for it."""

TEXTS = pa.schema([("content_sha256", pa.string()), ("sha256", pa.string())])
PLACES = pa.schema(
    [
        ("root", pa.string()),
        ("origin_id", pa.string()),
        ("origin", pa.string()),
        ("opted_out", pa.bool_()),
        ("speaks", pa.bool_()),  # for its root: the best-ranked of those that did not opt out
        ("revision", pa.string()),
        ("revision_date", pa.int64()),  # microseconds since the epoch
        ("is_fork", pa.bool_()),
        ("stars", pa.int64()),
        ("forks", pa.int64()),
    ]
)
"""The origins of a root."""

_SHA1, _SHA256 = "'[0-9a-f]{40}'", "'[0-9a-f]{64}'"  # a graph may hold other things


def contents(task: Task) -> Mapping[str, pa.Table]:
    """Contents with their roots, and what other ids lead to them, on its way to the buckets of these ids."""
    rows = task.read("by_content")
    hashes = task.sql(
        f"select distinct sha256, sha1_git from t where regexp_full_match(sha256, {_SHA256})", t=rows
    )
    sha1 = task.sql(f"select distinct sha1, sha1_git from t where regexp_full_match(sha1, {_SHA1})", t=rows)
    edges = _read(task, "edges", EDGES)
    names = task.sql(
        f"""
        select snapshot as id, 'snapshot' as kind, origin_id, origin from o where regexp_full_match(snapshot, {_SHA1})
        union all
        select revision, 'revision', origin_id, origin from o where regexp_full_match(revision, {_SHA1})
        """,
        o=task.read("origins", ["origin_id", "origin", "snapshot", "revision"]),
    )
    return {
        "contents": rows,
        "hashes": hashes,
        "sha1": sha1,
        "candidates": task.sql(
            """
            select high_sha256 as sha256, low_sha256 as other, inter, "union", estimated from e
            union all select low_sha256, high_sha256, inter, "union", estimated from e
            """,
            e=edges,
        ),
        "names": names,
    }


def index(task: Task) -> Mapping[str, pa.Table]:
    """Everything in the bucket of its own id."""
    fates = task.sql(
        "select h.*, r.stand_in, r.reason, r.similarity from h left join r using (sha256)",
        h=task.read("hashes"),
        r=_read(task, "replaced", REPLACED),
    )
    places = task.sql(
        """
        select o.directory as root, o.origin_id, o.origin, o.opted_out,
            not o.opted_out and coalesce(o.origin = r.origin, false) as speaks,
            o.revision, o.revision_date, o.is_fork, o.stars, o.forks
        from o join r on r.root = o.directory
        """,
        o=task.read("by_root", [*(name for name in ORIGINS.names if name in PLACES.names), "directory"]),
        r=task.read("roots", ["root", "origin"]),
    )
    return {
        "by_sha256": fates,
        "by_sha1": task.read("sha1"),
        "by_text": task.read("elected", TEXTS.names),
        "candidates": task.read("candidates"),
        "members": _read(task, "stand_ins", REPLACED),
        "places": places,
        "names": task.read("names"),
    }


def _read(task: Task, name: str, schema: pa.Schema) -> pa.Table:
    return task.read(name) if task.refs[name] else schema.empty_table()


@dataclass(frozen=True)
class Index:
    """The two finished stages."""

    contents: Done
    done: Done


def make_index(
    runner: Runner,
    *,
    ledger: Done,
    origins: Done,
    roots: Done,
    elected: Done,
    edges: Sequence[Ref],
    replaced: Sequence[Ref],
    stand_ins: Sequence[Ref],
) -> Index:
    """Run both stages. `edges`: the compared pairs; `replaced` by content, `stand_ins` by what stands in for it."""
    first = runner.run(
        Stage(
            name="index.contents",
            run=contents,
            inputs={"by_content": ledger.ref("by_content"), "edges": edges, "origins": origins.ref("ledger")},
            outputs={
                "contents": Output(schema=BY_CONTENT, order=("sha1_git", "root")),
                "hashes": Output(schema=SHA256, order=("sha256", "sha1_git"), route="sha256"),
                "sha1": Output(schema=SHA1, order=("sha1", "sha1_git"), route="sha1"),
                "candidates": Output(schema=CANDIDATES, order=("sha256", "other"), route="sha256"),
                "names": Output(schema=NAMES, order=("id", "kind", "origin_id"), route="id"),
            },
        )
    )
    done = runner.run(
        Stage(
            name="index",
            run=index,
            inputs={
                **{name: first.ref(name) for name in ("hashes", "sha1", "candidates", "names")},
                "replaced": replaced,
                "stand_ins": stand_ins,
                "elected": elected.ref("elected"),
                "by_root": origins.ref("by_root"),
                "roots": roots.ref("roots"),
            },
            outputs={
                "by_sha256": Output(schema=FATES, order=("sha256", "sha1_git")),
                "by_sha1": Output(schema=SHA1, order=("sha1", "sha1_git")),
                "by_text": Output(schema=TEXTS, order=("content_sha256", "sha256")),
                "candidates": Output(schema=CANDIDATES, order=("sha256", "other")),
                "members": Output(schema=REPLACED, order=("stand_in", "sha256")),
                "places": Output(schema=PLACES, order=("root", "origin_id")),
                "names": Output(schema=NAMES, order=("id", "kind", "origin_id")),
            },
        )
    )
    return Index(contents=first, done=done)
