"""Adapter: Hyperscan databases, compiled once on a machine and kept in a cache folder.

Compiling some hundred expressions takes seconds, loading the result milliseconds.  A database is a function of its
expressions, their flags, the version of Hyperscan and the processor; the name of its file is the digest of all of them.

The folder is `stackmill/hyperscan` in XDG_CACHE_HOME, else in ~/.cache; `STACKMILL_CACHE` names another one than
`stackmill` there, and empty stands for none.  The cache decides nothing: without a folder that can be written, or
with a file that is damaged or somebody else's, the database is compiled.  A file holds a checksum, what a trial of the
database said, and Hyperscan's own serialised form (which it loads unchecked: hence the checksum); nothing is unpickled.
It appears whole, under a lock, so that of many processes that start together one compiles and the others wait for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

try:
    import hyperscan
except ImportError:  # no wheel for this platform
    hyperscan: Any = None  # type: ignore[no-redef]

try:
    import fcntl
except ImportError:  # not a Unix system: processes that start together compile together
    fcntl: Any = None  # type: ignore[no-redef]

#: Environment variable: the folder of all caches of this product; empty for none.
CACHE = "STACKMILL_CACHE"

_MAGIC = b"stackmill hyperscan 2\n"
#: Files that are kept, the last used ones: rules change, and their databases take some MB each.
_KEPT = 16


class Expression(NamedTuple):
    """One expression of a database: what it reports as, and Hyperscan's flags."""

    pattern: bytes
    number: int
    flags: int = 0


class BadExpression(ValueError):
    """An expression that Hyperscan refuses: its position in the sequence, and what Hyperscan says of it."""

    def __init__(self, position: int, said: str) -> None:
        super().__init__(f"expression {position}: {said}")
        self.position = position
        self.said = said


def is_available() -> bool:
    """Whether Hyperscan is installed."""
    return hyperscan is not None


class Database:
    """A compiled set of expressions, for any number of threads."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._local = threading.local()

    @property
    def size(self) -> int:
        """Bytes of the compiled form."""
        return int(self._compiled.size())

    def scan(self, data: bytes | memoryview, on_match: Callable[..., object], context: object = None) -> None:
        """Call `on_match(number, start, end, flags, context)` for each match in `data`, which is not copied.

        `start` is 0: no database is compiled for it.  Hyperscan reads at most 4 GB: a longer text is an error.
        """
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:  # working memory of one thread
            scratch = self._local.scratch = hyperscan.Scratch(self._compiled)
        self._compiled.scan(data, on_match, 0, context, scratch)


#: Tries a database; numbers of expressions that cannot be relied on.
Trial = Callable[[Database], list[int]]


def database(expressions: Sequence[Expression], *, folder: Path | None = None) -> Database:
    """The compiled expressions, from `folder` (None: the user's cache folder) if they are there, else left there.

    Raises:
        BadExpression: one that Hyperscan refuses.
    """
    return tried_database(expressions, "", lambda _: [], folder=folder)[0]


def tried_database(
    expressions: Sequence[Expression], name: str, trial: Trial, *, folder: Path | None = None
) -> tuple[Database, list[int]]:
    """As `database`, with what `trial` says of it: asked once, and kept beside it; `name` names the trial in the key."""
    at = cache_folder() if folder is None else folder
    if at is None:
        fresh = Database(_compiled(expressions))
        return fresh, trial(fresh)
    file = at / f"{key(expressions, name)}.db"
    held = _loaded(file)
    if held is None:
        with _alone(file):
            held = _loaded(file)  # another process may have left it meanwhile
            if held is None:
                compiled = _compiled(expressions)
                held = compiled, trial(Database(compiled))
                _leave(file, json.dumps(held[1]).encode() + b"\n" + hyperscan.dumpb(compiled))
    return Database(held[0]), held[1]


def cache_folder() -> Path | None:
    """The folder of databases; None where there shall be none or no home is known."""
    named = os.environ.get(CACHE)
    if named is not None:
        return Path(named) / "hyperscan" if named else None
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if Path(xdg).is_absolute():  # a relative one is to be ignored: XDG base directory specification
        return Path(xdg) / "stackmill" / "hyperscan"
    try:
        return Path.home() / ".cache" / "stackmill" / "hyperscan"
    except RuntimeError:
        return None


def key(expressions: Sequence[Expression], trial: str = "") -> str:
    """SHA-256 (hex) of what a compiled database depends on."""
    held = [[e.pattern.decode("latin-1"), e.number, e.flags] for e in expressions]
    text = json.dumps([metadata.version("hyperscan"), hyperscan.HS_MODE_BLOCK, _processor(), held, trial])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@cache
def _processor() -> str:
    """The kind of this machine's processor and, where the system tells them, its features."""
    with (
        contextlib.suppress(OSError),
        Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as lines,
    ):
        for line in lines:
            if line.lower().startswith(("flags", "features")):
                return f"{platform.machine()} {' '.join(sorted(line.partition(':')[2].split()))}"
    return f"{platform.machine()} {platform.processor()}"


def _compiled(expressions: Sequence[Expression]) -> Any:
    compiled = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        compiled.compile(
            expressions=[e.pattern for e in expressions],
            ids=[e.number for e in expressions],
            flags=[e.flags for e in expressions],
        )
    except hyperscan.error as error:
        # Hyperscan does not say which one it means.
        for position, e in enumerate(expressions) if len(expressions) > 1 else ():
            try:
                _compiled([e])
            except BadExpression as single:
                raise BadExpression(position, single.said) from None
        raise BadExpression(0, str(error)) from error
    return compiled


def _loaded(file: Path) -> tuple[Any, list[int]] | None:
    """What a file holds, or None: not there, not readable, not whole, or not for this machine."""
    try:
        held = file.read_bytes()
    except OSError:
        return None
    checksum, kept = held[len(_MAGIC) : len(_MAGIC) + 32], held[len(_MAGIC) + 32 :]
    if not held.startswith(_MAGIC) or hashlib.sha256(kept).digest() != checksum:
        return None
    said, _, serialised = kept.partition(b"\n")
    try:
        loaded = hyperscan.loadb(serialised, hyperscan.HS_MODE_BLOCK)
        hyperscan.Scratch(loaded)  # refuses another version's or another platform's
    except hyperscan.error:
        return None
    with contextlib.suppress(OSError):
        os.utime(file)  # the last used ones are kept
    return loaded, json.loads(said)


def _leave(file: Path, serialised: bytes) -> None:
    """Write a file whole or not at all; a folder that cannot be written stays as it is."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(_MAGIC + hashlib.sha256(serialised).digest() + serialised)
            Path(name).replace(file)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        old = sorted(file.parent.glob("*.db"), key=lambda f: f.stat().st_mtime_ns, reverse=True)
        for left in old[_KEPT:]:
            left.unlink(missing_ok=True)
            left.with_suffix(".lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the lock of a file, waiting for it; without one where none can be had.  The system frees it when a process ends."""
    lock = None
    if fcntl is not None:
        with contextlib.suppress(OSError):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = file.with_suffix(".lock").open("wb")
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
