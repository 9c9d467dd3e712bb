"""The review queue: license evidence that a person should look at, by content, and the commonest unknown license texts.

    evidence, files, headers that refused ─▶ doubts, by place        licenses.doubts    by root
    doubts, bodies ─▶ one row per content to review, with its text   licenses.review    by content
    unknown texts ─▶ the commonest, by what their words are          licenses.unknown   by text

It is made with every release and is no part of it: it names files that the release says nothing of. Only the figures of the
last stage go into a release's report, without places. What was decided (`licenses.decisions`) is not in it any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from licensing.decisions import Decisions
from licensing.names import license_text
from licensing.policy import NONE_FOUND, Policy
from licensing.review import (
    UNKNOWN_TEXT,
    Doubt,
    conflict,
    doubtful_part,
    excerpt,
    fingerprint,
    reasons_for,
    statements,
)
from licensing.text import read_text
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task, as_path
from pipeline.shown_text import safe_texts
from pipeline.stages.fetch import BODIES_OF
from pipeline.stages.licenses import DETECTIONS_OF
from pipeline.stages.reading import in_batches
from pipeline.tables import COUNTERS, Reason

SOURCE = b""
"""In the place of a name's detection class: a source file, which speaks of licenses in its header only."""

DOUBTS = pa.schema(
    [
        ("sha256", pa.string()),
        ("name", pa.binary()),  # detection class, or SOURCE
        ("root", pa.string()),
        ("sha1_git", pa.string()),
        ("reasons", pa.list_(pa.string())),  # licensing.review.Doubt
        ("expression", pa.string()),  # of a header that refused; null for others
        ("directory_expression", pa.string()),  # what its directory has, for a header
        ("places", pa.int64()),  # files of the root that have the content
        ("files", pa.int64()),  # candidates of the root that it decides on
        ("origins", pa.int64()),  # that have the root and did not opt out
        ("origin", pa.string()),  # the best-ranked of them
        ("path", pa.binary()),  # of the first place
    ]
)

REVIEW = pa.schema(
    [
        ("sha256", pa.string()),
        ("sha1_git", pa.string()),
        ("name", pa.binary()),
        ("reasons", pa.list_(pa.string())),  # sorted as licensing.review.Doubt
        ("expression", pa.string()),
        ("directory_expression", pa.string()),
        ("score", pa.float32()),  # the lowest of its detections
        ("statements", pa.list_(pa.string())),
        ("files", pa.int64()),  # occurrences whose decision it bears on
        ("occurrences", pa.int64()),
        ("origins", pa.int64()),
        ("origin", pa.string()),
        ("path", pa.binary()),
        ("text_digest", pa.string()),  # licensing.review.fingerprint; null where there is no text
        ("excerpt", pa.string()),
    ]
)

UNKNOWN_PLACES = pa.schema(
    [
        ("text_digest", pa.string()),
        ("reason", pa.string()),
        ("sha256", pa.string()),
        ("root", pa.string()),
        ("origins", pa.int64()),
        ("places", pa.int64()),
        ("excerpt", pa.string()),  # without holders
    ]
)

UNKNOWN = pa.schema(
    [
        ("text_digest", pa.string()),
        ("reason", pa.string()),
        ("contents", pa.int64()),
        ("files", pa.int64()),  # occurrences
        ("origins", pa.int64()),
        ("excerpt", pa.string()),
    ]
)

TOP_TEXTS = 50
EXCERPT_ORIGINS = 3
"""Origins that a text must have for a report to quote it: the words of a rarer one would tell whose files were dropped."""

_BEST = "origins desc, files desc, text_digest"


# ------------------------------------------------------------------------------------------------- by root


def doubts(task: Task) -> Mapping[str, pa.Table]:
    """What is doubtful about the license evidence of the bucket's roots, and how many files it decides on."""
    policy = Policy.load(task.kept("policy"))
    roots = task.sql("select * from r where opted_out < origins", r=task.read("roots"))
    evidence = task.sql(
        "select e.*, row_number() over (order by root, path, sha1_git) - 1 as row from e semi join r using (root)"
        " order by row",
        e=task.read("evidence"),
        r=roots,
    )
    found = [*_of_files(evidence, policy), *_of_directories(task, evidence, policy)]
    marks = pa.table(
        {"row": [row for row, _ in found], "reason": [str(doubt) for _, doubt in found]},
        schema=pa.schema([("row", pa.int64()), ("reason", pa.string())]),
    )
    files = task.sql(
        "select f.root, f.path, f.directory, f.sha256 from f semi join r using (root) where f.reason is null",
        f=task.read("files"),
        r=roots,
    )
    places = task.sql(
        "select e.*, m.reason from e join m using (row)", e=evidence.drop_columns(["detections"]), m=marks
    )
    weighed = _weighed(task, places, evidence, files, policy)
    rows = task.sql(
        """
        select w.sha256, w.name, w.root, any_value(w.sha1_git) as sha1_git, list(distinct w.reason) as reasons,
            null::varchar as expression, null::varchar as directory_expression, count(distinct w.path) as places,
            max(w.files) as files, any_value(r.origins - r.opted_out) as origins, any_value(r.origin) as origin,
            min(w.path) as path
        from w join r using (root) where w.sha256 is not null group by w.sha256, w.name, w.root
        """,
        w=weighed,
        r=roots,
    )
    headers = task.sql(
        f"""
        select f.sha256, ''::blob as name, f.root, any_value(d.sha1_git) as sha1_git,
            ['{Doubt.HEADER_CONFLICT}'] as reasons, any_value(d.detail) as expression,
            min(a.license_expression) as directory_expression, count(*) as places, count(*) as files,
            any_value(r.origins - r.opted_out) as origins, any_value(r.origin) as origin, min(f.path) as path
        from d join f using (root, path) join r using (root)
            left join a on a.root = f.root and a.dir = f.directory
        where d.reason = '{Reason.LICENSE_HEADER}' and f.sha256 is not null group by f.sha256, f.root
        """,
        d=task.read("refused"),
        f=files,
        r=roots,
        a=task.read("attributions", ["root", "dir", "license_expression"]),
    )
    return {
        "doubts": pa.concat_tables([table.select(DOUBTS.names).cast(DOUBTS) for table in (rows, headers)])
    }


def _of_files(evidence: pa.Table, policy: Policy) -> Iterator[tuple[int, Doubt]]:
    """(row, doubt) of what is doubtful about a file by itself."""
    known: dict[tuple[str, bytes], list[Doubt]] = {}
    columns = (evidence[name].to_pylist() for name in ("sha256", "name", "expression", "detections"))
    for row, (sha256, name, expression, detections) in enumerate(zip(*columns, strict=True)):
        if detections is None:
            # Its bytes were not to be had: a license text by its name may be all that a directory has.
            if name == b"LICENSE":
                yield row, Doubt.NOT_READ
            continue
        if (sha256, name) not in known:
            known[sha256, name] = reasons_for(name, expression, detections, policy)
        yield from ((row, doubt) for doubt in known[sha256, name])


def _of_directories(task: Task, evidence: pa.Table, policy: Policy) -> Iterator[tuple[int, Doubt]]:
    """(row, doubt) of the files of directories whose manifests and license texts contradict each other."""
    both = task.sql(
        """
        select list(row) filter (where name not in ('LICENSE'::blob, 'README'::blob)) as manifests,
            list(expression) filter (where name not in ('LICENSE'::blob, 'README'::blob)) as declared,
            list(row) filter (where name = 'LICENSE'::blob) as texts,
            list(expression) filter (where name = 'LICENSE'::blob) as stated
        from e where expression is not null group by root, directory
        having len(declared) > 0 and len(stated) > 0
        """,
        e=evidence.drop_columns(["detections"]),
    )
    for one in both.to_pylist():
        if conflict(set(one["declared"]), set(one["stated"]), policy):
            yield from ((row, Doubt.DECLARED_CONFLICT) for row in sorted((*one["manifests"], *one["texts"])))


def _weighed(task: Task, places: pa.Table, evidence: pa.Table, files: pa.Table, policy: Policy) -> pa.Table:
    """`places` with `files`: the candidates for which the place's directory is the nearest that holds evidence.

    A doubtful file counts as evidence here whether it is or not: it would be, were it decided.
    """
    expressions = evidence["expression"].combine_chunks().dictionary_encode()
    tells = [policy.decide(one).sub_reason != NONE_FOUND for one in expressions.dictionary.to_pylist()]
    states = pc.fill_null(pa.array(tells, pa.bool_()).take(expressions.indices), False)
    base = pa.array([path.rpartition(b"/")[2] for path in evidence["path"].to_pylist()], pa.binary())
    telling = evidence.filter(pc.or_(states, license_text(base)))
    bounds = task.sql(
        "select distinct root, directory from t semi join p using (root) union select distinct root, directory from p",
        t=telling.select(["root", "directory"]),
        p=places.select(["root", "directory"]),
    )
    counted = task.sql(
        "select root, directory, count(*) as n from f semi join p using (root) group by all",
        f=files,
        p=places.select(["root"]),
    )
    holders = _by_root(bounds.to_pylist())
    below: Counter[tuple[str, bytes]] = Counter()
    for one in counted.to_pylist():
        nearest = _nearest(one["directory"], holders.get(one["root"], frozenset()))
        if nearest is not None:
            below[one["root"], nearest] += one["n"]
    keys = zip(places["root"].to_pylist(), places["directory"].to_pylist(), strict=True)
    return places.append_column("files", pa.array([below[key] for key in keys], pa.int64()))


def _by_root(rows: Iterable[Mapping[str, Any]]) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for one in rows:
        found.setdefault(one["root"], set()).add(one["directory"])
    return found


def _nearest(directory: bytes, holders: Iterable[bytes]) -> bytes | None:
    """The directory itself or the nearest one above it that is among `holders`."""
    while directory not in holders:
        if not directory:
            return None
        directory = directory.rpartition(b"/")[0]
    return directory


# ---------------------------------------------------------------------------------------------- by content


def queue(task: Task) -> Mapping[str, pa.Table]:
    """One row per content and class that is to be reviewed, and the places of unknown license texts."""
    decided = list(Decisions.load(task.kept("decisions")).by_sha256)
    doubtful = task.read("doubts")
    doubtful = doubtful.filter(
        pc.invert(pc.is_in(doubtful["sha256"], value_set=pa.array(decided, pa.string())))
    )
    contents = task.sql(
        """
        select sha256, name, any_value(sha1_git) as sha1_git, list_sort(list_distinct(flatten(list(reasons)))) as reasons,
            min(expression) as header, min(directory_expression) as directory_expression,
            sum(files * origins)::bigint as files, sum(places * origins)::bigint as occurrences,
            sum(origins)::bigint as origins, arg_min(origin, (origin, path)) as origin, arg_min(path, (origin, path)) as path
        from t group by sha256, name order by sha256, name
        """,
        t=doubtful,
    )
    found = task.sql(
        """
        select c.*, d.expression, d.detections, 1 as length from c left join d using (sha256, name) order by sha256, name
        """,
        c=contents,
        d=DETECTIONS_OF.open(task).read(wanted=contents),
    )
    rows = [row for piece in _pieces(found) for row in _read(task, piece)]
    texts = pa.table(
        {
            "sha256": [row["sha256"] for row, _, _ in rows],
            "name": [row["name"] for row, _, _ in rows],
            "text_digest": [row["text_digest"] for row, _, _ in rows],
            "reason": [reason for _, reason, _ in rows],
            "excerpt": [public for _, _, public in rows],
        },
        schema=pa.schema(
            [("sha256", pa.string()), ("name", pa.binary()), ("text_digest", pa.string()), ("reason", pa.string()),
             ("excerpt", pa.string())]
        ),
    )  # fmt: skip
    unknown = task.sql(
        """
        select x.text_digest, x.reason, p.sha256, p.root, p.origins, p.places, x.excerpt
        from p join x using (sha256, name) where x.reason is not null and x.text_digest is not null
        """,
        p=doubtful,
        x=texts,
    )
    return {
        "review": pa.Table.from_pylist([row for row, _, _ in rows], schema=REVIEW),
        "unknown": unknown.select(UNKNOWN_PLACES.names).cast(UNKNOWN_PLACES),
    }


_LOOKED_AT = 64 << 10  # characters of a text: an excerpt is from its beginning
_PIECE = 64  # contents whose bodies are held at once


def _pieces(found: pa.Table) -> Iterator[pa.Table]:
    return in_batches(found, "length", _PIECE)


def _read(task: Task, piece: pa.Table) -> Iterator[tuple[dict[str, Any], str | None, str | None]]:
    """(row of REVIEW, sub-reason of an unknown license text, its excerpt for the report) of some contents."""
    held = BODIES_OF.open(task).read(wanted=piece)
    bodies = dict(zip(held["sha256"].to_pylist(), held["body"], strict=True))
    for one in piece.to_pylist():
        detections = one.pop("detections") or []
        body = bodies.get(one["sha256"])
        read = None if body is None else read_text(body.as_py())
        text = "" if read is None else read.text
        if body is not None and Doubt.UNEXPLAINED in one["reasons"]:
            text = doubtful_part(body.as_py(), detections) or text
        # Before anything is cut: half a secret is not recognised.
        safe = safe_texts([text[:_LOOKED_AT]])[0] or ""
        unknown = next((str(doubt) for doubt in UNKNOWN_TEXT if doubt in one["reasons"]), None)
        row = {
            **one,
            "reasons": [str(doubt) for doubt in Doubt if doubt in one["reasons"]],
            "expression": one["header"] if one["name"] == SOURCE else one["expression"],
            "score": min((each["score"] for each in detections), default=None),
            "statements": statements(detections),
            "text_digest": fingerprint(text) if one["name"] == b"LICENSE" else None,
            "excerpt": excerpt(safe, holders=True) if read is not None else None,
        }
        yield row, unknown if one["name"] == b"LICENSE" else None, excerpt(safe, holders=False)


# ------------------------------------------------------------------------------------------------- by text


def unknown_texts(task: Task) -> Mapping[str, pa.Table]:
    """The commonest unknown license texts of the bucket; all of them are counted."""
    found = task.sql(
        f"""
        with by_root as (
            select text_digest, root, any_value(origins) as origins, sum(places * origins)::bigint as files
            from t group by text_digest, root
        ), by_text as (
            select text_digest, arg_min(reason, sha256) as reason, count(distinct sha256) as contents,
                arg_min(excerpt, sha256) as excerpt
            from t group by text_digest
        )
        select text_digest, any_value(reason) as reason, any_value(contents) as contents, sum(files)::bigint as files,
            sum(origins)::bigint as origins, any_value(excerpt) as excerpt
        from by_text join by_root using (text_digest) group by text_digest order by {_BEST}
        """,
        t=task.read("unknown"),
    )
    sums = {"section": ["unknown_licenses"], "name": ["files"], "rows": [found.num_rows],
            "amount": [pc.sum(found["files"]).as_py() or 0]}  # fmt: skip
    return {
        "unknown": found.slice(0, TOP_TEXTS).select(UNKNOWN.names).cast(UNKNOWN),
        "counters": pa.table(sums).cast(COUNTERS),
    }


def commonest(task: Task, found: pa.Table) -> pa.Table:
    """The commonest of the commonest of all buckets."""
    return task.sql(f"select * from t order by {_BEST} limit {TOP_TEXTS}", t=found)


def review_wave(
    runner: Runner, *, files: Done, roots: Done, evidence: Done, licenses: Done, judged: Done, policy: str | None,
    decisions: str | None,
) -> tuple[Done, Done]:  # fmt: skip
    """Make the queue. Returns the stages with `review` and with `unknown`."""
    found = runner.run(
        Stage(
            name="licenses.doubts",
            run=doubts,
            inputs={
                "files": files.ref("files"),
                "roots": roots.ref("roots"),
                "evidence": evidence.ref("rows"),
                "attributions": licenses.ref("attributions"),
                "refused": judged.ref("dropped"),
            },
            outputs={"doubts": Output(schema=DOUBTS, order=("sha256", "name", "root"), route="sha256")},
            config={"policy": Policy.load(as_path(policy)).digest},
            extra={"policy": runner.keep(policy)},
            libraries=("duckdb", "pyarrow", "license-expression"),
        )
    )
    queued = runner.run(
        Stage(
            name="licenses.review",
            run=queue,
            inputs={"doubts": found.ref("doubts")},
            outputs={
                "review": Output(schema=REVIEW, order=("sha256", "name")),
                "unknown": Output(
                    schema=UNKNOWN_PLACES, order=("text_digest", "sha256", "root"), route="text_digest"
                ),
            },
            config={
                "stores": evidence.stage.config["stores"],
                "decisions": Decisions.load(as_path(decisions)).digest,
            },
            extra={"decisions": runner.keep(decisions)},
        )
    )
    texts = runner.run(
        Stage(
            name="licenses.unknown",
            run=unknown_texts,
            inputs={"unknown": queued.ref("unknown")},
            outputs={
                "unknown": Output(schema=UNKNOWN, order=("text_digest",)),
                "counters": Output(schema=COUNTERS, order=("section", "name")),
            },
        )
    )
    return queued, texts
