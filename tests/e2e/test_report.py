"""A release's figures: those of its rows, of its manifest and of what was dropped; and what its run took."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import e2e_runs as runs
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from manifests import canonical
from manifests.reader import Release
from manifests.report.page import render_report
from manifests.statistics import read_stats
from manifests.summary import summarize
from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.engine.stage import Ref, read_ref
from pipeline.engine.store import Store
from pipeline.estimate import records, stored_bodies
from pipeline.plan import plan_release


@pytest.fixture(scope="module")
def release(made) -> Release:
    return Release.open(made[0].directory)


@pytest.fixture(scope="module")
def stats(release) -> dict:
    return read_stats((release.directory / "stats.json").read_bytes(), release.manifest)


def table(work: Path, stage: str, output: str) -> pa.Table:
    (folder,) = (work / "stages" / stage).iterdir()
    return read_ref(Store(str(work)), Ref(f"stages/{stage}/{folder.name}", output, folder.name), None)


def test_the_files_are_listed_and_canonical(release, stats):
    assert {"stats.json", "report.html"} <= set(release.manifest.listed())
    assert verify_release(release.directory).ok
    assert canonical.dumps(stats) == (release.directory / "stats.json").read_bytes()
    assert render_report(stats) == (release.directory / "report.html").read_bytes()


def test_the_stage_and_the_rows_say_the_same(release):
    kept, counted = summarize(release), summarize(release, recount=True)
    assert (kept.pop("counted_from"), counted.pop("counted_from")) == ("stats.json", "rows")
    for told in ("near", "duplication", "unknown_licenses", "secrets"):
        assert kept.pop(told) is not None and counted.pop(told) is None
    assert kept == counted
    assert (
        kept["redactions"] and kept["copies_represented"] and kept["largest_clusters"] and kept["most_copied"]
    )


def test_near_duplicates_are_counted_by_language(made, stats):
    work = made[1] / "work"
    gone = set(table(work, "near.settle", "replaced")["sha256"].to_pylist())
    assert gone
    entered, dropped = Counter(), Counter()
    for row in table(work, "elect.texts", "winners").select(["sha256", "language"]).to_pylist():
        entered[row["language"]] += 1
        dropped[row["language"]] += row["sha256"] in gone
    assert stats["near"]["languages"] == {
        name: {"entered": number, "dropped": dropped[name]} for name, number in entered.items()
    }
    left = {name: one["entered"] - one["dropped"] for name, one in stats["near"]["languages"].items()}
    assert +Counter(left) == {name: one["rows"] for name, one in stats["languages"].items()}


def test_the_search_and_the_forks_are_counted(world, made, stats):
    """Forks: the three origins of one root; the fourth opted out."""
    search = stats["duplication"]["search"]
    edges = table(made[1] / "work", "near.verify", "edges")
    assert search["candidates"] == edges.num_rows >= stats["near_duplicates_represented"] > 0
    assert (search["threshold"], search["bands"], search["hot_buckets"]) == ("0.7", 42, 0)
    (root,) = stats["duplication"]["roots"]["largest"]
    forks = [one for one in world.origins if one.files is not None and one.files == next(
        other.files for other in world.origins if other.url == root["origin"])]  # fmt: skip
    eligible = [one for one in forks if not one.opted_out]
    assert root["origins"] == len(eligible) == 3
    assert root["occurrences"] == 2 * len(eligible[0].all_files())


def test_only_origins_of_rows_are_named(release, made):
    """What was dropped is private: an origin without a row stands in no file of a release."""
    kept = {o for batch in release.batches(["origin"]) for o in batch.column("origin").to_pylist()}
    all_origins = set(table(made[1] / "work", "graph.origin", "rows")["url"].to_pylist())
    assert all_origins - kept
    for name in ("stats.json", "report.html"):
        text = (release.directory / name).read_text(encoding="utf-8")
        for origin in all_origins - kept:
            assert not re.search(re.escape(origin) + r"(?![\w/-])", text), (name, origin)


def test_nothing_of_the_machine_is_shown(release, made):
    for name in ("stats.json", "report.html"):
        text = (release.directory / name).read_text(encoding="utf-8")
        assert str(made[1]) not in text and "/tmp" not in text and "seconds" not in text


def test_without_the_search_for_near_duplicates(archive, tmp_path):
    outcome = runs.release(archive, tmp_path, buckets=1, near_duplicates={"enabled": False})
    opened = Release.open(outcome.directory)
    found = summarize(opened)
    assert found["duplication"].pop("search") is None and found["duplication"]["containment"] is None
    assert found["near"] is None and "Near-duplicates were not sought" in (
        outcome.directory / "report.html"
    ).read_text(encoding="utf-8")
    assert found | {
        "counted_from": "rows",
        "duplication": None,
        "unknown_licenses": None,
        "secrets": None,
    } == summarize(opened, recount=True)


# ---------------------------------------------------------------------------------------------------- what a run took


@pytest.fixture(scope="module")
def told(made):
    """`pipeline stats --run` of the release that was made once."""

    def call(*arguments: object):
        return CliRunner().invoke(app, ["stats", "--run", str(made[1] / "work"), *map(str, arguments)])

    return call


def test_a_run_is_accounted_for(made, told):
    done = told("--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    store = Store(str(made[1] / "work"))
    (record,) = records(store)
    assert found["run"] == record["run"] and found["digest"] == made[0].digest and found["state"] == "made"
    totals, stages = found["totals"], found["stages"]
    assert totals["units"] == made[0].units_run == sum(one["units"] for one in stages)
    assert sum(one["cpu_seconds"] for one in stages) == pytest.approx(
        sum(one["cpu_seconds"] for one in record["stages"])
    )
    assert totals["cpu_seconds"] >= record["driver_cpu_seconds"] > 0
    assert totals["reserved_core_hours"] == pytest.approx(record["seconds"] / 3600, abs=1e-6)  # one at once
    assert totals["requests"] == {} and found["price"] is None
    expected = found["estimate"]
    assert (
        expected["rates"] == "table" and expected["conditions"] and expected["requests"]["estimate"] is None
    )
    assert (
        expected["cpu_seconds"]["actual"] == totals["cpu_seconds"] and expected["cpu_seconds"]["estimate"] > 0
    )
    fetched = [one["bytes"] for one in stages if one["stage"].startswith("fetch.")]
    assert 0 < expected["bytes"]["actual"] == sum(fetched)
    assert found["quantities"]["new_contents"] == found["quantities"]["contents"] > stored_bodies(store) > 0


def test_a_run_as_text_as_page_and_in_money(told, tmp_path):
    prices, page = tmp_path / "prices.yaml", tmp_path / "run.html"
    prices.write_text("currency: XTS\ncore_hour: 3600\n")
    done = told("--prices", prices, "--html", page)
    assert done.exit_code == 0, done.output
    for words in (
        "annotate.secrets",
        "estimate",
        "by a table measured elsewhere",
        "XTS",
        "core hours of CPU time",
    ):
        assert words in done.stdout
    found = json.loads(told("--prices", prices, "--json").stdout)
    assert found["price"]["total"] == pytest.approx(3600 * found["totals"]["reserved_core_hours"])
    text = page.read_text(encoding="utf-8")
    assert "near.verify" in text and "XTS" in text and "<script" not in text and "default-src 'none'" in text
    assert told("--html", tmp_path / "no" / "x.html").exit_code != 0


def test_a_run_is_found_by_the_beginning_of_its_id(told):
    run = json.loads(told("--json").stdout)["run"]
    assert json.loads(told(run[:9], "--json").stdout)["run"] == run
    done = told("19")
    assert "no run whose id begins with '19'" in str(done.exception)


def test_the_next_run_is_estimated_by_this_one(archive, made):
    """The plan takes the rates of this work directory's run; what is done costs nothing."""
    folder = made[1]
    settings = runs.parsed(archive, buckets=2)
    plan = plan_release(settings, version="1.0", out=folder / "out", workdir=str(folder / "work"))
    assert plan["estimate"]["cpu_seconds"] == 0 and plan["estimate"]["rates"] == "none"
    other = runs.parsed(archive, buckets=2, emit={"shard_bytes": 9_000})
    plan = plan_release(other, version="1.0", out=folder / "out", workdir=str(folder / "work"))
    (record,) = records(Store(str(folder / "work")))
    assert plan["estimate"]["rates"] == "runs" and plan["estimate"]["runs"] == [record["run"]]
    assert plan["estimate"]["objects"] == plan["estimate"]["bytes"] == 0
    took = {one["stage"]: one["cpu_seconds"] for one in record["stages"]}
    for name, seconds in plan["estimate"]["cpu_by_stage"].items():
        assert seconds == pytest.approx(took[name], abs=1e-3) and name.startswith(
            ("emit.", "secrets.recheck")
        )
