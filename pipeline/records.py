"""What a work directory remembers of the releases that it made: `releases/<version>-<id>.json`, and the tables of each."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.point import annotations_of, bucket_of_id, nothing, rows_of
from pipeline.engine.stage import Ref, part_name, read_summary
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError

NEEDED = ("ledger", "origins", "attributions", "earliest", "networks", "index", "contents")
"""Tables without which a release of the work directory cannot be looked up: those of earlier versions lack some."""


@dataclass(frozen=True)
class Record:
    """A finished release in a work directory: where its tables lie there."""

    store: Store
    buckets: int
    facts: Mapping[str, Any]
    """The record as it was written: `version`, `digest`, `release`, `config`, `folders`, `uses`, ..."""

    @property
    def version(self) -> str:
        """The release's version."""
        return str(self.facts["version"])

    @property
    def digest(self) -> str:
        """The release's digest."""
        return str(self.facts["digest"])

    def ref(self, table: str, output: str) -> Ref:
        """An output of one of the stages that the record names."""
        folder = self.facts["folders"][table]
        return Ref(folder, output, folder.rsplit("/", 1)[-1])

    def rows(
        self, table: str, output: str, column: str, identity: str, columns: list[str] | None = None
    ) -> pa.Table:
        """The rows of an id, read from one object; see `pipeline.engine.point`."""
        return rows_of(
            self.store, self.ref(table, output), column, identity, buckets=self.buckets, columns=columns
        )

    def annotations(
        self, name: str, column: str, identity: str, columns: list[str] | None = None
    ) -> pa.Table:
        """What an annotator of this release said of an id; empty when it was not asked."""
        prefix = f"annotations/{name}/"
        for folder in self.facts["uses"]:
            if folder.startswith(prefix):
                return annotations_of(
                    self.store, folder, column, identity, buckets=self.buckets, columns=columns
                )
        return pa.table({})

    @contextlib.contextmanager
    def part(self, table: str, output: str, bucket: int) -> Iterator[pq.ParquetFile | None]:
        """A bucket of an output that stays in its buckets; None when it has no rows.

        Raises IntegrityError when it had some and is not there.
        """
        ref, unit = self.ref(table, output), f"{bucket:04x}"
        key = f"{ref.folder}/{part_name(ref.output, unit, routed=False)}"
        if self.store.stat(key) is None:
            nothing(self.store, ref, unit)
            yield None
            return
        with self.store.parquet(key) as file:
            yield file

    def facts_of(self, table: str) -> list[dict[str, Any]]:
        """What the units of a stage left for its driver, by bucket."""
        units = read_summary(self.store, self.facts["folders"][table])["units"]
        return [unit["facts"] for _, unit in sorted(units.items())]

    def bucket(self, identity: str) -> int:
        """The bucket of an id."""
        return bucket_of_id(identity, self.buckets)


def records(workdir: str) -> list[Record]:
    """The releases of a work directory, sorted by version; none when it is no work directory.

    Raises IntegrityError for a record that cannot be read.
    """
    store = Store(workdir)
    try:
        buckets = int(json.loads(store.read("workdir.json"))["buckets"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{workdir}/workdir.json is not readable: {error}") from error
    found = []
    for entry in store.list("releases"):
        try:
            facts = json.loads(store.read(entry.key))
            found.append(Record(store, buckets, {**facts, "digest": str(facts["digest"])}))
            _ = facts["folders"], facts["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{workdir}/{entry.key} is not readable: {error}") from error
    return sorted(found, key=lambda record: (record.version, record.digest))


def usable(record: Record) -> bool:
    """Whether the tables are those that this version looks things up in."""
    return all(name in record.facts["folders"] for name in NEEDED) and "uses" in record.facts


def record_of(workdir: str, digest: str) -> Record | None:
    """The record of the release with a digest; None when this work directory did not make it."""
    return next((record for record in records(workdir) if record.digest == digest), None)


def the_record(workdir: str, *, version: str | None = None, digest: str | None = None) -> Record:
    """The one release that is meant. Raises ConfigError when there is none, or several."""
    found = records(workdir)
    if not found:
        raise ConfigError(
            f"{workdir} is not a work directory that has made a release; give it with --workdir"
        )
    meant = [
        record
        for record in found
        if (version is None or record.version == version) and (digest is None or record.digest == digest)
    ]
    known = ", ".join(sorted({record.version for record in found})[:20])
    if not meant:
        what = f"version {version}" if version is not None else f"the release {str(digest)[:16]}"
        raise ConfigError(f"{workdir} did not make {what}; it made {known}")
    if len(meant) > 1:
        raise ConfigError(
            f"{workdir} made several releases ({known}): say which with --version, or --release and its folder"
        )
    if not usable(meant[0]):
        raise ConfigError(
            f"the record of release {meant[0].version} in {workdir} was written by an earlier version of this program,"
            " whose tables cannot be looked up; make a release with this one"
        )
    return meant[0]
