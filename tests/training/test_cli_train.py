"""`pipeline train`: what goes to stdout and stderr, and which error a mistake becomes."""

import builtins
import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import train as command
from pipeline.errors import ConfigError, IntegrityError, SourceError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app() -> typer.Typer:
    application = typer.Typer()
    command.register(application)
    application.command("other")(lambda: None)
    return application


@pytest.fixture
def config(settings, tmp_path) -> Path:
    file = tmp_path / "train.yaml"
    file.write_text(json.dumps(settings))
    return file


def invoke(app, *arguments: object):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def raised(app, *arguments: object) -> BaseException:
    error = invoke(app, *arguments).exception
    assert error is not None
    return error


def test_json_on_stdout_progress_on_stderr(app, config):
    done = invoke(app, config, "--json", "--set", "steps=2")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 2
    assert result["sources"][0]["version"] == "2.1"
    assert {"checkpoint", "evaluation", "seen", "packing", "seconds", "tokens_per_second"} <= result.keys()
    assert "tokens/s" in done.stderr
    again = invoke(app, config, "--set", "steps=2")
    assert "nothing to do" in again.stderr
    assert "bits per byte" in again.stdout
    fresh = invoke(app, config, "--set", "steps=2", "--fresh")
    assert "step 2/2" in fresh.stderr


def test_dry_run_touches_nothing(app, config, settings):
    done = invoke(app, config, "--dry-run", "--json")
    assert done.exit_code == 0
    plan = json.loads(done.stdout)
    assert plan["steps"] == 6
    assert plan["languages"] == 3
    assert plan["config"]["data"]["sequence_length"] == 64
    assert not Path(settings["output"]).exists()
    text = invoke(app, config, "--dry-run").stdout
    assert "memory" in text and "about" in text and f"{plan['model']['parameters']:,} parameters" in text


def test_mistakes_become_the_right_errors(app, config, settings, tmp_path):
    error = raised(app, config, "--set", "stepz=2")
    assert isinstance(error, ConfigError)
    assert "did you mean 'steps'?" in str(error)
    assert isinstance(raised(app, tmp_path / "none.yaml"), ConfigError)
    assert isinstance(raised(app, config, "--set", "release=/nowhere"), ConfigError)
    assert isinstance(raised(app, config, "--dry-run", "--set", "release=/nowhere"), ConfigError)
    assert isinstance(raised(app, config, "--set", "languages=[Ruby]"), ConfigError)
    assert isinstance(raised(app, config, "--set", "output=/proc/nowhere"), SourceError)
    assert isinstance(raised(app, config, "--nproc", 3), ConfigError)
    copied = tmp_path / "release"
    shutil.copytree(settings["release"], copied)
    shard = next(copied.glob("data/*/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert isinstance(raised(app, config, "--set", f"release={copied}"), IntegrityError)


def test_a_missing_extra_is_named(app, config, monkeypatch):
    genuine = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "torch" or name == "training.run.train":
            raise ImportError("No module named 'torch'")
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    error = raised(app, config)
    assert isinstance(error, ConfigError)
    assert "pip install 'stackmill[train]'" in str(error)


@pytest.mark.slow
def test_two_processes(app, config):
    done = invoke(app, config, "--json", "--nproc", "2", "--set", "steps=2")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
