"""Changes: every row that is not the same in the release and in its parent, and why; and the tombstones.

    shards of the parent ─┐ by row id      not removed ───────────────────────────┐
                          ├─▶ compare ──▶  removed ─▶ its places ─▶ decisions ─▶ reasons ─▶ changes.parquet, removals.jsonl
    shards of the release ┘                           by content     by root      by row id

A shard that both releases have, byte for byte, holds the same rows in both and is not read: the work grows with what
changed. The reason of a removed row is that of its occurrence which came furthest, from this release's ledger. What may not
be told apart (opt-out, license, takedown, secrets) is `withdrawn`, and so is whatever the parent had from an origin that has
opted out since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from licensing.optout import Registry
from manifests.changes import COMPARED, ELECTED_COLUMNS, GONE, Counts, tally, write_changes
from manifests.errors import RemovalsError
from manifests.facts import FileFacts, ShardFacts
from manifests.names import CHANGES_FILE, REMOVALS_FILE
from manifests.removals import WITHDRAWN, Tombstone, format_line, read_removals
from manifests.schema import CHANGES, DATA
from pipeline.engine.keys import digest
from pipeline.engine.lookup import distinct, find
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task, as_path
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError
from pipeline.parent import ParentRelease, checked_file
from pipeline.stages.emit import row_id
from pipeline.tables import REPLACED, Reason

ROWS = pa.schema([*[DATA.field(name) for name in COMPARED], ("shard", pa.string())])
"""What is compared of a row, and the shard that holds it."""

TOMBSTONES = pa.schema([("row_id", pa.string()), ("content_sha256", pa.string()), ("version", pa.string())])

REMOVED = pa.schema(
    [
        ("row_id", pa.string()),
        ("sha1_git", pa.string()),
        ("sha256", pa.string()),
        ("content_sha256", pa.string()),
        ("origin", pa.string()),
        ("language", pa.string()),
        ("shard", pa.string()),
        ("length_bytes", pa.int64()),
    ]
)
"""Rows of the parent that the release does not have."""

PLACES = pa.schema(
    [
        ("row_id", pa.string()),
        ("sha1_git", pa.string()),
        ("sha256", pa.string()),
        ("root", pa.string()),
        ("path", pa.binary()),
    ]
)
"""Where removed contents are today."""

DECISIONS = pa.schema(
    [
        ("row_id", pa.string()),
        ("place", pa.int32()),  # of the reason in the order of the waves: the higher, the further it came
        ("reason", pa.string()),
        ("stand_in", pa.string()),  # sha256 of the content that stands for it; null: none
    ]
)

NOT_TOLD = frozenset(
    {Reason.OPTED_OUT, Reason.LICENSE, Reason.LICENSE_HEADER, Reason.NOT_ARCHIVED, Reason.SECRETS_BUDGET}
)
"""Reasons that are all shown as `withdrawn`: opt-out, license, what the archive took down or hides, secrets."""

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


# -------------------------------------------------------------------------------------- why rows are removed


def places(task: Task) -> Mapping[str, pa.Table]:
    """The occurrences that the removed contents of the bucket have today."""
    removed = task.read("removed", ["row_id", "sha1_git", "sha256"])
    if removed.num_rows == 0:
        return {"places": PLACES.empty_table()}
    ids = distinct(removed["sha1_git"].combine_chunks())
    found = find(task, "by_content", ids, column="sha1_git", columns=["sha1_git", "sha256", "root", "path"])
    return {
        "places": task.sql(
            """
            select distinct r.row_id, r.sha1_git, r.sha256, f.root, f.path
            from r join f on f.sha1_git = r.sha1_git and coalesce(f.sha256, r.sha256) = r.sha256
            """,
            r=removed,
            f=found,
        )
    }


def decisions(task: Task) -> Mapping[str, pa.Table]:
    """The decision that came furthest, of those that the ledger has for a removed content below the bucket's roots."""
    wanted = task.read("places")
    if wanted.num_rows == 0:
        return {"plain": DECISIONS.empty_table(), "replaced": DECISIONS.empty_table()}
    ids = distinct(wanted["root"].combine_chunks())
    ledger = find(
        task, "ledger", ids, column="root", columns=["root", "path", "sha1_git", "reason", "stand_in"]
    )
    order = pa.table(
        {"name": [str(reason) for reason in Reason], "place": pa.array(range(len(Reason)), pa.int32())}
    )
    best = task.sql(
        f"""
        with occurrences as (
            select p.row_id, p.sha256, l.reason, l.stand_in, r.origins, r.opted_out
            from p join l using (root, path, sha1_git) join r using (root)),
        decided as (
            select row_id, reason, nullif(stand_in, sha256) as stand_in from occurrences
            where reason is not null and origins > opted_out
                and not (reason = '{Reason.EXACT_DUPLICATE}' and stand_in = sha256)
            union all
            select row_id, '{Reason.OPTED_OUT}', null from occurrences where opted_out > 0)
        select d.row_id, o.place, d.reason, d.stand_in
        from decided d join o on o.name = split_part(d.reason, '.', 1)
        qualify row_number() over (partition by d.row_id order by o.place desc, d.reason, d.stand_in) = 1
        """,
        p=wanted,
        l=ledger,
        r=task.read("roots", ["root", "origins", "opted_out"]),
        o=order,
    ).cast(DECISIONS)
    alone = pc.is_null(best["stand_in"])
    return {"plain": best.filter(alone), "replaced": best.filter(pc.invert(alone))}


def stand_ins(task: Task) -> Mapping[str, pa.Table]:
    """The row that stands for a removed duplicate: where its stand-in was replaced as well, that one's stand-in."""
    replaced = task.read("replaced") if task.refs["replaced"] else REPLACED.empty_table()
    table = task.sql(
        """
        select d.row_id, d.place, d.reason, coalesce(r.stand_in, d.stand_in) as stand_in
        from d left join r on r.sha256 = d.stand_in
        """,
        d=task.read("decisions"),
        r=replaced.select(["sha256", "stand_in"]),
    )
    return {"decisions": table.cast(DECISIONS)}


def reasons(task: Task) -> Mapping[str, pa.Table]:
    """All changes of the bucket, and its tombstones."""
    removed = task.read("removed")
    registry = Registry.load(task.kept("registry"))
    hidden = ", ".join(f"'{reason}'" for reason in sorted(NOT_TOLD))
    told = task.sql(
        f"""
        with best as (
            select * from d
            qualify row_number() over (partition by row_id order by place desc, reason, stand_in) = 1)
        select r.*, best.stand_in,
            case when r.opted_out or split_part(best.reason, '.', 1) in ({hidden}) then '{WITHDRAWN}'
                else coalesce(best.reason, '{GONE}') end as reason
        from r left join best using (row_id)
        """,
        r=removed.append_column("opted_out", registry.match(removed["origin"].combine_chunks())),
        d=task.read("decisions"),
    )
    ids = [
        None if stand_in is None or reason == WITHDRAWN else row_id(stand_in)
        for stand_in, reason in zip(told["stand_in"].to_pylist(), told["reason"].to_pylist(), strict=True)
    ]
    told = told.set_column(told.column_names.index("stand_in"), "stand_in", pa.array(ids, pa.string()))
    gone = task.sql(
        """
        select row_id, 'removed' as change, reason, stand_in, null::varchar as withdrawn_in, []::varchar[] as columns,
            length_bytes, content_sha256 as old_content_sha256, language as old_language, shard as old_shard,
            null::varchar as new_content_sha256, null::varchar as new_language, null::varchar as new_shard
        from t
        """,
        t=told,
    )
    changes = pa.concat_tables([task.read("changes").cast(CHANGES), gone.select(CHANGES.names).cast(CHANGES)])
    dead = task.sql(
        f"""
        select * from t anti join r using (row_id)
        union all
        select row_id, content_sha256, '{task.config["version"]}' from r where reason = '{WITHDRAWN}'
        """,
        t=task.read("tombstones"),
        r=told,
    )
    task.facts["counts"] = sorted([*key, number] for key, number in tally(changes).items())
    return {"changes": changes, "tombstones": dead.cast(TOMBSTONES)}


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
    same = {(shard.path, shard.sha256) for shard in parent.manifest.shards} & {
        (shard.path, shard.sha256) for shard, _ in shards
    }
    old = [shard for shard in parent.manifest.shards if (shard.path, shard.sha256) not in same]
    new = [one for one in shards if (one[0].path, one[0].sha256) not in same]
    before = runner.run(
        _reading(
            "changes.parent",
            parent_rows,
            [(shard, [shard.path, shard.sha256, shard.bytes]) for shard in old],
            extra={"parent": parent.place.address},
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
            extra={"parent": parent.place.address},
            units=(None if removals is None else removals.to_json(),),
        )
    )
    compared = runner.run(
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
    decided = _decisions(runner, compared, roots, ledger, near)
    told = runner.run(
        Stage(
            name="changes.reasons",
            run=reasons,
            inputs={
                "changes": compared.ref("changes"),
                "removed": compared.ref("removed"),
                "tombstones": compared.ref("tombstones"),
                "decisions": decided,
            },
            outputs={
                "changes": Output(schema=CHANGES, order=("row_id",)),
                "tombstones": Output(schema=TOMBSTONES, order=("row_id",)),
            },
            config={"version": version, "registry": Registry.load(as_path(registry)).digest},
            extra={"registry": runner.keep(registry)},
        )
    )
    written = runner.run(
        Stage(
            name="changes.files",
            run=files,
            inputs={"changes": told.ref("changes"), "tombstones": told.ref("tombstones")},
            outputs={},
            units="one",
        )
    )
    counts: Counts = Counts()
    for facts in told.facts:
        counts.update(
            {(change, reason, language): number for change, reason, language, number in facts["counts"]}
        )
    return Step(parent, counts, written.stage.folder)


def _decisions(
    runner: Runner, compared: Done, roots: Done, ledger: Done, near: Done | None
) -> tuple[Ref, Ref]:
    """What the ledger says of removed contents, by row id."""
    found = runner.run(
        Stage(
            name="changes.places",
            run=places,
            inputs={"removed": compared.ref("by_content"), "by_content": ledger.ref("by_content")},
            outputs={
                "places": Output(schema=PLACES, order=("root", "path", "row_id"), route="root"),
            },
        )
    )
    decided = runner.run(
        Stage(
            name="changes.decisions",
            run=decisions,
            inputs={
                "places": found.ref("places"),
                "ledger": ledger.ref("ledger"),
                "roots": roots.ref("roots"),
            },
            outputs={
                "plain": Output(schema=DECISIONS, order=("row_id", "reason"), route="row_id"),
                "replaced": Output(schema=DECISIONS, order=("stand_in", "row_id"), route="stand_in"),
            },
        )
    )
    standing = runner.run(
        Stage(
            name="changes.stand_ins",
            run=stand_ins,
            inputs={
                "decisions": decided.ref("replaced"),
                "replaced": () if near is None else (near.ref("replaced"),),
            },
            outputs={"decisions": Output(schema=DECISIONS, order=("row_id", "reason"), route="row_id")},
        )
    )
    return decided.ref("plain"), standing.ref("decisions")


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
