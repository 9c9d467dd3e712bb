"""One class for a folder on disk and a prefix in an S3 bucket.

Keys are relative POSIX paths. Objects appear whole or not at all: on disk they are written under a `.tmp-` name,
fsynced and renamed; on S3 a put is atomic by itself. `put_new` never overwrites (link on disk, `If-None-Match: *`
on S3). Reads of a missing object raise FileNotFoundError; everything else that a disk or an endpoint can do wrong
is a SourceError that names the object, or a TransientError where a later try may succeed.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.measure import asked
from pipeline.engine.remote import RemoteFile, copy_object, pending_uploads
from pipeline.engine.store_errors import disk_errors, no_shorter
from pipeline.errors import ConfigError, IntegrityError, SourceError

# A host that does not answer is given up after 4 tries of 5 s; no single request of ours takes 2 minutes.
_CONNECT_SECONDS, _REQUEST_SECONDS = 5, 120
_WHOLE_BYTES = 32 << 20  # put in one request: atomic by itself, held in memory; larger files go in parts
_PART_BYTES, _PARTS_AT_ONCE = 16 << 20, 4
_CHUNK_BYTES = 8 << 20
_LISTED_AT_ONCE = 1_000  # keys in a page of a listing, and in a request that deletes
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CLIENTS: dict[Any, Any] = {}
TEMPORARY = ".tmp-"  # in the name of a file that is being written; never listed


class TooLargeError(IntegrityError):
    """An object is larger than it may be; nothing of it was read."""


def _check_size(size: int, at_most: int | None) -> None:
    if at_most is not None and size > at_most:
        raise TooLargeError(f"the object has {size:,} bytes, its content cannot need more than {at_most:,}")


@dataclass(frozen=True)
class Entry:
    """One stored object: key relative to the store, size in bytes, and an entity tag where the store has one."""

    key: str
    size: int
    etag: str | None = None


@dataclass(frozen=True)
class Store:
    """A folder (`/path`, `file:///path`) or a prefix (`s3://bucket/prefix`); cheap to make and to pickle.

    `anonymous` reads S3 without credentials, as Software Heritage's public bucket allows. Otherwise credentials
    come from boto3's usual chain (environment, profile, instance role) and the endpoint from AWS_ENDPOINT_URL.
    A request to S3 that fails in passing is repeated `retries` times here, and ends after `request_seconds`, its
    body included; 0 retries are for a caller that has a retry loop of its own.
    """

    uri: str
    anonymous: bool = False
    retries: int = 3
    request_seconds: float = _REQUEST_SECONDS

    def __post_init__(self) -> None:
        if self.uri.startswith("s3://"):
            self._check_address()
            return
        scheme = urlsplit(self.uri).scheme
        if scheme == "s3":
            raise ConfigError(f"{self.uri}: an address on S3 is written s3://bucket/prefix")
        if scheme not in ("", "file") and "://" in self.uri:
            raise ConfigError(f"{self.uri}: only folders, file:// and s3:// addresses can be used")

    def _check_address(self) -> None:
        bucket, prefix = self.bucket, self.uri[len("s3://") :].partition("/")[2].rstrip("/")
        if not bucket:
            raise ConfigError(f"{self.uri}: the bucket is missing; write s3://bucket/prefix")
        if not _BUCKET.fullmatch(bucket):
            raise ConfigError(
                f"{self.uri}: {bucket!r} cannot be the name of a bucket; write s3://bucket/prefix"
            )
        if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
            raise ConfigError(f"{self.uri}: the prefix holds an empty name, '.' or '..'")
        if any(character in prefix for character in "?#\\") or not prefix.isprintable():
            raise ConfigError(f"{self.uri}: the prefix may not hold ?, #, a backslash or control characters")

    # ---------------------------------------------------------------------------------------- where things are

    @cached_property
    def root(self) -> Path | None:
        """The folder of a local store, None on S3."""
        if self.uri.startswith("s3://"):
            return None
        path = unquote(urlsplit(self.uri).path) if self.uri.startswith("file://") else self.uri
        return Path(path).absolute()

    @property
    def address(self) -> str:
        """The URI as another process opens it, whatever folder that works in."""
        return self.uri if self.root is None else str(self.root)

    @property
    def bucket(self) -> str:
        """The bucket of a store on S3."""
        return self.uri[len("s3://") :].partition("/")[0]

    @property
    def prefix(self) -> str:
        """The prefix of a store on S3, without slashes at its ends; '' for the whole bucket."""
        return self.uri[len("s3://") :].partition("/")[2].strip("/")

    @cached_property
    def _remote(self) -> Any:
        return self._client(self.prefix)

    def _client(self, prefix: str) -> Any:
        """The client of a prefix of the bucket. Kept for the process: each task makes stores, and a connection is dear."""
        settings = tuple(sorted((n, v) for n, v in os.environ.items() if n.startswith("AWS_")))
        identity = (self.bucket, prefix, self.anonymous, self.retries, self.request_seconds, settings)
        if identity not in _CLIENTS:
            _CLIENTS[identity] = self._open(prefix)
        return _CLIENTS[identity]

    def _open(self, prefix: str) -> Any:
        from obstore.store import S3Store

        options: dict[str, Any] = {
            "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            "client_options": {
                "allow_http": True,
                "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                "timeout": timedelta(seconds=self.request_seconds),
            },
            "retry_config": {
                "max_retries": self.retries,
                "retry_timeout": timedelta(seconds=_REQUEST_SECONDS),
            },
        }
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        if self.anonymous:
            options["skip_signature"] = True
        elif not (os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")):
            from obstore.auth.boto3 import Boto3CredentialProvider

            try:
                options["credential_provider"] = Boto3CredentialProvider()
            except ValueError as error:
                raise SourceError(
                    f"{self.uri}: no AWS credentials found; set AWS_PROFILE or AWS_ACCESS_KEY_ID and"
                    " AWS_SECRET_ACCESS_KEY, or read anonymously"
                ) from error
        return S3Store(self.bucket, prefix=prefix or None, **options)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # no open connection travels to a worker

    def path(self, key: str) -> Path:
        """Where `key` lies on disk; only for local stores."""
        assert self.root is not None
        return self.root / key

    def sub(self, prefix: str) -> Store:
        """The store below `prefix`."""
        return replace(self, uri=f"{self.uri.rstrip('/')}/{prefix}")

    # ------------------------------------------------------------------------------------------------- reading

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        """The whole object. Raises FileNotFoundError when there is none, TooLargeError above `at_most` bytes."""
        with self._errors(key):
            if self.root is not None:
                with self.path(key).open("rb") as stream:
                    _check_size(os.fstat(stream.fileno()).st_size, at_most)
                    return stream.read()
            import obstore

            asked("get")
            found = obstore.get(self._remote, key)
            _check_size(found.meta["size"], at_most)
            data = bytes(found.bytes())
            asked("get", 0, received=len(data))
            return data

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Pieces of an object as (first byte, length in bytes), near ones in one request; an object that ends before
        them is an IntegrityError."""
        with self._errors(key):
            if not ranges:
                return []
            if self.root is not None:
                with self.path(key).open("rb", buffering=0) as stream:
                    found = [os.pread(stream.fileno(), length, start) for start, length in ranges]
            else:
                import obstore

                starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
                found = [
                    bytes(data)
                    for data in obstore.get_ranges(self._remote, key, starts=starts, lengths=lengths)
                ]
                asked("get", received=sum(lengths))
        if [len(data) for data in found] != [length for _, length in ranges]:
            raise IntegrityError(f"{self.uri}/{key} is cut off; delete it, or its folder, and run again")
        return found

    def stat(self, key: str) -> Entry | None:
        """Size and tag of an object, None when there is none."""
        try:
            with self._errors(key):
                if self.root is not None:
                    return Entry(key, self.path(key).stat().st_size)
                import obstore
                from obstore.exceptions import GenericError, PermissionDeniedError

                asked("head")
                try:
                    meta = obstore.head(self._remote, key)
                except (GenericError, PermissionDeniedError):
                    # The answer to a HEAD has no words; the one to a GET says whether it is the token, the region or a right.
                    asked("get")
                    meta = obstore.get(self._remote, key).meta
                return Entry(key, meta["size"], meta.get("e_tag"))
        except FileNotFoundError:
            return None

    def list(self, prefix: str = "", *, temporary: bool = False) -> list[Entry]:
        """All objects below a folder-like prefix, sorted by key; with `temporary` also what is being written."""
        with self._errors(prefix):
            if self.root is not None:
                base = self.path(prefix)
                if not base.is_dir():
                    return []
                found = [
                    Entry(
                        Path(folder, name).relative_to(self.root).as_posix(),
                        Path(folder, name).stat().st_size,
                    )
                    for folder, _, names in os.walk(base)
                    for name in names
                    if temporary or TEMPORARY not in name
                ]
            else:
                import obstore

                where = prefix.rstrip("/") + "/" if prefix else None
                found = [
                    Entry(item["path"], item["size"], item.get("e_tag"))
                    for batch in obstore.list(self._remote, where)
                    for item in batch
                ]
                asked("list", 1 + len(found) // _LISTED_AT_ONCE)
        return sorted(found, key=lambda entry: entry.key)

    def fetch(self, key: str, target: Path) -> None:
        """Write an object to a local file, a piece at a time. Raises FileNotFoundError when there is none."""
        with self._errors(key):
            if self.root is not None:
                _copy(self.path(key), target)
                return
            import obstore

            asked("get")
            found = obstore.get(self._remote, key)
            with target.open("wb") as file:
                for piece in found.stream(min_chunk_size=_CHUNK_BYTES):
                    file.write(piece)
                    asked("get", 0, received=len(piece))
            no_shorter(f"{self.uri}/{key}", target.stat().st_size, found.meta["size"])

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders right below a folder-like prefix, sorted; what is in them is not listed."""
        with self._errors(prefix):
            if self.root is not None:
                base = self.path(prefix)
                return sorted(path.name for path in base.iterdir() if path.is_dir()) if base.is_dir() else []
            import obstore

            where = prefix.rstrip("/") + "/" if prefix else None
            asked("list")
            found = obstore.list_with_delimiter(self._remote, where)
            return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"])

    @contextlib.contextmanager
    def parquet(self, key: str) -> Iterator[pq.ParquetFile]:
        """The Parquet file at `key`, opened for reading by row group, page checksums verified.

        Raises, also for what is read inside the block: SourceError when it is no Parquet file, IntegrityError when
        its pages are damaged.
        """
        with self._errors(key):
            if self.root is not None:
                source: Any = self.path(key)
            else:
                source = pa.PythonFile(RemoteFile(self._remote, key), mode="r")
            try:
                # pre_buffer: on S3 the columns of a row group come in a few requests, not one each.
                file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=self.root is None)
            except pa.ArrowInvalid as error:
                raise SourceError(f"{self.uri}/{key} is not a readable Parquet file: {error}") from error
            try:
                with file:
                    yield file
            except OSError as error:
                if error.errno is not None or isinstance(error, (TimeoutError, ConnectionError)):
                    raise
                # Arrow's own findings (checksums, headers, decompression) are OSErrors without a number.
                raise IntegrityError(
                    f"{self.uri}/{key} is damaged: {error}; delete it, or the folder that it is in, and run again"
                ) from error

    # ------------------------------------------------------------------------------------------------- writing

    def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, replacing what was there, atomically."""
        with self.writing(key) as path:
            path.write_bytes(data)

    def put_new(self, key: str, data: bytes) -> bool:
        """Store `data` unless the key exists. Returns False, and changes nothing, when it does."""
        with self._errors(key):
            if self.root is None:
                import obstore
                from obstore.exceptions import AlreadyExistsError, PreconditionError

                asked("put", sent=len(data))
                try:
                    obstore.put(self._remote, key, data, mode="create")
                except (AlreadyExistsError, PreconditionError):
                    return False
                return True
            path = self.path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}{TEMPORARY}{uuid.uuid4().hex[:12]}")
            try:
                temporary.write_bytes(data)
                fsync(temporary)
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    return False
                fsync(path.parent)
                return True
            finally:
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """A local path to write to; when the block ends well its content is committed under `key`."""
        with self._errors(key):
            if self.root is not None:
                final = self.path(key)
                final.parent.mkdir(parents=True, exist_ok=True)
                temporary = final.with_name(f"{final.name}{TEMPORARY}{uuid.uuid4().hex[:12]}")
                try:
                    yield temporary
                    fsync(temporary)
                    temporary.replace(final)
                    fsync(final.parent)
                finally:
                    temporary.unlink(missing_ok=True)
            else:
                with tempfile.TemporaryDirectory(prefix="stackmill-") as folder:
                    temporary = Path(folder, "object")
                    yield temporary
                    self._put_file(key, temporary)

    def _put_file(self, key: str, path: Path) -> None:
        import obstore

        size = path.stat().st_size
        # Parts are begun and ended with a request each.
        asked("put", 1 if size <= _WHOLE_BYTES else 2 + -(-size // _PART_BYTES), sent=size)
        if size <= _WHOLE_BYTES:
            obstore.put(self._remote, key, path.read_bytes(), use_multipart=False)
        else:
            obstore.put(self._remote, key, path, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    def copy_from(self, source: Store, key: str, target: str) -> None:
        """Copy the object `key` of another store to `target` here; within a bucket without moving its bytes."""
        if (
            self.root is None
            and source.root is None
            and self.bucket == source.bucket
            and not source.anonymous
        ):
            with self._errors(target):
                names = [f"{one.prefix}/{name}".lstrip("/") for one, name in ((source, key), (self, target))]
                copy_object(self._client(""), *names)
        else:
            with self.writing(target) as path:
                source.fetch(key, path)

    def delete(self, *keys: str) -> None:
        """Remove objects; those that are not there are gone already. On S3 up to 1,000 in one request."""
        if not keys:
            return
        if self.root is not None:
            for key in keys:
                with self._errors(key), contextlib.suppress(FileNotFoundError):
                    self.path(key).unlink()
            return
        import obstore

        asked("delete", -(-len(keys) // _LISTED_AT_ONCE))
        with self._errors(keys[0]), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._remote, keys[0] if len(keys) == 1 else list(keys))

    def delete_all(self, prefix: str) -> None:
        """Remove every object below a folder-like prefix."""
        if self.root is not None:
            with self._errors(prefix):
                shutil.rmtree(self.path(prefix), ignore_errors=False) if self.path(prefix).exists() else None
            return
        self.delete(*(entry.key for entry in self.list(prefix)))

    def pending_uploads(self, below: str = "", *, abort: bool = False) -> builtins.list[str]:
        """Uploads in parts that a killed process left on S3; on disk there are none (see `list`)."""
        if self.root is not None or self.anonymous:
            return []
        with self._errors(""):
            return pending_uploads(self.bucket, f"{self.prefix}/".lstrip("/") + below, abort=abort)

    # -------------------------------------------------------------------------------------------------- errors

    def _errors(self, key: str) -> contextlib.AbstractContextManager[None]:
        return disk_errors(f"{self.uri.rstrip('/')}/{key}")


def _copy(source: Path, target: Path) -> None:
    """Copy a file inside the kernel: where the file system can (Btrfs, XFS, NFS 4.2), the two share their blocks.

    Not a hard link: a release that somebody edits in place must not change another one, nor what is kept for the next.
    """
    try:
        with source.open("rb") as read, target.open("wb") as written:
            while os.copy_file_range(read.fileno(), written.fileno(), 1 << 30):
                pass
    except (AttributeError, OSError):  # not on this system, or not between these two
        shutil.copyfile(source, target)


def fsync(path: Path) -> None:
    """Have a file or folder on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
