"""Estimates and prices: arithmetic that can be followed, and files of users that are wrong in any way."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.estimate import estimate, group, measured_rates, records, words
from pipeline.prices import Prices, load_prices, priced
from pipeline.run_stats import find_run, run_stats

ROOT = Path(__file__).parents[2]
AMOUNTS = {
    "entries": 1_000_000,
    "contents": 500,
    "bytes": 2_000_000,
    "new_contents": 100,
    "new_bytes": 400_000,
}


def stage(name: str, seconds: float, *, units: int = 4, skipped: bool | int = 0) -> dict:
    return {
        "stage": name, "units": units, "skipped": skipped, "seconds": seconds, "rows": 10, "bytes": 1_000_000,
        "cpu_seconds": seconds, "function_cpu_seconds": seconds / 2, "read_bytes": 5, "written_bytes": 7,
        "written_objects": 3, "max_peak_pss_bytes": 11, "requests": {"get": 2}, "received_bytes": 100, "sent_bytes": 50,
    }  # fmt: skip


def record(run: str, *stages: dict, **more: object) -> dict:
    return {"run": run, "quantities": AMOUNTS, "stages": list(stages), "seconds": 20.0, **more}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("walk.003", "walk"),
        ("networks.000.large", "networks.large"),
        ("census.reach.012", "census.reach"),
        ("rank", "rank"),
    ],
)
def test_levels_are_one_stage(name, said):
    assert group(name) == said


def test_rates_are_those_of_the_newest_run_that_did_the_whole_stage():
    newest = record(
        "3", stage("walk.000", 5, skipped=2), stage("annotate.text", 8), stage("rank", 0, skipped=True)
    )
    middle = record("2", stage("walk.000", 1), stage("walk.001", 2), stage("rank", 4))
    oldest = record("1", stage("walk.000", 100), quantities=None)
    found = measured_rates([newest, middle, oldest])
    assert found == {
        "annotate.text": ("new_bytes", 8 / 400_000, "3"),
        "walk": ("entries", 3 / 1_000_000, "2"),
        "rank": ("bytes", 4 / 2_000_000, "2"),
    }


def test_an_estimate_is_rate_times_quantity_and_says_where_the_rate_is_from():
    earlier = [record("1", stage("annotate.text", 8), stage("fetch.bodies", 2))]
    own = estimate([("annotate.text", 4), ("fetch.bodies", 4)], AMOUNTS, earlier, remote=True)
    assert (
        own["cpu_seconds"] == 10
        and own["rates"] == "runs"
        and own["runs"] == ["1"]
        and own["conditions"] is None
    )
    assert (own["objects"], own["bytes"], own["requests"]) == (100, 400_000, 100)
    half = estimate([("annotate.text", 4)], {**AMOUNTS, "new_bytes": 200_000}, earlier, remote=True)
    assert half["cpu_seconds"] == 4 and half["objects"] == half["requests"] == 0
    both = estimate(
        [("annotate.text", 4), ("walk.000", 1), ("walk.001", 1), ("odd", 1)], AMOUNTS, earlier, remote=False
    )
    assert both["rates"] == "both" and both["requests"] is None and both["unknown_stages"] == ["odd"]
    assert both["cpu_seconds"] > 8 and set(both["cpu_by_stage"]) == {"annotate.text", "walk"}
    nothing = estimate([], AMOUNTS, earlier, remote=True)
    assert nothing["rates"] == "none" and words(nothing) == ["nothing: no stage is to run"]
    for found, said in ((own, "earlier runs here"), (both, "not estimated: odd")):
        assert said in "\n".join(words(found))


def test_figures_of_a_run_add_up():
    found = run_stats(
        record(
            "r", stage("a", 4), stage("b", 6, skipped=1), stage("c", 0, skipped=True), driver_cpu_seconds=2.0, at_once=3,
            driver_traffic={"requests": {"put": 5, "list": 1}, "received_bytes": 1, "sent_bytes": 2}, version="1.0",
        )
    )  # fmt: skip
    totals = found["totals"]
    assert [one["stage"] for one in found["stages"]] == ["a", "b"] and found["skipped_stages"] == ["c"]
    assert totals["cpu_seconds"] == 12 and totals["core_hours"] == pytest.approx(12 / 3600, abs=1e-6)
    assert totals["reserved_core_hours"] == pytest.approx(60 / 3600, abs=1e-6)
    assert totals["units"] == 7 and totals["requests"] == {"get": 4, "list": 1, "put": 5}
    assert (totals["received_bytes"], totals["sent_bytes"]) == (201, 102)
    assert found["stages"][0]["mb_per_second"] == 0.25 and found["estimate"] is None
    inside = run_stats(record("r", stage("a", 4), driver_cpu_seconds=5.0, in_process=True))
    assert inside["totals"]["cpu_seconds"] == 5 and inside["totals"]["reserved_core_hours"] is None
    price = priced(
        Prices(currency="XTS", core_hour=36, get_1000=250, put_1000=500, received_gb=1e9, sent_gb=1e9), totals
    )
    assert price["cores"] == pytest.approx(0.6, abs=1e-4)
    assert {name: round(amount, 6) for name, amount in price.items() if name in ("reads", "writes", "received", "sent")} == {
        "reads": 1.0, "writes": 3.0, "received": 201.0, "sent": 102.0,
    }  # fmt: skip
    assert price["total"] == pytest.approx(
        sum(price[part] for part in ("cores", "reads", "writes", "received", "sent"))
    )


def test_an_estimate_stands_beside_what_came():
    fetched = stage("fetch.bodies", 2) | {
        "counts": {"objects.requested": 70, "requests.repeated": 3, "dropped.missing": 9}
    }
    ran = [fetched, stage("annotate.text", 9)]
    expected = estimate(
        [(one["stage"], one["units"]) for one in ran], AMOUNTS, [record("1", *ran)], remote=True
    )
    told = run_stats(record("2", *ran, estimate=expected))["estimate"]
    assert told["requests"] == {"estimate": 100, "actual": 73}
    assert told["bytes"] == {"estimate": 400_000, "actual": 1_000_000}
    assert (
        told["cpu_seconds"] == {"estimate": 11, "actual": 11}
        and told["rates"] == "runs"
        and told["runs"] == ["1"]
    )
    local = run_stats(record("2", *ran, estimate=expected | {"requests": None}))["estimate"]
    assert local["requests"] == {"estimate": None, "actual": None}


def test_a_record_of_an_earlier_version_is_read():
    old = record(
        "r",
        {"stage": "a", "units": 2, "skipped": 0, "seconds": 1.0, "rows": 5, "bytes": 10, "cpu_seconds": 1.0},
    )
    found = run_stats(old)
    assert (
        found["stages"][0]["requests"] == {}
        and found["totals"]["requests"] == {}
        and found["estimate"] is None
    )


def test_broken_records_are_passed_over(tmp_path):
    runs = tmp_path / "runs"
    for name, text in {
        "1": "{",
        "2": "[]",
        "3": '{"stages": 5}',
        "4": '{"stages": [], "seconds": 1}',
    }.items():
        (runs / name).mkdir(parents=True)
        (runs / name / "run.json").write_text(text)
    (runs / "5").mkdir()
    assert [one["run"] for one in records(Store(str(tmp_path)))] == ["4"]
    assert find_run(str(tmp_path), None)["run"] == "4"
    with pytest.raises(ConfigError, match="no record of a finished run"):
        find_run(str(tmp_path / "none"), None)


def test_the_example_of_prices_is_one():
    assert load_prices(ROOT / "configs/prices-example.yaml").core_hour > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs keys"),
        ("- 1", "needs keys"),
        ("core_hour: 1", "currency"),
        ("currency: EUR\ncore_hour: -1", "core_hour"),
        ("currency: EUR\ncore_hour: .nan", "core_hour"),
        ("currency: EUR\ncore_hour: .inf", "core_hour"),
        ("currency: EUR\ncore_hours: 1", "core_hours.*the keys are"),
        ("currency: '<b>'", "currency"),
        ("currency: [EUR", "YAML"),
        ("currency: " + "x" * 70_000, "larger than"),
        ("!!python/object/apply:os.system ['true']", "YAML"),
    ],
)
def test_wrong_prices_are_refused(tmp_path, text, said):
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        load_prices(file)
    with pytest.raises(ConfigError, match="No such file"):
        load_prices(tmp_path / "none.yaml")
