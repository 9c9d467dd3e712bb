"""What a person sees on stderr while stages run, and what is kept of it in `<workdir>/runs/<id>/`.

On a terminal the running stage has one live line; elsewhere (logs, CI) each stage gets one line when it ends.
Timings and memory go to the run's record only, never into a release.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

import psutil

from pipeline.engine.measure import StageFigures, Traffic, outside

_SAMPLE_SECONDS = 1.0


class Progress:
    """Counts units, rows and bytes of the running stage and prints rates, ETA and drops by reason."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live = not quiet and self._stream.isatty()
        self.stages: list[dict[str, Any]] = []
        self._name = ""
        self._total = self._done = self._rows = self._bytes = 0
        self._dropped: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._figures = StageFigures()
        self._packer = zlib.compressobj(1, wbits=31)
        self._packed: list[bytes] = []  # about 60 bytes a unit
        self._started = self._last = 0.0

    def note(self, message: str) -> None:
        """A line of its own."""
        if not self._quiet:
            self._clear()
            print(message, file=self._stream, flush=True)

    def begin(self, name: str, total: int, already: int) -> None:
        """A stage with `total` units starts, of which `already` are done."""
        self._name, self._total, self._done = name, total, already
        self._rows = self._bytes = 0
        self._dropped, self._counts = Counter(), Counter()
        self._figures = StageFigures()
        self._started = time.perf_counter()
        self._already = already

    def unit(self, sidecar: Mapping[str, Any], measured: Mapping[str, Any] | None = None) -> None:
        """One unit is done; what it cost, if it was measured, is one line of the run's `units.jsonl.gz`."""
        if measured is not None:
            self._figures.add(measured)
            line = {"stage": self._name, "unit": sidecar["unit"], **measured}
            if piece := self._packer.compress(json.dumps(line, sort_keys=True).encode() + b"\n"):
                self._packed.append(piece)
        self._done += 1
        self._rows += sidecar["rows_in"]
        self._bytes += sidecar["bytes_in"]
        for name, amount in sidecar["counts"].items():
            self._counts[name] += amount
            if name.startswith("dropped."):
                self._dropped[name.removeprefix("dropped.")] += amount
        if self._live and time.perf_counter() - self._last > 0.1:
            self._last = time.perf_counter()
            seconds = max(1e-6, time.perf_counter() - self._started)
            left = seconds / max(1, self._done - self._already) * (self._total - self._done)
            line = f"{self._line(seconds)}  ETA {left:,.0f} s"
            print(f"\r\x1b[2K{line[:160]}", end="", file=self._stream, flush=True)

    def end(self) -> None:
        """The running stage is finished."""
        seconds = max(1e-6, time.perf_counter() - self._started)
        line = self._line(seconds)
        if self._already:
            line += f"  ({self._already} of {self._total} units were already done)"
        self.stages.append(
            {"stage": self._name, "units": self._total, "skipped": self._already, "rows": self._rows,
             "bytes": self._bytes, "seconds": round(seconds, 3), "counts": dict(self._counts), **self._figures.to_json()}
        )  # fmt: skip
        self.note(line)

    def skipped(self, name: str) -> None:
        """A stage whose output was already complete."""
        self.stages.append({"stage": name, "units": 0, "skipped": True, "seconds": 0.0})

    def _line(self, seconds: float) -> str:
        text = (
            f"{self._name:<26} {self._done:>4}/{self._total} units  {self._rows:>11,} rows"
            f"  {self._rows / seconds:>11,.0f} rows/s  {self._bytes / seconds / 1e6:>7,.1f} MB/s  {seconds:>6.1f} s"
        )
        if self._dropped:
            text += "  dropped: " + ", ".join(f"{reason} {n:,}" for reason, n in self._dropped.most_common(4))
        return text

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[2K", end="", file=self._stream)

    def units(self) -> bytes:
        """gzip of one JSON line per unit that ran: stage, unit, and the figures of pipeline.engine.measure."""
        return b"".join([*self._packed, self._packer.copy().flush()])

    def close(self) -> None:
        """Leave the terminal clean."""
        self._clear()


class MemoryWatch:
    """Samples the summed PSS of this process and all below it (Ray's included) from a thread.

    PSS counts a shared page once over all its users; where the system has no PSS, RSS minus shared stands in.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.driver_peak_bytes = 0
        self.driver_cpu_seconds = 0.0
        self.driver_traffic = Traffic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        self._cpu, self._traffic = time.process_time(), outside()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._sample()
        self.driver_cpu_seconds = time.process_time() - self._cpu
        self.driver_traffic = outside().since(self._traffic)

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        me = psutil.Process()
        self.driver_peak_bytes = max(self.driver_peak_bytes, _pss(me))
        self.peak_bytes = max(self.peak_bytes, sum(_pss(p) for p in [me, *_children(me)]))


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _pss(process: psutil.Process) -> int:
    try:
        info = process.memory_full_info()
    except psutil.Error:
        return 0  # it ended, or is not ours to look at
    return int(getattr(info, "pss", 0) or info.uss)


def run_record(progress: Progress, memory: MemoryWatch, **more: Any) -> bytes:
    """The JSON kept in `<workdir>/runs/<id>/run.json`: stages, seconds, peak memory."""
    record = {
        **more,
        "peak_pss_bytes": memory.peak_bytes,
        "driver_peak_pss_bytes": memory.driver_peak_bytes,
        "driver_cpu_seconds": round(memory.driver_cpu_seconds, 3),
        "driver_traffic": memory.driver_traffic.to_json(),
        "stages": progress.stages,
    }
    return json.dumps(record, indent=1, sort_keys=True).encode()
