"""`pipeline archive` as a user calls it."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import archive as command
from pipeline.errors import ConfigError, StackmillError


@pytest.fixture
def call():
    app = typer.Typer()

    @app.callback()
    def main() -> None:
        """As in the real application: one command among others."""

    command.register(app)

    def run(*arguments, ok=True):
        result = CliRunner().invoke(app, ["archive", *map(str, arguments)])
        if ok:
            assert result.exit_code == 0, result.output
        return result

    return run


def error_of(result):
    assert isinstance(result.exception, StackmillError), result.output
    return result.exception


def test_repositories_and_folders_together(call, repository, tmp_path, archive):
    repository.write("a.py", b"a\n")
    repository.commit()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.c").write_bytes(b"b\n")
    result = call(
        "--git",
        repository.path,
        "--dir",
        f"https://example.org/f={tmp_path}/folder",
        "--out",
        archive.path,
        "--json",
    )
    summary = json.loads(result.stdout)
    assert (summary["origins"], summary["files"], summary["export"]) == (2, 2, "local")
    assert {row["url"] for row in archive.rows("origin")} == {
        repository.path.as_uri(),
        "https://example.org/f",
    }
    assert "reading the repository" in result.stderr


def test_the_graph_format(call, repository, archive):
    repository.write("a.py", b"a\n")
    repository.commit()
    for form, written in (("orc", {"orc"}), ("both", {"orc", "parquet"}), ("parquet", {"parquet"})):
        made = json.loads(
            call("--git", repository.path, "--out", archive.path, "--graph-format", form, "--json").stdout
        )
        folder = archive.path / "graph" / "local"
        assert {path.name for path in folder.iterdir() if path.is_dir()} == written
        assert (bool(made["tables"]), bool(made["orc_tables"])) == ("parquet" in written, "orc" in written)
    assert call("--git", repository.path, "--graph-format", "avro", ok=False).exit_code == 2


def test_a_person_reads_what_was_left_out(call, repository, archive):
    repository.commit()
    result = call("--dir", repository.path, "--out", archive.path, "--export", "2026-01")
    assert "1 origins, 0 files" in result.stdout
    assert ".git folders" in result.stdout
    assert (archive.path / "graph" / "2026-01" / "archive.json").exists()


def test_installed(call, monkeypatch, environment, archive):
    environment.install("p", "1", {"p.py": b"x"})
    monkeypatch.setattr("sys.path", [str(environment.site)])
    monkeypatch.setattr("pipeline.sources.from_installed._stdlib_folder", lambda: environment.stdlib)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert "3 files" in call("--installed", "--out", archive.path).stdout
    assert archive.rows("origin_visit")[0]["date"].isoformat() == "1970-01-02T00:00:00"
    assert "nothing changed" in call("--installed", "--out", archive.path).stdout
    assert "2 files" in call("--installed", "--out", archive.path, "--max-files", 2).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to archive"),
        (["--git", "absent"], "--git absent: no such folder"),
        (["--dir", "absent"], "--dir absent: no such folder"),
        (["--dir", ".", "--export", "../x"], "--export"),
        (["--dir", "."], "would contain itself"),
        (["--dir", ".", "--out", "s3://bucket/x"], "local folder"),
    ],
)
def test_mistakes(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    error = error_of(call(*arguments, ok=False))
    assert isinstance(error, ConfigError)
    assert message in str(error)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_date(call, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    (tmp_path / "f").mkdir()
    assert "SOURCE_DATE_EPOCH" in str(
        error_of(call("--dir", tmp_path / "f", "--out", tmp_path / "o", ok=False))
    )


def test_bounds_are_checked_by_the_command_line(call):
    assert call("--installed", "--max-files", 0, ok=False).exit_code == 2
