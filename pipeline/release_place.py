"""A release on S3 as `manifests` reads one: its objects with their sizes, and each of them opened for reading.

What is read whole comes in one stream, into memory or, above a bound, into an unnamed file below TMPDIR that is gone when
it is closed: a verification needs room for as many shards as it checks at a time, not for the release. What is read is
what was checked. Other reads are requests for ranges.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from manifests.places import Listing, Place, place_of
from pipeline.engine.remote import RemoteFile
from pipeline.engine.store import Store
from pipeline.engine.store_errors import disk_errors, no_shorter
from pipeline.errors import TransientError

_IN_MEMORY = 8 << 20
_CHUNK_BYTES = 4 << 20
_TRIES = 3  # of a body that breaks off; the client repeats requests that fail before one comes


def release_place(address: str | Path) -> Place:
    """The place of a release: a folder, or `s3://bucket/prefix`. ReleaseError, ConfigError for what is neither."""
    if "://" not in str(address):
        return place_of(address)
    store = Store(str(address))
    return place_of(store.root) if store.root is not None else S3Place(store)


class S3Place:
    """The objects below a prefix. Raises SourceError where they cannot be listed or read, FileNotFoundError for none."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def listing(self) -> Listing:
        """See `manifests.places.Place`."""
        return Listing(files={entry.key: entry.size for entry in self._store.list()})

    def open(self, path: str, *, whole: bool) -> BinaryIO:
        """See `manifests.places.Place`."""
        where = f"{self._store.uri.rstrip('/')}/{path}"
        if not whole:
            with disk_errors(where):
                return cast(BinaryIO, _Ranges(self._store, path, where))
        for _ in range(_TRIES - 1):
            with contextlib.suppress(TransientError):
                return self._fetched(path, where)
        return self._fetched(path, where)

    def _fetched(self, path: str, where: str) -> BinaryIO:
        import obstore

        with disk_errors(where):
            found = obstore.get(self._store._remote, path)
            file = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="stackmill-")  # noqa: SIM115
            try:
                for piece in found.stream(min_chunk_size=_CHUNK_BYTES):
                    file.write(piece)
                no_shorter(where, file.tell(), found.meta["size"])
                file.seek(0)
            except BaseException:
                file.close()
                raise
        return cast(BinaryIO, file)


class _Ranges(RemoteFile):
    """A remote file whose errors are those of the store."""

    def __init__(self, store: Store, key: str, where: str) -> None:
        super().__init__(store._remote, key)
        self._where = where

    def read(self, size: int | None = -1) -> bytes:
        """See `RemoteFile`."""
        with disk_errors(self._where):
            return super().read(size)
