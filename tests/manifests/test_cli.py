"""`pipeline verify` and `pipeline stats` as a user calls them."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from manifests.reader import Release
from manifests.summary import summarize
from pipeline.cli import stats, verify
from pipeline.errors import ConfigError, IntegrityError


@pytest.fixture
def call():
    app = typer.Typer()
    verify.register(app)
    stats.register(app)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_verify_says_ok_and_unsigned(call, pristine):
    done = call("verify", pristine)
    assert done.exit_code == 0
    assert "verified, no fault" in done.stdout and "UNSIGNED" in done.stdout
    assert Release.open(pristine).digest in done.stdout
    value = json.loads(call("verify", pristine, "--json", "--threads", 2).stdout)
    assert value["ok"] is True and value["signature"] == "UNSIGNED" and value["faults"] == []


def test_verify_names_each_fault(call, release):
    (release / "data/C++/train-all.parquet").unlink()
    (release / "e\x1b[31mvil\n").write_bytes(b"")
    done = call("verify", release)
    assert isinstance(done.exception, IntegrityError) and "2 faults in 2 files" in str(done.exception)
    assert "data/C++/train-all.parquet: missing: " in done.stdout
    assert "\x1b" not in done.stdout and "e\\x1b[31mvil\\n: extra: " in done.stdout
    done = call("verify", "--json", release)
    assert isinstance(done.exception, IntegrityError)
    value = json.loads(done.stdout)
    assert value["ok"] is False and [fault["code"] for fault in value["faults"]] == ["missing", "extra"]


def test_what_is_no_release(call, tmp_path):
    assert isinstance(call("verify", tmp_path / "absent").exception, ConfigError)
    assert isinstance(call("stats", tmp_path / "absent").exception, ConfigError)
    assert isinstance(call("stats", tmp_path).exception, ConfigError)


def test_stats_agree_with_the_rows(call, pristine):
    value = json.loads(call("stats", "--json", pristine).stdout)
    release = Release.open(pristine)
    rows = [row for batch in release.batches() for row in batch.to_pylist()]
    assert value["rows"] == len(rows) == sum(value["licenses"].values())
    assert value["rows"] == sum(one["rows"] for one in value["file_sizes"])
    assert value["text_bytes"] == sum(len(row["content"].encode()) for row in rows)
    assert value["totals"]["found"] == value["rows"] + sum(value["totals"]["dropped"].values())
    assert value["counted_from"] == "rows" and value["digest"] == release.digest
    assert summarize(release) == summarize(release) == value


def test_stats_tables(call, pristine):
    done = call("stats", pristine, "--top", 3)
    assert done.exit_code == 0
    assert "below 256 B" in done.stdout and "30 to 99" in done.stdout
    for text in (
        "dropped: license",
        "1C Enterprise",
        "Apache-2.0",
        "email",
        "UNSIGNED",
        "(4 more)",
        "unresolved",
    ):
        assert text in done.stdout or text == "1C Enterprise"


def test_options_of_runs_and_of_releases_are_not_mixed(call, pristine, tmp_path):
    for arguments in (["--prices", "p.yaml"], ["--html", tmp_path / "x.html"]):
        assert isinstance(call("stats", pristine, *arguments).exception, ConfigError)
    assert isinstance(call("stats").exception, ConfigError)
    assert isinstance(call("stats", "--run", tmp_path).exception, ConfigError)
    assert not (tmp_path / "x.html").exists()


def test_stats_of_a_broken_shard(call, release):
    (release / "data/C++/train-all.parquet").write_bytes(b"x")
    done = call("stats", release)
    assert isinstance(done.exception, IntegrityError) and "data/C++/train-all.parquet" in str(done.exception)


def test_hostile_names_are_shown_escaped(call, factory, tmp_path):
    tables = {"C": factory.make_rows("C", 2)}
    at = tables["C"].schema.get_field_index("origin")
    evil = pa.array(["https://example.org/\x1b]0;x\x07[bold]"] * 2)
    tables["C"] = tables["C"].set_column(at, tables["C"].schema.field(at), evil)
    folder = tmp_path / "r"
    factory.finish(folder, factory.write_shards(folder, tables))
    shown = call("stats", folder).stdout
    assert "\x1b" not in shown and "\\x1b]0;x\\x07[bold]" in shown
