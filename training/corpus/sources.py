"""Where rows come from: a release, read through its manifest and verified, or a local file of JSON lines.

A source numbers its rows 0, 1, ... in an order that its bytes fix; all that is said about rows later (split,
mixing, lineage) is said in these numbers.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.config import SourceConfig
from training.errors import TrainingConfigError, TrainingDataError

INDEX_COLUMNS = ["content_sha256", "language", "origin", "length_bytes"]
"""What the choice of rows needs to know of each."""

TEXT_COLUMNS = ["content_sha256", "language", "content"]

_REPEATED = frozenset({"language", "origin", "repo_name", "directory_id", "revision_id", "snapshot_id"})
"""Columns of a release whose values repeat from row to row."""

Report = Callable[[str], None]
"""Takes one line for the user's eyes (stderr)."""


def silent(_: str) -> None:
    """A `Report` that nobody reads."""


class ManifestFacts(Protocol):
    """What training needs of a manifest."""

    @property
    def name(self) -> str:
        """Of the dataset."""

    @property
    def version(self) -> str:
        """Of the release."""


class ReleaseReader(Protocol):
    """What training needs of a release; `manifests.reader.Release` provides it, verified."""

    @property
    def manifest(self) -> ManifestFacts:
        """The parsed `manifest.json`."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the bytes of `manifest.json`."""

    @property
    def languages(self) -> Sequence[str]:
        """Values of the `language` column."""

    def batches(
        self, columns: Sequence[str] | None = None, languages: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows by language in the order given, then by shard and row; verified before they are handed out."""

    def quality_signals(self) -> pa.Schema | None:
        """The columns of `quality-signals.parquet`, or None where the release has no such file."""

    def read_quality_signals(self, columns: Sequence[str]) -> pa.Table:
        """Columns of that file, verified."""

    def numbered(
        self,
        columns: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        *,
        wanted: Callable[[int, int], bool],
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """As `batches`, with the number of the first row; what `wanted(first, stop)` denies is not read."""


class Source(Protocol):
    """Rows that can be trained on."""

    @property
    def name(self) -> str:
        """As in the configuration."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) that names all bytes: of a release's manifest, or of the file."""

    @property
    def known(self) -> tuple[str, ...]:
        """All languages that it has, sorted."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that are read, sorted."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Languages that were asked for and that it does not have."""

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that hold numbers: what `filters.ranges` may name."""

    def about(self) -> dict[str, Any]:
        """For the lineage: kind, name, digest, languages, and what else identifies it."""

    def index(self, columns: Sequence[str] = INDEX_COLUMNS) -> pa.Table:
        """All rows of the languages, without their text, in the source's order.

        A last column `problem` (string) says why a row cannot be used; null where it can. Columns that the source
        does not have are null. Strings that repeat may come as a dictionary.
        """

    def texts(
        self, chosen: np.ndarray, columns: Sequence[str] = TEXT_COLUMNS
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """(row numbers, columns) of the rows marked in `chosen` (bool per row), in the source's order."""


def hint(name: str, known: Sequence[str]) -> str:
    """`; did you mean ...?`, or nothing if no known name is like it; upper and lower case are no difference."""
    names = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return f"; did you mean {names[close[0]]!r}?" if close else ""


def check_wanted(sources: Sequence[Source], own: Sequence[str] = ()) -> None:
    """Refuse languages that are not there: any that no source has, and any that a source lacks whose own
    configuration names it.

    Args:
        sources: as opened.
        own: names of the sources whose configuration has `languages` of its own.

    Raises:
        TrainingDataError: names source and language, and what was probably meant.
    """
    everywhere = sorted({language for source in sources for language in source.known})
    for source in sources:
        if not source.known:
            raise TrainingDataError(f"source {source.name!r} holds no row")
        for language in source.missing:
            if source.name in own or language not in everywhere:
                mine = source.name in own
                known, who = (
                    (source.known, f"source {source.name!r} has") if mine else (everywhere, "there is")
                )
                raise TrainingDataError(
                    f"{'sources.' if mine else ''}languages: {who} no row of language {language!r}{hint(language, known)} "
                    f"(there are: {', '.join(known[:60])}{', ...' if len(known) > 60 else ''})"
                )
        if not source.languages:
            raise TrainingDataError(
                f"source {source.name!r} has no row of {', '.join(source.missing)} "
                f"(it has: {', '.join(source.known[:60])}); leave it out, or give it `languages` of its own"
            )


class ReleaseSource:
    """Rows of a release: by language, then by shard and row in it.

    Attributes:
        name: as in the configuration.
        release: as opened.
        known: all languages of the release, sorted.
        languages: those that are read, sorted.
        missing: languages that were asked for and that the release does not have.
    """

    def __init__(self, name: str, release: ReleaseReader, languages: Sequence[str] | None) -> None:
        self.name, self.release = name, release
        self.known = tuple(sorted(release.languages))
        wanted = set(languages) if languages is not None else set(self.known)
        self.languages = tuple(sorted(wanted & set(self.known)))
        self.missing = tuple(sorted(wanted - set(self.known)))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the manifest."""
        return self.release.digest

    @property
    def numbers(self) -> tuple[str, ...]:
        """Numeric columns of the rows, and of `quality-signals.parquet`."""
        from manifests.schema import DATA

        fields = [*DATA, *(self.release.quality_signals() or ())]
        return tuple(
            dict.fromkeys(
                f.name for f in fields if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)
            )
        )

    def about(self) -> dict[str, Any]:
        """For the lineage."""
        return {
            "kind": "release",
            "name": self.name,
            "dataset": self.release.manifest.name,
            "version": self.release.manifest.version,
            "digest": self.digest,
            "languages": list(self.languages),
        }

    def index(self, columns: Sequence[str] = INDEX_COLUMNS) -> pa.Table:
        """All rows of the languages, without their text; none has a `problem`.

        A column that the rows do not have is taken from `quality-signals.parquet`.
        """
        from manifests.schema import DATA

        beside = [name for name in columns if name not in DATA.names]
        inside = [name for name in columns if name in DATA.names]
        own = list(dict.fromkeys([*inside, "row_id"])) if beside else inside
        read = [_smaller(batch) for batch in self.release.batches(own, list(self.languages))]
        if not sum(batch.num_rows for batch in read):
            raise TrainingDataError(f"the release has no row of {', '.join(self.languages)}")
        table = pa.Table.from_batches(read)
        if beside:
            signals = self.release.read_quality_signals(["row_id", *beside])
            at = pc.index_in(table["row_id"], signals["row_id"])
            for name in beside:
                table = table.append_column(name, signals[name].take(at))
        table = table.select(list(columns))
        return table.append_column("problem", pa.nulls(table.num_rows, pa.string()))

    def texts(
        self, chosen: np.ndarray, columns: Sequence[str] = TEXT_COLUMNS
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """(row numbers, columns) of the chosen rows."""
        rows = self.release.numbered(
            columns=list(columns),
            languages=list(self.languages),
            wanted=lambda first, stop: bool(chosen[first:stop].any()),
        )
        for first, batch in rows:
            mask = chosen[first : first + batch.num_rows]
            yield first + np.flatnonzero(mask), batch if mask.all() else batch.filter(pa.array(mask))


def _smaller(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows; the files of a repository lie together, so its names are there about once a batch."""
    columns = {
        name: column.dictionary_encode() if name in _REPEATED else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    return pa.RecordBatch.from_pydict(columns)


def open_release(folder: str) -> ReleaseReader:
    """The release in a folder, its files checked against the manifest as they are read."""
    from manifests.reader import Release

    if not (Path(folder) / "manifest.json").is_file():
        raise TrainingConfigError(
            f"release: {folder} is not a release (it has no manifest.json); give the folder of a "
            "version, such as releases/2.1"
        )
    return Release.open(folder)


def open_source(config: SourceConfig) -> Source:
    """The source that a configuration names."""
    if config.release is not None:
        return ReleaseSource(config.name, open_release(config.release), config.languages)
    from training.corpus.jsonl import JsonlSource

    assert config.jsonl is not None
    return JsonlSource(config.name, config.jsonl, config.languages)
