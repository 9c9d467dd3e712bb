"""The commands of docs/lineage.md work, in their order; its tables and the schema are those of the code."""

import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import torch
from typer.testing import CliRunner

from pipeline.cli.main import app
from training.config import TrainConfig
from training.run import lineage_format
from training.run.train import train

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/lineage.md"


def test_the_page_and_the_schema_are_those_of_the_code():
    """If not: python -m training.run.lineage_format"""
    text = PAGE.read_text(encoding="utf-8")
    assert lineage_format.documented(text) == text
    assert lineage_format.SCHEMA.read_text(encoding="utf-8") == lineage_format.schema()


def test_every_command_of_the_page_works(release, make_release, tmp_path, monkeypatch, capsys):
    """Breach: a reader types what the page says, and it fails."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(release, "releases/2.1")
    newer = make_release(tmp_path / "releases", rows={"Python": 60, "C++": 10, "Shell": 10}, version="2.1.1")
    row = (
        pq.read_table(next(release.glob("data/Python/*.parquet")), partitioning=None)
        .slice(0, 1)
        .to_pylist()[0]
    )
    line = {
        "content_sha256": row["content_sha256"],
        "reason": "withdrawn",
        "row_id": row["row_id"],
        "version": "2.1.1",
    }
    (newer / "removals.jsonl").write_text(json.dumps(line) + "\n")
    shutil.copytree(ROOT / "examples", "examples")
    model = {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 2, "kv_heads": 1}
    settings = {
        "release": "releases/2.1",
        "output": "runs/tiny",
        "tokenizer": {"vocab_size": 400},
        "model": model,
        "data": {"sequence_length": 32},
        "steps": 2,
        "save_every": 2,
        "micro_batch_size": 4,
        "global_batch_tokens": 128,
        "evaluation": {"every": 2, "fraction": 0.2},
        "device": "cpu",
    }
    train(TrainConfig.model_validate(settings))
    text = PAGE.read_text(encoding="utf-8").replace("step-00000160 7 ", "step-00000002 1 ")  # a shorter run
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ran = []
    for line in "".join(blocks).splitlines():
        program, *words = shlex.split(line.removeprefix("$ "))
        if program == "python":
            capsys.readouterr()
            monkeypatch.setattr(sys, "argv", words)
            runpy.run_path(words[0], run_name="__main__")
            rows = capsys.readouterr().out.splitlines()
            assert len(rows) == 4 and len(json.loads(rows[0])) == 3
        else:
            assert program == "pipeline", line
            result = CliRunner().invoke(app, words)
            question = any(
                word in words for word in ("--origin", "--owner", "--id", "--removals", "--against")
            )
            allowed = (0, 1) if question else (0,)
            assert result.exit_code in allowed and isinstance(result.exception, SystemExit | None), (
                line,
                result.output,
            )
            assert result.stdout
        ran.append(line)
    assert len(ran) >= 10
    assert (tmp_path / "models/tiny/README.md").is_file()
