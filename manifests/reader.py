"""Reading a release: its manifest, and its rows with every byte checked before it is handed out.

release = Release.open("releases/2.1")
for batch in release.batches(["content", "language"], languages=["Python"]):
    ...
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.canonical import MAX_BYTES
from manifests.checksums import sha256_file
from manifests.errors import ManifestError, ReleaseError
from manifests.facts import FileFacts, ShardFacts
from manifests.manifest import Manifest
from manifests.names import MANIFEST, QUALITY_SIGNALS_FILE
from manifests.schema import DATA

BATCH_ROWS = 1_024
"""Default rows of a batch: about 8 MiB of code at the usual mean of 8 kB per file."""


class Release:
    """A release directory, opened for reading. Opening reads the manifest only; see `manifests.verify` for
    the rest."""

    def __init__(self, directory: Path, manifest: Manifest, digest: str) -> None:
        self.directory = directory
        self.manifest = manifest
        self.digest = digest
        self._verified: set[str] = set()

    @classmethod
    def open(cls, directory: str | Path) -> Release:
        """Open the release in a folder.

        Raises `ReleaseError` when there is no folder, no manifest, or a manifest that is broken or of a
        schema version that this software does not know.
        """
        folder = Path(directory)
        if not folder.is_dir():
            raise ReleaseError(
                f"{folder}: no such folder; give the folder of a release, such as releases/2.1"
            )
        file = folder / MANIFEST
        if not file.is_file():
            raise ReleaseError(f"{folder} is not a release: it has no {MANIFEST}")
        data = read_bounded(file, MAX_BYTES)
        try:
            manifest = Manifest.parse(data)
        except ManifestError as error:
            raise ReleaseError(f"{folder}: {error}") from error
        return cls(folder, manifest, hashlib.sha256(data).hexdigest())

    @property
    def languages(self) -> tuple[str, ...]:
        """Names of the languages, sorted."""
        return tuple(sorted(self.manifest.languages))

    def shards(self, language: str | None = None) -> tuple[ShardFacts, ...]:
        """Return the shards, of one language or of all, sorted by path; raises `ReleaseError` for an unknown
        one."""
        if language is None:
            return self.manifest.shards
        if language not in self.manifest.languages:
            known = ", ".join(self.languages[:20]) + (", ..." if len(self.languages) > 20 else "")
            raise ReleaseError(f"{self.directory}: no language {ascii(language)[:80]}; it has {known}")
        return tuple(shard for shard in self.manifest.shards if shard.language == language)

    def check_shard(self, shard: ShardFacts | FileFacts) -> Path:
        """Check size and SHA-256 of a shard's (or another listed) file against the manifest; its path on disk.

        A file is hashed once per opened release. Raises `ReleaseError` naming it.
        """
        file = self._file(shard)
        if shard.path not in self._verified:
            digest, size = sha256_file(file)
            if (digest, size) != (shard.sha256, shard.bytes):
                raise ReleaseError(
                    f"{self.directory}: {shard.path} is not the file that the manifest describes"
                    f" (SHA-256 {digest},"
                    f" {size:,} bytes; wanted {shard.sha256}, {shard.bytes:,} bytes); fetch it again"
                )
            self._verified.add(shard.path)
        return file

    def _file(self, shard: ShardFacts | FileFacts) -> Path:
        file = self.directory / shard.path
        if file.is_symlink() or not file.is_file():
            raise ReleaseError(f"{self.directory}: {shard.path} is missing or is not a plain file")
        return file

    def quality_signals(self) -> pa.Schema | None:
        """The columns of `quality-signals.parquet`, checked like a shard; None where the release has no such file."""
        facts = next((file for file in self.manifest.files if file.path == QUALITY_SIGNALS_FILE), None)
        if facts is None:
            return None
        file = self.check_shard(facts)
        try:
            return pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise ReleaseError(
                f"{self.directory}: {facts.path} cannot be read as Parquet: {error}"
            ) from error

    def read_quality_signals(self, columns: Sequence[str]) -> pa.Table:
        """These columns of `quality-signals.parquet`, sorted by row_id.

        Raises `ReleaseError` for an unknown column, and for a file that is missing, altered or damaged.
        """
        schema = self.quality_signals()
        known = [] if schema is None else schema.names
        if unknown := [name for name in columns if name not in known]:
            raise ReleaseError(f"{self.directory}: {QUALITY_SIGNALS_FILE} has no columns {unknown}")
        try:
            return pq.read_table(
                self.directory / QUALITY_SIGNALS_FILE, columns=list(columns), page_checksum_verification=True
            )
        except (pa.ArrowException, OSError) as error:
            raise ReleaseError(
                f"{self.directory}: {QUALITY_SIGNALS_FILE} cannot be read as Parquet: {error}"
            ) from error

    def batches(
        self,
        columns: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        *,
        batch_rows: int = BATCH_ROWS,
        verify: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows, shard by shard in order of path (of language, then path, where languages are
        given).

        `columns` are names of `manifests.schema.DATA` (default: all), in the order wanted. A batch has at
        most `batch_rows` rows and never crosses shards. With `verify` the SHA-256 of a shard is checked
        before the first of its rows is handed out; page checksums are verified in any case. Raises
        `ReleaseError` for an unknown column or language (at once), and for a shard that is missing or altered
        (when it is reached).
        """
        return (batch for _, batch in self.numbered(columns, languages, batch_rows=batch_rows, verify=verify))

    def numbered(
        self,
        columns: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        *,
        wanted: Callable[[int, int], bool] = lambda first, stop: True,
        batch_rows: int = BATCH_ROWS,
        verify: bool = True,
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """As `batches`, each with the number of its first row; rows are numbered in the order in which `batches` yields
        them.

        `wanted` is asked with the numbers (first, stop) of a shard's rows, of a row group's and of a batch's: a shard for
        which it is false is not opened, a row group not read, a batch not yielded.
        """
        names = list(DATA.names if columns is None else columns)
        if unknown := [name for name in names if name not in DATA.names]:
            raise ReleaseError(f"no such columns: {unknown}; the columns are {', '.join(DATA.names)}")
        if batch_rows < 1:
            raise ReleaseError(f"batch_rows must be at least 1, not {batch_rows}")
        shards = (
            self.manifest.shards
            if languages is None
            else tuple(shard for language in dict.fromkeys(languages) for shard in self.shards(language))
        )
        return self._rows(shards, names, wanted, batch_rows, verify)

    def _rows(
        self,
        shards: tuple[ShardFacts, ...],
        columns: list[str],
        wanted: Callable[[int, int], bool],
        batch_rows: int,
        verify: bool,
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        first = 0
        for shard in shards:
            start, first = first, first + shard.rows
            if not wanted(start, first):
                continue
            file = self.check_shard(shard) if verify else self._file(shard)
            try:
                with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                    if not parquet.schema_arrow.equals(DATA):
                        raise ReleaseError(
                            f"{self.directory}: {shard.path} does not have the columns of a shard"
                        )
                    if parquet.metadata.num_rows != shard.rows:
                        raise ReleaseError(
                            f"{self.directory}: {shard.path} has {parquet.metadata.num_rows:,} rows, the manifest says"
                            f" {shard.rows:,}"
                        )
                    for group in range(parquet.num_row_groups):
                        stop = start + parquet.metadata.row_group(group).num_rows
                        if wanted(start, stop):
                            batches = parquet.iter_batches(batch_rows, row_groups=[group], columns=columns)
                            yield from _some(batches, columns, start, wanted)
                        start = stop
            except (pa.ArrowException, OSError) as error:
                raise ReleaseError(
                    f"{self.directory}: {shard.path} cannot be read as Parquet: {error}"
                ) from error


def _some(
    batches: Iterator[pa.RecordBatch], columns: list[str], first: int, wanted: Callable[[int, int], bool]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of the first row, columns in their order) of the batches that are wanted."""
    for batch in batches:
        stop = first + batch.num_rows
        if wanted(first, stop):
            yield first, batch.select(columns)
        first = stop


def read_bounded(file: Path, max_bytes: int) -> bytes:
    """Return a file's bytes; raises `ReleaseError` if there are more than `max_bytes`, `OSError` as usual."""
    with file.open("rb") as handle:
        data = handle.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ReleaseError(f"{file}: larger than the limit of {max_bytes:,} bytes")
    return data
