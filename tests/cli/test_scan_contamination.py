"""`pipeline scan contamination`: texts of benchmarks in a folder, and what is said of files that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.errors import ConfigError

EXAMPLES = Path(__file__).parents[2] / "examples" / "benchmarks"
HUMANEVAL, MBPP = EXAMPLES / "humaneval-like.jsonl", EXAMPLES / "mbpp-like.jsonl"
TASKS = [json.loads(line) for line in HUMANEVAL.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    whole = TASKS[3]["prompt"] + TASKS[3]["canonical_solution"]
    files = {
        "copy/stamps.py": f"import os\n\n\n{whole}".encode(),
        "copy/wide.py": whole.encode("utf-16"),
        "notebook.ipynb": json.dumps({"cells": [{"source": whole.splitlines(keepends=True)}]}).encode(),
        "own.py": b"def stamp_costs(letters, tariff):\n    return 7\n",
        "noise.bin": bytes(range(256)),
        "empty": b"",
    }
    for name, body in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(body)
    return tmp_path / "tree"


def scan(*arguments: object):
    return CliRunner().invoke(app, ["scan", "contamination", *map(str, arguments)])


def test_json_has_every_match(folder):
    result = scan(folder, "--benchmarks", f"he={HUMANEVAL}", "--benchmarks", MBPP, "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert {(r["path"], r["field"]) for r in records} == {
        (path, field)
        for path in ("copy/stamps.py", "copy/wide.py", "notebook.ipynb")
        for field in ("prompt", "canonical_solution")
    }
    for record in records:
        assert list(record) == [
            "path",
            "benchmark",
            "item",
            "field",
            "share",
            "matched",
            "ngrams",
            "start",
            "end",
        ]
        assert (record["benchmark"], record["item"], record["share"]) == ("he", "Example/3", 1.0)
    text = (folder / "copy/stamps.py").read_bytes()
    (prompt,) = [r for r in records if r["path"] == "copy/stamps.py" and r["field"] == "prompt"]
    assert text[prompt["start"] :].startswith(b"def stamp_costs")
    assert "he/Example/4 is not searched for (" in result.stderr
    assert "prompt: short, 7 words" in result.stderr


def test_the_lines_for_people_name_task_and_place(folder):
    lines = scan(folder, "--benchmarks", HUMANEVAL).stdout.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("100.0%  humaneval-like/Example/3 ")
    assert "\tcopy/stamps.py:" in lines[0]


def test_fields_choose_what_is_searched_for(folder):
    result = scan(
        folder, "--benchmarks", HUMANEVAL, "--fields", "canonical_solution", "--id", "entry_point", "--json"
    )
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert {(r["item"], r["field"]) for r in records} == {("stamp_costs", "canonical_solution")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmarks", "no-such.jsonl"], "no such file or folder"),
        (["--benchmarks", f"a={HUMANEVAL}", "--benchmarks", f"a={MBPP}"], "given twice"),
        (["--benchmarks", f"bad name={HUMANEVAL}"], "should match pattern"),
        (["--benchmarks", HUMANEVAL, "--threshold", "0.1"], "at least 0.25"),
        (["--benchmarks", HUMANEVAL, "--threshold", "x"], "decimal number"),
        (["--benchmarks", HUMANEVAL, "--fields", "x"], "no record has a text as 'x'"),
    ],
    ids=["absent", "twice", "name", "low", "text", "field"],
)
def test_what_cannot_be_used_is_refused(folder, arguments, message):
    result = scan(folder, *arguments)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_a_folder_of_texts_is_a_benchmark(folder, tmp_path):
    held = tmp_path / "held-out"
    (held / "sub").mkdir(parents=True)
    (held / "sub" / "stamps.txt").write_text(TASKS[3]["prompt"])
    (held / "other.txt").write_text(TASKS[1]["prompt"])
    records = [json.loads(line) for line in scan(folder, "--benchmarks", held, "--json").stdout.splitlines()]
    assert {(r["benchmark"], r["item"], r["field"]) for r in records} == {
        ("held-out", "sub/stamps.txt", "text")
    }
