"""Fetch the bodies of wanted contents, verify them, and keep them in the store of bodies.

The store is keyed by content and verified, so it serves every archive and every release. What could not be had
(`missing`, `corrupt`) is recorded in the stage's own table, not in the store: it is asked for again when the stage runs
again, that is when its input has changed, in another work directory, or when `--ask-again` says so. That counts up a
number of the work directory which is part of the key; the bodies that are there already are not fetched again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pyarrow as pa

from pipeline.engine.annotations import Annotator
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.engine.store import Store
from pipeline.sources.contents import OK, Wanted, fetch_all
from pipeline.tables import BODIES, FETCH_STATUS

SEGMENT_BYTES = 32 << 20  # bodies per segment: what a crash may cost, and what a task holds in memory


BODIES_OF = Annotator(name="bodies", ids=("sha256",), schema=BODIES, modules=())
"""Verified by their sha256, so no source or configuration can change them."""


def fetch_bodies(task: Task) -> Mapping[str, pa.Table]:
    """Fetch what the store lacks, a segment at a time; one status row per wanted content."""
    wanted = task.sql(
        """
        select sha256, sha1, length from t where sha256 is not null
        qualify row_number() over (partition by sha256 order by sha1, length) = 1 order by sha256
        """,
        t=task.read("wanted", columns=["sha256", "sha1", "length"]),
    )
    store = BODIES_OF.open(task)
    missing = store.missing(wanted)
    source = Store(task.extra["content"], task.extra["anonymous"])
    failed: list[tuple[str, str, str]] = []
    for chunk in _chunks(missing):
        good = []
        for one in fetch_all(source, chunk, in_flight=task.extra["in_flight"]):
            if one.status == OK:
                good.append((one.wanted.sha256, one.body))
                task.bytes_in += len(one.body or b"")
            else:
                failed.append((one.wanted.sha256, one.status, one.detail))
        store.append(pa.table([[s for s, _ in good], [b for _, b in good]], schema=BODIES))
    task.count("objects.wanted", wanted.num_rows)
    task.count("objects.requested", missing.num_rows)
    for _, status, _ in failed:
        task.count(f"dropped.{status}")
    problems = pa.table(
        [list(column) for column in zip(*failed, strict=True)] or [[], [], []], schema=FETCH_STATUS
    )
    status = task.sql(
        "select w.sha256, coalesce(p.status, 'ok') as status, coalesce(p.detail, '') as detail from w left join p using (sha256)",
        w=wanted,
        p=problems,
    )
    return {"status": status}


def _chunks(table: pa.Table) -> Iterator[list[Wanted]]:
    chunk: list[Wanted] = []
    size = 0
    columns = (table[name].to_pylist() for name in ("sha1", "sha256", "length"))
    for sha1, sha256, length in zip(*columns, strict=True):
        if chunk and size + length > SEGMENT_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(Wanted(sha1, sha256, length))
        size += length
    if chunk:
        yield chunk


_ASKED = "asked.json"


def times_asked(store: Store, *, again: bool = False) -> int:
    """How often the work directory has been told to ask again for what could not be had; one more with `again`."""
    try:
        asked = int(json.loads(store.read(_ASKED)))
    except FileNotFoundError:
        asked = 0
    if again:
        asked += 1
        store.put(_ASKED, json.dumps(asked).encode())
    return asked


def fetch(
    runner: Runner, name: str, wanted: Ref, archive: Mapping[str, object], *, in_flight: int, asked: int
) -> Done:
    """Run one fetching wave over the contents of a table with columns sha256, sha1 and length."""
    return runner.run(
        Stage(
            name=f"fetch.{name}",
            run=fetch_bodies,
            inputs={"wanted": wanted},
            outputs={"status": Output(schema=FETCH_STATUS, order=("sha256",))},
            config={"stores": {"bodies": BODIES_OF.key()}, "asked": asked},
            extra={**archive, "in_flight": in_flight},
        )
    )
