"""`notices.parquet`: the license files that kept rows rest on, with the copyright lines in them.

license bodies ─▶ copyright lines per content ─▶ to the roots that hold them
kept, attributions ─▶ files of evidence per root and license ─▶ by notice id ─▶ one file, and figures for NOTICE.md
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from licensing.notices import copyright_lines
from manifests.names import NOTICES_FILE
from manifests.notices import NOTICES, Noticed, figures_of, noticed_in, write_notices
from pipeline.engine.annotations import Annotator, require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.shown_text import safe_texts, with_holders
from pipeline.stages.fetch import BODIES_OF

NOTICES_OF = Annotator(
    name="notices",
    ids=("sha256",),
    schema=pa.schema([("sha256", pa.string()), ("copyrights", pa.list_(pa.string()))]),
    modules=("licensing.notices", "pipeline.shown_text"),
    functions=("pipeline.stages.notices:_lines",),
    libraries=("detect-secrets", "hyperscan", "google-re2", "phonenumberslite"),
)
LINES = pa.schema([("root", pa.string()), ("sha1_git", pa.string()), ("copyrights", pa.list_(pa.string()))])
_SEGMENT = 1_000  # license files in memory at once


def lines(task: Task) -> Mapping[str, pa.Table]:
    """The copyright lines of the license files of the bucket, routed to the roots that hold them."""
    wanted = task.sql(
        """
        select distinct w.root, w.sha1_git, w.sha256 from w join s using (sha256)
        where s.status = 'ok' and w.name in ('LICENSE'::blob, 'README'::blob)
        """,
        w=task.read("wanted", columns=["root", "sha1_git", "sha256", "name"]),
        s=task.read("status"),
    )
    store = NOTICES_OF.open(task)
    missing = store.missing(task.sql("select distinct sha256 from w order by all", w=wanted))
    for start in range(0, missing.num_rows, _SEGMENT):
        piece = missing.slice(start, _SEGMENT)
        bodies = task.sql("select * from b order by sha256", b=BODIES_OF.open(task).read(wanted=piece))
        store.append(_lines(bodies))
    store.compact()
    found = store.read(wanted=wanted)
    require_all("notices", task.sql("select distinct sha256 from w", w=wanted).num_rows, found.num_rows)
    return {
        "lines": task.sql(
            "select w.root, w.sha1_git, f.copyrights from w join f using (sha256) where len(f.copyrights) > 0",
            w=wanted,
            f=found,
        )
    }


def _lines(bodies: pa.Table) -> pa.Table:
    found = [copyright_lines(body.as_py()) for body in bodies["body"].combine_chunks()]
    safe = iter(safe_texts([line for lines in found for line in lines], with_holders()))
    found = [[next(safe) for _ in lines] for lines in found]
    return pa.table([bodies["sha256"], found], schema=NOTICES_OF.schema)


def notices(task: Task) -> Mapping[str, pa.Table]:
    """The rows of the bucket's roots; figures by license expression go into the facts."""
    rows = task.sql(
        """
        with held as (
            select root, directory as dir, header, count(*) as n from k group by all),
        licensed as (  -- what a file's own header states is the license of its row
            select h.root, h.dir, h.n, coalesce(h.header, a.license_expression) as license_expression, a.license_evidence
            from held h join a using (root, dir)),
        based as (
            select root, license_expression, n, unnest(case when len(license_evidence) = 0 then [null] else
                list_distinct([{'path': e.path, 'swhid': e.swhid} for e in license_evidence]) end) as e
            from licensed),
        above as (  -- a NOTICE file in or above the directory of a row has to be kept with it
            select l.root, l.license_expression, l.n,
                {'path': decode(v.path), 'swhid': 'swh:1:cnt:' || v.sha1_git} as e
            from licensed l join v on v.root = l.root
                and (octet_length(v.dir) = 0 or v.dir = l.dir or starts_with(hex(l.dir), hex(v.dir) || '2F'))),
        everything as (from based union all from above),
        counted as (
            select root, license_expression, e.path as license_path, e.swhid as swhid, sum(n)::bigint as rows
            from everything group by all)
        select sha256(to_json([c.root, c.license_expression, c.license_path, c.swhid])::varchar)[1:32] as notice_id,
            c.license_expression, r.origin, r.revision as revision_id, c.root as directory_id, c.license_path, c.swhid,
            coalesce(l.copyrights, []) as copyrights, c.rows
        from counted c join r on r.root = c.root left join l on l.root = c.root and 'swh:1:cnt:' || l.sha1_git = c.swhid
        """,
        k=task.read("kept", ["root", "directory", "header"]),
        a=task.read("attributions", ["root", "dir", "license_expression", "license_evidence"]),
        v=_notice_files(task),
        r=task.read("roots", ["root", "origin", "revision"]),
        l=task.sql(
            "select root, sha1_git, any_value(copyrights) as copyrights from t group by all",
            t=task.read("lines"),
        ),
    )
    task.facts["notices"] = figures_of(rows)  # a root has one origin, and an origin one root
    return {"rows": rows.select(NOTICES.names).cast(NOTICES)}


def _notice_files(task: Task) -> pa.Table:
    """The NOTICE files of the bucket's roots whose path is text."""
    table = task.sql(
        """
        select distinct root, dir, path, sha1_git from e
        where regexp_matches(lower(regexp_replace(decode(path), '^.*/', '')), '^notices?([.](txt|md))?$')
        """,
        e=_text_paths(task.read("evidence", ["root", "dir", "path", "sha1_git"])),
    )
    return table


def _text_paths(table: pa.Table) -> pa.Table:
    valid = []
    for path in table["path"].to_pylist():
        try:
            path.decode("utf-8")
        except UnicodeDecodeError:
            valid.append(False)
        else:
            valid.append(True)
    return table.filter(pa.array(valid, pa.bool_()))


def file(task: Task) -> Mapping[str, pa.Table]:
    """The file. Buckets are in the order of the notice ids."""
    target = Path(task.scratch, NOTICES_FILE)
    rows = (task.read_bucket("rows", bucket).sort_by("notice_id") for bucket in range(task.buckets))
    task.facts["rows"] = write_notices((table.cast(NOTICES) for table in rows), target)
    task.commit_file(NOTICES_FILE, target)
    return {}


def notices_wave(
    runner: Runner, *, wanted: Ref, fetched: Done, kept: Done, roots: Done, licenses: Done
) -> tuple[Done, Done]:
    """Write the notices of the stage `kept`. `wanted`: the license-like files, `licenses`: the attributions.

    Returns the stage whose folder has the file, and the one whose facts have the figures (`noticed`).
    """
    found = runner.run(
        Stage(
            name="notices.lines",
            run=lines,
            inputs={"wanted": wanted, "status": fetched.ref("status")},
            outputs={"lines": Output(schema=LINES, order=("root", "sha1_git"), route="root")},
            config={"stores": {"bodies": BODIES_OF.key(), "notices": NOTICES_OF.key()}},
        )
    )
    rows = runner.run(
        Stage(
            name="notices",
            run=notices,
            inputs={
                "kept": kept.ref("by_root"),
                "roots": roots.ref("roots"),
                "attributions": licenses.ref("attributions"),
                "evidence": licenses.ref("evidence"),
                "lines": found.ref("lines"),
            },
            outputs={"rows": Output(schema=NOTICES, order=("notice_id",), route="notice_id")},
        )
    )
    written = runner.run(
        Stage(
            name="notices.file",
            run=file,
            inputs={"rows": rows.ref("rows")},
            outputs={},
            units="one",
            libraries=("pyarrow",),
        )
    )
    return written, rows


def noticed(rows: Done) -> dict[str, Noticed]:
    """The figures by license expression."""
    return noticed_in(unit["notices"] for unit in rows.facts)
