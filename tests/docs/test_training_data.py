"""The commands of docs/training-data.md work, in their order; its examples are as the code has them."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from training.corpus.jsonl import HOW_LINES_FAIL

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/training-data.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_command_of_the_page_works(release, tmp_path, monkeypatch, capsys):
    """Breach: a reader types what the page says, and it fails."""
    shutil.copytree(release, tmp_path / "releases/2.1")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    ran, said = 0, ""
    for kind, block in BLOCK.findall(PAGE):
        if kind == "python":
            exec(compile(block, "training-data.md", "exec"), {})
            continue
        for line in block.splitlines():
            result = CliRunner().invoke(app, shlex.split(line.removeprefix("$ "))[1:])
            assert result.exit_code == 0, (line, result.output, result.exception)
            said += result.stderr
            ran += 1
    assert ran == 1
    printed = capsys.readouterr().out
    assert re.search(
        r"mix of epoch 0, sources, achieved \(wanted\) and repeats: .*release [67]\d\.\d% \(75\.0%\)", said
    )
    assert re.search(r"\d+ files to train on, \d+ held out of \d+ of \d+ groups", said)
    assert "'own': {'wanted': 0.25" in printed


def test_the_page_names_every_kind_of_line():
    for problem in HOW_LINES_FAIL:
        assert f"`{problem}`" in PAGE, problem


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    import importlib.util

    spec = importlib.util.spec_from_file_location("factory", ROOT / "tests/manifests/release_factory.py")
    factory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(factory)
    return factory.make_release(
        tmp_path_factory.mktemp("release"), rows={"Python": 60, "C++": 20, "Shell": 30}
    )
