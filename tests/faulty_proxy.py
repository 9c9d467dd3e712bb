"""A proxy in front of any HTTP or S3 server that makes it fail, by rule and repeatably.

    proxy = FaultyProxy("http://127.0.0.1:8080", Faults(seed=1, transient={"slow_down": .02, "truncate": .03}))
    ... use proxy.endpoint instead of the server's ...
    proxy.close()

It runs in threads of this process: a rule is any function of a `Request`, and can be changed at any time
(`proxy.rule = ...`). Everything that no rule touches passes as it is: all methods, ranges, and signatures, since the
Host header that the client signed goes on to the server. `proxy.requests` counts what was asked for.

    slow_down unavailable error denied missing    an S3 error: 503 SlowDown, 503, 500, 403, 404; the server is not asked
    stall                no answer, until the client hangs up or the proxy is closed
    reset                the connection is reset, the server is not asked
    lost                 the server does what was asked, then the connection is reset: who asked cannot know
    truncate             half of the body, then the connection is closed
    corrupt              one bit of the body is another, the same one each time; the length is right
    slow                 the whole body, a piece at a time
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

ERRORS = {
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "unavailable": (503, "ServiceUnavailable", "Please try again."),
    "error": (500, "InternalError", "We encountered an internal error. Please try again."),
    "denied": (403, "AccessDenied", "Access Denied"),
    "missing": (404, "NoSuchKey", "The specified key does not exist."),
}
KINDS = (*ERRORS, "stall", "reset", "lost", "truncate", "corrupt", "slow")
_PIECES, _PIECE_SECONDS = 10, 0.02  # of a slow body
_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True)
class Request:
    """What a rule sees: `path` without the query, unquoted; `attempt` counts from 1 per method and path."""

    method: str
    path: str
    query: str
    attempt: int


Rule = Callable[[Request], str | None]


@dataclass(frozen=True)
class Faults:
    """A seeded rule. Shares are of 1: `transient` per attempt, `permanent` per path; `only`: paths that hold this text."""

    seed: int = 0
    transient: Mapping[str, float] = field(default_factory=dict)
    permanent: Mapping[str, float] = field(default_factory=dict)
    methods: tuple[str, ...] = ("GET",)
    only: str = ""

    def __call__(self, request: Request) -> str | None:
        if request.method not in self.methods or self.only not in request.path:
            return None
        return self.forever(request.path) or _drawn(
            self.transient, self.seed, request.method, request.path, request.attempt
        )

    def forever(self, path: str) -> str | None:
        """The permanent fault of a path."""
        return _drawn(self.permanent, self.seed, path)


def _drawn(shares: Mapping[str, float], *what: object) -> str | None:
    number = int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8], "big") / 2**64
    for kind, share in shares.items():
        if number < share:
            return kind
        number -= share
    return None


class FaultyProxy:
    """A proxy before `upstream` (http://host:port); `rule` says which fault a request meets, None for none."""

    def __init__(self, upstream: str, rule: Rule | None = None) -> None:
        address = urlsplit(upstream)
        self._host, self._port = address.hostname, address.port or 80
        self.rule = rule
        self.requests: Counter[tuple[str, str]] = Counter()  # (method, path)
        self.faults: Counter[str] = Counter()
        self._closing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="faulty-proxy", daemon=True)
        self._thread.start()
        ready.wait()

    def asked(self, folder: str = "", method: str = "GET") -> Counter[str]:
        """Requests per path below a folder (any part of the path that ends in `/`), relative to it."""
        return Counter(
            {
                path.split(folder, 1)[1]: count
                for (verb, path), count in list(self.requests.items())
                if verb == method and folder in path
            }
        )

    def reset(self, rule: Rule | None = None) -> None:
        """Forget all counts and take another rule."""
        self.rule = rule
        self.requests.clear()
        self.faults.clear()

    def close(self) -> None:
        """Hang up on everybody and end; a second time does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    # ------------------------------------------------------------------------------------------- in the thread

    def _run(self, ready: threading.Event) -> None:
        try:
            self._loop.run_until_complete(self._serve(ready))
        finally:
            self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        clients: set[asyncio.Task[None]] = set()

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            clients.add(task)
            try:
                await _Connection(self, reader, writer).serve()
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # somebody hung up, which is what this is all about
            finally:
                clients.discard(task)
                writer.close()

        server = await asyncio.start_server(client, "127.0.0.1", 0, backlog=1024, limit=1 << 20)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._closing.wait()
        server.close()
        for task in list(clients):
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    def _meet(self, method: str, target: str) -> str | None:
        path, _, query = target.partition("?")
        path = unquote(path, errors="surrogateescape")
        self.requests[method, path] += 1
        fault = self.rule(Request(method, path, query, self.requests[method, path])) if self.rule else None
        if fault is not None:
            self.faults[fault] += 1
        return fault


@dataclass
class _Message:
    """A request or an answer: its first line, its header lines, its whole body."""

    first: bytes
    headers: list[bytes]
    body: bytes = b""

    def value(self, name: bytes) -> bytes | None:
        for line in self.headers:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name:
                return value.strip()
        return None

    def without(self, *names: bytes) -> list[bytes]:
        return [line for line in self.headers if line.partition(b":")[0].strip().lower() not in names]

    def packed(self, headers: list[bytes]) -> bytes:
        return b"\r\n".join([self.first, *headers, b"", b""])


async def _read_head(reader: asyncio.StreamReader) -> _Message | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *headers = head[:-4].split(b"\r\n")
    return _Message(first, headers)


async def _read_body(message: _Message, reader: asyncio.StreamReader, *, to_the_end: bool) -> bytes:
    if b"chunked" in (message.value(b"transfer-encoding") or b"").lower():
        pieces = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            pieces.append(await reader.readexactly(size))
            await reader.readline()
        while (await reader.readline()).strip():
            pass
        return b"".join(pieces)
    length = message.value(b"content-length")
    if length is not None:
        return await reader.readexactly(int(length))
    return await reader.read() if to_the_end else b""


class _Connection:
    """One client's connection, with one to the server behind it."""

    def __init__(
        self, proxy: FaultyProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def serve(self) -> None:
        """Answer requests until one side hangs up."""
        try:
            while (request := await _read_head(self._reader)) is not None:
                if request.value(b"expect"):
                    self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.body = await _read_body(request, self._reader, to_the_end=False)
                if not await self._answer(request):
                    return
        finally:
            if self._server is not None:
                self._server[1].close()

    async def _answer(self, request: _Message) -> bool:
        method, target, _ = request.first.decode("latin-1").split(" ", 2)
        fault = self._proxy._meet(method, target)
        if fault is None:
            answer = await self._forward(method, request)
            await self._send(method, answer, answer.body)
            return True
        if fault in ERRORS:
            await self._send(method, _error(fault), _error(fault).body)
            return True
        if fault == "stall":
            await self._reader.read(1)  # until the client hangs up
            return False
        if fault == "reset":
            return self._reset()
        answer = await self._forward(method, request)
        if fault == "lost":
            return self._reset()
        body = answer.body
        if fault == "truncate":
            self._writer.write(_framed(method, answer, len(body)) + body[: len(body) // 2])
            await self._writer.drain()
            return False
        if fault == "corrupt":
            await self._send(method, answer, _corrupted(body))
            return True
        assert fault == "slow", fault
        self._writer.write(_framed(method, answer, len(body)))
        step = max(1, -(-len(body) // _PIECES))
        for start in range(0, len(body), step):
            self._writer.write(body[start : start + step])
            await self._writer.drain()
            await asyncio.sleep(_PIECE_SECONDS)
        return True

    async def _forward(self, method: str, request: _Message) -> _Message:
        """The server's answer, asked for anew when the idle connection to it was closed."""
        headers = request.without(b"expect", b"transfer-encoding", b"connection", b"content-length")
        if request.body or method in ("PUT", "POST"):
            headers.append(b"Content-Length: %d" % len(request.body))
        for fresh in (False, True):
            if self._server is None or fresh:
                self._server = await asyncio.open_connection(
                    self._proxy._host, self._proxy._port, limit=1 << 20
                )
            reader, writer = self._server
            with contextlib.suppress(ConnectionError):
                writer.write(request.packed(headers) + request.body)
                await writer.drain()
                answer = await _read_head(reader)
                if answer is not None:
                    break
            writer.close()
        else:
            raise ConnectionResetError("the server closed the connection")
        status = int(answer.first.split(b" ", 2)[1])
        if method != "HEAD" and status not in _WITHOUT_BODY:
            answer.body = await _read_body(answer, reader, to_the_end=True)
        if (answer.value(b"connection") or b"").lower() == b"close":
            writer.close()
            self._server = None
        return answer

    async def _send(self, method: str, answer: _Message, body: bytes) -> None:
        self._writer.write(_framed(method, answer, len(body)) + (b"" if method == "HEAD" else body))
        await self._writer.drain()

    def _reset(self) -> bool:
        """Close with a reset instead of an orderly end."""
        plug = self._writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        return False


def _framed(method: str, answer: _Message, length: int) -> bytes:
    """The head of an answer whose body is sent with its length; that of a HEAD keeps the length that it states."""
    if method == "HEAD" or int(answer.first.split(b" ", 2)[1]) in _WITHOUT_BODY:
        return answer.packed(answer.without(b"connection", b"transfer-encoding"))
    headers = answer.without(b"connection", b"transfer-encoding", b"content-length")
    return answer.packed([*headers, b"Content-Length: %d" % length])


def _error(kind: str) -> _Message:
    status, code, text = ERRORS[kind]
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{text}</Message></Error>'
    )
    return _Message(
        f"HTTP/1.1 {status} {code}".encode(),
        [b"Content-Type: application/xml", b"Content-Length: %d" % len(body)],
        body.encode(),
    )


def _corrupted(body: bytes) -> bytes:
    if not body:
        return b"\0"
    at = len(body) // 2
    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :]
