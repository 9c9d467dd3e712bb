"""One run at a time: who holds a work directory, or makes a release.

On disk it is a lock of the operating system, which ends with the process that holds it.

On S3 it is a row of numbered objects, `<place>/000001.json`, `000002.json`, ... The holder is who put the highest one; a
conditional put has one winner. Nobody compares clocks of two machines and nothing is overwritten but by its own holder:

- the holder writes `<number>.beat` anew every `BEAT_SECONDS`, each time with another content, and `"released": true` into
  its object at the end;
- who comes later takes the next number when the highest one is released, when its process was on this machine and is
  gone, or when its beat has not changed for `OBSERVE_SECONDS`, measured on the watcher's own monotonic clock;
- the holder asks `check()` before it commits anything that the next one relies on. A run that was stopped for so long that
  another one took over finds out there. What its tasks wrote meanwhile does no harm: same key, same bytes.

`check` needs no listing: the next number must not be there, then its own object must. Numbers are removed in ascending
order, and only by the holder of a higher one, so both together mean that it still held the place at the first question.
Some object stores can answer several conditional puts at the same instant with yes (OpenStack Swift does: 8 puts at once
had more than one winner in 36 of 60 rounds). So the winner waits `SETTLE_SECONDS` and reads its object back: the last
writer holds the place. A put that takes longer than that is found out at the other one's next check.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.engine.store import TEMPORARY, Store
from pipeline.engine.store_errors import disk_errors
from pipeline.errors import ConfigError, SourceError

BEAT_SECONDS = 10.0
OBSERVE_SECONDS = 3 * BEAT_SECONDS  # two beats may be lost on the way
SETTLE_SECONDS = 1.0  # a hundred times what a small put takes

_TRIES = 20  # each lost try means that another run has come or gone meanwhile

Note = Callable[[str], None]


def _no_note(_: str) -> None:
    """Nobody reads along."""


class Held:
    """A place that is held; `check` raises when it is not any more."""

    def check(self) -> None:
        """On disk the operating system takes care: nothing to ask."""

    def recheck(self) -> None:
        """`check`, unless that was done a moment ago: for what does no harm when it is done twice."""


@contextlib.contextmanager
def exclusive(store: Store, note: Note = _no_note, *, sweep: bool = True) -> Iterator[Held]:
    """Hold the work directory: a second run on it ends with a clear message (ConfigError) instead of a race.

    `note` is told when and why this waits. `sweep`: remove what a killed run left half-written on disk.
    """
    if store.root is None:
        with hold(store, "lock", note=note, what=store.uri) as held:
            yield held
        return
    path = Path(store.root, "lock")
    with disk_errors(f"{store.uri}/lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another run uses {store.uri}; wait for it, or give another --workdir"
            ) from error
        if sweep and handle.read():  # the last run did not come to its end
            _sweep(store)
        with disk_errors(f"{store.uri}/lock"):
            handle.seek(0)
            handle.write(b"running\n")
            handle.flush()
        yield Held()
        handle.truncate(0)


def _sweep(store: Store) -> None:
    """Remove the unfinished files that killed processes left: nobody else writes while the directory is held."""
    assert store.root is not None
    for folder, folders, files in os.walk(store.root):
        if folder == str(store.root):
            folders[:] = [name for name in folders if name != "archive"]  # its builder has a lock of its own
        for file in files:
            if TEMPORARY in file:
                Path(folder, file).unlink(missing_ok=True)


# ----------------------------------------------------------------------------------------------------------- on S3


@dataclass
class HeldObject(Held):
    """A place on S3 that is held by the object `<place>/<number>.json`."""

    store: Store
    place: str
    number: int
    content: bytes
    what: str
    previous: Holder | None = None  # who held it before
    stopped: threading.Event = field(default_factory=threading.Event)
    checked: float = -math.inf  # when `check` was content last, on this machine's monotonic clock

    def check(self) -> None:
        """Raise SourceError when another run has taken over."""
        asked = time.monotonic()
        taken = self.store.stat(_name(self.place, self.number + 1)) is not None
        if not taken and _reads(self.store, self.place, self.number, self.content):
            self.checked = asked
            return
        raise SourceError(
            f"{self.what}: another run has taken over, because this one gave no sign of life for"
            f" {OBSERVE_SECONDS:.0f} s; nothing is lost: when that run has ended, run this one again"
        )

    def recheck(self) -> None:
        """Ask when the last answer is older than two beats; the beat asks, too."""
        if time.monotonic() - self.checked > 2 * BEAT_SECONDS:
            self.check()

    def remove(self) -> None:
        """Take the lock away altogether: what it guarded is finished, and nobody needs to ask any more."""
        self.stopped.set()
        for key in sorted(entry.key for entry in self.store.list(self.place)):
            if (_number(key) or _beat_number(key) or 0) <= self.number:
                self.store.delete(key)

    def beat(self) -> None:
        """Give a sign of life every `BEAT_SECONDS` until told to stop."""
        count = 0
        while not self.stopped.wait(BEAT_SECONDS):
            count += 1
            with contextlib.suppress(
                SourceError
            ):  # the next one may get through; `check` sees what came of it
                self.store.put(_beat_name(self.place, self.number), str(count).encode())
                self.check()

    def release(self) -> None:
        """Let the next run have the place at once."""
        self.stopped.set()
        value = json.loads(self.content) | {"released": True}
        with contextlib.suppress(SourceError):  # then the next run waits for a beat that does not come
            if _reads(self.store, self.place, self.number, self.content):
                self.store.put(_name(self.place, self.number), json.dumps(value).encode())


@dataclass(frozen=True)
class Heir:
    """Who may take a place over from whom, where the usual rule (anybody from the dead) is not enough."""

    inherit: Callable[[Holder], bool]
    """Whether the holder is known to be dead and the place is this run's. Then it is taken over at once, so this may
    also put in order what the holder left."""
    stale: Callable[[Holder], str] | None = None
    """What to say of a holder that is dead but not this run's: then the place is not taken over."""


@dataclass(frozen=True)
class Holder:
    """The highest lock of a place, as it is found."""

    number: int
    facts: Mapping[str, Any]

    @property
    def released(self) -> bool:
        """Whether its run said that it is done."""
        return bool(self.facts.get("released"))

    def words(self) -> str:
        """Who it is, for a message."""
        workdir = f", work directory {self.facts['workdir']}" if "workdir" in self.facts else ""
        return f"process {self.facts.get('pid')} on {self.facts.get('host')}{workdir}"


@contextlib.contextmanager
def hold(
    store: Store,
    place: str,
    *,
    what: str,
    note: Note = _no_note,
    facts: Mapping[str, Any] | None = None,
    heir: Heir | None = None,
) -> Iterator[HeldObject]:
    """Hold a place on S3 while the block runs. Raises ConfigError when a living run holds it.

    `what` names it in messages; `facts` are written into its object, for `holder` of others.
    """
    held = _take(store, place, dict(facts or {}), heir, what=what, note=note)
    thread = threading.Thread(target=held.beat, name="beat", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        held.release()


def holder(store: Store, place: str) -> Holder | None:
    """Who put the highest lock of a place; None when nobody ever did."""
    numbers = [number for entry in store.list(place) if (number := _number(entry.key)) is not None]
    number = max(numbers, default=0)
    while store.stat(_name(place, number + 1)) is not None:  # a listing may lag behind
        number += 1
    if number == 0:
        return None
    try:
        return Holder(number, json.loads(store.read(_name(place, number))))
    except FileNotFoundError:
        return Holder(number, {"released": True})  # removed by the holder of a higher one, a moment ago
    except ValueError:
        return Holder(number, {})


def is_gone(store: Store, place: str, found: Holder, *, what: str, note: Note = _no_note) -> bool:
    """Whether the run that holds a place is dead: told at once on its own machine, else by watching its beat."""
    if found.released or _ended(found.facts):
        return True
    if _is_here(found.facts):
        return False
    note(
        f"{what} is held by {found.words()}; watching for up to {OBSERVE_SECONDS:.0f} s whether that run is alive"
        " (Ctrl-C gives up)"
    )
    first, started = _beat_of(store, place, found.number), time.monotonic()
    while time.monotonic() - started < OBSERVE_SECONDS:
        time.sleep(min(1.0, BEAT_SECONDS / 4))
        if _beat_of(store, place, found.number) != first:
            return False
        now = holder(store, place)
        if now is None or now.number != found.number or now.released:
            return now is None or now.released
    return True


def _take(
    store: Store, place: str, facts: dict[str, Any], heir: Heir | None, *, what: str, note: Note
) -> HeldObject:
    me = {**facts, **_identity(), "run": uuid.uuid4().hex}
    content = json.dumps(me, sort_keys=True).encode()
    for _ in range(_TRIES):
        found = holder(store, place)
        if found is not None and not (heir is not None and heir.inherit(found)):
            if not is_gone(store, place, found, what=what, note=note):
                raise ConfigError(
                    f"another run uses {what} ({found.words()}); wait for it, or give another address"
                )
            if heir is not None and heir.stale is not None:
                raise ConfigError(heir.stale(found))
        number = 1 if found is None else found.number + 1
        if not store.put_new(_name(place, number), content) and not _reads(store, place, number, content):
            continue  # somebody else was faster: look at who it is
        held = HeldObject(store, place, number, content, what, found)
        time.sleep(SETTLE_SECONDS)
        if not _reads(store, place, number, content):
            continue
        held.checked = time.monotonic()
        # In ascending order: `check` of an earlier holder relies on it.
        for old in sorted(entry.key for entry in store.list(place)):
            if (_number(old) or _beat_number(old) or number) < number:
                store.delete(old)
        return held
    raise SourceError(
        f"{store.uri}/{place}: no lock could be had in {_TRIES} tries; does the store take conditional puts?"
    )


def _reads(store: Store, place: str, number: int, content: bytes) -> bool:
    """Whether the object is what was written: an answer may get lost, and two may be told that they won."""
    try:
        return store.read(_name(place, number)) == content
    except FileNotFoundError:
        return False


def _name(place: str, number: int) -> str:
    return f"{place}/{number:06d}.json"


def _beat_name(place: str, number: int) -> str:
    return f"{place}/{number:06d}.beat"


def _number(key: str) -> int | None:
    stem = key.rsplit("/", 1)[-1].removesuffix(".json")
    return int(stem) if key.endswith(".json") and stem.isdecimal() else None


def _beat_number(key: str) -> int | None:
    stem = key.rsplit("/", 1)[-1].removesuffix(".beat")
    return int(stem) if key.endswith(".beat") and stem.isdecimal() else None


def _beat_of(store: Store, place: str, number: int) -> bytes:
    try:
        return store.read(_beat_name(place, number))
    except FileNotFoundError:
        return b""


# ---------------------------------------------------------------------------------------------- who a process is


def _identity() -> dict[str, Any]:
    """This process, so that another one on the same machine can tell whether it still runs."""
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "namespace": _namespace(),
        "pid": os.getpid(),
        "started": _start_of(os.getpid()),
    }


def _boot() -> str | None:
    """The kernel's own name for this start of the machine; None where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _namespace() -> str | None:
    """Containers on one machine number their processes apart."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (no path: a name that the kernel made)
    except OSError:
        return None


def _start_of(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None when there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _is_here(facts: Mapping[str, Any]) -> bool:
    """Whether the holder's processes can be seen from here."""
    return (
        facts.get("boot") is not None
        and facts.get("namespace") is not None
        and (facts.get("boot"), facts.get("namespace")) == (_boot(), _namespace())
    )


def _ended(facts: Mapping[str, Any]) -> bool:
    return _is_here(facts) and _start_of(int(facts.get("pid", 0))) != facts.get("started")
