"""Objects on S3 as files for Arrow, copies inside a bucket, and uploads that never ended."""

from __future__ import annotations

import io
import os
from typing import Any

from pipeline.engine.measure import asked
from pipeline.errors import SourceError

_TAIL_BYTES = 64 << 10
"""Read when a file is opened: what Arrow itself reads of a footer first. A smaller object comes whole, in one request."""


class RemoteFile(io.RawIOBase):
    """An object on S3 as Arrow reads it: opening reads its end, and each read beyond that is one range request."""

    def __init__(self, remote: Any, key: str) -> None:
        import obstore
        from obstore.exceptions import GenericError

        self._remote, self._key = remote, key
        try:
            found = obstore.get(remote, key, options={"range": {"suffix": _TAIL_BYTES}})
        except GenericError as error:
            if "non-partial response" not in str(error):
                raise
            found = obstore.get(remote, key)  # nothing is in it: there is no last byte to ask for
        self._tail = bytes(found.bytes())
        asked("get", received=len(self._tail))
        self._size = int(found.meta["size"])
        self._tail_at = self._size - len(self._tail)
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; returns the new position."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, or all that are left."""
        import obstore

        left = max(0, self._size - self._at)
        length = left if size is None or size < 0 else min(size, left)
        if length == 0:
            return b""
        if self._at >= self._tail_at:
            start = self._at - self._tail_at
            data = self._tail[start : start + length]
        else:
            data = bytes(obstore.get_range(self._remote, self._key, start=self._at, length=length))
            asked("get", received=len(data))
        self._at += len(data)
        return data


def copy_object(remote: Any, source: str, target: str) -> None:
    """Copy within a bucket, on the server: no byte comes here. At most 5 GiB (a limit of S3)."""
    import obstore

    asked("copy")
    obstore.copy(remote, source, target)


def pending_uploads(bucket: str, prefix: str, *, abort: bool) -> list[str]:
    """Keys of uploads in parts that were begun and never ended, below a prefix; aborted when so asked.

    No reader ever sees them, but their parts take space. The client for objects cannot list them: boto3 does.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    style = "path" if os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") else "auto"
    config = Config(
        s3={"addressing_style": style}, connect_timeout=5, read_timeout=60, retries={"max_attempts": 3}
    )
    found = []
    try:
        client = boto3.Session().client("s3", config=config)
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
            for upload in page.get("Uploads", []):
                found.append(upload["Key"])
                if abort:
                    client.abort_multipart_upload(
                        Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
    except (BotoCoreError, ClientError) as error:
        raise SourceError(f"s3://{bucket}/{prefix}: unfinished uploads cannot be listed: {error}") from error
    return found
