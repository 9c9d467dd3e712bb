"""Memory is bounded by configuration: a worker's by the memory of a task, and the driver's does not follow the archive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import e2e_archives as archives
import e2e_runs as runs
import pytest

ORIGINS, FILES, TIMES = 40, 500, 8
GROWTH_BYTES = 100 << 20
TASK_MEMORY, TASK_BYTES = "256MB", 256 * 10**6
BASE_BYTES = 450 << 20  # of a worker without rows: see docs/scale.md


@pytest.mark.slow
def test_eight_times_the_rows_leave_the_driver_flat_and_workers_below_their_bound(tmp_path):
    """Many small files: 20,000 occurrences, then 160,000. PSS of the driver, and the peak of any unit's process."""
    peaks, rows, workers = {}, {}, {}
    for times in (1, TIMES):
        folder = tmp_path / f"x{times}"
        archive = archives.write(archives.wide_world(ORIGINS * times, FILES), folder / "archive")
        engine = {"task_memory": TASK_MEMORY}
        line = runs.command(archive, folder, "--workers", "2", "--json", buckets=8, engine=engine)
        done = runs.run(line)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["totals"]["found"] == ORIGINS * times * (FILES + 1)
        peaks[times], rows[times] = found["driver_peak_pss_bytes"], found["totals"]["found"]
        record = json.loads(next((folder / "work" / "runs").glob("*/run.json")).read_bytes())
        workers[times] = max(stage.get("max_peak_pss_bytes", 0) for stage in record["stages"])
        assert largest_summary(folder / "work") < 10_000
        shutil.rmtree(folder)
    grown = peaks[TIMES] - peaks[1]
    print(
        f"driver peak PSS {peaks[1] / 1e6:,.0f} MB at {rows[1]:,} rows, {peaks[TIMES] / 1e6:,.0f} MB at {rows[TIMES]:,}"
    )
    print("worker peak PSS", ", ".join(f"{peak / 1e6:,.0f} MB" for peak in workers.values()))
    assert grown < GROWTH_BYTES, peaks
    assert max(workers.values()) < TASK_BYTES + BASE_BYTES, workers


def largest_summary(workdir: Path) -> int:
    """Bytes of the largest summary that a unit gave back."""
    return max(
        len(json.dumps(unit))
        for path in (workdir / "stages").glob("*/*/stage.json")
        for unit in json.loads(path.read_bytes())["units"].values()
    )
