"""The presets: each loads, explains every key that it has, and plans what its own text says to try on a processor."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import train as command
from training.config import load
from training.config.load import _all_keys

ROOT = Path(__file__).parents[2]
PRESETS = ("lora", "qlora", "full", "continued")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_its_name_says_and_every_key_is_explained(name):
    file = ROOT / f"configs/train-{name}.yaml"
    config = load(file)
    assert config.output == f"runs/{name}"
    assert (config.lora is not None) == (name in {"lora", "qlora"})
    assert (config.quantization is not None) == (name == "qlora")
    keys = [line for line in file.read_text().splitlines() if re.match(r" *\w+:", line)]
    sections = {
        key.rpartition(".")[2] for key in _all_keys() if any(k.startswith(key + ".") for k in _all_keys())
    }
    for line in keys:
        assert "  # " in line or re.match(r" *(\w+):$", line).group(1) in sections, line


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_says_to_try_here_can_be_planned(name, settings, tmp_path, monkeypatch):
    from training.model import build
    from training.tokens.tokenizer import train

    tokenizer = train([f"{n * 2654435761 % 2**32:x}" for n in range(500)], 300)
    text = (ROOT / f"configs/train-{name}.yaml").read_text()
    tried = (line for line in text.splitlines() if "--set model.path=runs/tiny" in line)
    line = next(tried, f"# pipeline train configs/train-{name}.yaml")
    words = shlex.split(line.removeprefix("#"))
    assert words[:2] == ["pipeline", "train"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases/2.1").symlink_to(settings["release"])
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    overrides = load(words[2], [w for w in words[3:] if w != "--set"])
    assert overrides.model.path == "runs/tiny"
    folder = tmp_path / "runs/tiny"
    build.build(overrides.model.model_copy(update={"path": None}), tokenizer, 512, 0).save_pretrained(folder)
    tokenizer.save(folder)
    app = typer.Typer()
    command.register(app)
    app.command("other")(lambda: None)
    done = CliRunner().invoke(app, [*words[1:], "--dry-run", "--json"])
    assert done.exit_code == 0, (done.stderr, done.exception)
    plan = json.loads(done.stdout)
    assert plan["steps"] == 30
    assert not (tmp_path / overrides.output).exists()
