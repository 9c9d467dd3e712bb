"""Fetch the bodies of wanted contents, verify them, and keep them in the store of bodies.

The store is keyed by content and verified, so it serves every archive and every release. What could not be had
(`missing`, `corrupt`, `too_large`) is recorded in the stage's own table, not in the store: it is asked for again when
the stage runs again, that is when its input has changed, in another work directory, or when `--ask-again` says so. That
counts up a number of the work directory which is part of the key; the bodies that are there already are not fetched
again.

Bodies are committed in segments while the next ones are on their way, and with them the answers that were no bodies: a
killed unit asks again for at most `IN_HAND_OBJECTS` objects or `IN_HAND_BYTES`. An object that fails in passing is set
aside, tried again alone at the end of the unit, and never recorded as an answer: if one remains, the unit ends with
SourceError, what was fetched is kept, and the next run asks for the rest only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache

import pyarrow as pa

from pipeline.engine.annotations import COMPACT_AT, AnnotationStore, Annotator
from pipeline.engine.buckets import write_part
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.engine.store import Store
from pipeline.errors import SourceError
from pipeline.sources.contents import FAILED, OK, ORDINARY, STUBBORN, Contents, Fetched, Wanted
from pipeline.sources.downloads import download
from pipeline.sources.guard import Guard
from pipeline.sources.pace import Pace
from pipeline.tables import BODIES, FETCH_STATUS

IN_HAND_OBJECTS = 4_096  # fetched or asked for and not yet committed: what a crash may cost
IN_HAND_BYTES = 32 << 20  # the same in declared bytes; what a task holds in memory
_FOLDER_THREADS = 8  # a folder needs no more to keep one core busy
_STUBBORN_IN_A_ROW = 3  # set-aside objects that fail again, one after the other: the rest is not tried


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
    source = Store(task.extra["content"], task.extra["anonymous"])
    ledger = _Answers(task, source)
    missing = task.sql(
        "select w.* from w anti join a using (sha256) order by sha256",
        w=BODIES_OF.open(task).missing(wanted),
        a=ledger.table(),
    )
    local = source.root is not None
    pace = pace_of(
        source.uri,
        math.inf if local else task.extra["rate"],
        min(task.extra["in_flight"], _FOLDER_THREADS) if local else task.extra["in_flight"],
    )
    contents = Contents(source, pace, ORDINARY)
    guard = Guard(source.uri, budget=task.extra["failures"], incomplete=task.extra["incomplete"])

    def look(outcome: Fetched) -> None:
        try:
            guard.look(outcome)
        except SourceError:
            contents.abandoned = True
            raise

    throttled = pace.throttled_times
    batches = download(
        contents.fetch,
        _rows(missing),
        in_flight=lambda: pace.in_flight,
        most=max(1, min(pace.most, missing.num_rows)),
        batch_objects=IN_HAND_OBJECTS // 2,
        batch_bytes=IN_HAND_BYTES // 2,
        look=look,
    )
    with closing(batches):
        for batch in batches:
            ledger.keep(batch)
    if guard.failed:
        _insist(Contents(source, pace, STUBBORN), guard.failed, ledger)
    ledger.bodies.compact()
    task.count("objects.wanted", wanted.num_rows)
    task.count("objects.requested", missing.num_rows)
    task.count("objects.set_aside", len(guard.failed))
    task.count("requests.repeated", ledger.repeated)
    task.count("requests.throttled", pace.throttled_times - throttled)
    problems = ledger.table()
    for status in problems["status"].to_pylist():
        task.count(f"dropped.{status}")
    status = task.sql(
        "select w.sha256, coalesce(p.status, 'ok') as status, coalesce(p.detail, '') as detail from w left join p using (sha256)",
        w=wanted,
        p=problems,
    )
    ledger.forget()
    return {"status": status}


@cache
def pace_of(uri: str, rate: float, most: int) -> Pace:
    """This process's pace towards one store: what it learnt about it holds for its next unit, too."""
    return Pace(rate, most)


def _rows(table: pa.Table) -> Iterator[Wanted]:
    for batch in table.to_batches(max_chunksize=IN_HAND_OBJECTS):
        columns = (batch[name].to_pylist() for name in ("sha1", "sha256", "length"))
        for sha1, sha256, length in zip(*columns, strict=True):
            yield Wanted(sha1, sha256, length)


def _insist(contents: Contents, failed: list[Fetched], ledger: _Answers) -> None:
    """Try what was set aside again, alone and patiently. Raises SourceError when something still cannot be had."""
    left: list[Fetched] = []
    in_a_row = 0
    for number, before in enumerate(failed):
        if in_a_row == _STUBBORN_IN_A_ROW:
            left += failed[number:]
            break
        outcome = contents.fetch(before.wanted)
        in_a_row = in_a_row + 1 if outcome.status == FAILED else 0
        if outcome.status == FAILED:
            left.append(outcome)
        else:
            ledger.keep([outcome])
    if left:
        first, named = left[0], f"{len(left):,} objects" if left[1:] else "1 object"
        raise SourceError(
            f"{named} could not be had{', the first' if left[1:] else ''}: {contents.address(first.wanted)}: {first.detail};"
            " what was fetched is kept: run the release again and it asks for these only, later or with a lower"
            " engine.fetch_rate where the store throttles, with other credentials where it denies access"
        )


class _Answers:
    """What a unit has been told so far: bodies in their store, and in the stage's folder what was no body.

    Without the second, a killed unit would ask again for everything that is missing. It is kept per address, since
    what one store lacks another may have.
    """

    def __init__(self, task: Task, source: Store) -> None:
        self.bodies: AnnotationStore = BODIES_OF.open(task)
        self.repeated = 0  # requests beyond one per object
        self._task, self._segments = task, 0
        address = hashlib.sha256(source.uri.encode()).hexdigest()[:12]
        self._folder = f"{task.folder}/answers/{task.unit}"
        self._prefix = f"{self._folder}/{address}"
        self._tables: list[pa.Table] = []
        for entry in task.store.list(self._prefix):
            with task.store.parquet(entry.key) as file:
                self._tables.append(file.read(use_threads=False))

    def table(self) -> pa.Table:
        """One row per object that was asked for and could not be had."""
        return pa.concat_tables([FETCH_STATUS.empty_table(), *self._tables])

    def keep(self, batch: list[Fetched]) -> None:
        """Commit a batch: one segment of bodies, one file of other answers; what failed is no answer."""
        good = [one for one in batch if one.status == OK]
        self._task.bytes_in += sum(one.wanted.length for one in good)
        self.repeated += sum(one.tries - 1 for one in batch)
        if good:
            columns = [[one.wanted.sha256 for one in good], [one.body for one in good]]
            self.bodies.append(pa.table(columns, schema=BODIES))
            self._segments += 1
            if self._segments % COMPACT_AT == 0:
                self.bodies.compact()
        others = sorted(
            (one.wanted.sha256, one.status, one.detail) for one in batch if one.status not in (OK, FAILED)
        )
        if others:
            table = pa.table([list(column) for column in zip(*others, strict=True)], schema=FETCH_STATUS)
            with self._task.store.writing(f"{self._prefix}/{others[0][0]}.parquet") as path:
                write_part(path, [table], FETCH_STATUS, order=("sha256",))
            self._tables.append(table)

    def forget(self) -> None:
        """The unit's table of statuses says it all now."""
        self._task.store.delete_all(self._folder)


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


def fetch(runner: Runner, name: str, wanted: Ref, source: Mapping[str, object], *, asked: int) -> Done:
    """Run one fetching wave over the contents of a table with columns sha256, sha1 and length.

    `source`: address (`content`) and access (`anonymous`) of the objects, and the limits of `engine.fetch_*` (`rate`,
    `in_flight`, `failures`, `incomplete`).
    """
    return runner.run(
        Stage(
            name=f"fetch.{name}",
            run=fetch_bodies,
            inputs={"wanted": wanted},
            outputs={"status": Output(schema=FETCH_STATUS, order=("sha256",))},
            config={"stores": {"bodies": BODIES_OF.key()}, "asked": asked},
            extra=source,
        )
    )
