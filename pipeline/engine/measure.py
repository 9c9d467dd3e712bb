"""What a unit of work costs: CPU and wall seconds by phase, bytes, objects, and the peak memory of its process.

Figures go to the record of the run (`<workdir>/runs/<id>/`) only. A sidecar, a stage and a release are the same whenever
and wherever a unit ran.

A process works on one unit at a time; `phase` puts what runs inside it to the account of the engine (`read`, `write`,
`commit`) instead of the stage's function, wherever it is called from. CPU seconds are those of the whole process, all of
its threads, and of child processes that ended.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

FUNCTION = "function"
ENGINE = ("setup", "read", "write", "commit")
_TICK_SECONDS = 0.02
_CHANGED = 2 << 20  # bytes of resident memory by which a process must differ to be looked at again
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SELF = Path("/proc/self")

_current: Meter | None = None


@dataclass
class Traffic:
    """Requests to object stores by kind, and the bytes that came and went with them. A folder has no requests.

    A request is what this code asks for once: what the client repeats after a fault is not seen here, and near ranges of
    one object that it fetches together count as one.
    """

    requests: Counter[str] = field(default_factory=Counter)  # get | head | list | put | copy | delete
    received_bytes: int = 0
    sent_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a unit's figures have it."""
        return {
            "requests": dict(sorted(self.requests.items())),
            "received_bytes": self.received_bytes,
            "sent_bytes": self.sent_bytes,
        }

    def since(self, before: Traffic) -> Traffic:
        """What came after `before`."""
        return Traffic(
            self.requests - before.requests,
            self.received_bytes - before.received_bytes,
            self.sent_bytes - before.sent_bytes,
        )

    def copy(self) -> Traffic:
        """As it is now."""
        return Traffic(Counter(self.requests), self.received_bytes, self.sent_bytes)


_outside = Traffic()  # of this process, outside of units
_counting = threading.Lock()


def asked(kind: str, times: int = 1, *, received: int = 0, sent: int = 0) -> None:
    """Requests were made to an object store: on the account of the running unit, or of the process outside of units."""
    with _counting:
        traffic = _outside if _current is None else _current.traffic
        traffic.requests[kind] += times
        traffic.received_bytes += received
        traffic.sent_bytes += sent


def outside() -> Traffic:
    """What this process has asked for so far outside of units."""
    with _counting:
        return _outside.copy()


class Meter:
    """Measures one unit; `with Meter() as meter: ...; meter.figures(...)`."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.peak_bytes = 0
        self.traffic = Traffic()
        self.written: list[int] = []  # bytes of each object beside the outputs: segments of annotations
        self._phase = "setup"

    def __enter__(self) -> Meter:
        global _current
        self._outer, _current = _current, self
        self._wall, self._at, self._io = time.perf_counter(), _cpu_seconds(), _read_bytes()
        self._memory = _PeakMemory()
        return self

    def __exit__(self, *_: object) -> None:
        global _current  # noqa: PLW0603
        self._switch(self._phase)
        self.wall = time.perf_counter() - self._wall
        self.read_bytes = _read_bytes() - self._io
        self.peak_bytes = self._memory.stop()
        _current = self._outer

    def _switch(self, phase: str) -> str:
        now = _cpu_seconds()
        self.cpu[self._phase] = self.cpu.get(self._phase, 0.0) + now - self._at
        before, self._phase, self._at = self._phase, phase, now
        return before

    def figures(self, *, written_bytes: int, written_objects: int) -> dict[str, Any]:
        """Seconds of CPU by phase and of wall time, bytes read and written, objects, peak memory in bytes."""
        return {
            "cpu_seconds": round(sum(self.cpu.values()), 6),
            "function_cpu_seconds": round(self.cpu.get(FUNCTION, 0.0), 6),
            "engine_cpu_seconds": {name: round(self.cpu.get(name, 0.0), 6) for name in ENGINE},
            "wall_seconds": round(self.wall, 6),
            "read_bytes": self.read_bytes,
            "written_bytes": written_bytes + sum(self.written),
            "written_objects": written_objects + len(self.written),
            "peak_pss_bytes": self.peak_bytes,
            **self.traffic.to_json(),
        }


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Put the time inside the block to the account of `name`; nothing happens outside of a unit."""
    meter = _current
    if meter is None:
        yield
        return
    before = meter._switch(name)
    try:
        yield
    finally:
        meter._switch(before)


def wrote(size: int) -> None:
    """An object of `size` bytes was written that is no output of the unit's stage."""
    if _current is not None:
        _current.written.append(size)


def drawn(items: Iterable[T], name: str = FUNCTION) -> Iterator[T]:
    """`items`, the time that each one takes to be made put to the account of `name`."""
    iterator = iter(items)
    while True:
        with phase(name):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _read_bytes() -> int:
    """Bytes that this process has read from files so far, from the cache of the system or not; 0 where nobody counts."""
    try:
        text = (_SELF / "io").read_bytes()
    except OSError:
        return 0
    return int(text.split(b"rchar:", 1)[1].split(None, 1)[0])


class _PeakMemory:
    """The largest PSS of this process, sampled by a thread.

    Resident memory costs 10 us to look at, PSS some milliseconds in a process with many mappings: it is read only where
    resident memory differs from when it was read last, by this unit or one before.
    """

    _known: tuple[int, int] = (0, 0)  # of this process: resident bytes, and the PSS that was read with them

    def __init__(self) -> None:
        self._peak = 0
        self._stop = threading.Event()
        self._sample()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            self._sample()

    def _sample(self) -> None:
        resident, (known, pss) = _resident(), _PeakMemory._known
        if abs(resident - known) > max(_CHANGED, resident >> 6):
            pss = _pss() or resident
            _PeakMemory._known = resident, pss
        self._peak = max(self._peak, pss)

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        self._sample()
        return self._peak


def _resident() -> int:
    try:
        return int((_SELF / "statm").read_bytes().split()[1]) * _PAGE
    except OSError:
        return int(psutil.Process().memory_info().rss)


def _pss() -> int:
    try:
        text = (_SELF / "smaps_rollup").read_bytes()
    except OSError:
        return 0
    return int(text.split(b"\nPss:", 1)[1].split(None, 1)[0]) << 10


class StageFigures:
    """The figures of a stage's units, added up as they come: sums, and the maximum of the peaks."""

    def __init__(self) -> None:
        self.units = 0
        self._sums: dict[str, Any] = {}
        self._peak = 0
        self._longest = 0.0

    def add(self, figures: dict[str, Any]) -> None:
        """One more unit."""
        self.units += 1
        for name, value in figures.items():
            if name == "peak_pss_bytes":
                self._peak = max(self._peak, value)
            elif isinstance(value, dict):
                sums = self._sums.setdefault(name, {})
                for key, part in value.items():
                    sums[key] = sums.get(key, 0) + part
            else:
                self._sums[name] = self._sums.get(name, 0) + value
        self._longest = max(self._longest, figures.get("cpu_seconds", 0.0))

    def to_json(self) -> dict[str, Any]:
        """As run.json has them."""
        rounded = _rounded(self._sums)
        assert isinstance(rounded, dict)
        return {
            **rounded,
            "measured_units": self.units,
            "max_peak_pss_bytes": self._peak,
            "max_unit_cpu_seconds": round(self._longest, 4),
        }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value
