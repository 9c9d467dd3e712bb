"""Emit: rows with all their evidence, their place in the shards, and the shards.

Placement: key = first 64 bits of sha256(elected origin), then first 64 bits of sha256(path). A shard is a leaf of the
binary trie over that key: a node is a leaf iff its text fits the target size. The name carries the prefix, so growth
splits one shard and renames no other.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.names import shard_path
from manifests.schema import DATA, EVIDENCE, IDS
from manifests.shards import write_shard
from pipeline.content.names import escape_paths, extension
from pipeline.engine.lookup import pieces
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.errors import IntegrityError
from pipeline.row_ids import row_id
from pipeline.stages.judge import TEXT_OF, in_batches
from pipeline.stages.ledger import FINAL
from pipeline.stages.secrets import RELEASED_OF, released_stores, released_texts

KEY_BITS = 128

PLACED = pa.schema(
    [
        ("row_id", pa.string()),
        ("sha256", pa.string()),
        ("language", pa.string()),
        ("key", pa.string()),  # 32 hex digits: where the row lies in the trie
        ("released_bytes", pa.int64()),
    ]
)
ROW_FACTS = pa.schema(
    [
        *FINAL,
        ("row_id", pa.string()),
        ("key", pa.string()),
        ("visit_date", pa.timestamp("us")),
        ("snapshot", pa.string()),
        ("branch", pa.binary()),
        ("revision", pa.string()),
        ("committer_date", pa.int64()),
        ("license_type", pa.string()),
        ("license_expression", pa.string()),
        ("detected_licenses", pa.list_(pa.string())),
        ("license_evidence", pa.list_(EVIDENCE)),
    ]
)
"""Everything of a released row that is known without its text."""

PLAN = pa.schema(
    [("language", pa.string()), ("prefix", pa.string()), ("shard", pa.string()), ("route", pa.string())]
)
"""The shards: prefix in bits ('' for the whole language), path in the release, and what routes rows to them."""

SHARD_ROWS = pa.schema([*DATA, ("shard", pa.string()), ("key", pa.string()), ("route", pa.string())])


def placement_key(origin: str, path: bytes) -> str:
    """Where a row lies: the files of one origin together, 32 hex digits."""
    return hashlib.sha256(origin.encode()).hexdigest()[:16] + hashlib.sha256(path).hexdigest()[:16]


def rows(task: Task) -> Mapping[str, pa.Table]:
    """Join kept contents to their root's origin and their directory's license."""
    table = task.sql(
        """
        select k.*, r.visit_date, r.snapshot, r.branch, r.revision, r.committer_date,
            a.license_type, a.license_expression, a.detected_licenses, a.license_evidence
        from k join r using (root) join a on a.root = k.root and a.dir = k.directory
        order by k.sha256
        """,
        k=task.read("kept"),
        r=task.read("roots"),
        a=task.read("attributions"),
    )
    identities = [row_id(sha256) for sha256 in table["sha256"].to_pylist()]
    keys = [
        placement_key(o, p)
        for o, p in zip(table["origin"].to_pylist(), table["path"].to_pylist(), strict=True)
    ]
    table = table.append_column("row_id", pa.array(identities, pa.string())).append_column(
        "key", pa.array(keys, pa.string())
    )
    return {"facts": table, "placed": table.select(PLACED.names)}


def place(task: Task) -> Mapping[str, pa.Table]:
    """Cut each language into shards: one pass over (language, key, size) of all kept rows."""
    table = task.sql(
        "select language, key, released_bytes from t order by language, key",
        t=task.read_all("placed", columns=["language", "key", "released_bytes"]),
    )
    plan: list[tuple[str, str, str, str]] = []
    languages = table["language"].to_pylist()
    keys, sizes = table["key"].to_pylist(), table["released_bytes"].to_numpy()
    starts = [i for i in range(len(languages)) if i == 0 or languages[i] != languages[i - 1]] + [
        len(languages)
    ]
    for first, last in pairwise(starts):
        language = languages[first]
        for prefix in leaves(keys[first:last], sizes[first:last], task.config["shard_bytes"]):
            path = shard_path(language, prefix or "all")
            plan.append((language, prefix, path, hashlib.sha256(path.encode()).hexdigest()))
    return {"plan": pa.table([list(column) for column in zip(*plan, strict=True)] or [[]] * 4, schema=PLAN)}


def leaves(keys: list[str], sizes: np.ndarray, target: int) -> list[str]:
    """Prefixes (bits) of the shards that hold the sorted `keys`: the trie is split while a node's bytes exceed `target`.

    A node with one row, or whose rows share all bits, is a leaf whatever its size. Empty nodes are not shards.
    """
    numbers = [int(key, 16) for key in keys]
    total = np.concatenate([[0], np.cumsum(sizes)])
    found: list[str] = []
    todo = [("", 0, len(numbers))]
    while todo:
        prefix, first, last = todo.pop()
        if last == first:
            continue
        one_key = numbers[first] == numbers[last - 1]
        if total[last] - total[first] <= target or one_key or len(prefix) == KEY_BITS:
            found.append(prefix)
            continue
        bit = 1 << (KEY_BITS - 1 - len(prefix))
        low, high = first, last  # the first row whose next bit is set
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if numbers[middle] & bit else (middle + 1, high)
        todo += [(prefix + "1", low, last), (prefix + "0", first, low)]
    return found


def texts(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Complete rows, with their released text, routed to the bucket that writes their shard; some texts at a time."""
    facts = task.sql("select * from t order by sha256", t=task.read("facts"))
    plan = task.read_all("plan") if facts.num_rows else PLAN.empty_table()
    return {"rows": (_complete(task, piece, plan) for piece in in_batches(facts, "released_bytes"))}


def _complete(task: Task, facts: pa.Table, plan: pa.Table) -> pa.Table:
    table = task.sql(
        """
        select f.*, c.content, k.content_sha256 as recorded, k.redactions, t.encoding, t.num_lines, t.avg_line_length,
            t.max_line_length, t.alpha_fraction, t.alphanum_fraction, t.encoded_fraction
        from f join c using (sha256) join k using (sha256) join t using (sha256) order by f.sha256
        """,
        f=facts,
        c=released_texts(task, facts),
        k=RELEASED_OF.open(task).read(columns=["redactions", "content_sha256"], wanted=facts),
        t=TEXT_OF.open(task).read(wanted=facts),
    )
    if table.num_rows != facts.num_rows:
        raise IntegrityError(
            f"{facts.num_rows - table.num_rows} kept contents have no body or annotation any more; run again"
        )
    return _with_shards(_released(table), table, plan)


def _released(table: pa.Table) -> dict[str, pa.ChunkedArray | pa.Array]:
    paths = table["path"].combine_chunks().cast(pa.binary())
    shown = escape_paths(paths)
    exact = pc.equal(shown.cast(pa.binary()), paths)
    ones = {name: table[name] for name in DATA.names if name in table.column_names}
    return {
        **ones,
        "swhid": pc.binary_join_element_wise("swh:1:cnt:", table["sha1_git"], ""),
        "blob_id": table["sha1"],
        "content_id": table["sha1_git"],
        "length_bytes": table["length"],
        "src_encoding": table["encoding"],
        "extension": extension(paths),
        "path": shown,
        "path_raw": pc.if_else(exact, pa.scalar(None, pa.binary()), paths),
        "repo_name": pa.array([repository_name(url) for url in table["origin"].to_pylist()], pa.string()),
        "snapshot_id": table["snapshot"],
        "revision_id": table["revision"],
        "branch_name": escape_paths(table["branch"].combine_chunks().cast(pa.binary())),
        "directory_id": table["root"],
        "revision_date": table["revision_date"].cast(pa.timestamp("us")),
        "committer_date": table["committer_date"].cast(pa.timestamp("us")),
        "cluster_id": table["row_id"],
    }


def repository_name(url: str) -> str:
    """`owner/name` of a forge URL; the whole URL without its scheme otherwise."""
    rest = url.split("://", 1)[-1].rstrip("/").removesuffix(".git")
    host, _, path = rest.partition("/")
    return path if "." in host and path.count("/") == 1 else rest


def _with_shards(columns: Mapping[str, pa.Array], table: pa.Table, plan: pa.Table) -> pa.Table:
    """Add the shard of each row: the plan's prefix of its language that its key begins with."""
    # The prefixes of a language cut the key space into intervals: the one that a key lies in is found by its start.
    starts: dict[str, list[int]] = {}
    places: dict[str, list[tuple[str, str]]] = {}
    for item in sorted(plan.to_pylist(), key=lambda item: item["prefix"]):
        starts.setdefault(item["language"], []).append(int(item["prefix"].ljust(KEY_BITS, "0"), 2))
        places.setdefault(item["language"], []).append((item["shard"], item["route"]))
    shards, routes = [], []
    for language, key in zip(table["language"].to_pylist(), table["key"].to_pylist(), strict=True):
        shard, route = places[language][bisect_right(starts[language], int(key, 16)) - 1]
        shards.append(shard)
        routes.append(route)
    data = {**columns, "shard": pa.array(shards), "key": table["key"], "route": pa.array(routes)}
    arrays = [_flat(data[field.name]).cast(field.type) for field in SHARD_ROWS]
    return pa.table(arrays, schema=SHARD_ROWS)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def shards(task: Task) -> Mapping[str, pa.Table]:
    """Write the shards of this bucket, rows in the order of their keys."""
    ids, facts = [IDS.empty_table()], []
    licenses: Counter[str] = Counter()
    redactions: Counter[str] = Counter()
    for shard, rows in _by_shard(task):
        mine = task.sql("select * from t order by key, row_id", t=rows)
        del rows
        name = shard.replace("/", "~")
        path = Path(task.scratch, "shard.parquet")
        released = mine.select(DATA.names).cast(DATA)
        facts.append(asdict(write_shard(released, path, path=shard)) | {"file": name})
        task.commit_file(name, path)
        _tally(licenses, released["license_expression"])
        _tally(redactions, pc.struct_field(pc.list_flatten(released["redactions"]), "kind"))
        numbers = pa.array(range(released.num_rows), pa.int64())
        columns = [
            released["row_id"],
            released["content_sha256"],
            pa.array([shard] * released.num_rows),
            numbers,
        ]
        ids.append(pa.table(columns, schema=IDS))
    task.facts["shards"] = facts
    task.facts["licenses"], task.facts["redactions"] = dict(licenses), dict(redactions)
    return {"ids": pa.concat_tables(ids)}


def _tally(counter: Counter[str], values: pa.ChunkedArray) -> None:
    for item in pc.value_counts(values).to_pylist():
        counter[item["values"]] += item["counts"]


def _by_shard(task: Task) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each shard of the bucket, sorted by name: one shard's texts in memory, all others on disk."""
    spilled: dict[str, Path] = {}
    writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}
    try:
        for piece in pieces(task, "rows", SHARD_ROWS.names):
            for shard in pc.unique(piece["shard"]).to_pylist():
                if shard not in writers:
                    spilled[shard] = task.scratch / f"rows-{len(spilled)}.arrow"
                    writers[shard] = pa.ipc.new_stream(spilled[shard], piece.schema)
                writers[shard].write_table(piece.filter(pc.equal(piece["shard"], shard)))
    finally:
        for writer in writers.values():
            writer.close()
    for shard, path in sorted(spilled.items()):
        with pa.ipc.open_stream(pa.OSFile(str(path))) as reader:
            rows = reader.read_all()
        path.unlink()
        yield shard, rows


def emit_wave(
    runner: Runner, kept: Done, roots: Done, attributions: Ref, *, sensitivity: str, shard_bytes: int
) -> Done:
    """Write all shards. Returns the stage whose facts describe them and whose table lists the row ids."""
    facts = runner.run(
        Stage(
            name="emit.rows",
            run=rows,
            inputs={"kept": kept.ref("by_root"), "roots": roots.ref("roots"), "attributions": attributions},
            outputs={
                "facts": Output(schema=ROW_FACTS, order=("sha256",), route="sha256"),
                "placed": Output(schema=PLACED, order=("language", "key", "row_id")),
            },
        )
    )
    plan = runner.run(
        Stage(
            name="emit.place",
            run=place,
            inputs={"placed": facts.ref("placed")},
            outputs={"plan": Output(schema=PLAN, order=("language", "prefix"))},
            units="one",
            config={"shard_bytes": shard_bytes},
        )
    )
    complete = runner.run(
        Stage(
            name="emit.texts",
            run=texts,
            inputs={"facts": facts.ref("facts"), "plan": plan.ref("plan")},
            outputs={"rows": Output(schema=SHARD_ROWS, order=("shard", "key", "row_id"), route="route")},
            config={"stores": {**released_stores(sensitivity), "text": TEXT_OF.key()}},
        )
    )
    return runner.run(
        Stage(
            name="emit.shards",
            run=shards,
            inputs={"rows": complete.ref("rows")},
            outputs={"ids": Output(schema=IDS, order=("row_id",))},
        )
    )
