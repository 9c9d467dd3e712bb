"""Changes: every row that is not the same in the release and in its parent, and why; and the tombstones.

    shards of the parent ─┐ by row id      not removed ───────────────────────────┐
                          ├─▶ compare ──▶  removed ─▶ its places ─▶ decisions ─▶ reasons ─▶ changes.parquet, removals.jsonl
    shards of the release ┘                           by content     by root      by row id

A shard that both releases have, byte for byte, holds the same rows in both and is not read: the work grows with what
changed. Why rows are removed is the business of removed.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.changes import COMPARED, ELECTED_COLUMNS, Counts, write_changes
from manifests.errors import RemovalsError
from manifests.facts import FileFacts, ShardFacts
from manifests.names import CHANGES_FILE, REMOVALS_FILE
from manifests.removals import Tombstone, format_line, read_removals
from manifests.schema import CHANGES, DATA
from pipeline.engine.keys import digest
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Stage, Task
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError
from pipeline.parent import ParentRelease, checked_file
from pipeline.stages.removed import REMOVED, TOMBSTONES, removed_wave

ROWS = pa.schema([*[DATA.field(name) for name in COMPARED], ("shard", pa.string())])
"""What is compared of a row, and the shard that holds it."""

_UNIT_BYTES, _UNIT_SHARDS = 256 << 20, 64  # of shard files that one unit reads, unless one alone is larger
_CHUNK_BYTES = 32 << 20
_HEX = {"row_id": r"^[0-9a-f]{16,128}$", "content_id": r"^[0-9a-f]{40}$", "sha256": r"^[0-9a-f]{64}$"}
_LINES = 65_536  # tombstones held at once


@dataclass(frozen=True)
class Step:
    """What a release is against its parent: the parent, the rows that differ, and where the two files lie."""

    parent: ParentRelease
    counts: Counts
    folder: str
    """In the work directory; it holds `changes.parquet` and `removals.jsonl`."""


# ---------------------------------------------------------------------------------------- rows of both releases


def parent_rows(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Rows of some of the parent's shards, each checked against the parent's manifest before it is opened."""
    place = Store(task.extra["parent"])

    def tables() -> Iterator[pa.Table]:
        for path, sha256, size in task.item["shards"]:
            scratch = task.scratch / "shard.parquet"
            file = checked_file(place, FileFacts(path=path, sha256=sha256, bytes=size), scratch)
            try:
                with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                    yield from _rows_of(parquet, path, f"{place.uri}/{path}")
            except pa.ArrowException as error:
                raise IntegrityError(f"{place.uri}/{path} cannot be read: {error}") from error
            scratch.unlink(missing_ok=True)

    return {"rows": tables()}


def new_rows(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """Rows of some of the release's shards, as they lie in the work directory."""

    def tables() -> Iterator[pa.Table]:
        for path, key in task.item["shards"]:
            with task.store.parquet(key) as parquet:
                yield from _rows_of(parquet, path, f"{task.store.uri}/{key}")

    return {"rows": tables()}


def _rows_of(parquet: pq.ParquetFile, shard: str, where: str) -> Iterator[pa.Table]:
    if not parquet.schema_arrow.equals(DATA):
        raise IntegrityError(
            f"{where} does not have the columns of a shard; run `pipeline verify` on the release"
        )
    held: list[pa.Table] = []
    for number in range(parquet.metadata.num_row_groups):
        table = parquet.read_row_group(number, columns=list(COMPARED), use_threads=False)
        for name, form in _HEX.items():
            if not pc.all(pc.match_substring_regex(table[name], form)).as_py():
                raise IntegrityError(f"{where}: {name} is malformed; run `pipeline verify` on the release")
        held.append(table.append_column("shard", pa.repeat(pa.scalar(shard, pa.string()), table.num_rows)))
        if sum(one.nbytes for one in held) >= _CHUNK_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def tombstones(task: Task) -> Mapping[str, Iterator[pa.Table]]:
    """The tombstones of the parent."""

    def tables() -> Iterator[pa.Table]:
        if task.item is None:
            return
        place = Store(task.extra["parent"])
        file = checked_file(place, FileFacts(**task.item), task.scratch / REMOVALS_FILE)
        held: list[Tombstone] = []
        try:
            with file.open("rb") as stream:
                for tombstone in read_removals(stream, f"{place.uri}/{REMOVALS_FILE}"):
                    held.append(tombstone)
                    if len(held) == _LINES:
                        yield _tombstones(held)
                        held = []
        except RemovalsError as error:
            raise IntegrityError(str(error)) from error
        yield _tombstones(held)

    return {"tombstones": tables()}


def _tombstones(held: list[Tombstone]) -> pa.Table:
    columns = [[getattr(one, name) for one in held] for name in TOMBSTONES.names]
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=TOMBSTONES)


def compare(task: Task) -> Mapping[str, pa.Table]:
    """What became of each row of the bucket; removed rows go their own way, to learn why."""
    old, new, dead = task.read("parent"), task.read("rows"), task.read("tombstones")
    for table, whose in ((old, "the parent"), (new, "the release")):
        if pc.count_distinct(table["row_id"]).as_py() != table.num_rows:
            raise IntegrityError(f"{whose} has a row_id twice; run `pipeline verify` on it")
    differs = ", ".join(f"case when a.{c} is distinct from b.{c} then '{c}' end" for c in COMPARED)
    elected = ", ".join(f"'{name}'" for name in ELECTED_COLUMNS)
    changes = task.sql(
        f"""
        with joined as (
            select row_id, a.row_id is not null as was, b.row_id is not null as is_, t.version,
                list_filter([{differs}], lambda x: x is not null) as columns,
                coalesce(a.length_bytes, b.length_bytes) as length_bytes,
                a.content_sha256 as old_content_sha256, a.language as old_language, a.shard as old_shard,
                b.content_sha256 as new_content_sha256, b.language as new_language, b.shard as new_shard
            from a full join b using (row_id) left join t using (row_id))
        select row_id,
            case when not was then case when version is null then 'added' else 'restored' end
                when list_contains(columns, 'content_sha256') then 're_redacted'
                when list_has_any(columns, [{elected}]) then 're_elected' else 'changed' end as change,
            null::varchar as reason, null::varchar as stand_in,
            case when not was then version end as withdrawn_in,
            case when was then columns else [] end as columns, length_bytes,
            old_content_sha256, old_language, old_shard, new_content_sha256, new_language, new_shard
        from joined where is_ and (not was or len(columns) > 0)
        """,
        a=old,
        b=new,
        t=dead,
    )
    removed = task.sql(
        f"""select {", ".join("a.content_id as sha1_git" if n == "sha1_git" else f"a.{n}" for n in REMOVED.names)}
        from a anti join b using (row_id)""",
        a=old,
        b=new,
    )
    still_dead = task.sql("select * from t anti join b using (row_id)", t=dead, b=new)
    return {"changes": changes, "removed": removed, "by_content": removed, "tombstones": still_dead}


def files(task: Task) -> Mapping[str, pa.Table]:
    """The two files, written bucket after bucket: these are in the order of the row ids."""

    def every(name: str) -> Iterator[pa.Table]:
        return (task.read_bucket(name, bucket) for bucket in range(task.buckets))

    changed = Path(task.scratch, CHANGES_FILE)
    write_changes((table.cast(CHANGES) for table in every("changes")), changed)
    dead = Path(task.scratch, REMOVALS_FILE)
    with dead.open("wb") as stream:
        for table in every("tombstones"):
            columns = (table[name].to_pylist() for name in TOMBSTONES.names)
            stream.writelines(format_line(Tombstone(*one)) for one in zip(*columns, strict=True))
    task.commit_file(CHANGES_FILE, changed)
    task.commit_file(REMOVALS_FILE, dead)
    return {}


# ------------------------------------------------------------------------------------------------------- the wave


def changes_wave(
    runner: Runner,
    parent: ParentRelease,
    shards: Sequence[tuple[ShardFacts, str]],
    *,
    version: str,
    roots: Done,
    ledger: Done,
    near: Done | None,
    registry: str | None,
) -> Step:
    """Compare the release's shards (and their keys in the work directory) with the parent."""
    compared = compare_wave(runner, parent, shards)
    told = removed_wave(runner, compared, roots, ledger, near, version=version, registry=registry)
    written = runner.run(
        Stage(
            name="changes.files",
            run=files,
            inputs={"changes": told.ref("changes"), "tombstones": told.ref("tombstones")},
            outputs={},
            units="one",
        )
    )
    counts: Counts = Counter()
    for facts in told.facts:
        counts.update(
            {(change, reason, language): number for change, reason, language, number in facts["counts"]}
        )
    return Step(parent, counts, written.stage.folder)


def compare_wave(runner: Runner, parent: ParentRelease, shards: Sequence[tuple[ShardFacts, str]]) -> Done:
    """From the shards of both to the stage that knows what became of every row, but not why."""
    same = {(shard.path, shard.sha256) for shard in parent.manifest.shards} & {
        (shard.path, shard.sha256) for shard, _ in shards
    }
    old = [shard for shard in parent.manifest.shards if (shard.path, shard.sha256) not in same]
    new = [one for one in shards if (one[0].path, one[0].sha256) not in same]
    where = {"parent": parent.place.address}
    before = runner.run(
        _reading(
            "changes.parent",
            parent_rows,
            [(shard, [shard.path, shard.sha256, shard.bytes]) for shard in old],
            extra=where,
        )
    )
    now = runner.run(
        _reading("changes.rows", new_rows, [(shard, [shard.path, key]) for shard, key in new], extra={})
    )
    removals = parent.removals
    dead = runner.run(
        Stage(
            name="changes.tombstones",
            run=tombstones,
            outputs={"tombstones": Output(schema=TOMBSTONES, order=("row_id",), route="row_id")},
            config={"removals": None if removals is None else removals.sha256},
            extra=where,
            units=(None if removals is None else removals.to_json(),),
        )
    )
    return runner.run(
        Stage(
            name="changes.compare",
            run=compare,
            inputs={
                "parent": before.ref("rows"),
                "rows": now.ref("rows"),
                "tombstones": dead.ref("tombstones"),
            },
            outputs={
                "changes": Output(schema=CHANGES, order=("row_id",)),
                "removed": Output(schema=REMOVED, order=("row_id",)),
                "by_content": Output(schema=REMOVED, order=("sha1_git", "row_id"), route="sha1_git"),
                "tombstones": Output(schema=TOMBSTONES, order=("row_id",)),
            },
        )
    )


def _reading(
    name: str, function: Any, shards: Sequence[tuple[ShardFacts, list[Any]]], *, extra: Mapping[str, Any]
) -> Stage:
    """A stage that reads shards, some in each unit."""
    groups: list[list[list[Any]]] = []
    size = 0
    for shard, item in sorted(shards, key=lambda one: one[0].path):
        if not groups or len(groups[-1]) == _UNIT_SHARDS or size + shard.bytes > _UNIT_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(item)
        size += shard.bytes
    return Stage(
        name=name,
        run=function,
        outputs={"rows": Output(schema=ROWS, order=("row_id",), route="row_id")},
        config={"shards": digest(sorted([shard.path, shard.sha256] for shard, _ in shards))},
        extra=extra,
        units=tuple({"unit": f"{number:06d}", "shards": group} for number, group in enumerate(groups)),
    )
