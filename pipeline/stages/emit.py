"""Emit: rows with all their evidence, their place in the shards, and the shards.

Placement: key = first 64 bits of sha256(elected origin), then first 64 bits of sha256(path). A shard is a leaf of the
binary trie over that key: a node is a leaf iff its text fits the target size. The name carries the prefix, so growth
splits one shard and renames no other.

Each shard has a key of its own, made of what its rows are before their texts are read. A shard that was written under its
key before is taken as it is (pipeline.stages.shard_files): texts are read for the others only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from manifests.names import shard_path
from manifests.schema import EVIDENCE, IDS
from manifests.shards import ShardForm
from pipeline.engine.keys import KEY_HEX, canonical, digest, library_version, source_digest
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.errors import IntegrityError
from pipeline.row_ids import row_id
from pipeline.stages import shard_files
from pipeline.stages.ledger import FINAL
from pipeline.stages.row_licenses import with_headers
from pipeline.stages.secrets import TextForm, released_stores
from pipeline.stages.shard_files import FOLDER, MISSING, SHARD_ROWS, TO_WRITE, present
from pipeline.stages.text_signals import SIGNALS_OF
from pipeline.stages.texts import TEXT_OF

KEY_BITS = 128
_LOSSES = 64  # of kept shards, over all runs of one release
LIBRARIES = ("duckdb", "pyarrow", "numpy")
"""What turns rows into the bytes of a shard, besides the annotators, which have their own in their keys."""

ROW_FACTS = pa.schema(
    [
        *(
            FINAL.field(name)
            for name in (
                "sha256", "content_sha256", "released_bytes", "scope", "num_occurrences", "num_origins", "root", "path",
                "sha1_git", "sha1", "blake2s256", "length", "is_vendor", "revision_date", "origin", "language", "is_generated",
                "cluster_size",
            )
        ),
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
)  # fmt: skip
"""Everything of a released row that is known without its text; nothing that is not shown in it, or places it."""

PLACED = pa.schema(
    [
        ("language", pa.string()),
        ("key", pa.string()),  # 32 hex digits: where the row lies in the trie
        ("row_id", pa.string()),
        ("content_sha256", pa.string()),
        ("released_bytes", pa.int64()),
        ("scope", pa.string()),
        ("facts", pa.string()),  # SHA-256 of all of ROW_FACTS
    ]
)

PLAN = pa.schema(
    [
        ("language", pa.string()),
        ("prefix", pa.string()),  # in bits; '' for the whole language
        ("start", pa.string()),  # the first key that begins with it
        ("shard", pa.string()),  # path in the release
        ("route", pa.string()),  # what routes rows to the shard's unit
    ]
)

MEMBERS = pa.schema(
    [
        ("shard", pa.string()),
        ("key", pa.string()),
        ("row_id", pa.string()),
        ("content_sha256", pa.string()),
        ("released_bytes", pa.int64()),
        ("scope", pa.string()),
        ("facts", pa.string()),
        ("route", pa.string()),
    ]
)
"""What names the rows of each shard, in the unit of the shard."""


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
    table = with_headers(table)
    identities = [row_id(sha256) for sha256 in table["sha256"].to_pylist()]
    keys = [
        placement_key(o, p)
        for o, p in zip(table["origin"].to_pylist(), table["path"].to_pylist(), strict=True)
    ]
    table = table.append_column("row_id", pa.array(identities, pa.string())).append_column(
        "key", pa.array(keys, pa.string())
    )
    facts = table.select(ROW_FACTS.names).cast(ROW_FACTS)
    return {"facts": facts, "placed": _digested(task, facts).select(PLACED.names)}


def _digested(task: Task, facts: pa.Table) -> pa.Table:
    """The table with a column `facts`, the SHA-256 of each row as JSON; bytes that need not be UTF-8 as hex."""
    shown = ", ".join(
        f"{field.name}: {f'hex({field.name})' if pa.types.is_binary(field.type) else field.name}"
        for field in ROW_FACTS
    )
    return task.sql(f"select *, sha256(to_json({{{shown}}})::varchar) as facts from t", t=facts)


def place(task: Task) -> Mapping[str, pa.Table]:
    """Cut each language into shards: one pass over (language, key, size) of all kept rows.

    Shards are routed by where they begin in the bytes of all of them: units get equal shares, whatever the number of
    buckets, and many small languages lie in one unit.
    """
    table = task.sql(
        "select language, key, released_bytes from t order by language, key",
        t=task.read_all("placed", columns=["language", "key", "released_bytes"]),
    )
    codes = table["language"].combine_chunks().dictionary_encode()
    changes = np.flatnonzero(np.diff(codes.indices.to_numpy())) + 1
    keys = np.asarray(table["key"].to_pylist(), "S32")
    total = np.concatenate([[0], np.cumsum(table["released_bytes"].to_numpy())])
    plan: list[tuple[str, str, str, str]] = []
    sizes: list[int] = []
    for first, last in pairwise([0, *changes.tolist(), table.num_rows]) if table.num_rows else ():
        language = table["language"][first].as_py()
        for prefix, begin, end in leaves(keys, total, first, last, task.config["shard_bytes"]):
            plan.append((language, prefix, start_of(prefix), shard_path(language, prefix or "all")))
            sizes.append(int(total[end] - total[begin]))
    columns = [list(column) for column in zip(*plan, strict=True)] or [[]] * 4
    return {"plan": pa.table([*columns, routes(sizes)], schema=PLAN)}


def routes(sizes: Sequence[int]) -> list[str]:
    """Where the middle of each of these amounts lies in their sum, as 64 bits in hex: equal shares by leading bits."""
    whole, before, found = max(1, sum(sizes)), 0, []
    for size in sizes:
        found.append(f"{min((1 << 64) - 1, ((2 * before + size) << 63) // whole):016x}")
        before += size
    return found


def start_of(prefix: str) -> str:
    """The first key that begins with these bits."""
    return f"{int(prefix.ljust(KEY_BITS, '0'), 2):032x}"


def leaves(
    keys: np.ndarray, total: np.ndarray, first: int, last: int, target: int
) -> list[tuple[str, int, int]]:
    """The shards of the sorted `keys[first:last]`, as (bits of the prefix, first row, row behind the last).

    `total[i]` is the sum of the sizes before row i. The trie is split while a node's bytes exceed `target`. A node with one
    row, or whose rows share all bits, is a leaf whatever its size. Empty nodes are not shards.
    """
    found: list[tuple[str, int, int]] = []
    todo = [("", first, last)]
    while todo:
        prefix, low, high = todo.pop()
        if low == high:
            continue
        if total[high] - total[low] <= target or keys[low] == keys[high - 1] or len(prefix) == KEY_BITS:
            found.append((prefix, low, high))
            continue
        middle = low + int(np.searchsorted(keys[low:high], start_of(prefix + "1").encode()))
        todo += [(prefix + "1", middle, high), (prefix + "0", low, middle)]
    return found


def members(task: Task) -> Mapping[str, pa.Table]:
    """Send what names a row to the unit of its shard."""
    plan = task.read_all("plan")
    # The prefixes of a language cut the key space into intervals: the one that a key lies in is found by its start.
    return {
        "rows": task.sql(
            """
            select p.shard, t.key, t.row_id, t.content_sha256, t.released_bytes, t.scope, t.facts, p.route
            from t asof join p on t.language = p.language and t.key >= p.start
            """,
            t=task.read("placed"),
            p=plan,
        )
    }


def name_shards(task: Task) -> Mapping[str, pa.Table]:
    """The key of every shard of the bucket: a hash of its path, its rows in their order, and what writes them."""
    table = task.sql("select * from t order by shard, key, row_id", t=task.read("members"))
    shards = table["shard"].combine_chunks().dictionary_encode() if table.num_rows else None
    if shards is None:
        return {"shards": TO_WRITE.empty_table()}
    ends = [*(np.flatnonzero(np.diff(shards.indices.to_numpy())) + 1).tolist(), table.num_rows]
    made = []
    for first, last in pairwise([0, *ends]):
        mine = table.slice(first, last - first)
        path = mine["shard"][0].as_py()
        state = hashlib.sha256(canonical({**task.config["shard"], "path": path}))
        state.update("\n".join(mine["facts"].to_pylist()).encode())
        size = sum(mine["released_bytes"].to_pylist())
        made.append((path, state.hexdigest()[: 2 * KEY_HEX], mine.num_rows, size))
    return {"shards": pa.table([list(column) for column in zip(*made, strict=True)], schema=TO_WRITE)}


def missing(task: Task) -> Mapping[str, pa.Table]:
    """The shards that were not written before, routed anew by their bytes alone."""
    there = present(task.store)
    todo = [s for s in task.read_all("shards").to_pylist() if s["id"] not in there]
    task.facts["missing"] = digest(sorted(s["id"] for s in todo))
    return {"missing": _routed(todo)}


def picked(task: Task) -> Mapping[str, pa.Table]:
    """The shards that are to be made once more; one that this release does not have is left out."""
    wanted = set(task.config["paths"])
    return {"missing": _routed([s for s in task.read_all("shards").to_pylist() if s["shard"] in wanted])}


def _routed(todo: list[dict[str, Any]]) -> pa.Table:
    todo = sorted(todo, key=lambda s: str(s["shard"]))
    columns = [[s[name] for s in todo] for name in ("shard", "id", "rows")]
    return pa.table([*columns, routes([s["bytes"] for s in todo])], schema=MISSING)


def emit_wave(
    runner: Runner,
    kept: Done,
    roots: Done,
    attributions: Ref,
    *,
    text_form: TextForm,
    shard_bytes: int,
    form: ShardForm,
    rebuild: Rebuild | None = None,
) -> Emitted:
    """Write all shards that are not there.

    With `rebuild` only the shards that it picks are made, beside what is kept; see pipeline.rebuild.
    """
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
    placed = runner.run(
        Stage(
            name="emit.members",
            run=members,
            inputs={"placed": facts.ref("placed"), "plan": plan.ref("plan")},
            outputs={"rows": Output(schema=MEMBERS, order=("shard", "key", "row_id"), route="route")},
        )
    )
    stores = {
        **released_stores(text_form),
        "text": TEXT_OF.key(),
        "signals": SIGNALS_OF.key(notebooks=text_form.notebooks),
    }
    writer = {
        "form": asdict(form),
        "stores": stores,
        "code": source_digest(shard_files.__name__),
        "libraries": {name: library_version(name) for name in LIBRARIES},
    }
    named = runner.run(
        Stage(
            name="emit.keys",
            run=name_shards,
            inputs={"members": placed.ref("rows")},
            outputs={"shards": Output(schema=TO_WRITE, order=("shard",))},
            config={"shard": writer},
        )
    )
    emission = _Emission(
        runner,
        facts.ref("facts"),
        plan.ref("plan"),
        placed.ref("rows"),
        named,
        stores,
        form,
        text_form.inputs,
    )
    done = emission.all_shards() if rebuild is None else emission.rebuilt(rebuild)
    return Emitted(done, named.ref("shards"), placed.ref("rows"))


@dataclass(frozen=True)
class Emitted:
    """The stage whose facts describe the shards and whose table lists the row ids; the shards (TO_WRITE) and their MEMBERS."""

    done: Done
    named: Ref
    members: Ref


@dataclass(frozen=True)
class Rebuild:
    """Shards to make once more, by their paths in the release; `attempt` tells this time from all others."""

    paths: tuple[str, ...]
    attempt: str


@dataclass(frozen=True)
class _Emission:
    """Everything that is known of the shards before a text is read."""

    runner: Runner
    facts: Ref
    plan: Ref
    members: Ref
    named: Done
    stores: Mapping[str, str]
    form: ShardForm
    inputs: Mapping[str, Ref]

    def all_shards(self) -> Done:
        """Write what is missing. What was taken for there, or written, and is gone is written (again)."""
        names = set() if self.named.planned else self._ids(self.named, "shards")
        self.runner.used |= {f"{FOLDER}/{name}" for name in names}
        lost: list[str] = []
        while True:
            absent = self._absent("emit.missing", missing, {"lost": lost})
            gone = names - present(self.runner.store) if names else set()
            if not names or gone <= self._ids(absent, "missing"):
                done = self._shards(absent)
                gone = names - present(self.runner.store) if names else set()
                if not gone:
                    return done
            if len(lost) > _LOSSES:
                raise IntegrityError(f"{self.runner.store.uri}/{FOLDER} does not keep what is written to it")
            lost = sorted([*lost, *gone])  # a second loss of one shard is another stage than the first

    def rebuilt(self, rebuild: Rebuild) -> Done:
        """Make some shards once more, beside what is kept, and tell what came of it."""
        once = {"paths": sorted(rebuild.paths), "attempt": rebuild.attempt}
        absent = self._absent("emit.picked", picked, once)
        return self.runner.run(
            Stage(
                name="emit.rebuilt",
                run=shard_files.rebuilt,
                inputs={"missing": absent.ref("missing"), "rows": self._texts(absent, once)},
                outputs={},
                config={"form": asdict(self.form), **once},
            )
        )

    def _ids(self, done: Done, output: str) -> set[str]:
        return set(self.runner.table(done.ref(output), ["id"])["id"].to_pylist())

    def _absent(
        self, name: str, run: Callable[[Task], Mapping[str, pa.Table]], config: Mapping[str, Any]
    ) -> Done:
        return self.runner.run(
            Stage(
                name=name,
                run=run,
                inputs={"shards": self.named.ref("shards")},
                outputs={"missing": Output(schema=MISSING, order=("shard",))},
                units="one",
                config=config,
            )
        )

    def _texts(self, absent: Done, config: Mapping[str, Any]) -> Ref:
        """The complete rows of the shards that are absent."""
        done = self.runner.run(
            Stage(
                name="emit.texts",
                run=shard_files.texts,
                inputs={
                    "facts": self.facts,
                    "plan": self.plan,
                    "missing": absent.ref("missing"),
                    **self.inputs,
                },
                outputs={"rows": Output(schema=SHARD_ROWS, order=("shard", "key", "row_id"), route="route")},
                config={"stores": dict(self.stores), **config},
            )
        )
        return done.ref("rows")

    def _shards(self, absent: Done) -> Done:
        # Which shards were there is no function of the inputs: what was found is named in the keys of what follows.
        config = {"missing": None if absent.planned else absent.facts[0]["missing"]}
        return self.runner.run(
            Stage(
                name="emit.shards",
                run=shard_files.shards,
                inputs={
                    "members": self.members,
                    "shards": self.named.ref("shards"),
                    "missing": absent.ref("missing"),
                    "rows": self._texts(absent, config),
                },
                outputs={"ids": Output(schema=IDS, order=("row_id",))},
                config={"form": asdict(self.form), **config},
            )
        )
