"""The commands of docs/query.md and docs/selections.md work, in their order, on the small world."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manifests.reader import Release
from pipeline.cli.main import app

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["query.md", "selections.md"])
def test_every_command_of_the_page_works(page, made, archive, tmp_path, monkeypatch):
    """Breach: a reader types what the page says, and it fails."""
    shutil.copytree(made[0].directory, tmp_path / "releases/2.1")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "work").mkdir()
    (tmp_path / "work/archive").symlink_to(archive)
    generated = next(Release.open(tmp_path / "releases/2.1").batches(["content"]))["content"][0].as_py()
    (tmp_path / "generated.py").write_text(generated, encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where the index of `--similar` would go
    monkeypatch.chdir(tmp_path)
    ran = 0
    for kind, block in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(block, page, "exec"), {"texts": [generated]})
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "))
            assert words[0] == "pipeline", line
            result = CliRunner().invoke(app, words[1:], input=generated)
            assert result.exit_code == 0, (line, result.output, result.exception)
            ran += 1
    assert ran >= 5


def test_every_command_on_the_review_of_licenses_works(made, tmp_path, monkeypatch):
    """Breach: a reader types what docs/licenses.md says, and it fails, or the queue that it shows changes the work directory."""
    (tmp_path / "work").symlink_to(made[1] / "work")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/licenses.md").read_text(encoding="utf-8")
    lines = [
        line.removeprefix("$ ")
        for kind, block in BLOCK.findall(text)
        for line in block.splitlines()
        if kind == "console" and "license review" in line
    ]
    assert len(lines) >= 4
    for line in lines:
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, (line, result.output, result.exception)
    written = {"licenses-review.parquet", "review.html", "license-decisions.yaml", "work"}
    assert {path.name for path in tmp_path.iterdir()} == written


def test_every_command_on_secrets_works(tmp_path, monkeypatch):
    """Breach: a reader types what docs/secrets.md says, and it fails."""
    for folder in ("configs", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path)
    ran = 0
    for kind, block in BLOCK.findall((ROOT / "docs/secrets.md").read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(block, "secrets.md", "exec"), {})
            continue
        for line in block.splitlines():
            result = CliRunner().invoke(app, shlex.split(line.removeprefix("$ "))[1:])
            assert result.exit_code == 0, (line, result.output, result.exception)
            ran += 1
    assert ran >= 8 and (tmp_path / "work/secrets.sarif").is_file()


def test_every_command_on_personal_data_works(tmp_path, monkeypatch):
    """Breach: a reader types what docs/personal-data.md says, and it fails, or names are not redacted as it says."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    ran = 0
    for kind, block in BLOCK.findall((ROOT / "docs/personal-data.md").read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(block, "personal-data.md", "exec"), {})
            continue
        for line in block.splitlines():
            result = CliRunner().invoke(app, shlex.split(line.removeprefix("$ "))[1:])
            assert result.exit_code == 0, (line, result.output, result.exception)
            ran += 1
    assert ran == 2
