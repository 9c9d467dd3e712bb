"""Walk: root directory -> every path below it, one level at a time.

The frontier holds one row per (root, directory path), routed by the directory's id, so each level is a join inside
buckets. Roots that are shared by many origins are walked once. A malformed or hostile tree is bounded three ways: by
depth, by the number of entries that one root may have in one task of a level, and, exactly, by `files.max_entries`
when the root's entries are counted (see files.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.tables import DIRECTORIES, FRONTIER, OVERSIZED, PERMS_SYMLINK, TREE_ENTRIES


def level(task: Task) -> Mapping[str, pa.Table]:
    """List the frontier's directories: files and links go out, subdirectories become the next frontier."""
    frontier = task.read("frontier")
    if frontier.num_rows and (stopped := task.read_all("oversized")).num_rows:
        frontier = task.sql("select f.* from f anti join s using (root)", f=frontier, s=stopped)
    if frontier.num_rows == 0:
        return {
            "entries": TREE_ENTRIES.empty_table(),
            "directories": DIRECTORIES.empty_table(),
            "frontier": FRONTIER.empty_table(),
            "oversized": OVERSIZED.empty_table(),
        }
    # An entry counts once per way that leads to it: tables may repeat rows, and a mode alone makes no other entry.
    entry = task.sql(
        f"""
        select distinct directory_id, name, target, case when type = 'rev' then 'submodule' when type = 'dir' then 'dir'
            when perms = {PERMS_SYMLINK} then 'symlink' else 'file' end as kind
        from e
        """,
        e=task.read("directory_entry"),
    )
    known = task.read("directory")
    # Counted before anything is listed: a tree that unfolds without end is stopped while it is still one number.
    oversized = task.sql(
        f"""
        with size as (select directory_id, count(*) as n from entry group by directory_id)
        select f.root from f join size on size.directory_id = f.directory
        group by f.root having sum(n) > {task.config["max_entries"]}
        """,
        f=frontier,
        entry=entry,
    )
    rows = task.sql(
        """
        select f.root, e.kind, e.target,
            case when octet_length(f.path) = 0 then e.name else f.path || '/'::blob || e.name end as path
        from f anti join o using (root) join entry e on e.directory_id = f.directory
        """,
        f=frontier,
        o=oversized,
        entry=entry,
    )
    # A directory without entries is empty if the graph knows it, and lost if it does not.
    lost = (
        task.sql(
            """
            select f.root, f.path, 'lost' as kind, f.directory as target from f
            anti join o using (root)
            where f.directory not in (select id from known) and f.directory not in (select directory_id from entry)
            """,
            f=frontier,
            o=oversized,
            known=known,
            entry=entry,
        )
        if task.config["directories_known"]
        else TREE_ENTRIES.empty_table()
    )
    last = task.config["level"] + 1 >= task.config["max_depth"]
    entries = task.sql(
        f"""
        select root, path, case when kind = 'dir' then 'deep' else kind end as kind, target
        from r where kind <> 'dir' or {last}
        """,
        r=rows,
    )
    subdirectories = task.sql(
        f"select root, path, target as directory from r where kind = 'dir' and not {last}", r=rows
    )
    task.count(
        "dropped.not_a_file",
        pc.sum(pc.is_in(entries["kind"], pa.array(["symlink", "submodule"]))).as_py() or 0,
    )
    return {
        "entries": pa.concat_tables([entries.cast(TREE_ENTRIES), lost.cast(TREE_ENTRIES)]),
        "directories": frontier.select(["root", "path"]),
        "frontier": subdirectories,
        "oversized": oversized,
    }


def walk(
    runner: Runner, graph: Mapping[str, Done], roots: Done, *, max_depth: int, max_entries: int
) -> tuple[list[Ref], list[Ref], list[Ref]]:
    """Walk all roots. Returns the tables of entries (routed by target), of directories and of oversized roots."""
    frontier, entries = roots.ref("frontier"), []
    directories: list[Ref] = []
    oversized: list[Ref] = []
    for number in range(max_depth):
        done = runner.run(
            Stage(
                name=f"walk.{number:03d}",
                run=level,
                inputs={
                    "frontier": frontier,
                    "directory_entry": graph["directory_entry"].ref("rows"),
                    "directory": graph["directory"].ref("rows"),
                    "oversized": oversized,
                },
                outputs={
                    "entries": Output(
                        schema=TREE_ENTRIES, order=("target", "root", "path", "kind"), route="target"
                    ),
                    "directories": Output(schema=DIRECTORIES, order=("root", "path"), route="root"),
                    "frontier": Output(
                        schema=FRONTIER, order=("directory", "root", "path"), route="directory"
                    ),
                    "oversized": Output(schema=OVERSIZED, order=("root",)),
                },
                config={
                    "level": number,
                    "max_depth": max_depth,
                    "max_entries": max_entries,
                    "directories_known": graph["directory"].rows("rows") > 0,
                },
            )
        )
        frontier = done.ref("frontier")
        entries.append(done.ref("entries"))
        directories.append(done.ref("directories"))
        oversized = [*oversized, done.ref("oversized")]
        if done.rows("frontier") == 0:
            break
    return entries, directories, oversized
