"""Ordinals are the places in the election order, dense, however the contents are sorted."""

from __future__ import annotations

import hashlib
import io
import tempfile
from typing import Any

import pyarrow as pa
import pytest
from given_tables import given_table
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dedup.election import election_key
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.stages import rank
from pipeline.tables import ELECTED


def sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def content(number: int, **known: Any) -> dict[str, Any]:
    return {**dict.fromkeys(ELECTED.names), "sha256": sha256(number), **known}


def expected(rows: list[dict[str, Any]]) -> dict[str, int]:
    order = sorted(rows, key=lambda row: (election_key(row), row["sha256"]))
    return {row["sha256"]: place for place, row in enumerate(order)}


def ranked(rows: list[dict[str, Any]], buckets: int, at_once: int) -> tuple[dict[str, int], list[str]]:
    """The ordinals, and the stages that ran."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank, "AT_ONCE", at_once)
        patch.setattr(rank, "SAMPLED", 16)
        store, _ = open_workdir(folder, buckets, default_buckets=buckets)
        runner = Runner(store, InProcess(), buckets, Progress(io.StringIO()))
        winners = given_table(runner, "winners", pa.Table.from_pylist(rows, schema=ELECTED), "sha256")
        done = rank.rank_wave(runner, winners.ref("rows"), len(rows))
        found = runner.table(done.ref("ranks")).to_pylist()
        assert len(found) == len(rows)
        placed = [
            sha256
            for bucket in range(buckets)
            for sha256 in runner.table(done.ref("ranks"), bucket=bucket)["sha256"].to_pylist()
        ]
        assert placed == sorted(row["sha256"] for row in rows)
        return {row["sha256"]: row["ordinal"] for row in found}, [name for name, *_ in runner.plan]


few = st.sampled_from
KEYS = st.fixed_dictionaries(
    {
        "is_fork": few([None, False, True]),
        "stars": few([None, -3, 0, 1, 2, 3, 7, 8, (1 << 53) - 1, (1 << 63) - 1]),
        "forks": few([None, 0, 5]),
        "revision_date": few([None, -(1 << 63), -1, 0, 1, (1 << 63) - 1]),
        "path_components": few([1, 2, 300]),
        # prefixes of each other, and what the escapes of a sort key could stumble over
        "origin": few(["https://a", "https://a/", "https://\u00e9", "https://\U0001f600", ""]),
        "path": few(
            [b"", b"\0", b"\0\0", b"\0\1", b"\1", b"a", b"a\0", b"a\0b", b"a/b", b"\xff", b"\xff\xff"]
        ),
    }
)
ROWS = st.lists(KEYS, min_size=20, max_size=90).map(
    lambda keys: [content(n, **key) for n, key in enumerate(keys)]
)


@settings(max_examples=5, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(rows=ROWS, buckets=st.sampled_from([1, 4]))
def test_both_forms_give_the_places_of_the_order(rows, buckets):
    """Breach: an ordinal depends on how the contents are sorted; ties, unknown values, odd bytes."""
    wanted = expected(rows)
    assert ranked(rows, buckets, at_once=1 << 20) == (wanted, ["given.winners", "rank"])
    found, stages = ranked(rows, buckets, at_once=-1)
    assert found == wanted
    assert stages[1:] == ["rank.samples", "rank.splitters", "rank.ranges", "rank.places", "rank"]


def test_one_origin_that_has_everything_is_split(monkeypatch):
    """Breach: all contents of one origin, or of no known date, fall into one range."""
    key = {"is_fork": False, "path_components": 2, "origin": "https://one.example/all"}
    rows = [content(n, path=b"src/%d.c" % (n % 7), **key) for n in range(2_000)]
    sizes: list[int] = []
    one = rank.ordinals

    def seen(task):
        sizes[:] = [b - a for a, b in zip(task.extra["before"], task.extra["before"][1:], strict=False)]
        return one(task)

    seen.__module__, seen.__name__ = one.__module__, one.__name__
    monkeypatch.setattr(rank, "ordinals", seen)
    found, _ = ranked(rows, 4, at_once=0)
    assert found == expected(rows)
    assert len(sizes) == 3 and max(sizes) < 1_000 and sum(sizes) > 1_000, f"ranges are uneven: {sizes}"
