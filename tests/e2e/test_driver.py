"""The driver holds keys and summaries, never rows: its memory does not follow the size of the archive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import e2e_archives as archives
import e2e_runs as runs
import pytest

ORIGINS, FILES, TIMES = 40, 500, 8
GROWTH_BYTES = 100 << 20


@pytest.mark.slow
def test_eight_times_the_rows_grow_the_driver_by_less_than_100_mb(tmp_path):
    """Many small files: 20,000 occurrences, then 160,000. Summed over the process, as PSS."""
    peaks, rows = {}, {}
    for times in (1, TIMES):
        folder = tmp_path / f"x{times}"
        archive = archives.write(archives.wide_world(ORIGINS * times, FILES), folder / "archive")
        line = runs.command(archive, folder, "--workers", "2", "--json", buckets=8)
        done = runs.run(line)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["totals"]["found"] == ORIGINS * times * (FILES + 1)
        peaks[times], rows[times] = found["driver_peak_pss_bytes"], found["totals"]["found"]
        assert largest_summary(folder / "work") < 10_000
        shutil.rmtree(folder)
    grown = peaks[TIMES] - peaks[1]
    print(
        f"driver peak PSS {peaks[1] / 1e6:,.0f} MB at {rows[1]:,} rows, {peaks[TIMES] / 1e6:,.0f} MB at {rows[TIMES]:,}"
    )
    assert grown < GROWTH_BYTES, peaks


def largest_summary(workdir: Path) -> int:
    """Bytes of the largest summary that a unit gave back."""
    return max(
        len(json.dumps(unit))
        for path in (workdir / "stages").glob("*/*/stage.json")
        for unit in json.loads(path.read_bytes())["units"].values()
    )
