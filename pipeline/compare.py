"""`pipeline diff`: two releases, each a folder or an s3:// address, compared by their manifests and rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.canonical import MAX_BYTES
from manifests.changes import count_changes
from manifests.diff import ReleaseDiff, compare, count_ids
from manifests.errors import ManifestError, ReleaseError
from manifests.manifest import Manifest
from manifests.names import CHANGES_FILE, CONFIG_FILE, IDS_FILE, MANIFEST
from manifests.schema import IDS
from manifests.shards import IDS_GROUP_ROWS
from pipeline.engine.store import Store, TooLargeError
from pipeline.errors import ConfigError, IntegrityError
from pipeline.parent import checked_file, read_listed


@dataclass(frozen=True)
class _Side:
    address: str
    place: Store
    manifest: Manifest


def compare_releases(old: str, new: str) -> ReleaseDiff:
    """Compare two releases; each file that is read is checked against its manifest first.

    `changes.parquet` of the new one is used where it refers to the old one, else the rows' ids, which are merged in
    bounded memory; on S3 that file alone is fetched. Raises ConfigError when one is no release, or they are of two
    datasets, IntegrityError when a file is damaged.
    """
    one, other = _open(old), _open(new)
    if one.manifest.name != other.manifest.name:
        raise ConfigError(
            f"{old} is a release of {one.manifest.name!r}, {new} of {other.manifest.name!r}: different datasets"
        )
    listed = other.manifest.listed()
    parent = other.manifest.parent
    exact = parent is not None and parent.digest == one.manifest.digest and CHANGES_FILE in listed
    try:
        with tempfile.TemporaryDirectory(prefix="stackmill-diff-") as scratch:
            if exact:
                file = checked_file(other.place, listed[CHANGES_FILE], Path(scratch, CHANGES_FILE))
                counts = count_changes(file)
            else:
                counts = count_ids(
                    (one.manifest, _ids(one, Path(scratch, "old.parquet"))),
                    (other.manifest, _ids(other, Path(scratch, "new.parquet"))),
                )
    except ReleaseError as error:
        raise IntegrityError(f"{error}; run `pipeline verify` on both") from error
    configurations = [
        read_listed(side.place, side.manifest, CONFIG_FILE, side.address) for side in (one, other)
    ]
    return compare(
        one.manifest,
        other.manifest,
        counts=counts,
        exact=exact,
        configurations=(configurations[0], configurations[1]),
    )


def _open(address: str) -> _Side:
    place = Store(address.rstrip("/") or "/")
    try:
        return _Side(address, place, Manifest.parse(place.read(MANIFEST, at_most=MAX_BYTES)))
    except FileNotFoundError:
        raise ConfigError(f"{address} is not a release: it has no {MANIFEST}") from None
    except TooLargeError as error:
        raise IntegrityError(f"{address}: {MANIFEST}: {error}") from error
    except ManifestError as error:
        wrong = ConfigError if error.where == "$.schema_version" else IntegrityError
        raise wrong(f"{address}: {error}") from error


def _ids(side: _Side, scratch: Path) -> Iterator[pa.RecordBatch]:
    file = checked_file(side.place, side.manifest.listed()[IDS_FILE], scratch)
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            if not parquet.schema_arrow.equals(IDS):
                raise IntegrityError(f"{side.address}: {IDS_FILE} has other columns")
            yield from parquet.iter_batches(IDS_GROUP_ROWS)
    except pa.ArrowException as error:
        raise IntegrityError(f"{side.address}: {IDS_FILE} cannot be read: {error}") from error
