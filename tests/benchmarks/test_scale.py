"""The benchmark's arithmetic: fits, the bound on objects, and the extrapolation, on figures made up for it."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import fields, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import rates as shipped
from pipeline.engine.buckets import MAX_BUCKETS
from pipeline.estimate import estimate
from pipeline.sizing import ROW_BYTES

ROOT = Path(__file__).parents[2]


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


extrapolate, synthetic_archive = load("extrapolate"), load("synthetic_archive")
scale = load("scale")
rates = load("rates")

STAGE = {
    "stages": 1,
    "units": 8,
    "function_cpu": 0.0,
    "read_bytes": 0,
    "written_objects": 16,
    "max_unit_cpu": 0.1,
}


def run(size: int, **stages: float):
    """A made-up run of `size`: every quantity is 1,000 x size, every stage has the CPU seconds given."""
    amounts = (
        "origins",
        "occurrences",
        "contents",
        "unpacked_bytes",
        "directories",
        "directory_entries",
        "revisions",
        "found",
    )
    shared = {"peak_pss_bytes": 1 << 20, "written_bytes": 100 * size}
    return {
        "size": size,
        **dict.fromkeys(amounts, 1000 * size),
        **{"kept": 10, "buckets": 8, "shards": 3, "objects": {"stages": 5, "annotations": 2, "bytes": 1}},
        **{"wall_seconds": 1.0, "driver_cpu_seconds": 1.0, "driver_peak_pss_bytes": 1},
        "stages": {name: {**STAGE, **shared, "cpu": cpu} for name, cpu in stages.items()},
    }


def figures(**growth):
    return {
        "conditions": "made up",
        "runs": [run(s, **{n: f(s) for n, f in growth.items()}) for s in (1, 2, 4, 8)],
    }


def test_the_exponent_of_a_power_is_found():
    sizes = [1_000, 2_000, 4_000, 8_000]
    assert scale.exponent(sizes, [3 * s**1.5 for s in sizes]) == pytest.approx(1.5)
    assert scale.exponent(sizes, [0.0, 0.0, 0.0, 1.0]) is None


def test_growth_is_held_against_n_log_n():
    sizes = [1_000, 8_000]
    from math import log

    assert scale.against_n_log_n(sizes, [s * log(s) for s in sizes]) == pytest.approx(1.0)
    assert scale.against_n_log_n(sizes, [s**2 for s in sizes]) > 4


def test_fixed_costs_are_not_multiplied_by_an_extrapolation():
    """A stage of 10 s whatever its input and 1 ms per entry: a million entries take 1,000 s, not 1,250 times the 10 s."""
    result = figures(**{"shuffle.directory_entry": lambda s: 10 + 0.001 * 1_000 * s})
    quantities = [
        field.name for field in fields(extrapolate.Target) if field.name not in ("name", "task_memory")
    ]
    target = replace(extrapolate.TARGETS[0], **{**dict.fromkeys(quantities, 0.0), "entries": 1e6})
    found = extrapolate.estimate(result, target)
    assert found.hours == pytest.approx(1_000 / 3_600)
    assert found.hours_sorted == pytest.approx(found.hours * 6 / 3.90309, rel=1e-3)  # log(1e6) / log(8e3)
    assert found.written == pytest.approx(1e6 * 0.1)
    assert found.dollars["cores"] == pytest.approx(found.hours * extrapolate.Prices().core_hour)


def test_the_wanted_buckets_hold_a_task_to_its_memory():
    result = figures(walk=lambda s: s)
    for target in extrapolate.TARGETS:
        found = extrapolate.estimate(result, target)
        held = max(target.entries * ROW_BYTES["directory_entry"], target.all_contents * ROW_BYTES["content"])
        assert held / found.buckets_wanted <= target.task_memory < 2 * held / found.buckets_wanted
        assert found.buckets_wanted <= MAX_BUCKETS
        assert found.bytes_per_bucket == held / found.buckets_wanted


def test_every_stage_follows_a_quantity_that_targets_and_runs_have():
    for stage in (
        "walk",
        "resolve.tags",
        "graph.release",
        "near.settle",
        "census.rise",
        "identity.digests",
        "kept",
        "new",
    ):
        quantity = extrapolate.driver(stage)
        assert hasattr(extrapolate.TARGETS[0], quantity) and extrapolate.MEASURED[quantity] in run(1)


def test_the_tables_stand_between_the_marks(tmp_path):
    result = figures(walk=lambda s: s, kept=lambda s: 2 * s)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{scale.BEGIN}\nstale figures\n{scale.END}\nafter\n")
    scale.write_between(page, scale.tables(result) + extrapolate.markdown(result))
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "stale" not in text
    assert "| walk | 8 | 8.00 |" in text and "| all | 16 | 24.00 |" in text


def test_the_page_is_made_of_the_committed_figures():
    result = json.loads((ROOT / "benchmarks" / "scale-figures.json").read_bytes())
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    made = scale.tables(result) + "\n\n" + extrapolate.markdown(result)
    assert page.split(scale.BEGIN)[1].split(scale.END)[0].strip() == made


def test_an_archive_of_a_size_is_always_the_same(tmp_path):
    drawn = [synthetic_archive.generate(tmp_path / name, 0.02) for name in ("a", "b")]
    assert drawn[0] == drawn[1] and drawn[0]["occurrences"] >= 0.02 * synthetic_archive.OCCURRENCES
    tables = [
        {path.name: pq.read_table(path) for path in (tmp_path / name / "graph").rglob("*.parquet")}
        for name in ("a", "b")
    ]
    assert tables[0] == tables[1]
    assert len(list((tmp_path / "a" / "content").iterdir())) == drawn[0]["contents"]


def test_the_shipped_rates_are_those_of_the_committed_figures():
    """`python benchmarks/rates.py > pipeline/rates.py`, after new figures."""
    figures = json.loads((ROOT / "benchmarks/scale-figures.json").read_text())
    assert rates.rates(figures) == shipped.RATES and figures["conditions"] == shipped.CONDITIONS
    last = figures["runs"][-1]
    amounts = {
        "entries": last["directory_entries"], "bytes": last["unpacked_bytes"], "new_bytes": last["unpacked_bytes"],
        "contents": last["contents"], "new_contents": last["contents"],
    }  # fmt: skip
    stages = [(name, one["units"]) for name, one in last["stages"].items()]
    found = estimate(stages, amounts, [], remote=True)
    took = sum(one["cpu"] for one in last["stages"].values())
    assert found["cpu_seconds"] == pytest.approx(took, rel=0.02) and not found["unknown_stages"]
    assert found["requests"] == found["objects"] == last["contents"]
