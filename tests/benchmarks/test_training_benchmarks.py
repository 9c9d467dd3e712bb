"""The benchmarks of training run, wholly, on something small; what a GPU is needed for says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"benchmarks/{script}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_without_a_gpu_the_script_says_what_is_needed():
    done = run("training_gpu.py")
    assert done.returncode == 3
    assert "no GPU" in done.stderr and "80 GB" in done.stderr and not done.stdout


@pytest.mark.slow
def test_the_whole_gpu_script_runs_on_a_small_model(tmp_path):
    """Breach: the first minute on a GPU shows that the script does not run."""
    small = ["--tiny", "--device", "cpu", "--steps", "2", "--warm-up", "1"]
    variants = ["--variants", "lora-1", "lora-ck", "qlora-1", "qlora-ck"]
    done = run("training_gpu.py", *small, *variants, "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr + done.stdout
    figures = json.loads((tmp_path / "figures.json").read_bytes())
    assert [one["variant"] for one in figures["variants"]] == variants[1:]
    for one in figures["variants"]:
        assert one["tokens_per_second"] > 0 and 0 < one["mfu"] < 1 and one["hfu"] >= one["mfu"]
    assert all(one["isolated"] and one["difference"] < 1e-5 for one in figures["packing"])
    assert "| lora-1 | 1 x 128 |" in done.stdout


@pytest.mark.slow
def test_every_contestant_trains_on_the_same_tokens(tmp_path):
    """Breach: the plain loop does less than ours, or a peer gets other documents."""
    small = [
        "--models",
        "1M",
        "--rounds",
        "1",
        "--steps",
        "3",
        "--micro-batch",
        "1",
        "--sequence-length",
        "128",
    ]
    done = run("training.py", "--megabytes", "1", *small, "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_bytes())["1M"]
    ours, plain = figures["stackmill"], figures["plain loop"]
    assert ours["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert ours["tokens"] == plain["tokens"] and ours["kept"] == 1 and ours["needless"] == 0
    assert figures["trl bfd_split"]["kept"] == 1 and figures["trl bfd"]["kept"] < 1
    assert figures["trl wrapped"]["needless"] > 0
    assert len({one["given"] for one in figures.values()}) == 1
