"""The rows of a release by number: which shard and row group one lies in, and its text, read when it is asked for.

Row n of a release is the n-th of its shards in their order in the manifest. Texts are read a row group at a time (up to
64 MB of them); the last groups stay decoded, as far as they fit in `CACHE_BYTES`.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import ReleaseError
from manifests.facts import ShardFacts
from manifests.reader import Release
from manifests.schema import DATA
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError

COLUMNS = (
    "row_id",
    "swhid",
    "path",
    "origin",
    "language",
    "license_expression",
    "num_occurrences",
    "num_origins",
    "cluster_size",
    "content",
)
"""What a look-up tells of a row, and its text."""

CACHE_BYTES = 512_000_000
_BATCH_ROWS = 1_024

Group = tuple[int, int]
"""Number of the shard, number of the row group in it."""


class Rows:
    """The rows of an opened release. `place`: where its shards are fetched from when they are not in its folder."""

    def __init__(self, release: Release, place: Store | None = None, *, verify: bool = True) -> None:
        self.release = release
        self._place = place
        self._name = str(release.directory) if place is None else place.uri
        self._verify = verify
        self._checker = release
        self.shards: tuple[ShardFacts, ...] = release.shards()
        self._starts = np.concatenate(([0], np.cumsum([shard.rows for shard in self.shards]))).astype(
            np.int64
        )
        self._borders: dict[int, np.ndarray[Any, np.dtype[np.int64]]] = {}
        self._cache: OrderedDict[Group, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def ranges(self, languages: Sequence[str]) -> list[tuple[int, int]] | None:
        """The ranges of rows of these languages, ascending; None for all."""
        if not languages:
            return None
        return [
            (int(self._starts[number]), int(self._starts[number + 1]))
            for number, shard in enumerate(self.shards)
            if shard.language in languages
        ]

    def texts(self) -> Iterator[tuple[int, pa.Array]]:
        """All texts in order: the number of the first row of a batch, and its texts. One fetched shard is on disk at a time."""
        for number, shard in enumerate(self.shards):
            at = int(self._starts[number])
            with self._parquet(shard) as parquet:
                for batch in parquet.iter_batches(_BATCH_ROWS, columns=["content"], use_threads=False):
                    yield at, batch.column(0)
                    at += batch.num_rows
            if at != self._starts[number + 1]:
                raise IntegrityError(
                    f"{self._name}: {shard.path} has {at - int(self._starts[number]):,} rows, the manifest"
                    f" says {shard.rows:,}"
                )
            if self._place is not None:
                (self.release.directory / shard.path).unlink()

    def find(self, row: int) -> tuple[Group, int]:
        """The row group that a row lies in, and its number there."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        if number not in self._borders:
            with self._parquet(self.shards[number]) as parquet:
                counts = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
            self._borders[number] = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        borders = self._borders[number]
        local = row - int(self._starts[number])
        group = int(np.searchsorted(borders, local, side="right")) - 1
        if group >= len(borders) - 1:
            raise IntegrityError(f"{self._name}: {self.shards[number].path} has too few rows")
        return (number, group), local - int(borders[group])

    def group(self, group: Group) -> pa.Table:
        """The `COLUMNS` of a row group."""
        table = self._cache.pop(group, None)
        if table is None:
            with self._parquet(self.shards[group[0]]) as parquet:
                table = parquet.read_row_group(group[1], columns=list(COLUMNS), use_threads=False)
        self._cache[group] = table
        while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > CACHE_BYTES:
            self._cache.popitem(last=False)
        return table

    @contextlib.contextmanager
    def _parquet(self, shard: ShardFacts) -> Iterator[pq.ParquetFile]:
        """A shard, fetched if need be and checked once. Raises IntegrityError when it is not what it should be."""
        file = self._fetched(shard)
        try:
            if self._verify:
                self._checker.check_shard(shard)
            with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                if not parquet.schema_arrow.equals(DATA):
                    raise IntegrityError(f"{self._name}: {shard.path} does not have the columns of a shard")
                yield parquet
        except ReleaseError as error:
            raise IntegrityError(str(error).replace(str(self.release.directory), self._name)) from error
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(f"{self._name}: {shard.path} cannot be read: {error}") from error

    def _fetched(self, shard: ShardFacts) -> Path:
        file = self.release.directory / shard.path
        if self._place is not None and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            # A file that was fetched again is checked again: another reader knows nothing of the first one.
            self._checker = Release(self.release.directory, self.release.manifest, self.release.digest)
            try:
                self._place.fetch(shard.path, file)
            except FileNotFoundError:
                raise IntegrityError(f"{self._name}: {shard.path} is missing") from None
        return file
