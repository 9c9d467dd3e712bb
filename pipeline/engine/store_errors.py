"""What a disk or an object store can do wrong, in the words of the error tree: what, where, what to do next.

A SourceError will not go away by itself (credentials, region, clock, quota, permissions); a TransientError may: no
answer, throttling, an error of the server. Only the latter are worth another try.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from pipeline.errors import DeniedError, SourceError, ThrottledError, TransientError

_HINTS = {
    errno.ENOSPC: "no space left on the device; free some or give another --workdir / --out",
    errno.EDQUOT: "disk quota exceeded; free some space or give another --workdir / --out",
    errno.EACCES: "permission denied; check the owner and mode, or give another --workdir / --out",
    errno.EPERM: "operation not permitted",
    errno.EROFS: "the file system is read-only; give another --workdir / --out",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "a part of this path is a file, not a folder",
}

_NO_BUCKET = "there is no such bucket; check the address"
_REGION = "the bucket is in another region; set AWS_REGION to it"
_EXPIRED = "the credentials have expired; get new ones and run again"
_DENIED = "access denied; check the credentials and the bucket policy"
_FULL = "the object store has no space left, or a quota is used up; free some or give another address"

_CODES = {
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": "this cannot be the name of a bucket; check the address",
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AccountProblem": _DENIED,
    "InvalidAccessKeyId": _DENIED,
    "InvalidToken": _DENIED,
    "SignatureDoesNotMatch": _DENIED,
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it (for example with NTP) and run again",
    "QuotaExceeded": _FULL,
    "InsufficientStorage": _FULL,
    "XMinioStorageFull": _FULL,
    "EntityTooLarge": "the object is larger than the object store takes; ask for a higher limit or quota",
    "NotImplemented": "the object store cannot do what is needed here; use another one",
}
"""Error codes of S3 and its relatives -> the remedy. None of them goes away by trying again."""

_STATUSES = {401: _DENIED, 403: _DENIED, 301: _REGION, 307: _REGION, 413: _FULL, 507: _FULL,
             501: _CODES["NotImplemented"]}  # fmt: skip
"""For answers without a code."""

_WORTH_A_TRY = frozenset({408, 409, 425, 429})
"""Statuses of class 4xx that pass: time-outs, a conditional put that met another one, throttling."""

_THROTTLED = re.compile(r"SlowDown|RequestLimitExceeded|Throttling\w*")
_STATUS = re.compile(r"status code: (\d{3})\b")
_XML = re.compile(r"(: )?<\?xml.*", re.DOTALL)
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{0,500})</Message>")


@contextlib.contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Translate what a disk or an object store raises about `where` into the error tree.

    FileNotFoundError passes: what a missing object means is for the caller to say.
    """
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise SourceError(f"{where}: {_NO_BUCKET}") from error
        raise
    except OSError as error:
        if isinstance(error, (TimeoutError, ConnectionError)):
            raise TransientError(f"{where}: {error}") from error
        hint = _HINTS.get(error.errno or 0)
        raise SourceError(f"{where}: {hint or error.strerror or error}") from error
    except Exception as error:
        translated = _object_store_error(where, error)
        if translated is None:
            raise
        raise translated from error


def no_shorter(where: str, got: int, wanted: int) -> None:
    """Raise TransientError when fewer bytes came than the object has."""
    if got != wanted:
        raise TransientError(f"{where}: cut off, {got:,} of {wanted:,} bytes came")


def _object_store_error(where: str, error: Exception) -> Exception | None:
    """The error tree's view of an obstore exception; None when it is not one."""
    from obstore import exceptions as known

    if not isinstance(error, known.BaseError):
        return None
    text = str(error).split("\n\nDebug source", 1)[0]  # the dump behind it repeats the signed request
    code, message, status = _CODE.search(text), _MESSAGE.search(text), _STATUS.search(text)
    said = _XML.sub("", text) + (f": {code[1]}: {message[1] if message else ''}" if code else "")
    number = int(status[1]) if status else 0
    remedy = _CODES.get(code[1]) if code else None
    if remedy is None and isinstance(error, known.NotFoundError):
        return FileNotFoundError(where)
    if isinstance(error, (known.PermissionDeniedError, known.UnauthenticatedError)):
        remedy = remedy or _DENIED
    if "redirect without LOCATION" in said:
        remedy = remedy or _REGION
    remedy = remedy or _STATUSES.get(number)
    if remedy is None and 400 <= number < 500 and number not in _WORTH_A_TRY:
        remedy = "the object store refused the request; check the endpoint, AWS_REGION and the credentials"
    if remedy is not None:
        return (DeniedError if remedy == _DENIED else SourceError)(f"{where}: {remedy} ({said})")
    if number == 429 or _THROTTLED.fullmatch(code[1] if code else ""):
        return ThrottledError(f"{where}: {said}")
    if not number and "error sending request" in said:
        return TransientError(
            f"{where}: no answer; check AWS_ENDPOINT_URL, the network and whether the object store runs ({said})"
        )
    return TransientError(f"{where}: {said}")
