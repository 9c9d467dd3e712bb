"""The commands and programs of docs/dedup.md work, in their order, on a small folder and a small dataset."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "dedup.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BODY = "\n".join(f"    total += price[{i}] * amount_{i}" for i in range(60))
TEXTS = [BODY, BODY + "\n    return total", "print('hello')", BODY, "def f(): pass", None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page speaks of."""
    (tmp_path / "src").mkdir()
    (tmp_path / "data").mkdir()
    for number, text in enumerate(TEXTS):
        (tmp_path / "src" / f"{number}.py").write_text(text or "", encoding="utf-8")
    pq.write_table(pa.table({"content": TEXTS, "n": range(len(TEXTS))}), tmp_path / "data" / "rows.parquet")
    prompt = {"prompt": "def f(): pass"}
    (tmp_path / "tests.jsonl").write_text(json.dumps(prompt) + "\n", encoding="utf-8")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def example(*words: str) -> str:
    """Run the program of examples/ as a user would, without a network."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(Path("hf").absolute()),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_and_program_of_the_page_works(place):
    """Breach: a reader types what the page says, and it fails."""
    names: dict[str, Any] = {}
    said = []
    for kind, block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), names)
            continue
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            if words[0] == "pipeline":
                result = CliRunner().invoke(app, words[1:])
                assert result.exit_code == 0, (line, result.output, result.exception)
                said.append(result.stdout)
            else:
                assert words[0] == "python", line
                said.append(example(*words[1:]))
    assert said[0].splitlines() == ["near    99.1%  1.py  =  0.py", "exact  100.0%  3.py  =  0.py"]
    assert len(said) == 5
    assert names["dataset"]["n"][:] == [0, 2, 4, 5]
    assert pq.read_table(place / "smaller.parquet")["n"].to_pylist() == [0, 2, 4, 5]
    assert "row 2 is like row 0 of the benchmark (exact)" in said[4]
    assert pq.read_table(place / "clean.parquet")["n"].to_pylist() == [0, 2, 5]


def test_the_shares_that_the_page_gives_are_those_of_the_formula():
    rows = re.findall(r"^\| (\d+) x (\d+) \|([^A-Za-z]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 5
    for bands, width, cells in rows:
        found = [float(cell) for cell in cells.split("|")]
        expected = [1 - (1 - j ** int(width)) ** int(bands) for j in (0.6, 0.7, 0.75, 0.8, 0.9)]
        assert found == [round(value, 4) for value in expected]
