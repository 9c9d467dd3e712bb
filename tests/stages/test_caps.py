"""Caps: never exceeded, a higher one only adds, and what is taken depends on the set of contents alone."""

from __future__ import annotations

import hashlib
import io
import tempfile
from typing import Any

import pytest
from given_rows import given as given_stage
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Done, Runner, open_workdir
from pipeline.stages import caps
from pipeline.stages.ledger import FINAL
from pipeline.tables import Reason


def sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def content(number: int, language: str, size: int) -> dict[str, Any]:
    row = dict.fromkeys(FINAL.names)
    return {
        **row,
        "sha256": sha256(number),
        "content_sha256": sha256(-number),
        "language": language,
        "released_bytes": size,
        "root": sha256(number + 10_000)[:40],
        "sha1_git": sha256(number)[:40],
    }


class _Rows:
    """The stage `given.kept` under the name of the output that the caps read."""

    def __init__(self, done: Done) -> None:
        self._done = done

    def ref(self, output: str) -> Any:
        assert output == "kept"
        return self._done.ref("rows")


def taken(rows: list[dict[str, Any]], limits: dict[str, int], buckets: int) -> tuple[set[str], set[str]]:
    """(kept, dropped) SHA-256s."""
    with tempfile.TemporaryDirectory() as folder:
        store, _ = open_workdir(folder, buckets, default_buckets=buckets)
        runner = Runner(store, InProcess(), buckets, Progress(io.StringIO()))
        kept = _Rows(given_stage(runner, "kept", FINAL, "sha256", rows))
        done = caps.cap_wave(runner, kept, {"max_bytes": limits, "max_tokens": {}}, {})  # type: ignore[arg-type]
        by_git = {row["sha1_git"]: row["sha256"] for row in rows}
        dropped = runner.table(done.ref("dropped")).to_pylist()
        assert {row["reason"] for row in dropped} <= {Reason.OVER_CAP}
        left = runner.table(done.ref("kept")).to_pylist()
        assert runner.table(done.ref("by_root")).num_rows == len(left)
        return {row["sha256"] for row in left}, {by_git[row["sha1_git"]] for row in dropped}


def expected(rows: list[dict[str, Any]], limits: dict[str, int]) -> set[str]:
    """The same in plain Python."""
    found: set[str] = set()
    for language in {row["language"] for row in rows}:
        cap, total = limits.get(language, limits.get("default")), 0
        for row in sorted((r for r in rows if r["language"] == language), key=lambda r: r["sha256"]):
            total += row["released_bytes"]
            if cap is not None and total > cap:
                break
            found.add(row["sha256"])
    return found


contents = st.lists(st.tuples(st.sampled_from(["C", "Go", "Python"]), st.integers(0, 40)), max_size=40).map(
    lambda pairs: [content(n, language, size) for n, (language, size) in enumerate(pairs)]
)
limits = st.dictionaries(st.sampled_from(["C", "Go", "default"]), st.integers(1, 400))


@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(rows=contents, limits=limits, buckets=st.sampled_from([1, 4]), more=st.integers(1, 200))
def test_caps_hold_and_a_higher_one_only_adds(rows, limits, buckets, more):
    """Breach: more than was asked for; what was taken under a low cap is missing under a higher one; buckets decide."""
    kept, dropped = taken(rows, limits, buckets)
    assert kept | dropped == {row["sha256"] for row in rows} and not kept & dropped
    assert kept == expected(rows, limits)
    for language in {row["language"] for row in rows}:
        cap = limits.get(language, limits.get("default"))
        held = sum(r["released_bytes"] for r in rows if r["language"] == language and r["sha256"] in kept)
        assert cap is None or held <= cap
    assert kept <= expected(rows, {name: cap + more for name, cap in limits.items()})


def test_what_is_taken_stays_when_the_input_grows():
    """Breach: a new file far away in the order changes which others are in."""
    rows = [content(n, "Python", 10) for n in range(60)]
    before, _ = taken(rows, {"Python": 300}, 4)
    after, _ = taken([*rows, content(1_000, "Python", 10)], {"Python": 300}, 8)
    assert len(before) == 30 and len(before - after) <= 1


@pytest.mark.parametrize("limit", [1, 9])
def test_a_cap_below_the_first_file_takes_nothing(limit):
    assert taken([content(1, "C", 10)], {"default": limit}, 2) == (set(), {sha256(1)})
