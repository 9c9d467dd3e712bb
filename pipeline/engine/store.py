"""One class for a folder on disk and a prefix in an S3 bucket.

Keys are relative POSIX paths. Objects appear whole or not at all: on disk they are written under a `.tmp-` name,
fsynced and renamed; on S3 a put is atomic by itself. `put_new` never overwrites (link on disk, `If-None-Match: *`
on S3). Reads of a missing object raise FileNotFoundError; everything else that a disk or an endpoint can do wrong
is a SourceError that names the object, or a TransientError where a later try may succeed.
"""

from __future__ import annotations

import contextlib
import errno
import io
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

from pipeline.errors import (
    ConfigError,
    DeniedError,
    IntegrityError,
    SourceError,
    ThrottledError,
    TransientError,
)

_CONNECT_SECONDS, _REQUEST_SECONDS = 10, 120
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
        scheme = urlsplit(self.uri).scheme
        if scheme not in ("", "file", "s3") and "://" in self.uri:
            raise ConfigError(f"{self.uri}: only folders, file:// and s3:// addresses can be used")

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

    @cached_property
    def _remote(self) -> Any:
        from obstore.store import S3Store

        parts = urlsplit(self.uri)
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
        return S3Store(parts.netloc, prefix=parts.path.strip("/") or None, **options)

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

            found = obstore.get(self._remote, key)
            _check_size(found.meta["size"], at_most)
            return bytes(found.bytes())

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

                meta = obstore.head(self._remote, key)
                return Entry(key, meta["size"], meta.get("e_tag"))
        except FileNotFoundError:
            return None

    def list(self, prefix: str = "") -> list[Entry]:
        """All objects below a folder-like prefix, sorted by key; temporary files are not listed."""
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
                    if TEMPORARY not in name
                ]
            else:
                import obstore

                where = prefix.rstrip("/") + "/" if prefix else None
                found = [
                    Entry(item["path"], item["size"], item.get("e_tag"))
                    for batch in obstore.list(self._remote, where)
                    for item in batch
                ]
        return sorted(found, key=lambda entry: entry.key)

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
                source = pa.PythonFile(_RemoteFile(self._remote, key), mode="r")
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
                import obstore

                with tempfile.TemporaryDirectory(prefix="stackmill-") as folder:
                    temporary = Path(folder, "object")
                    yield temporary
                    obstore.put(self._remote, key, temporary)

    def delete(self, key: str) -> None:
        """Remove one object; nothing happens when there is none."""
        with self._errors(key), contextlib.suppress(FileNotFoundError):
            if self.root is not None:
                self.path(key).unlink()
            else:
                import obstore

                obstore.delete(self._remote, key)

    def delete_all(self, prefix: str) -> None:
        """Remove every object below a folder-like prefix."""
        if self.root is not None:
            with self._errors(prefix):
                shutil.rmtree(self.path(prefix), ignore_errors=False) if self.path(prefix).exists() else None
            return
        for entry in self.list(prefix):
            self.delete(entry.key)

    # -------------------------------------------------------------------------------------------------- errors

    def _errors(self, key: str) -> contextlib.AbstractContextManager[None]:
        return disk_errors(f"{self.uri.rstrip('/')}/{key}")


@contextlib.contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Translate what a disk or an object store raises about `where` into the error tree."""
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise SourceError(f"{where}: there is no such bucket; check the address") from error
        raise
    except OSError as error:
        if isinstance(error, (TimeoutError, ConnectionError)):
            raise TransientError(f"{where}: {error}") from error
        hint = {
            errno.ENOSPC: "no space left on the device; free some or give another --workdir / --out",
            errno.EDQUOT: "disk quota exceeded; free some space or give another --workdir / --out",
            errno.EACCES: "permission denied; check the owner and mode, or give another --workdir / --out",
            errno.EPERM: "operation not permitted",
            errno.EROFS: "the file system is read-only; give another --workdir / --out",
            errno.ENOTDIR: "a part of this path is a file, not a folder",
            errno.EEXIST: "a part of this path is a file, not a folder",
        }.get(error.errno or 0)
        raise SourceError(f"{where}: {hint or error.strerror or error}") from error
    except Exception as error:
        translated = _object_store_error(where, error)
        if translated is None:
            raise
        raise translated from error


def _object_store_error(where: str, error: Exception) -> Exception | None:
    """The error tree's view of an obstore exception; None when it is not one."""
    from obstore import exceptions as known

    if not isinstance(error, known.BaseError):
        return None
    said = _said(error)
    if "NoSuchBucket" in said:
        return SourceError(f"{where}: there is no such bucket; check the address")
    if isinstance(error, known.NotFoundError):
        return FileNotFoundError(where)
    denied = isinstance(error, (known.PermissionDeniedError, known.UnauthenticatedError))
    if denied or _DENIED.search(said):  # a refused listing comes as a generic error
        return DeniedError(f"{where}: access denied; check the credentials and the bucket policy ({said})")
    return (ThrottledError if _THROTTLED.search(said) else TransientError)(f"{where}: {said}")


_DENIED = re.compile(r"status code: 40[13]\b")
_THROTTLED = re.compile(r"status code: 429\b|: (SlowDown|RequestLimitExceeded|Throttling\w*): ")
_XML = re.compile(r": <\?xml.*", re.DOTALL)
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>\s*<Message>([^<]{0,500})</Message>")


def _said(error: Exception) -> str:
    """What the endpoint said, in one line: without the debug dump, which repeats the signed request."""
    text = str(error).split("\n\nDebug source", 1)[0]
    code = _CODE.search(text)
    return _XML.sub("", text) + (f": {code[1]}: {code[2]}" if code else "")


class _RemoteFile(io.RawIOBase):
    """An object on S3 as Arrow reads it: each read is one range request."""

    def __init__(self, remote: Any, key: str) -> None:
        import obstore

        self._remote, self._key = remote, key
        self._size = int(obstore.head(remote, key)["size"])
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        import obstore

        left = max(0, self._size - self._at)
        length = left if size is None or size < 0 else min(size, left)
        if length == 0:
            return b""
        data = bytes(obstore.get_range(self._remote, self._key, start=self._at, length=length))
        self._at += len(data)
        return data


def fsync(path: Path) -> None:
    """Have a file or folder on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
