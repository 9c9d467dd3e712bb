"""The repository view: the files of each origin together, over all languages, without a second copy of the data.

    for repository in repositories(release, ["path", "content"]):
        for batch in repository.batches:
            ...

The rows of a shard lie in the order of a key, whose first 64 bits are the first of SHA-256(origin), and a shard's name says
which range of keys it holds. So one pass over all shards, merged by that key, a shard of each language open at a time, meets
all files of an origin one after the other.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import ReleaseError
from manifests.facts import ShardFacts
from manifests.reader import Release
from manifests.schema import DATA

BATCH_ROWS = 64
"""Rows that are held of each language: half a MiB of code at the usual mean."""

_PAGE_BUFFER = 1 << 16
"""Bytes read at a time of each column: the row groups of all languages, read whole, would not fit."""


@dataclass(frozen=True)
class Repository:
    """One origin and its rows. `batches` can be read once, and only until the next repository is asked for."""

    origin: str
    batches: Iterator[pa.RecordBatch]
    """By language in the order of their names; within a language in the order of SHA-256(path)."""


def repositories(
    release: Release,
    columns: Sequence[str] | None = None,
    languages: Sequence[str] | None = None,
    *,
    batch_rows: int = BATCH_ROWS,
    verify: bool = True,
) -> Iterator[Repository]:
    """Yield every origin that has rows in these languages (default: all), in the order of SHA-256(origin).

    `columns` are names of `manifests.schema.DATA` (default: all). With `verify` a shard's SHA-256 is checked before its
    first row is handed out. Memory: for each language a batch and the pages that it comes from, some 6 MB. The order is the
    same for any version of a release that holds these origins. Raises `ReleaseError` for an unknown column or language (at once),
    for a shard that is missing or altered, and for one whose rows are not in that order (when it is reached).
    """
    wanted = list(DATA.names if columns is None else columns)
    if unknown := [name for name in wanted if name not in DATA.names]:
        raise ReleaseError(f"no such columns: {unknown}; the columns are {', '.join(DATA.names)}")
    if batch_rows < 1:
        raise ReleaseError(f"batch_rows must be at least 1, not {batch_rows}")
    names = sorted(release.languages if languages is None else set(languages))
    return _merged([_Cursor(release, name, wanted, batch_rows=batch_rows, verify=verify) for name in names])


def _merged(cursors: list[_Cursor]) -> Iterator[Repository]:
    waiting = [
        (cursor.key, cursor.origin, number) for number, cursor in enumerate(cursors) if cursor.advance()
    ]
    heapq.heapify(waiting)
    while waiting:
        key, origin, _ = waiting[0]
        here: list[int] = []
        while waiting and waiting[0][:2] == (key, origin):
            here.append(heapq.heappop(waiting)[2])
        batches = _batches([cursors[number] for number in here], origin)
        yield Repository(origin, batches)
        for _ in batches:  # what was not read is passed over
            pass
        for number in here:
            if cursors[number].advance():
                heapq.heappush(waiting, (cursors[number].key, cursors[number].origin, number))


def _batches(cursors: list[_Cursor], origin: str) -> Iterator[pa.RecordBatch]:
    for cursor in cursors:
        yield from cursor.run(origin)


class _Cursor:
    """The rows of one language in the order of their keys, a run of one origin at a time."""

    def __init__(
        self,
        release: Release,
        language: str,
        columns: list[str],
        *,
        batch_rows: int,
        verify: bool,
    ) -> None:
        self.origin, self.key = "", ""
        self._release, self._language, self._columns = release, language, columns
        shards = sorted(release.shards(language), key=_prefix)
        self._batches = self._read(shards, batch_rows, verify)
        self._batch: pa.RecordBatch | None = None
        self._origins: list[str] = []
        self._row = 0

    def advance(self) -> bool:
        """Go to the next run; False at the end."""
        if self._batch is None or self._row == self._batch.num_rows:
            self._batch, self._row = next(self._batches, None), 0
            if self._batch is None:
                return False
            self._origins = self._batch.column("origin").to_pylist()
        before = self.key
        self.origin = self._origins[self._row]
        self.key = hashlib.sha256(self.origin.encode()).hexdigest()
        # Of origins that share the 64 bits that count, none is before the other.
        if self.key[:16] < before[:16]:
            raise ReleaseError(
                f"{self._release.directory}: the rows of {self._language!a} are not in the order of their origins;"
                " a release made by another program has no repository view"
            )
        return True

    def run(self, origin: str) -> Iterator[pa.RecordBatch]:
        """The rows of the current run."""
        while self._batch is not None and self._row < self._batch.num_rows:
            end = self._row
            while end < len(self._origins) and self._origins[end] == origin:
                end += 1
            if end > self._row:
                piece = self._batch.slice(self._row, end - self._row)
                self._row = end
                yield piece.select(self._columns)
            if self._row < self._batch.num_rows:
                return
            self._batch, self._row = next(self._batches, None), 0
            self._origins = [] if self._batch is None else self._batch.column("origin").to_pylist()

    def _read(self, shards: Sequence[ShardFacts], batch_rows: int, verify: bool) -> Iterator[pa.RecordBatch]:
        columns = list(dict.fromkeys([*self._columns, "origin"]))
        for shard in shards:
            file = self._release.check_shard(shard) if verify else Path(self._release.directory, shard.path)
            rows = 0
            try:
                with pq.ParquetFile(
                    file, page_checksum_verification=True, pre_buffer=False, buffer_size=_PAGE_BUFFER
                ) as parquet:
                    if not parquet.schema_arrow.equals(DATA):
                        raise ReleaseError(
                            f"{self._release.directory}: {shard.path} does not have the columns of a shard"
                        )
                    for batch in parquet.iter_batches(
                        batch_size=batch_rows, columns=columns, use_threads=False
                    ):
                        rows += batch.num_rows
                        if batch.num_rows:
                            yield batch
            except (pa.ArrowException, OSError) as error:
                raise ReleaseError(
                    f"{self._release.directory}: {shard.path} cannot be read as Parquet: {error}"
                ) from error
            if rows != shard.rows:
                raise ReleaseError(
                    f"{self._release.directory}: {shard.path} has {rows:,} rows, the manifest says {shard.rows:,}"
                )


def _prefix(shard: ShardFacts) -> str:
    """The bits of a shard's name: no prefix of a language begins with another one, so text order is key order."""
    return shard.path.rpartition("/train-")[2].removesuffix(".parquet").replace("all", "")
