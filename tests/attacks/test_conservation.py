"""Whatever the graph holds: no crash, every occurrence one decision, and three counts that agree."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from graphs import Graph, export_of, release, settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from random_graphs import Chosen, choices, count, graphs

from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.errors import GateError
from pipeline.explain import explain
from pipeline.stages.census import take_census
from pipeline.stages.choose import choose
from pipeline.stages.earliest import find_earliest
from pipeline.stages.files import list_files
from pipeline.stages.graph import convert
from pipeline.stages.listed import list_contents
from pipeline.stages.origins import settle
from pipeline.stages.resolve import resolve
from pipeline.stages.selections import read_selections
from pipeline.stages.walk import walk
from pipeline.tables import Reason

LIMITS = st.tuples(st.sampled_from((1, 2, 4, 7)), st.sampled_from((1, 6, 40, 400)), st.sampled_from((1, 4)))
"""Depth, entries of a root, buckets."""

REASONS = {str(reason) for reason in Reason}


def examples(amount: int) -> hypothesis_settings:
    """So many examples, the same ones in every run, however long one takes."""
    return hypothesis_settings(
        max_examples=amount, deadline=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stackmill-test-") as name:
        yield Path(name)


def listed(
    archive: Path, base: Path, depth: int, entries: int, buckets: int, origins: dict[str, Any]
) -> tuple[int, int, int]:
    """Origins, resolved origins and occurrences as the stages of wave W0 have them."""
    config = settings(archive, {"origins": origins})
    store, _ = open_workdir(str(base / "work"), buckets, default_buckets=buckets)
    runner = Runner(store, InProcess(), buckets, Progress(quiet=True))
    chosen = read_selections(runner, config.origins)
    graph = convert(runner, export_of(archive))
    choice = choose(runner, graph["origin"], config.origins, chosen)
    resolved = resolve(runner, graph, choice, as_of=config.origins.as_of)
    ledger, networks, roots = settle(runner, resolved, choice, registry=None)
    rows, directories, oversized = walk(runner, graph, roots, max_depth=depth, max_entries=entries)
    limits = config.files.model_dump(mode="json", exclude={"max_depth", "max_entries"})
    w0 = list_files(runner, list_contents(runner, graph, rows), roots, directories, oversized,
                    {**limits, "max_entries": entries, "max_license_bytes": 1 << 20})  # fmt: skip
    times = {row["root"]: row["origins"] for row in runner.table(roots.ref("roots")).to_pylist()}
    told = runner.table(ledger.ref("ledger"))
    files = runner.table(w0.ref("files")).to_pylist()
    check_networks(told.to_pylist(), runner.table(networks.ref("networks")).to_pylist())
    check_earliest(
        told.to_pylist(), files, runner.table(find_earliest(runner, w0, ledger).ref("contents")).to_pylist()
    )
    found = sum(times[row["root"]] for row in files)
    numbers = (told.num_rows, told["reason"].null_count, found)
    limited = config.files.model_copy(update={"max_depth": depth, "max_entries": entries})
    for rows_in_one in (1 << 40, -1):  # in one task, and in rounds over buckets
        counted = take_census(
            runner, export_of(archive), config.origins, limited, chosen, rows_in_one=rows_in_one
        )
        assert counted is not None
        assert (counted.origins, counted.resolved, counted.found) == numbers
    return numbers


def check_networks(ledger: list[dict[str, Any]], networks: list[dict[str, Any]]) -> None:
    """Without fork-of, origins of one root are one network, and every origin is in one."""
    by_root: dict[str, list[str]] = {}
    for row in ledger:
        by_root.setdefault(row["directory"] or row["origin_id"], []).append(row["origin_id"])
    for row in ledger:
        assert row["network"] == min(by_root[row["directory"] or row["origin_id"]])
    assert sum(row["origins"] for row in networks) == len(ledger)


def check_earliest(
    ledger: list[dict[str, Any]], files: list[dict[str, Any]], earliest: list[dict[str, Any]]
) -> None:
    """The earliest of all occurrences, one after the other."""
    best: dict[str, tuple[Any, ...]] = {}
    for row in files:
        for origin in ledger:
            if row["kind"] == "file" and origin["directory"] == row["root"]:
                date = origin["revision_date"]
                key = (date is None, date or 0, origin["origin"].encode(), row["path"])
                best[row["sha1_git"]] = min(key, best.get(row["sha1_git"], key))
    told = {
        row["sha1_git"]: (
            row["revision_date"] is None,
            row["revision_date"] or 0,
            row["origin"].encode(),
            row["path"],
        )
        for row in earliest
    }
    assert told == best and len(earliest) == len(told)


def check_listing(g: Graph, limits: tuple[int, int, int], chosen: Chosen) -> None:
    depth, entries, buckets = limits
    expected = count(g, max_depth=depth, max_entries=entries, chosen=chosen)
    numbers = (expected["origins"], expected["resolved"], expected["found"])
    with folder() as base:
        archive = g.write(base / "archive")
        assert listed(archive, base, depth, entries, buckets, chosen.section(base)) == numbers


def check_release(g: Graph, limits: tuple[int, int, int]) -> None:
    depth, entries, buckets = limits
    expected = count(g, max_depth=depth, max_entries=entries)
    with folder() as base:
        archive = g.write(base / "archive")
        sections = {"files": {"max_depth": depth, "max_entries": entries}, "engine": {"buckets": buckets},
                    "quality": {"profile": "none"}}  # fmt: skip
        gone = g.rows["origin"][0]["url"]
        if entries == 6:  # some releases have an origin that opted out
            (base / "registry.jsonl").write_text(json.dumps({"kind": "origin", "value": gone}) + "\n")
            sections["optout"] = {"registry": str(base / "registry.jsonl")}
        try:
            made = release(archive, base, sections)
        except GateError as error:
            assert "no file was kept" in str(error)
            assert not (base / "out" / "1.0").exists()
            return
        totals, manifest = made.totals, made.directory / "manifest.json"
        assert totals["found"] == expected["found"] == totals["kept"] + sum(totals["dropped"].values())
        assert {reason.split(".")[0] for reason in totals["dropped"]} <= REASONS
        assert all(amount > 0 for amount in totals["dropped"].values())
        assert len(made.rows) == totals["kept"] == len({row["content_sha256"] for row in made.rows})
        origins = [
            pq.read_table(part) for part in (made.work / "stages" / "origins").rglob("ledger-*.parquet")
        ]
        reasons = [reason for table in origins for reason in table["reason"].to_pylist()]
        assert len(reasons) == expected["origins"] and reasons.count(None) == expected["resolved"]
        assert b"\x1b" not in manifest.read_bytes() + (made.directory / "README.md").read_bytes()
        # Nothing is written but the release and the work directory, whatever the names say.
        assert {path.name for path in base.iterdir()} <= {"archive", "out", "work", "registry.jsonl"}
        assert entries != 6 or gone not in {row["origin"] for row in made.rows}
        for row in made.rows[:1]:
            story = explain(made.directory, row["swhid"], path=None, workdir=str(made.work))
            assert sum(one["reason"] is None for one in story["occurrences"]) == 1


@examples(20)
@given(graphs(), LIMITS, choices())
def test_three_counts_agree(g: Graph, limits: tuple[int, int, int], chosen: Chosen) -> None:
    check_listing(g, limits, chosen)


@examples(5)
@given(graphs(), LIMITS)
def test_every_occurrence_of_a_release_has_one_decision(g: Graph, limits: tuple[int, int, int]) -> None:
    check_release(g, limits)


@pytest.mark.slow
@examples(300)
@given(graphs(), LIMITS, choices())
def test_three_counts_agree_on_many(g: Graph, limits: tuple[int, int, int], chosen: Chosen) -> None:
    check_listing(g, limits, chosen)


@pytest.mark.slow
@examples(60)
@given(graphs(), LIMITS)
def test_every_occurrence_of_many_releases_has_one_decision(g: Graph, limits: tuple[int, int, int]) -> None:
    check_release(g, limits)
