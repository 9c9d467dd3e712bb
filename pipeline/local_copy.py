"""A release on S3 as a folder on this machine, for as long as somebody reads it.

`manifests` reads folders only, and knows no network. What is needed of a release is fetched into a temporary folder, by the
manifest: a prefix without `manifest.json` is no release.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manifests.canonical import MAX_BYTES
from manifests.errors import ManifestError, ManifestsError, PathError, ReleaseError
from manifests.manifest import Manifest
from manifests.names import MANIFEST, UNLISTED, check_path
from pipeline.engine.store import Store
from pipeline.engine.store_errors import disk_errors
from pipeline.errors import ConfigError, IntegrityError

_AT_ONCE = 8  # files in flight


def is_remote(address: str | Path) -> bool:
    """Whether a release's address is not a folder."""
    return "://" in str(address)


@contextlib.contextmanager
def manifest_of(address: str, *more: str) -> Iterator[Path]:
    """A folder with the manifest of the release at `address` and what there is of `more`; the folder itself for a local one."""
    if not is_remote(address):
        yield Path(address)
        return
    place = Store(address)
    with _folder(address) as root:
        (root / MANIFEST).write_bytes(_manifest(place))
        for key in more:
            with contextlib.suppress(FileNotFoundError):
                _target(place, root, key).write_bytes(place.read(key, at_most=MAX_BYTES))
        yield root


@contextlib.contextmanager
def local_copy(address: str) -> Iterator[Path]:
    """A folder with all files of the release at `address`; the folder itself for a local one.

    The temporary folder takes as much space as the release, below TMPDIR. Objects that the manifest does not list
    stay where they are. Nothing is checked here.
    """
    if not is_remote(address):
        yield Path(address)
        return
    place = Store(address)
    with _folder(address) as root:
        data = _manifest(place)
        (root / MANIFEST).write_bytes(data)
        try:
            listed = set(Manifest.parse(data).listed())
        except ManifestError:
            listed = set()  # whoever reads the manifest says what is wrong with it
        present = {entry.key for entry in place.list()} - {MANIFEST}
        wanted = sorted(present & (listed | UNLISTED))
        for key in wanted:
            _target(place, root, key)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda key: place.fetch(key, root / key), wanted))
        yield root


@contextlib.contextmanager
def _folder(address: str) -> Iterator[Path]:
    """A temporary folder; in messages about the release its address stands in its place."""
    with tempfile.TemporaryDirectory(prefix="stackmill-release-") as folder:
        try:
            with disk_errors(f"{address}: a copy in {folder}"):
                yield Path(folder)
        except ManifestsError as error:
            raise ReleaseError(str(error).replace(folder, address.rstrip("/"))) from error


def _target(place: Store, root: Path, key: str) -> Path:
    """Where an object lies in the folder; its folders are made. Raises IntegrityError for a key that no release has."""
    try:
        path = root / check_path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
    except (PathError, OSError) as error:
        raise IntegrityError(
            f"{place.uri}: {ascii(key)[:200]} cannot be a file of a release: {error}"
        ) from error
    return path


def _manifest(place: Store) -> bytes:
    try:
        return place.read(MANIFEST, at_most=MAX_BYTES)
    except FileNotFoundError:
        raise ConfigError(
            f"{place.uri} is not a release: it has no {MANIFEST}; one that is being made gets it last"
        ) from None
