"""Wave W0: what can be decided from the graph alone, once per root; and which license-like files are to be fetched.

Not decided here: `opted_out`, which depends on the origin and is applied where occurrences are counted (ledger.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from licensing.names import detection_class, license_like, manifest_like
from pipeline.content.languages import detect, needs_content
from pipeline.content.names import name_class
from pipeline.content.vendored import is_vendored
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.tables import ROOT_FILES, UNREAD_LICENSES, WANTED_LICENSES, Reason


def files(task: Task) -> Mapping[str, pa.Table]:
    """Every entry of the bucket's roots with its W0 reason, and the license-like files that will be read."""
    limits = task.config
    listed = task.read("listed")
    oversized = (
        task.read_all("oversized")
        if task.refs["oversized"]
        else pa.table({"root": pa.array([], pa.string())})
    )
    # Exact: every entry below the root counts, directories too (the root itself is not an entry of itself).
    too_many = task.sql(
        f"""
        with n as (
            select root, count(*) as n from listed group by root
            union all select root, count(*) from directory where octet_length(path) > 0 group by root)
        select root from n group by root having sum(n) > {limits["max_entries"]} union select root from oversized
        """,
        listed=listed,
        directory=task.read("directories"),
        oversized=oversized,
    )
    rows = task.sql("select l.* from listed l anti join t using (root)", listed=listed, t=too_many)
    whole_trees = task.sql(
        """
        select r.root, ''::blob as path, 'tree' as kind, r.root as sha1_git, null::varchar as archived,
            true as selected
        from roots r join t using (root)
        """,
        roots=task.read("roots"),
        t=too_many,
    )
    rows = pa.concat_tables([rows, whole_trees], promote_options="permissive")
    paths = rows["path"].combine_chunks().cast(pa.binary())
    rows = rows.append_column("is_vendor", is_vendored(paths)).append_column("name_class", name_class(paths))
    rows = rows.append_column("base", _without(paths, "(?s)^.*/")).append_column(
        "directory", _without(paths, "/?[^/]*$")
    )
    rows = rows.append_column(
        "wanted_language", _wanted_language(rows["name_class"].combine_chunks(), limits["languages"])
    )
    # Names with a slash, or two directories of one name, can lead to one content at one path twice: the second is a copy.
    rows = task.sql(
        f"""
        select root, path, directory, name_class, kind, sha1_git, sha1, sha256, blake2s256, length, is_vendor, base,
            case when kind in ('symlink', 'submodule') then '{Reason.NOT_A_FILE}'
                 when kind in ('deep', 'tree') or octet_length(path) > {limits["max_path_bytes"]} then '{Reason.PATH_LIMIT}'
                 when kind = 'lost' or archived <> 'visible' then '{Reason.NOT_ARCHIVED}'
                 when length > {limits["max_bytes"]} then '{Reason.TOO_LARGE}'
                 when is_vendor and {limits["vendored"] == "drop"} then '{Reason.VENDORED}'
                 when not selected or not wanted_language then '{Reason.NOT_SELECTED}'
                 when row_number() over (partition by root, path, kind, sha1_git) > 1 then '{Reason.EXACT_DUPLICATE}'
            end as reason
        from t
        """,
        t=rows,
    )
    for item in pc.value_counts(rows["reason"]).to_pylist():
        if item["values"] is not None:
            task.count(f"dropped.{item['values']}", item["counts"])
    return {"files": rows, **_licenses(task, rows)}


def _licenses(task: Task, rows: pa.Table) -> dict[str, pa.Table]:
    """License-like files and manifests of roots that still count; a file of a language nobody asked for still is evidence.

    `licenses` will be read. `unread` cannot be, and may not be passed over either: links, and what is too large or not
    archived.
    """
    base = rows["base"].combine_chunks().cast(pa.binary())
    evidence = pc.or_(license_like(base), manifest_like(base))
    rows = rows.append_column("name", detection_class(base).cast(pa.binary())).append_column(
        "evidence", evidence
    )
    wanted = task.sql(
        f"""
        select f.root, f.path, f.directory, f.name, f.sha1_git, f.sha1, f.sha256, f.length
        from f join r on r.root = f.root and r.opted_out < r.origins
        where f.evidence and f.kind = 'file' and (f.reason is null or f.reason = '{Reason.NOT_SELECTED}')
            and f.length <= {task.config["max_license_bytes"]} and f.length > 0
        """,
        f=rows,
        r=task.read("roots"),
    )
    unread = task.sql(
        f"""
        select f.root, f.path, f.directory, f.sha1_git
        from f join r on r.root = f.root and r.opted_out < r.origins
        where f.name in ('LICENSE'::blob, 'README'::blob) and (
            f.kind = 'symlink' or f.kind = 'file' and (
                f.reason in ('{Reason.TOO_LARGE}', '{Reason.NOT_ARCHIVED}')
                or (f.reason is null or f.reason = '{Reason.NOT_SELECTED}')
                    and f.length > {task.config["max_license_bytes"]}))
        """,
        f=rows,
        r=task.read("roots"),
    )
    return {"licenses": wanted, "unread": unread}


def _without(paths: pa.Array, pattern: str) -> pa.Array:
    """Paths with the match of `pattern` cut off: base names, or the directories that hold them."""
    return pc.replace_substring_regex(paths, pattern=pattern, replacement="").cast(pa.binary())


def _wanted_language(classes: pa.Array, languages: list[str]) -> pa.Array:
    """False only where the name alone decides a language and it is not one of those asked for."""
    if not languages:
        return pa.array([True] * len(classes), pa.bool_())
    asked_for = pc.is_in(detect(classes, None), value_set=pa.array(languages, pa.string()))
    return pc.or_(needs_content(classes), asked_for)


def list_files(
    runner: Runner,
    listed: Done,
    roots: Done,
    directories: list[Ref],
    oversized: list[Ref],
    config: Mapping[str, object],
) -> Done:
    """Run wave W0."""
    return runner.run(
        Stage(
            name="files",
            run=files,
            inputs={
                "listed": listed.ref("rows"),
                "roots": roots.ref("roots"),
                "directories": directories,
                "oversized": oversized,
            },
            outputs={
                "files": Output(schema=ROOT_FILES, order=("root", "path", "kind", "sha1_git")),
                "licenses": Output(
                    schema=WANTED_LICENSES, order=("sha256", "name", "root", "path"), route="sha256"
                ),
                "unread": Output(schema=UNREAD_LICENSES, order=("root", "path", "sha1_git")),
            },
            config=config,
        )
    )
