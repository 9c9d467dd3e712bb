"""Stripes of ORC files as Arrow tables. The decoding runs in a process of its own, one for each process that reads.

It is started at the first stripe (half a second) and serves until this process ends. Its memory is bounded by the largest
stripe, unpacked: 64 to 256 MB of a public export. When it dies, the file is named in the error and the next stripe gets
a new process.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO

import pyarrow as pa

from pipeline import errors
from pipeline.engine.store import Store
from pipeline.errors import SourceError
from pipeline.sources import orc_process

_lock = threading.Lock()
_Owner = tuple[int, tuple[str, ...]]
_serving: dict[_Owner, subprocess.Popen[bytes]] = {}  # the one process, by whose it is and how it reaches S3


OPENINGS = itertools.count()
"""A number for each time that a file is opened: what the reader kept of an earlier time may be out of date."""


def read_stripe(
    store: Store, key: str, *, size: int, stripe: int, columns: Mapping[str, str], opening: int
) -> pa.Table:
    """The columns (name -> plain | date | time) of one stripe of a file of `size` bytes; `opening`: one of OPENINGS.

    Raises SourceError, naming the file, for one that is damaged; what the store raised where it could not be read.
    """
    request = {"uri": store.address, "anonymous": store.anonymous, "key": key, "size": size,
               "stripe": stripe, "columns": dict(columns), "opening": opening}  # fmt: skip
    where = f"{store.uri}/{key}"
    with _lock:
        process = _process()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(_line(process.stdout))
            table = None if "error" in answer else pa.ipc.open_stream(process.stdout).read_all()
        except (OSError, ValueError, EOFError, pa.ArrowException) as error:
            code = _end(process)
            raise SourceError(
                f"{where}: stripe {stripe} ended the reader of ORC files (exit status {code}):"
                " the file is damaged, fetch it again"
            ) from error
        except BaseException:  # interrupted: what is still in the pipe must not answer the next request
            _end(process)
            raise
    if table is None:
        kind, message = answer["error"]
        if kind == "SourceError" and message.startswith("it is damaged"):
            message = f"{where}: stripe {stripe} cannot be read: {message}; fetch the file again"
        raise getattr(errors, kind)(message)
    return table


def _line(stream: IO[bytes]) -> bytes:
    line = stream.readline()
    if not line:
        raise EOFError
    return line


def _process() -> subprocess.Popen[bytes]:
    process = _serving.get(owner := _owner())
    if process is None or process.poll() is not None:
        close()
        paths = [path for path in sys.path if path and os.path.isdir(path)]  # noqa: PTH112
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", orc_process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        _serving[owner] = process
    return process


def _owner() -> _Owner:
    """A forked process must not use its parent's pipe, nor a reader the credentials of another time."""
    return os.getpid(), tuple(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("AWS_"))


def _end(process: subprocess.Popen[bytes]) -> int:
    """Stop the process, unless it has; returns its exit status."""
    _serving.clear()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        return process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@atexit.register
def close() -> None:
    """End the process that reads for this one; a later read starts another."""
    for (owner, _), process in list(_serving.items()):
        if owner == os.getpid():
            _end(process)
