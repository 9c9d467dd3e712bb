"""One run at a time on S3, with real processes on a real server. On disk: tests/engine/test_runner.py."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest

from pipeline.engine import lock
from pipeline.engine.lock import Heir, exclusive, hold, holder
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, SourceError

HOLDS = """
import sys
from pipeline.engine.lock import exclusive
from pipeline.engine.store import Store
with exclusive(Store(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lock, "OBSERVE_SECONDS", 0.8)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def store(s3_bucket) -> Store:
    return Store(f"{s3_bucket}/work")


def process(store: Store, code: str = HOLDS) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", textwrap.dedent(code), store.uri]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def elsewhere(store: Store, number: int = 1, **facts: object) -> None:
    """A lock of a run on another machine."""
    value = {"host": "far", "boot": "other", "namespace": "other", "pid": 7, "started": 1, **facts}
    store.put(f"lock/{number:06d}.json", json.dumps(value).encode())


def keys(store: Store) -> list[str]:
    return [entry.key for entry in store.list()]


def test_a_second_run_is_told_at_once(store):
    """On the same machine nothing has to be waited for: the process is there, or it is not."""
    notes: list[str] = []
    with process(store) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(
                ConfigError, match=rf"another run uses {store.uri} \(process {other.pid} on .*wait for it"
            ),
            exclusive(store, notes.append),
        ):
            pass
        other.kill()  # SIGKILL: it cannot release anything
        other.wait()
        assert holder(store, "lock").facts["pid"] == other.pid
        with exclusive(store, notes.append) as held:
            held.check()
            assert held.number == 2
    assert notes == []
    with exclusive(store) as held:
        assert held.number == 3
    assert keys(store) == ["lock/000003.json"], "old locks do not pile up"
    assert holder(store, "lock").released


def test_a_lock_is_released_whatever_ends_the_run(store):
    for error in (KeyboardInterrupt, SourceError("no"), SystemExit(1)):
        with pytest.raises(type(error) if isinstance(error, BaseException) else error), exclusive(store):
            raise error
        assert holder(store, "lock").released


@pytest.mark.slow
def test_many_processes_and_one_at_a_time(store):
    """Eight processes begin at the same instant and read, add and write: no addition is lost."""
    code = """
    import sys, time
    from pipeline.engine.lock import exclusive
    from pipeline.engine.store import Store
    from pipeline.errors import ConfigError
    store, added = Store(sys.argv[1]), 0
    sys.stdin.readline()
    while added < 2:
        try:
            with exclusive(store) as held:
                number = int(store.read("count"))
                held.check()
                store.put("count", str(number + 1).encode())
                added += 1
        except ConfigError:
            pass
    """
    store.put("count", b"0")
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(process(store, code)) for _ in range(8)]
        for one in runs:
            one.stdin.write("go\n")
            one.stdin.flush()
        assert [one.wait(300) for one in runs] == [0] * 8
    assert store.read("count") == b"16"


def test_two_processes_that_start_together(store):
    """One wins and the other says so, also on a server that takes two conditional puts for the first one."""
    code = """
    import sys
    from pipeline.engine.lock import exclusive
    from pipeline.engine.store import Store
    from pipeline.errors import ConfigError
    store = Store(sys.argv[1])
    store.stat("connected")
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        with exclusive(store) as held:
            print("held", flush=True)
            sys.stdin.readline()
            held.check()
    except ConfigError as error:
        print(error, flush=True)
    """
    with process(store, code) as one, process(store, code) as other:
        for each in (one, other):
            assert each.stdout.readline() == "ready\n"
        for each in (one, other):
            each.stdin.write("go\n")
            each.stdin.flush()
        said = sorted(each.stdout.readline() for each in (one, other))
        assert said[0].startswith(f"another run uses {store.uri}")
        assert said[1] == "held\n"
        for each in (one, other):
            each.stdin.close()
            assert each.wait(60) == 0


@contextlib.contextmanager
def beating(store: Store, number: int = 1) -> Iterator[None]:
    """The sign of life of a run on another machine."""
    stop = threading.Event()

    def beat() -> None:
        count = 0
        while not stop.wait(0.05):
            count += 1
            store.put(f"lock/{number:06d}.beat", str(count).encode())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_living_run_on_another_machine(store):
    """Its beat changes while we watch: no clock is compared, and it is left alone."""
    elsewhere(store)
    notes: list[str] = []
    with (
        beating(store),
        pytest.raises(ConfigError, match=r"another run uses .*\(process 7 on far\)"),
        exclusive(store, notes.append),
    ):
        pass
    assert notes == [
        f"{store.uri} is held by process 7 on far; watching for up to 1 s whether that run is alive (Ctrl-C gives up)"
    ]


def test_a_dead_run_on_another_machine(store):
    """Its beat does not change for the whole time of watching, whatever the clocks say."""
    elsewhere(store, 41)
    store.put("lock/000041.beat", b"17")
    with exclusive(store) as held:
        assert held.number == 42
        assert not [key for key in keys(store) if "000041" in key]


def test_a_run_that_slept_finds_out(store):
    """Stopped for so long that another one took over: it must not commit, and must not release what is not its own."""
    with (
        pytest.raises(
            SourceError, match=r"another run has taken over, because this one gave no sign of life"
        ),
        exclusive(store) as held,
    ):
        held.check()
        elsewhere(store, 2)
        held.check()
    assert not holder(store, "lock").released
    # Also when the numbers in between are gone, or the same number was put by somebody else.
    for left in ([1], [1, 2]):
        store.delete_all("lock")
        with pytest.raises(SourceError, match="taken over"), exclusive(store) as held:
            for number in left:
                store.delete(f"lock/{number:06d}.json")
            elsewhere(store, 1 if left == [1] else 3)
            held.check()


def test_the_beat_beats(store, monkeypatch):
    """And what it learns need not be asked again before the next stage."""
    with exclusive(store) as held:
        seen = set()
        while len(seen) < 3:
            with contextlib.suppress(FileNotFoundError):
                seen.add(store.read("lock/000001.beat"))
        monkeypatch.setattr(lock, "BEAT_SECONDS", 60)
        asked: list[str] = []
        monkeypatch.setattr(held, "check", lambda: asked.append(threading.current_thread().name))
        held.recheck()
        assert "MainThread" not in asked, "the answer is fresh"
        held.checked = 0
        held.recheck()
        assert "MainThread" in asked


def test_an_answer_that_got_lost_is_still_a_win(store, monkeypatch):
    """The put arrived, its answer did not, and the retry is told that the object exists: it is ours all the same."""
    real = Store.put_new

    def lost(self, key, data):
        real(self, key, data)
        return False

    monkeypatch.setattr(Store, "put_new", lost)
    with exclusive(store) as held:
        held.check()


def test_the_last_of_several_winners_holds(store, monkeypatch):
    """A server that says yes to two puts at once: whoever does not read its own object back has lost."""
    real = Store.put_new

    def overwritten(self, key, data):
        won = real(self, key, data)
        elsewhere(self, 1)
        return won

    monkeypatch.setattr(Store, "put_new", overwritten)
    with (
        beating(store),
        pytest.raises(ConfigError, match=r"another run uses .*process 7 on far"),
        exclusive(store),
    ):
        pass


def test_who_may_inherit(store):
    """A claim of the same work directory is taken over at once; a dead one of another is reported, not taken."""
    elsewhere(store, owner="me")
    mine = Heir(
        inherit=lambda found: found.facts["owner"] == "me",
        stale=lambda found: f"left by {found.facts['owner']}",
    )
    with hold(store, "lock", what="it", facts={"owner": "me"}, heir=mine) as held:
        assert held.previous.facts["host"] == "far"
        held.remove()
    assert keys(store) == []
    elsewhere(store, owner="you")
    with pytest.raises(ConfigError, match="left by you"), hold(store, "lock", what="it", heir=mine):
        pass


def test_ctrl_c_while_watching(store):
    """A person may give up waiting."""
    elsewhere(store)
    code = HOLDS.replace(
        "import sys\n", "import sys\nfrom pipeline.engine import lock\nlock.OBSERVE_SECONDS = 600\n", 1
    )
    code = code.replace(
        "exclusive(Store(sys.argv[1]))", "exclusive(Store(sys.argv[1]), lambda text: print(text, flush=True))"
    )
    line = [sys.executable, "-c", code, store.uri]
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as other:
        assert "Ctrl-C gives up" in other.stdout.readline()
        other.send_signal(signal.SIGINT)
        assert other.wait(60) in (1, -signal.SIGINT)
    assert holder(store, "lock").number == 1


def test_what_a_killed_run_left_half_written_on_disk_is_swept(tmp_path):
    """Breach: a run killed while it writes outside of stages and annotations leaves its half of a file for ever."""
    place = Store(str(tmp_path / "work"))
    place.put("kept.json", b"{}")
    with process(place) as run:
        assert run.stdout is not None and run.stdout.readline() == "held\n"
        run.kill()
    half = [
        "unfinished.json.tmp-0123456789ab",
        "shards/a.parquet.tmp-0123456789ab",
        "stages/x/y.tmp-0123456789ab",
    ]
    others = ["archive/graph.tmp-0123456789ab", "shards/a.parquet"]
    for name in (*half, *others):
        place.path(name).parent.mkdir(parents=True, exist_ok=True)
        place.path(name).write_bytes(b"half")
    with exclusive(place):
        assert not [name for name in half if place.path(name).exists()]
        assert all(place.path(name).exists() for name in (*others, "kept.json"))
