"""Fetching through a faulty proxy: what passes is recovered, what stays has its status, nothing is silent or lost."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_proxy import Faults, FaultyProxy, Request
from fetching import bodies_in, run_fetch, served, sha1, sha256, statuses_in, write_objects, write_rows

from pipeline.errors import SourceError
from pipeline.sources.contents import Patience
from pipeline.stages import fetch as fetch_stage

Proxies = Callable[..., FaultyProxy]
TRANSIENT = {"slow_down": 0.005, "unavailable": 0.01, "error": 0.01, "reset": 0.01, "truncate": 0.005,
             "corrupt": 0.005, "stall": 0.001, "slow": 0.004}  # fmt: skip
"""5% of all requests."""
BUCKET = "s3://archive"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Patience in tenths of a second, a pace that knows nothing yet, and no credentials."""
    monkeypatch.setattr(
        fetch_stage, "ORDINARY", Patience(tries=7, first_seconds=0.02, longest_seconds=0.1, request_seconds=2)
    )
    monkeypatch.setattr(
        fetch_stage, "STUBBORN", Patience(tries=3, first_seconds=0.01, longest_seconds=0.1, request_seconds=2)
    )
    fetch_stage.pace_of.cache_clear()
    yield
    fetch_stage.pace_of.cache_clear()


def _use(monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy) -> FaultyProxy:
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    return proxy


def _faulty_against_whole(
    count: int, buckets: int, tmp_path: Path, proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> Counter[str]:
    """Fetch `count` objects with and without faults; every outcome is as the rule says. Returns the statuses."""
    bodies = write_objects(tmp_path / "archive", count)
    rows = write_rows(tmp_path / "rows.parquet", bodies)
    rule = Faults(seed=3, transient=TRANSIENT, permanent={"missing": 0.001, "corrupt": 0.001})
    expected = {sha256(b): rule.forever(f"/archive/content/{sha1(b)}") or "ok" for b in bodies}
    with served(tmp_path / "archive") as url:
        proxy = _use(monkeypatch, proxies(url, rule))
        done = run_fetch(tmp_path / "faulty", rows, BUCKET, buckets=buckets)
    assert statuses_in(tmp_path / "faulty", done) == expected
    assert proxy.faults.keys() >= TRANSIENT.keys() | {"missing"}
    had = bodies_in(tmp_path / "faulty", buckets)
    whole = run_fetch(tmp_path / "whole", rows, str(tmp_path / "archive"), buckets=buckets)
    assert not [key for key in whole.counts if key.startswith("dropped.")]
    without = bodies_in(tmp_path / "whole", buckets)
    assert len(without) == count
    assert had == {key: value for key, value in without.items() if expected[key] == "ok"}
    statuses = Counter(expected.values())
    assert {k: v for k, v in done.counts.items() if k.startswith("dropped.")} == {
        f"dropped.{status}": n for status, n in statuses.items() if status != "ok"
    }
    assert done.counts["requests.repeated"] > 0.03 * count
    return statuses


def test_three_thousand_objects(
    tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5% transient faults of every kind, a few missing, a few corrupt: all accounted for, all else byte for byte."""
    statuses = _faulty_against_whole(3_000, 2, tmp_path, faulty_proxy, monkeypatch)
    assert statuses["missing"] and statuses["corrupt"]


@pytest.mark.slow
def test_a_hundred_thousand_objects(
    tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = _faulty_against_whole(100_000, 4, tmp_path, faulty_proxy, monkeypatch)
    assert 60 < statuses["missing"] < 150 and 60 < statuses["corrupt"] < 150


def test_what_cannot_be_had_stops_the_run_and_is_asked_for_again(
    tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure never becomes an answer: exit code 5, all the rest is kept, and the next run asks for these alone."""
    bodies = write_objects(tmp_path / "archive", 300)
    rows = write_rows(tmp_path / "rows.parquet", bodies)
    broken = {f"/archive/content/{sha1(b)}" for b in bodies[:2]}
    gone = {f"/archive/content/{sha1(b)}" for b in bodies[2:5]}

    def rule(request: Request) -> str | None:
        return "error" if request.path in broken else "missing" if request.path in gone else None

    with served(tmp_path / "archive") as url:
        proxy = _use(monkeypatch, faulty_proxy(url, rule))
        with pytest.raises(
            SourceError, match=r"2 objects could not be had, the first: s3://archive/content/"
        ) as failed:
            run_fetch(tmp_path / "work", rows, BUCKET)
        assert failed.value.exit_code == 5
        assert "500" in str(failed.value) and "run the release again" in str(failed.value)
        assert len(bodies_in(tmp_path / "work")) == 295
        asked = proxy.asked("content/")
        assert {n for key, n in asked.items() if f"/archive/content/{key}" in broken} == {7 + 3}
        assert {n for key, n in asked.items() if f"/archive/content/{key}" not in broken} == {1}
        proxy.reset()
        done = run_fetch(tmp_path / "work", rows, BUCKET)
        assert {f"/archive/content/{key}" for key in proxy.asked("content/")} == broken
    assert Counter(statuses_in(tmp_path / "work", done).values()) == {"ok": 297, "missing": 3}
    assert not list((tmp_path / "work" / done.stage.folder).rglob("answers/*"))


def test_more_failures_than_the_budget_stop_early(
    tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = write_objects(tmp_path / "archive", 3_000)
    rows = write_rows(tmp_path / "rows.parquet", bodies)
    rule = Faults(permanent={"error": 0.1})
    with served(tmp_path / "archive") as url:
        proxy = _use(monkeypatch, faulty_proxy(url, rule))
        with pytest.raises(SourceError, match=r"more than 10 objects .*\(engine.fetch_failures\)") as failed:
            run_fetch(tmp_path / "work", rows, BUCKET, failures=10)
        assert failed.value.exit_code == 5
        asked = proxy.asked("content/")
        kept = bodies_in(tmp_path / "work")
        assert 50 < len(kept) < 1_000 and len(asked) < 1_000
        proxy.reset()
        run_fetch(tmp_path / "work", rows, BUCKET)
        assert len(proxy.asked("content/")) == 3_000 - len(kept)
        assert set(proxy.asked("content/").values()) == {1}
    assert len(bodies_in(tmp_path / "work")) == 3_000


def test_a_store_that_is_down_or_refuses_is_told_soon(
    tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_rows(tmp_path / "rows.parquet", write_objects(tmp_path / "archive", 1_000))
    with served(tmp_path / "archive") as url:
        proxy = _use(monkeypatch, faulty_proxy(url, lambda _: "denied"))
        with pytest.raises(SourceError, match=r"20 objects in a row .* access denied; check the credentials"):
            run_fetch(tmp_path / "work", rows, BUCKET)
        assert sum(proxy.asked("content/").values()) < 60
        proxy.close()
        with pytest.raises(SourceError, match=r"20 objects in a row .* check the endpoint"):
            run_fetch(tmp_path / "work", rows, BUCKET)


def test_a_wrong_address_is_suspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that lacks nearly everything: stop and ask, unless the user says that it is so."""
    bodies = write_objects(tmp_path / "archive", 1_200)
    rows = write_rows(tmp_path / "rows.parquet", bodies)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(
        SourceError, match=r"1,000 of the first 1,000 objects are missing; check archive.content"
    ):
        run_fetch(tmp_path / "work", rows, str(tmp_path / "elsewhere"))
    done = run_fetch(tmp_path / "work", rows, str(tmp_path / "archive"))
    assert set(statuses_in(tmp_path / "work", done).values()) == {"ok"}, (
        "what the wrong store lacked does not count"
    )
    done = run_fetch(tmp_path / "other", rows, str(tmp_path / "elsewhere"), incomplete=True)
    assert done.counts["dropped.missing"] == 1_200


_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fetching import run_fetch
from pipeline.stages import fetch
fetch.IN_HAND_OBJECTS = int(sys.argv[2])
run_fetch(sys.argv[3], Path(sys.argv[4]), "s3://archive")
"""


def test_a_killed_unit_asks_again_for_what_was_in_hand_only(
    tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the middle, again and again: each costs at most the objects that were in hand."""
    count, in_hand = 3_000, 512
    bodies = write_objects(tmp_path / "archive", count)
    rows = write_rows(tmp_path / "rows.parquet", bodies)
    rule = Faults(permanent={"missing": 0.02})
    requests = itertools.count(1)
    process: subprocess.Popen[bytes] | None = None

    def killing(request: Request) -> str | None:
        if next(requests) in (900, 1_900):
            assert process is not None
            process.send_signal(signal.SIGKILL)
        return rule(request)

    with served(tmp_path / "archive") as url:
        proxy = _use(monkeypatch, faulty_proxy(url, killing))
        folder = str(Path(__file__).parent)
        command = [sys.executable, "-c", _KILLED, folder, str(in_hand), str(tmp_path / "work"), str(rows)]
        for _ in range(2):
            with subprocess.Popen(command) as process:
                assert process.wait(60) == -signal.SIGKILL
        done = run_fetch(tmp_path / "work", rows, BUCKET)
    again = sum(proxy.asked("content/").values()) - count
    assert 0 < again <= 2 * in_hand
    gone = sum(rule.forever(f"/archive/content/{sha1(b)}") is not None for b in bodies)
    assert done.counts["dropped.missing"] == gone > 0
    assert len(bodies_in(tmp_path / "work")) == count - gone


def test_throttling_pauses_the_process_and_loses_nothing(
    tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that says SlowDown to a whole burst: every object comes in the end, and it is counted."""
    rows = write_rows(tmp_path / "rows.parquet", write_objects(tmp_path / "archive", 400))
    with served(tmp_path / "archive") as url:
        requests = itertools.count(1)
        _use(monkeypatch, faulty_proxy(url, lambda _: "slow_down" if 100 < next(requests) <= 140 else None))
        done = run_fetch(tmp_path / "work", rows, BUCKET)
    assert set(statuses_in(tmp_path / "work", done).values()) == {"ok"}
    assert done.counts["requests.repeated"] == 40
    assert 1 <= done.counts["requests.throttled"] <= 40
    assert not done.counts["objects.set_aside"]
