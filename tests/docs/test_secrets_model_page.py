"""docs/secrets-model.md: its command and its Python run, with a model that is made here."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path

from typer.testing import CliRunner

from pipeline.cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/secrets-model.md").read_text(encoding="utf-8")


def tiny_tagger():
    spec = importlib.util.spec_from_file_location("tiny_tagger", ROOT / "tests/pii/tiny_tagger.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_page_shows_works(tmp_path, monkeypatch):
    """Breach: a reader does what the page says, and it fails or says something else."""
    made = tiny_tagger()
    tokenizer = made.words_tokenizer(["ann", "lee", "thanks", "to", "for", "this"])
    labels = ["O", "B-PER", "I-PER", "B-EMAIL", "I-EMAIL", "B-MISC", "I-MISC"]
    (tmp_path / "models").mkdir()
    made.save(
        tmp_path / "models/pii-tagger",
        made.knowing(tokenizer, labels, {"ann": "B-PER", "lee": "I-PER"}),
        tokenizer,
    )
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples/model-labels.yaml", tmp_path / "examples")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/a.yaml").write_text("# by Ann Lee\na: 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    (command,) = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    (record,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (record["start"], record["end"], record["kind"]) == (5, 12, "name")
    assert re.fullmatch(r"model/pii-tagger@[0-9a-f]{12}", record["rule"])

    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(block, "secrets-model.md", "exec"), {})


def test_a_model_needs_its_labels():
    result = CliRunner().invoke(app, ["scan", "secrets", str(ROOT / "configs"), "--model", "x"])
    assert result.exit_code != 0 and "--model-labels" in str(result.exception)
