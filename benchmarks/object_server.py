"""A static object server on loopback: answers GET /<bucket>/<key> with the files of a folder, held in memory.

    python benchmarks/object_server.py DIR

It loads every file below DIR, prints `http://127.0.0.1:<port>` and serves until its standard input ends, so that it
cannot outlive the program that started it. Signatures are not looked at. A process of its own keeps its CPU time out of
a client's.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: application/octet-stream\r\n"
    b'ETag: "0"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n'
)
_MISSING_BODY = (
    b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>There is no such key.</Message></Error>"
)
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(_MISSING_BODY), _MISSING_BODY)


_RANGE = re.compile(rb"\r\nrange: *bytes=([0-9]+)-([0-9]+)", re.IGNORECASE)


def _part(answer: bytes, first: int, last: int) -> bytes:
    body = answer[answer.index(b"\r\n\r\n") + 4 :]
    piece = body[first : last + 1]
    span = b"bytes %d-%d/%d" % (first, first + len(piece) - 1, len(body))
    head = _HEAD.replace(b"200 OK", b"206 Partial Content\r\nContent-Range: " + span) % len(piece)
    return head + piece


class Objects(asyncio.Protocol):
    """One connection; requests have no body and are answered in turn."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers, self._waiting = answers, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are whole."""
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n")) >= 0:
            head, self._waiting = self._waiting[:end], self._waiting[end + 4 :]
            method, target = head.split(b" ", 2)[:2]
            key = target.split(b"?", 1)[0].split(b"/", 2)[-1]
            answer = self._answers.get(key)
            if answer is None:
                self._transport.write(_MISSING)
            elif method == b"HEAD":
                self._transport.write(answer[: answer.index(b"\r\n\r\n") + 4])
            elif part := _RANGE.search(head):
                self._transport.write(_part(answer, int(part[1]), int(part[2])))
            else:
                self._transport.write(answer)


def load(folder: Path) -> dict[bytes, bytes]:
    """Every file below the folder as a ready answer, by its relative path."""
    answers = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            body = Path(directory, name).read_bytes()
            key = Path(directory, name).relative_to(folder).as_posix().encode()
            answers[key] = _HEAD % len(body) + body
    return answers


async def serve(folder: Path) -> None:
    """Serve until standard input ends."""
    answers, loop = load(folder), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Objects(answers), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
