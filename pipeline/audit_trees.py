"""The independent count of the trees below roots, by distinct directories instead of paths.

It shares no code with the walk. A directory is counted once however many ways lead to it: with d(k) what is found below
directory d when k levels may still be opened,

    found_0(d)   = 1                                             a directory at the depth limit is one occurrence
    found_k(d)   = files(d) + sum over its subdirectories c of found_(k-1)(c)
    visited_0(d) = 0
    visited_k(d) = entries(d) + sum over its subdirectories c of visited_(k-1)(c)

and a directory that the graph does not know has one entry, itself. A root of which more than `max_entries` entries are
visited counts as one occurrence. Only differences rise: in round k a directory whose value has changed tells the
directories that hold it, so the work is a small multiple of the edges; a cycle or a tree that unfolds without end is
stopped by the depth and by the limit, at which `visited` saturates. Beyond it `found` is never read, and 0.

Two steps, each a few joins over the rows of one bucket: `open_directories` from the roots down, one level at a time, and
`rise` from there up, one round at a time. `count_in_one` does both in one process.

Shapes: nodes (directory, files, dirs), edges (parent, child, times), links = edges of reached directories, state and
messages (directory, found, visited). Counts are decimals of 38 digits: 2^53 entries of 2^31 directories still fit.
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from pipeline.tables import PERMS_SYMLINK

COUNT = pa.decimal128(38, 0)
ENTRIES = pa.schema(
    [("directory", pa.string()), ("kind", pa.string()), ("name", pa.binary()), ("target", pa.string())]
)
KNOWN = pa.schema([("id", pa.string())])
NODES = pa.schema([("directory", pa.string()), ("files", pa.int64()), ("dirs", pa.int64())])
EDGES = pa.schema([("parent", pa.string()), ("child", pa.string()), ("times", pa.int64())])
STATE = pa.schema([("directory", pa.string()), ("found", COUNT), ("visited", COUNT)])
ROOTS = pa.schema([("child", pa.string()), ("origins", pa.int64())])

_ID = "[0-9a-f]{40}"


class Sql(Protocol):
    """Runs a query over Arrow tables, as Task.sql does."""

    def __call__(self, query: str, /, **tables: pa.Table) -> pa.Table:
        """The result."""
        ...


def raw_entries(sql: Sql, table: pa.Table) -> pa.Table:
    """The entries of a piece of the raw table, those of a directory without an id or of no name left out."""
    return sql(
        f"""
        select directory_id as directory, name, coalesce(target, '') as target,
            case when type in ('dir', 'rev') then type when perms = {PERMS_SYMLINK} then 'link' else 'file' end as kind
        from t where name is not null and regexp_full_match(directory_id, '{_ID}')
        """,
        t=table,
    )


def known_ids(sql: Sql, table: pa.Table) -> pa.Table:
    """The ids of a piece of the table of directories."""
    return sql(f"select id from t where regexp_full_match(id, '{_ID}')", t=table)


def directories(sql: Sql, entries: pa.Table, known: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Nodes and edges of a bucket; a subdirectory whose target is no id gets one that nothing has."""
    once = sql("select distinct directory, kind, name, target from e", e=entries)
    nodes = sql(
        """
        select directory, count(*) filter (kind <> 'dir') as files, count(*) filter (kind = 'dir') as dirs
        from e group by directory
        union all select id, 0, 0 from (select distinct id from k) anti join e on e.directory = id
        """,
        e=once,
        k=known,
    )
    edges = sql(
        f"""
        select directory as parent, count(*) as times,
            case when regexp_full_match(target, '{_ID}') then target else sha1('no directory: ' || target) end as child
        from e where kind = 'dir' group by directory, child
        """,
        e=once,
    )
    return nodes.select(NODES.names).cast(NODES), edges.select(EDGES.names).cast(EDGES)


def open_directories(
    sql: Sql, frontier: pa.Table, seen: pa.Table, nodes: pa.Table, edges: pa.Table, *, complete: bool
) -> tuple[pa.Table, pa.Table]:
    """(state of round 1, links) of the frontier's directories that were not opened before.

    `complete`: the table of directories has rows, so a directory that it lacks is lost.
    """
    new = sql(
        "select distinct child as directory from f anti join s on s.directory = f.child",
        f=frontier.select(["child"]),
        s=seen.select(["directory"]),
    )
    reached = sql(
        f"""
        select directory, n.found::decimal(38, 0) as found, n.found::decimal(38, 0) as visited
        from (select d.directory, coalesce(n.files + n.dirs, {int(complete)}) as found from d left join n using (directory)) n
        """,
        d=new,
        n=nodes,
    )
    links = sql("select parent, child, times from e semi join d on d.directory = e.parent", e=edges, d=new)
    return reached.cast(STATE), links.cast(EDGES)


def rise(
    sql: Sql, state: pa.Table, messages: pa.Table | None, links: pa.Table, *, max_entries: int
) -> tuple[pa.Table, pa.Table]:
    """(state, messages) of the next round; `messages` None: this is round 1, whose state is that of the opening."""
    shown = f"least({{0}}.visited, {max_entries + 1}), case when {{0}}.visited > {max_entries} then 0 else {{0}}.found end"
    if messages is None:
        change = sql(
            f"""
            select directory, v, f - 1 as df, v as dv
            from (select directory, {shown.format("s")} from s) t(directory, v, f)
            """,
            s=state,
        )
    else:
        summed = sql(
            "select directory, sum(found) as found, sum(visited) as visited from m group by directory",
            m=messages,
        )
        old = state
        state = sql(
            """
            select o.directory, o.found + coalesce(m.found, 0) as found, o.visited + coalesce(m.visited, 0) as visited
            from o left join m using (directory)
            """,
            o=old,
            m=summed,
        ).cast(STATE)
        change = sql(
            f"""
            select directory, b.f - a.f as df, b.v - a.v as dv
            from (select directory, {shown.format("o")} from o semi join m using (directory)) a(directory, v, f)
            join (select directory, {shown.format("n")} from n semi join m using (directory)) b(directory, v, f) using (directory)
            """,
            o=old,
            n=state,
            m=summed,
        )
    told = sql(
        """
        select l.parent as directory, sum(l.times * c.df)::decimal(38, 0) as found,
            sum(l.times * c.dv)::decimal(38, 0) as visited
        from l join c on c.directory = l.child where c.df <> 0 or c.dv <> 0 group by l.parent
        """,
        l=links,
        c=change,
    )
    return state, told.cast(STATE)


def total(sql: Sql, roots: pa.Table, state: pa.Table, *, max_entries: int) -> int:
    """Occurrences below the roots of a bucket, each as often as origins have it."""
    found = sql(
        f"""
        select coalesce(sum(r.origins * case when s.visited > {max_entries} then 1 else s.found end), 0)::varchar as n
        from (select child, sum(origins) as origins from r group by child) r join s on s.directory = r.child
        """,
        r=roots,
        s=state,
    )
    return int(found["n"][0].as_py())


def count_in_one(
    sql: Sql,
    roots: pa.Table,
    nodes: pa.Table,
    edges: pa.Table,
    *,
    complete: bool,
    max_depth: int,
    max_entries: int,
) -> int:
    """Occurrences below the roots; everything in memory."""
    state, links = STATE.empty_table(), EDGES.empty_table()
    frontier = roots
    for _ in range(max_depth):
        reached, below = open_directories(sql, frontier, state, nodes, edges, complete=complete)
        state, links = pa.concat_tables([state, reached]), pa.concat_tables([links, below])
        if below.num_rows == 0:
            break
        frontier = below
    messages: pa.Table | None = None
    for _ in range(max_depth):
        state, messages = rise(sql, state, messages, links, max_entries=max_entries)
        if messages.num_rows == 0:
            break
    return total(sql, roots, state, max_entries=max_entries)
