"""The files of shards: complete rows with their text, written once and kept under the shard's key.

    <workdir>/shards/<id>.parquet   the finished file
    <workdir>/shards/<id>.json      what the manifest and the card say of it; it comes last: without it there is no shard

The id names the bytes (pipeline.stages.emit): path, rows and whatever writes them. A shard that is there is neither written
nor are its texts read; another release, or a run after a crash, takes it as it is.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.facts import ShardFacts
from manifests.masked import PER_RULE, masked_line
from manifests.schema import DATA, IDS
from manifests.shards import ShardForm, write_shard
from pipeline.content.names import escape_paths, extension
from pipeline.engine.lookup import pieces
from pipeline.engine.measure import phase
from pipeline.engine.stage import Task
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError
from pipeline.stages.reading import in_batches
from pipeline.stages.secrets import RELEASED_OF, released_texts
from pipeline.stages.text_signals import SIGNALS_OF
from pipeline.stages.texts import TEXT_OF

FOLDER = "shards"  # of the work directory

SHARD_ROWS = pa.schema([*DATA, ("shard", pa.string()), ("key", pa.string()), ("route", pa.string())])

TO_WRITE = pa.schema(
    [("shard", pa.string()), ("id", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64())]
)
"""Every shard of a release: path, id, rows and bytes of text."""

MISSING = pa.schema(
    [("shard", pa.string()), ("id", pa.string()), ("rows", pa.int64()), ("route", pa.string())]
)
"""The shards that are to be written, and what routes their rows to the unit that does it."""

_PIECE_BYTES = 8 << 20  # of text, taken at once from the rows of a shard


def present(store: Store) -> set[str]:
    """The ids of all shards that are kept whole."""
    keys = {entry.key for entry in store.list(FOLDER)}
    return {
        key[len(FOLDER) + 1 : -len(".json")]
        for key in keys
        if key.endswith(".json") and f"{key[: -len('.json')]}.parquet" in keys
    }


def kept_shard(store: Store, shard: str, name: str) -> dict[str, Any]:
    """What was recorded of a kept shard: `facts`, `licenses`, `redactions`, `samples`. IntegrityError where it is not whole."""
    key = f"{FOLDER}/{name}"
    try:
        found: dict[str, Any] = json.loads(store.read(f"{key}.json"))
        facts = ShardFacts(**found["facts"])
        entry = store.stat(f"{key}.parquet")
        if facts.path != shard or entry is None or entry.size != facts.bytes:
            raise ValueError("it is of another shard, or has another size")
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise IntegrityError(
            f"{store.uri}/{key}.parquet, the kept file of {shard}, is not whole ({error}); delete it and run again"
        ) from error
    return found


# --------------------------------------------------------------------------------------------------------- rows


def texts(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Complete rows of the missing shards, with their text, routed to the bucket that writes them; some at a time."""
    missing = task.read_all("missing", columns=["shard", "route"])
    if missing.num_rows == 0:
        return {"rows": iter(())}
    facts = task.sql(
        """
        select t.*, m.shard, m.route
        from t asof join p on t.language = p.language and t.key >= p.start join m on m.shard = p.shard
        order by t.sha256
        """,
        t=task.read("facts"),
        p=task.read_all("plan"),
        m=missing,
    )
    return {"rows": (_complete(task, piece) for piece in in_batches(facts, "released_bytes"))}


def _complete(task: Task, facts: pa.Table) -> pa.Table:
    table = task.sql(
        """
        select f.*, c.content, k.content_sha256 as recorded, k.redactions, t.encoding, q.num_lines, q.avg_line_length,
            q.max_line_length, q.alpha_fraction, q.alphanum_fraction, q.encoded_fraction
        from f join c using (sha256) join k using (sha256) join t using (sha256) join q using (sha256) order by f.sha256
        """,
        f=facts,
        c=released_texts(task, facts),
        k=RELEASED_OF.open(task).read(columns=["redactions", "content_sha256"], wanted=facts),
        t=TEXT_OF.open(task).read(["encoding"], wanted=facts),
        q=SIGNALS_OF.open(task).read(wanted=facts),
    )
    if table.num_rows != facts.num_rows:
        raise IntegrityError(
            f"{facts.num_rows - table.num_rows} kept contents have no body or annotation any more; run again"
        )
    columns = {**_released(table), **{name: table[name] for name in ("shard", "key", "route")}}
    return pa.table([_flat(columns[field.name]).cast(field.type) for field in SHARD_ROWS], schema=SHARD_ROWS)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


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


# ------------------------------------------------------------------------------------------------------- files


def shards(task: Task) -> Mapping[str, pa.Table]:
    """Write the missing shards that are routed here, and describe these and the kept ones of this bucket."""
    form = ShardForm(**task.config["form"])
    missing = {m["shard"]: m for m in task.read_all("missing").to_pylist()}
    described = []
    for shard, rows in _by_shard(task):
        wanted = missing[shard]
        key = f"{FOLDER}/{wanted['id']}"
        if task.store.stat(f"{key}.json") is None or task.store.stat(f"{key}.parquet") is None:
            described.append(_keep(task, key, shard, rows, wanted, form))
            task.count("shards.written")
        else:  # by a run that was killed before this unit's end
            described.append(kept_shard(task.store, shard, wanted["id"]) | {"file": f"{key}.parquet"})
    for one in task.read("shards").to_pylist():
        if one["shard"] not in missing:
            described.append(
                kept_shard(task.store, one["shard"], one["id"]) | {"file": f"{FOLDER}/{one['id']}.parquet"}
            )
            task.count("shards.reused")
    licenses: Counter[str] = Counter()
    redactions: Counter[str] = Counter()
    samples = Samples()
    by_language: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in described:
        licenses.update(item["licenses"])
        by_language[item["facts"]["language"]].update(item["licenses"])
        redactions.update(item["redactions"])
        samples.add(item["samples"])
    task.facts["shards"] = [item["facts"] | {"file": item["file"]} for item in described]
    task.facts["licenses"], task.facts["redactions"] = dict(licenses), dict(redactions)
    task.facts["samples"] = samples.best()
    task.facts["language_licenses"] = {name: dict(found) for name, found in by_language.items()}
    return {"ids": _ids(task)}


def _keep(
    task: Task, key: str, shard: str, rows: _Rows, wanted: Mapping[str, Any], form: ShardForm
) -> dict[str, Any]:
    path = Path(task.scratch, "shard.parquet")
    record = _write(shard, rows, wanted, path, form)
    with phase("commit"):
        with task.store.writing(f"{key}.parquet") as target:
            shutil.move(path, target)  # scratch and work directory may be on two file systems
        task.store.put(f"{key}.json", json.dumps(record, sort_keys=True).encode())
    return record | {"file": f"{key}.parquet"}


def _write(shard: str, rows: _Rows, wanted: Mapping[str, Any], path: Path, form: ShardForm) -> dict[str, Any]:
    licenses: Counter[str] = Counter()
    redactions: Counter[str] = Counter()
    samples = Samples()

    def counted() -> Iterator[pa.Table]:
        for piece in rows.in_order():
            _tally(licenses, piece["license_expression"])
            _tally(redactions, pc.struct_field(pc.list_flatten(piece["redactions"]), "kind"))
            samples.look_at(piece)
            yield piece

    facts = write_shard(counted(), path, path=shard, form=form)
    if facts.rows != wanted["rows"]:
        raise IntegrityError(
            f"{shard} has {facts.rows:,} rows, {wanted['rows']:,} were planned; remove the work directory's stages/ and"
            " run again"
        )
    return {
        "facts": asdict(facts),
        "licenses": dict(licenses),
        "redactions": dict(redactions),
        "samples": samples.best(),
    }


class Samples:
    """Of every rule the masked lines of its first redactions in the rows with the lowest ids: a function of the set of rows."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, dict[str, str]]] = {}  # rule -> row id -> sample

    def look_at(self, rows: pa.Table) -> None:
        """Take in rows of a shard."""
        redacted = rows.filter(pc.greater(pc.list_value_length(rows["redactions"]), 0))
        columns = (redacted[name] for name in ("row_id", "language", "content", "redactions"))
        for row, language, content, spans in zip(*columns, strict=True):
            text: str | None = None
            for span in spans.as_py():
                held = self._found.setdefault(span["rule"], {})
                if not self._takes(held, row.as_py()):
                    continue
                text = content.as_py() if text is None else text
                line = masked_line(text, span["start"], span["end"], span["kind"])
                held[row.as_py()] = {
                    "rule": span["rule"], "kind": span["kind"], "language": language.as_py(), "row_id": row.as_py(),
                    "line": line,
                }  # fmt: skip
                self._cut(held)

    def add(self, samples: list[dict[str, str]]) -> None:
        """Take in what others found."""
        for one in samples:
            held = self._found.setdefault(one["rule"], {})
            held.setdefault(one["row_id"], one)
            self._cut(held)

    def best(self) -> list[dict[str, str]]:
        """All that is held, by rule and row id."""
        return [self._found[rule][row] for rule in sorted(self._found) for row in sorted(self._found[rule])]

    @staticmethod
    def _takes(held: dict[str, dict[str, str]], row: str) -> bool:
        return row not in held and (len(held) < PER_RULE or row < max(held))

    @staticmethod
    def _cut(held: dict[str, dict[str, str]]) -> None:
        while len(held) > PER_RULE:
            del held[max(held)]


def _tally(counter: Counter[str], values: pa.ChunkedArray) -> None:
    for item in pc.value_counts(values).to_pylist():
        counter[item["values"]] += item["counts"]


def _ids(task: Task) -> pa.Table:
    """Every row of the shards of this bucket, and its number in its shard."""
    rows = task.read("members", columns=["shard", "key", "row_id", "content_sha256"])
    return task.sql(
        """
        select row_id, content_sha256, shard, row_number() over (partition by shard order by key, row_id) - 1 as row from t
        """,
        t=rows,
    ).cast(IDS)


def rebuilt(task: Task) -> Mapping[str, pa.Table]:
    """Make the picked shards that are routed here once more, as files of this stage."""
    form = ShardForm(**task.config["form"])
    missing = {m["shard"]: m for m in task.read_all("missing").to_pylist()}
    found = []
    for shard, rows in _by_shard(task):
        path = Path(task.scratch, "shard.parquet")
        record = _write(shard, rows, missing[shard], path, form)
        name = f"{missing[shard]['id']}.parquet"
        task.commit_file(name, path)
        found.append({**record["facts"], "file": name})
    task.facts["shards"] = found
    return {}


class _Rows:
    """The rows of one shard on disk, in runs that are each in order, mapped into memory: read in pieces."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def in_order(self) -> Iterator[pa.Table]:
        """All rows by key and row id, about `_PIECE_BYTES` of text at a time; nothing else is held, and the file goes."""
        with pa.memory_map(str(self._file)) as source, pa.ipc.open_file(source) as reader:
            rows = reader.read_all()
            names = rows.select(["key", "row_id"])
            order = pc.sort_indices(names, [("key", "ascending"), ("row_id", "ascending")]).to_numpy()
            lengths = np.concatenate(
                [pc.binary_length(chunk).to_numpy() for chunk in rows["content"].chunks] or [np.zeros(0)]
            )
            ends = np.cumsum(lengths[order])
            data = rows.select(DATA.names)
            first, before = 0, 0
            while first < len(order):
                last = max(first + 1, int(np.searchsorted(ends, before + _PIECE_BYTES, side="right")))
                yield _taken(data, order[first:last]).cast(DATA)
                first, before = last, int(ends[last - 1])
        self._file.unlink()


def _taken(table: pa.Table, places: npt.NDArray[np.uint64]) -> pa.Table:
    """The rows at these places; only they are copied (`take` on a table in many pieces would put it together first)."""
    ascending = np.sort(places)
    breaks = np.flatnonzero(np.diff(ascending) != 1) + 1
    starts, stops = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(ascending)]])
    near = pa.concat_tables(
        [table.slice(int(ascending[a]), int(b - a)) for a, b in zip(starts, stops, strict=True)]
    ).combine_chunks()
    return near.take(pa.array(np.searchsorted(ascending, places)))


def _by_shard(task: Task) -> Iterator[tuple[str, _Rows]]:
    """The rows of each missing shard of the bucket, sorted by name, all on disk."""
    spilled: dict[str, Path] = {}
    writers: dict[str, pa.ipc.RecordBatchFileWriter] = {}
    try:
        for piece in pieces(task, "rows", SHARD_ROWS.names):
            names = piece["shard"].combine_chunks().dictionary_encode()  # the piece is sorted by it
            ends = [*(np.flatnonzero(np.diff(names.indices.to_numpy())) + 1).tolist(), piece.num_rows]
            first = 0
            for last in ends:
                shard = piece["shard"][first].as_py()
                if shard not in writers:
                    spilled[shard] = task.scratch / f"rows-{len(spilled)}.arrow"
                    writers[shard] = pa.ipc.new_file(spilled[shard], piece.schema)
                writers[shard].write_table(piece.slice(first, last - first))
                first = last
    finally:
        for writer in writers.values():
            writer.close()
    for shard, path in sorted(spilled.items()):
        yield shard, _Rows(path)
