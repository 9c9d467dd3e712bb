"""The search over sketches without texts: the stages decide as one process does that holds everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_stages_decide_as_one_process_does(tmp_path):
    command = [
        sys.executable,
        "benchmarks/near_scale.py",
        "--documents",
        "6000",
        "--buckets",
        "2",
        "--in-process",
    ]
    command += ["--rounds", "--check", "--folder", str(tmp_path), "--json", str(tmp_path / "figures.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_bytes())
    assert figures["checked"] and figures["dropped"] > 100
    assert "without texts" in done.stdout  # a reader must not take it for verified duplicates
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
